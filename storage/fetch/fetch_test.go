package fetch

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"quarry/api"
	"quarry/internal/httpx"
	"quarry/proofs/fr32"
	"quarry/storage/index"
	"quarry/storage/paths"
	"quarry/storage/unsealed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var sector = abi.SectorID{Miner: 1000, Number: 5}

type source struct {
	idx  *index.Index
	path paths.Path
	url  string
	mux  *http.ServeMux
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
	s.path = local.Paths()[0]
	s.mux.Handle("GET /remote/", Handler(local))
	s.mux.Handle("DELETE /remote/", RemoveHandler(local))
	return s
}

func (s *source) declare(t *testing.T, k api.FileType) string {
	t.Helper()
	require.NoError(t, s.idx.StorageDeclareSector(t.Context(), api.SectorFile{Sector: sector, Type: k, Storage: "p"}))
	return s.url + "/" + k.String() + "/" + api.SectorName(sector)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func quick(t *testing.T) *Client {
	t.Helper()
	c := newClient(func() string { return "tok" }, time.Millisecond)
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

// tap notes the ranges asked for, and may answer instead of the handler.
type tap struct {
	asked []string
	spoil func(w http.ResponseWriter, r *http.Request) bool // true = answered
}

func (a *tap) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked = append(a.asked, r.Header.Get("Range"))
		if a.spoil == nil || !a.spoil(w, r) {
			h.ServeHTTP(w, r)
		}
	})
}

// A fetch that failed goes on, in another process, behind the last verified
// segment; what lies behind it on disk is not believed.
func TestResumeAfterTheLastVerifiedSegment(t *testing.T) {
	a := &tap{}
	s := serve(t, a.wrap)
	want := randomBytes(segment + 5000)
	require.NoError(t, os.WriteFile(s.path.FilePath(sector, api.FileSealed), want, 0o600))
	dst, addr := filepath.Join(t.TempDir(), "d"), s.declare(t, api.FileSealed)
	a.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "bytes=33554432-67108863" {
			return false
		}
		http.Error(w, "gone", http.StatusNotFound)
		return true
	}
	var missing *api.ErrNotFound
	require.ErrorAs(t, quick(t).File(t.Context(), addr, dst, nil), &missing)
	f, err := os.OpenFile(dst, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("a torn tail"), segment)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	a.asked, a.spoil = nil, nil
	require.NoError(t, quick(t).File(t.Context(), addr, dst, nil))
	got, err := os.ReadFile(dst)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.Equal(t, []string{"bytes=33554432-67108863"}, a.asked)
	_, err = os.Stat(dst + httpx.Suffix)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// The file behind the address was replaced by one of the same length between two
// tries: nothing of the old one stays.
func TestReplacedFileIsNeverSpliced(t *testing.T) {
	a := &tap{}
	s := serve(t, a.wrap)
	src := s.path.FilePath(sector, api.FileSealed)
	require.NoError(t, os.WriteFile(src, bytes.Repeat([]byte{7}, segment+5000), 0o600))
	dst, addr := filepath.Join(t.TempDir(), "d"), s.declare(t, api.FileSealed)
	a.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "bytes=33554432-67108863" {
			return false
		}
		a.spoil = nil
		want := randomBytes(segment + 5000)
		if err := os.WriteFile(src+".new", want, 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(src+".new", src); err != nil {
			t.Error(err)
		}
		return false
	}
	require.NoError(t, quick(t).File(t.Context(), addr, dst, nil))
	got, err := os.ReadFile(dst)
	require.NoError(t, err)
	require.True(t, bytes.Equal(randomBytes(segment+5000), got))
	require.Equal(t, []string{"bytes=0-33554431", "bytes=33554432-67108863", "bytes=0-33554431", "bytes=33554432-67108863"}, a.asked)
}

