package fetch

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/internal/httpx"
)

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

// A block is what was asked for, of the file that was opened, or an error.
func TestRemoteBlocksAreThoseAskedFor(t *testing.T) {
	for _, c := range []struct {
		span string
		fine bool
	}{
		{"bytes 0-9/10", true}, {"bytes 0-9/11", false}, {"bytes 0-8/10", false}, {"bytes 1-9/10", false}, {"", false},
	} {
		var asked []string
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Header.Get("Range")+r.Header.Get("If-Match"))
			w.Header().Set("ETag", `"a"`)
			w.Header().Set("Content-Range", c.span)
			if len(asked) == 1 {
				w.Header().Set("Content-Range", "bytes 0-0/10")
			}
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write([]byte("0123456789"))
		}))
		f, err := quick(t).Open(t.Context(), srv.URL)
		require.NoError(t, err)
		b := make([]byte, 10)
		n, err := f.ReadAt(b, 0)
		require.Equal(t, c.fine, err == nil, "%s: %v", c.span, err)
		require.Equal(t, c.fine, n == 10 && string(b) == "0123456789")
		require.Equal(t, []string{"bytes=0-0", `bytes=0-9"a"`}, asked)
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
