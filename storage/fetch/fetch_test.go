package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"quarry/api"
	"quarry/proofs/fr32"
	"quarry/storage/index"
	"quarry/storage/paths"
	"quarry/storage/unsealed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var sector = abi.SectorID{Miner: 1000, Number: 5}

type source struct {
	idx   *index.Index
	local *paths.Local
	path  paths.Path
	url   string
	mux   *http.ServeMux
}

// serve makes a process with one path; wrap may spoil its answers.
func serve(t *testing.T, wrap func(http.Handler) http.Handler) *source {
	t.Helper()
	s := &source{idx: index.New(index.Config{}), mux: http.NewServeMux()}
	var h http.Handler = s.mux
	if wrap != nil {
		h = wrap(h)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	s.url = srv.URL + "/remote"
	dir := filepath.Join(t.TempDir(), "p")
	require.NoError(t, paths.InitDir(dir, api.PathMeta{ID: "p", Weight: 1, CanSeal: true, CanStore: true}))
	local, err := paths.Open(paths.Config{URL: s.url}, paths.Deps{Index: s.idx})
	require.NoError(t, err)
	require.NoError(t, local.Add(t.Context(), dir))
	s.local, s.path = local, local.Paths()[0]
	s.mux.Handle("GET /remote/", Handler(local))
	s.mux.Handle("DELETE /remote/", RemoveHandler(local))
	return s
}

func (s *source) declare(t *testing.T, k api.FileType) string {
	t.Helper()
	require.NoError(t, s.idx.StorageDeclareSectors(t.Context(), []api.SectorFile{{Sector: sector, Type: k, Storage: "p"}}))
	return s.url + "/" + k.String() + "/" + api.SectorName(sector)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// oneBearer is the same for all files.
type oneBearer struct{}

func (oneBearer) StorageFileBearer(context.Context, api.FileUse) (api.FileBearer, error) {
	return api.FileBearer{Token: "tok", Valid: time.Minute}, nil
}

func quick(t *testing.T) *Client {
	t.Helper()
	c := newClient(oneBearer{}, time.Millisecond)
	t.Cleanup(c.Close)
	return c
}

func TestFile(t *testing.T) {
	for _, n := range []int{0, 1, 1000, segment - 1, segment, segment + 1} {
		s := serve(t, nil)
		want := randomBytes(n)
		require.NoError(t, os.WriteFile(s.path.FilePath(sector, api.FileSealed), want, 0o600))
		dst := filepath.Join(t.TempDir(), "d")
		require.NoError(t, quick(t).Sector(t.Context(), s.declare(t, api.FileSealed), api.FileSealed, dst, nil), "%d bytes", n)
		got, err := os.ReadFile(dst)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "%d bytes", n)
	}
}

func TestDirectory(t *testing.T) {
	s := serve(t, nil)
	dir := s.path.FilePath(sector, api.FileCache)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o750))
	for _, n := range []string{"p_aux", "t_aux", "sc-02-data-tree-r-last.dat"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), []byte(n), 0o600))
	}
	c := quick(t)
	addr := s.declare(t, api.FileCache)
	dst := filepath.Join(t.TempDir(), "d")
	var last, total int64
	require.NoError(t, c.Sector(t.Context(), addr, api.FileCache, dst, func(d, n int64) { last, total = d, n }))
	require.Equal(t, total, last)
	got, err := os.ReadFile(filepath.Join(dst, "t_aux"))
	require.NoError(t, err)
	require.Equal(t, "t_aux", string(got))

	remote := c.Dir(t.Context(), addr)
	names, err := remote.List()
	require.NoError(t, err)
	require.Len(t, names, 3)
	_, err = remote.Open("nothing")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = remote.Create("x", 1)
	require.Error(t, err)
	require.NoError(t, c.Remove(t.Context(), addr))
	_, err = os.Stat(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// spoiler damages the first n answers with a body.
func spoiler(n int, how func(http.ResponseWriter, *http.Request, []byte)) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get(wantDigest) == "" || n == 0 {
				h.ServeHTTP(w, r)
				return
			}
			n--
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			for k, v := range rec.Result().Header { //nolint:bodyclose // a recorder
				w.Header()[k] = v
			}
			digest := rec.Header().Get(digestTrailer)
			w.Header().Del(digestTrailer)
			w.WriteHeader(rec.Code)
			how(w, r, rec.Body.Bytes())
			w.Header().Set(digestTrailer, digest)
		})
	}
}

func TestDamageOnTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		times int
		how   func(http.ResponseWriter, *http.Request, []byte)
		fails error
	}{
		"flipped once": {1, func(w http.ResponseWriter, _ *http.Request, b []byte) { b[3] ^= 1; _, _ = w.Write(b) }, nil},
		"cut twice": {2, func(w http.ResponseWriter, _ *http.Request, b []byte) {
			_, _ = w.Write(b[:len(b)/2])
			panic(http.ErrAbortHandler)
		}, nil},
		"short":        {1, func(w http.ResponseWriter, _ *http.Request, b []byte) { _, _ = w.Write(b[:len(b)-1]) }, nil},
		"long":         {1, func(w http.ResponseWriter, _ *http.Request, b []byte) { _, _ = w.Write(append(b, 0)) }, nil},
		"always wrong": {-1, func(w http.ResponseWriter, _ *http.Request, b []byte) { b[0] ^= 1; _, _ = w.Write(b) }, ErrChecksum},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, spoiler(c.times, c.how))
			want := randomBytes(5000)
			require.NoError(t, os.WriteFile(s.path.FilePath(sector, api.FileSealed), want, 0o600))
			dst := filepath.Join(t.TempDir(), "d")
			err := quick(t).File(t.Context(), s.declare(t, api.FileSealed), dst, nil)
			require.ErrorIs(t, err, c.fails)
			if c.fails == nil {
				got, err := os.ReadFile(dst)
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got))
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	s := serve(t, nil)
	c := quick(t)
	var missing *api.ErrNotFound
	require.ErrorAs(t, c.File(t.Context(), s.url+"/sealed/s-t01000-99", filepath.Join(t.TempDir(), "d"), nil), &missing)
	for _, bad := range []string{"/sealed/..%2f..%2fetc", "/nothing/s-t01000-5", "/sealed/s-t01000-5x", "/cache/s-t01000-5/file/..%2fx"} {
		res, err := http.Get(s.url + bad) //nolint:noctx // test
		require.NoError(t, err)
		_ = res.Body.Close()
		require.GreaterOrEqual(t, res.StatusCode, 400, bad)
	}
	http.DefaultClient.CloseIdleConnections()

	away := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(away.Close)
	s.mux.HandleFunc("GET /away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, away.URL, http.StatusFound) })
	_, err := c.do(t.Context(), http.MethodGet, strings.TrimSuffix(s.url, "/remote")+"/away", nil)
	require.ErrorContains(t, err, "redirect")
}

func TestParseListingRefuses(t *testing.T) {
	for _, bad := range []string{`{"Files":[{"Name":"../x"}]}`, `{"Files":[{"Name":""}]}`, `{"Files":[{"Name":"a","Size":-1}]}`,
		`nonsense`} {
		_, err := parseListing(strings.NewReader(bad))
		require.Error(t, err, bad)
	}
}

func FuzzParseListing(f *testing.F) {
	f.Add(`{"Files":[{"Name":"p_aux","Size":64}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseListing(strings.NewReader(s))
		if err != nil {
			return
		}
		for _, e := range l.Files {
			if !filepath.IsLocal(e.Name) || filepath.Base(e.Name) != e.Name {
				t.Fatalf("accepted %q", e.Name)
			}
		}
	})
}

func writeUnsealed(t *testing.T, s *source, payload []byte, off abi.PaddedPieceSize) {
	t.Helper()
	f, err := unsealed.Create(s.path.FilePath(sector, api.FileUnsealed), 1<<20)
	require.NoError(t, err)
	padded := make([]byte, len(payload)/127*128)
	fr32.Pad(payload, padded)
	_, err = f.WriteAt(padded, int64(off)) //nolint:gosec // small
	require.NoError(t, err)
	require.NoError(t, f.Mark(off, abi.PaddedPieceSize(len(padded))))
	require.NoError(t, f.Close())
}

func TestUnsealedReader(t *testing.T) {
	s := serve(t, nil)
	payload := randomBytes(127 * 1024)
	writeUnsealed(t, s, payload, 1<<17)
	s.declare(t, api.FileUnsealed)
	shared, err := paths.Open(paths.Config{}, paths.Deps{Index: s.idx})
	require.NoError(t, err)
	require.NoError(t, shared.Add(t.Context(), s.path.Dir))
	for name, local := range map[string]*paths.Local{"shared path": shared, "HTTP": nil} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(ReaderConfig{}, ReaderDeps{Local: local, Index: s.idx})
			defer r.Close()
			u, err := r.OpenUnsealed(t.Context(), sector, 1<<17, 1<<17)
			require.NoError(t, err)
			require.Equal(t, int64(len(payload)), u.Size())
			for _, c := range []struct{ off, n int }{{0, 1}, {126, 2}, {0, len(payload)}, {5000, 100000}, {len(payload) - 1, 1}} {
				got := make([]byte, c.n)
				n, err := u.ReadAt(got, int64(c.off))
				require.NoError(t, err)
				require.Equal(t, c.n, n)
				require.True(t, bytes.Equal(payload[c.off:c.off+c.n], got), "%d+%d", c.off, c.n)
			}
			n, err := u.ReadAt(make([]byte, 10), u.Size()-4)
			require.Equal(t, 4, n)
			require.ErrorIs(t, err, io.EOF)

			_, err = s.idx.StorageLock(t.Context(), api.LockRequest{Sector: sector, Write: api.FileUnsealed})
			require.Error(t, err, "an open reader holds the lock")
			require.NoError(t, u.Close())
			require.NoError(t, u.Close())
			l, err := s.idx.StorageLock(t.Context(), api.LockRequest{Sector: sector, Write: api.FileUnsealed})
			require.NoError(t, err)
			require.NoError(t, s.idx.StorageUnlock(t.Context(), l.ID))

			var missing *api.ErrNotFound
			_, err = r.OpenUnsealed(t.Context(), sector, 0, 1<<17)
			require.ErrorAs(t, err, &missing, "never written")
			_, err = r.OpenUnsealed(t.Context(), abi.SectorID{Miner: 1}, 0, 128)
			require.ErrorAs(t, err, &missing)
			_, err = r.OpenUnsealed(t.Context(), sector, 5, 128)
			require.Error(t, err)
		})
	}
}

func TestReaderStopsWithContext(t *testing.T) {
	s := serve(t, nil)
	writeUnsealed(t, s, randomBytes(127*1024), 0)
	s.declare(t, api.FileUnsealed)
	r := NewReader(ReaderConfig{}, ReaderDeps{Index: s.idx})
	defer r.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	u, err := r.OpenUnsealed(ctx, sector, 0, 1<<17)
	require.NoError(t, err)
	gone := errors.New("gone")
	cancel(gone)
	_, err = u.ReadAt(make([]byte, 10), 0)
	require.ErrorIs(t, err, gone)
	require.NoError(t, u.Close())
}