// Bytes without a record of what they are, as earlier releases left them, are not
// taken for a part of the file.
func TestBareBytesAreNotBelieved(t *testing.T) {
	a := &tap{}
	s := serve(t, a.wrap)
	want := randomBytes(segment + 10)
	require.NoError(t, os.WriteFile(s.path.FilePath(sector, api.FileSealed), want, 0o600))
	dst := filepath.Join(t.TempDir(), "d")
	require.NoError(t, os.WriteFile(dst, make([]byte, segment), 0o600))
	require.NoError(t, quick(t).File(t.Context(), s.declare(t, api.FileSealed), dst, nil))
	got, err := os.ReadFile(dst)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.Equal(t, []string{"bytes=0-33554431", "bytes=33554432-67108863"}, a.asked)
}

// A directory goes on with the files that are complete, asking only whether they
// are still the same, and ends with what is listed alone.
func TestDirectoryGoesOn(t *testing.T) {
	a := &tap{}
	s := serve(t, a.wrap)
	dir := s.path.FilePath(sector, api.FileCache)
	require.NoError(t, os.MkdirAll(dir, 0o750))
	for _, n := range []string{"a", "b"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), bytes.Repeat([]byte(n), 1000), 0o600))
	}
	dst, addr := filepath.Join(t.TempDir(), "d"), s.declare(t, api.FileCache)
	a.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/b") {
			return false
		}
		http.Error(w, "no", http.StatusForbidden)
		return true
	}
	var perm *api.ErrPermission
	require.ErrorAs(t, quick(t).Sector(t.Context(), addr, api.FileCache, dst, nil), &perm)
	require.NoError(t, os.WriteFile(filepath.Join(dst, "of an earlier source"), nil, 0o600))
	a.asked, a.spoil = nil, nil
	require.NoError(t, quick(t).Sector(t.Context(), addr, api.FileCache, dst, nil))
	require.Equal(t, []string{"", "bytes=999-33555430", "bytes=0-33554431"}, a.asked)
	entries, err := os.ReadDir(dst)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	for _, n := range []string{"a", "b"} {
		got, err := os.ReadFile(filepath.Join(dst, n))
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat([]byte(n), 1000), got)
	}
}

// The handler names bytes by a strong validator that a replacement of the same
// size and time changes, and sends everything when If-Range names others.
func TestHandlerHonoursIfRange(t *testing.T) {
	s := serve(t, nil)
	src := s.path.FilePath(sector, api.FileSealed)
	require.NoError(t, os.WriteFile(src, []byte("0123456789"), 0o600))
	st, err := os.Stat(src)
	require.NoError(t, err)
	addr := s.declare(t, api.FileSealed)
	get := func(h http.Header) (int, string, string, http.Header) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, addr, nil)
		require.NoError(t, err)
		req.Header = h
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(b), res.Trailer.Get(digestTrailer), res.Header
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	_, _, _, h := get(http.Header{})
	tag := h.Get("ETag")
	require.True(t, strings.HasPrefix(tag, `"`), tag)
	for _, want := range []string{"", "blake2b-256"} {
		for _, c := range []struct {
			ifRange, rng, body string
			code               int
			span               string
		}{
			{tag, "bytes=4-6", "456", 206, "bytes 4-6/10"},
			{"", "bytes=4-60", "456789", 206, "bytes 4-9/10"},
			{`"other"`, "bytes=4-6", "0123456789", 200, ""},
			{"W/" + tag, "bytes=4-6", "0123456789", 200, ""},
			{"", "", "0123456789", 200, ""},
			{tag, "bytes=9-9", "9", 206, "bytes 9-9/10"},
		} {
			req := http.Header{}
			for k, v := range map[string]string{"If-Range": c.ifRange, "Range": c.rng, wantDigest: want} {
				if v != "" {
					req[http.CanonicalHeaderKey(k)] = []string{v}
				}
			}
			code, body, sum, h := get(req)
			require.Equal(t, c.code, code, "%+v", c)
			require.Equal(t, c.body, body, "%+v", c)
			require.Equal(t, c.span, h.Get("Content-Range"), "%+v", c)
			if want != "" {
				d := newSum()
				d.Write([]byte(c.body))
				require.Equal(t, hex.EncodeToString(d.Sum(nil)), sum)
			}
		}
		for _, rng := range []string{"bytes=10-11", "bytes=x"} {
			code, _, _, h := get(http.Header{"Range": {rng}, http.CanonicalHeaderKey(wantDigest): {"blake2b-256"}})
			require.Equal(t, 416, code, rng)
			require.Equal(t, "bytes */10", h.Get("Content-Range"))
		}
	}
	require.NoError(t, os.WriteFile(src+".new", []byte("abcdefghij"), 0o600))
	require.NoError(t, os.Chtimes(src+".new", st.ModTime(), st.ModTime()))
	require.NoError(t, os.Rename(src+".new", src))
	_, _, _, h = get(http.Header{})
	require.NotEqual(t, tag, h.Get("ETag"))
}

