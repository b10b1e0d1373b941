package fetch

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/internal/httpx"
	"quarry/storage/access"
)

// mint makes bearers that can be told apart, and fails when it is told to.
type mint struct {
	mu   sync.Mutex
	uses []api.FileUse
	err  error
	wait chan struct{}
}

func (m *mint) StorageFileBearer(ctx context.Context, use api.FileUse) (api.FileBearer, error) {
	if m.wait != nil {
		<-m.wait
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return api.FileBearer{}, m.err
	}
	m.uses = append(m.uses, use)
	return api.FileBearer{Token: string(rune('a' - 1 + len(m.uses))), Valid: 3 * time.Minute}, ctx.Err()
}

// TestEachFileHasItsBearer: whatever part of it is asked for, and none is kept for
// another file or use.
func TestEachFileHasItsBearer(t *testing.T) {
	const file, del = "http://h:1/remote/cache/s-t01000-5", "http://h:1/file/remote/sealed/s-f01000-77"
	for addr, want := range map[string]api.FileUse{
		file:                        {URL: file},
		file + "/file/p_aux":        {URL: file},
		file + "/file/a%2Fb":        {URL: file},
		file + "/allocated/0/128":   {URL: file},
		file + "?keep=a":            {URL: file},
		file + "/other":             {URL: file + "/other"},
		file + "0/file/x":           {URL: file + "0"},
		"http://h/remote/stat/a":    {URL: "http://h/remote/stat/a"},
		"http://h/x/remote/sealedx": {URL: "http://h/x/remote/sealedx"},
	} {
		require.Equal(t, want, useOf(http.MethodGet, addr))
	}
	require.Equal(t, api.FileUse{URL: del, Delete: true}, useOf(http.MethodDelete, del+"?keep=x.y"))

	m := &mint{}
	p := newPurse(m)
	for _, addr := range []string{file, file + "/file/p_aux", file} {
		s, err := p.source(t.Context(), http.MethodGet, addr)
		require.NoError(t, err)
		require.Equal(t, addr, s.URL)
		require.Equal(t, "a", s.Bearer())
	}
	s, err := p.source(t.Context(), http.MethodDelete, file)
	require.NoError(t, err)
	require.Equal(t, "b", s.Bearer())
	require.Equal(t, []api.FileUse{{URL: file}, {URL: file, Delete: true}}, m.uses)
	s, err = newPurse(nil).source(t.Context(), http.MethodGet, file)
	require.NoError(t, err)
	require.Nil(t, s.Bearer)
}

// TestBearersAreRenewedInTime, and while none can be had the old one is shown.
func TestBearersAreRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mint{}
		p := newPurse(m)
		s, err := p.source(t.Context(), http.MethodGet, "u")
		require.NoError(t, err)
		require.Equal(t, "a", s.Bearer())
		time.Sleep(2*time.Minute - 1)
		require.Equal(t, "a", s.Bearer())
		time.Sleep(1)
		require.Equal(t, "b", s.Bearer())
		time.Sleep(2 * time.Minute)
		m.err = &api.ErrUnreachable{Peer: "node", Reason: "away"}
		require.Equal(t, "b", s.Bearer())
		_, err = p.source(t.Context(), http.MethodGet, "u")
		require.True(t, api.IsTemporary(err), "nothing new is begun with it")
		refused := &httpx.Error{Status: http.StatusUnauthorized}
		require.Equal(t, m.err, p.refused(http.MethodGet, "u", refused), "whose fault the refusal is")
		require.Equal(t, error(refused), p.refused(http.MethodGet, "another", refused))
		m.err = nil
		require.Equal(t, "c", s.Bearer())
		require.Equal(t, error(refused), p.refused(http.MethodGet, "u", refused))
		require.Equal(t, "d", s.Bearer(), "a refused one is not shown again")
		other := &httpx.Error{Status: http.StatusForbidden}
		require.Equal(t, error(other), p.refused(http.MethodGet, "u", other))
		require.Equal(t, "d", s.Bearer())
		require.ErrorIs(t, p.refused(http.MethodGet, "u", http.ErrAbortHandler), http.ErrAbortHandler)
		require.Equal(t, error(refused), newPurse(nil).refused(http.MethodGet, "u", refused))
	})
}

func TestManyWaitForOneBearer(t *testing.T) {
	m := &mint{wait: make(chan struct{})}
	p := newPurse(m)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			s, err := p.source(t.Context(), http.MethodGet, "u")
			require.NoError(t, err)
			require.Equal(t, "a", s.Bearer())
		})
	}
	m.wait <- struct{}{}
	wg.Wait()
	require.Len(t, m.uses, 1)
	m.wait = nil
	for n := range 3 * maxPurse {
		p.slot(api.FileUse{URL: string(rune(n + 1000))})
		require.LessOrEqual(t, len(p.kept), maxPurse)
	}
}

// TestServersSeeBearersOnly: a client shows a server what opens the file that it
// asks for, over all its ways, and a server that checks lets it in.
func TestServersSeeBearersOnly(t *testing.T) {
	var mu sync.Mutex
	var shown []string
	var check *access.Checker
	s := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token := r.Header.Get("Authorization")
			mu.Lock()
			shown = append(shown, token)
			mu.Unlock()
			if len(token) < 7 || check.Check(r, token[7:]) != nil {
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	key, err := s.idx.StorageFileKey(t.Context())
	require.NoError(t, err)
	check, err = access.NewChecker(s.url, access.NewRemoteKeys(s.idx))
	require.NoError(t, err)
	require.Len(t, key.Public, 32)
	dir := s.path.FilePath(sector, api.FileCache)
	require.NoError(t, os.MkdirAll(dir, 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "p_aux"), []byte("aux"), 0o600))
	require.NoError(t, os.WriteFile(s.path.FilePath(sector, api.FileSealed), []byte("sealed"), 0o600))
	c := NewClient(s.idx)
	defer c.Close()
	sealed, cache := s.declare(t, api.FileSealed), s.declare(t, api.FileCache)
	dst := t.TempDir()
	require.NoError(t, c.Sector(t.Context(), cache, api.FileCache, filepath.Join(dst, "c"), nil))
	require.NoError(t, c.File(t.Context(), sealed, filepath.Join(dst, "s"), nil))
	f, err := c.Open(t.Context(), sealed)
	require.NoError(t, err)
	b := make([]byte, 6)
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	require.Equal(t, "sealed", string(b))
	names, err := c.Dir(t.Context(), cache).List()
	require.NoError(t, err)
	require.Equal(t, []string{"p_aux"}, names)
	require.NoError(t, c.Remove(t.Context(), sealed))
	slices.Sort(shown)
	require.Len(t, slices.Compact(shown), 3, "one for each file and use")
}

// TestStrangersGetNothing: an address that the index does not know is not even
// asked.
func TestStrangersGetNothing(t *testing.T) {
	asked := false
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer evil.Close()
	s := serve(t, nil)
	c := NewClient(s.idx)
	defer c.Close()
	address := evil.URL + "/remote/sealed/" + api.SectorName(sector)
	var unknown *api.ErrNotFound
	_, err := c.Open(t.Context(), address)
	require.ErrorAs(t, err, &unknown)
	require.ErrorAs(t, c.File(t.Context(), address, filepath.Join(t.TempDir(), "d"), nil), &unknown)
	require.ErrorAs(t, c.Remove(t.Context(), address), &unknown)
	require.False(t, asked)
	require.False(t, errors.Is(err, access.ErrRefused))
}