func TestEmptyRemoteFileAndWrongSizes(t *testing.T) {
	s := serve(t, nil)
	require.NoError(t, os.WriteFile(s.path.FilePath(sector, api.FileSealed), nil, 0o600))
	c := quick(t)
	f, err := c.Open(t.Context(), s.declare(t, api.FileSealed))
	require.NoError(t, err)
	n, err := f.Size()
	require.NoError(t, err)
	require.Zero(t, n)
	k, err := f.ReadAt(make([]byte, 1), 0)
	require.Zero(t, k)
	require.ErrorIs(t, err, io.EOF)

	for name, h := range map[string]http.HandlerFunc{
		"no total": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-0/*")
			w.WriteHeader(http.StatusPartialContent)
		},
		"no length": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
	} {
		srv := httptest.NewServer(h)
		_, err := c.Open(t.Context(), srv.URL)
		require.ErrorContains(t, err, "no usable size", name)
		srv.Close()
	}
}

// Whose fault it is: what a peer answers, or that it does not, or our disk.
func TestErrorsSayWhoseFault(t *testing.T) {
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "as \x1b[31m told", status) }))
	t.Cleanup(srv.Close)
	c := newClient(nil, time.Microsecond)
	t.Cleanup(c.Close)
	for code, want := range map[int]error{
		401: &api.ErrPermission{}, 403: &api.ErrPermission{}, 404: &api.ErrNotFound{}, 410: &api.ErrNotFound{}, 416: &api.ErrNotFound{},
		429: &api.ErrBusy{}, 500: &api.ErrBusy{}, 503: &api.ErrBusy{},
	} {
		status = code
		_, err := c.do(t.Context(), http.MethodGet, srv.URL, nil)
		require.Error(t, err)
		require.True(t, isA(err, want), "%d: %v", code, err)
		require.NotContains(t, err.Error(), "\x1b")
	}
	status = http.StatusTeapot
	_, err := c.do(t.Context(), http.MethodGet, srv.URL, nil)
	require.False(t, api.IsTemporary(err))
	require.ErrorContains(t, err, `\x1b[31m`)

	srv.Close()
	_, err = c.do(t.Context(), http.MethodGet, srv.URL, nil)
	require.True(t, isA(err, &api.ErrUnreachable{}), "%v", err)
	err = c.File(t.Context(), srv.URL, filepath.Join(t.TempDir(), "no", "such", "directory"), nil)
	require.True(t, isA(err, &api.ErrBusy{}), "%v", err)
	require.ErrorContains(t, err, "local disk")
}

func isA(err, want error) bool {
	target := reflect.New(reflect.TypeOf(want))
	return errors.As(err, target.Interface())
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
	for _, bad := range []string{`{"Files":[{"Name":"../x"}]}`, `{"Files":[{"Name":""}]}`, `{"Files":[{"Name":"a","Size":-1}]}`, `nonsense`} {
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
