package tasks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/internal/httpx"
	"quarry/storage/index"
	"quarry/storage/paths"
)

var pieceBytes = bytes.Repeat([]byte("piece of data. "), 1000)

// pulling is a puller, and a server that answers by h; k counts from 1.
func pulling(t *testing.T, h func(k int32, w http.ResponseWriter, r *http.Request)) (*puller, api.DataRef, *atomic.Int32) {
	t.Helper()
	var k atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(k.Add(1), w, r) }))
	t.Cleanup(srv.Close)
	p := newPuller(nil, time.Millisecond)
	t.Cleanup(p.close)
	return p, api.DataRef{URL: srv.URL, Token: "tok", Size: uint64(len(pieceBytes))}, &k
}

func good(w http.ResponseWriter, r *http.Request, b []byte) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// cutAt sends n of the bytes that were asked for and drops the connection.
func cutAt(w http.ResponseWriter, b []byte, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	_, _ = w.Write(b[:n])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func TestPullGoesOnWithItsBearer(t *testing.T) {
	var asked []string
	p, ref, _ := pulling(t, func(k int32, w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Authorization")+" "+r.Header.Get("Range"))
		switch k {
		case 1:
			cutAt(w, pieceBytes, 700)
		case 2, 3:
			http.Error(w, "not yet", http.StatusUnauthorized)
		default:
			good(w, r, pieceBytes)
		}
	})
	src, err := p.open(t.Context(), ref)
	require.NoError(t, err)
	b, err := io.ReadAll(src)
	require.NoError(t, err)
	require.NoError(t, src.Close())
	require.True(t, bytes.Equal(pieceBytes, b))
	rest := "Bearer tok bytes=700-14999"
	require.Equal(t, []string{"Bearer tok bytes=0-14999", rest, rest, rest}, asked)
}

// Whose fault it is decides whether the task is tried again.
func TestPullErrors(t *testing.T) {
	away := func(w http.ResponseWriter) {
		w.Header().Set("Location", "http://elsewhere.example/")
		w.WriteHeader(302)
	}
	for name, c := range map[string]struct {
		h    func(w http.ResponseWriter)
		gets int32
		want error
		text string
	}{
		"missing":   {func(w http.ResponseWriter) { w.WriteHeader(404) }, 3, &api.ErrNotFound{}, "piece data at 127.0.0.1"},
		"gone":      {func(w http.ResponseWriter) { w.WriteHeader(410) }, 3, &api.ErrNotFound{}, ""},
		"no token":  {func(w http.ResponseWriter) { w.WriteHeader(401) }, 3, &api.ErrPermission{}, "pull piece data from 127.0.0.1"},
		"forbidden": {func(w http.ResponseWriter) { w.WriteHeader(403) }, 3, &api.ErrPermission{}, ""},
		"shorter": {func(w http.ResponseWriter) { w.Header().Set("Content-Length", "14999"); _, _ = w.Write(pieceBytes[1:]) }, 3,
			&api.ErrInvalid{}, "14999 bytes"},
		"down":     {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 8, nil, "transfer failed"},
		"busy":     {func(w http.ResponseWriter) { w.WriteHeader(503) }, 8, nil, "transfer failed"},
		"redirect": {away, 3, nil, "more than 0 redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			p, ref, k := pulling(t, func(_ int32, w http.ResponseWriter, _ *http.Request) { c.h(w) })
			src, err := p.open(t.Context(), ref)
			require.NoError(t, err)
			_, err = io.ReadAll(src)
			require.NoError(t, src.Close())
			require.ErrorContains(t, err, c.text)
			require.Equal(t, c.gets, k.Load())
			require.Equal(t, c.want == nil, errors.Is(err, errTransient), "%v", err)
			if c.want != nil {
				require.IsType(t, c.want, err)
			}
			var away *api.ErrUnreachable
			require.Equal(t, c.want == nil, errors.As(temporary(err), &away), "%v", err)
		})
	}
	p, ref, _ := pulling(t, func(_ int32, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	src, err := p.open(ctx, ref)
	require.NoError(t, err)
	cancel()
	_, err = io.ReadAll(src)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, errTransient)
	require.NoError(t, src.Close())
	for _, bad := range []api.DataRef{
		{}, {URL: "ftp://x/", Size: 1}, {URL: "http://", Size: 1}, {URL: "http://x/", StorageID: "p"}, {URL: "http://x/", Size: 1 << 63},
		{URL: "http://x/", Size: 1 << 50},
	} {
		_, err := p.open(t.Context(), bad)
		require.IsType(t, &api.ErrInvalid{}, err, "%+v", bad)
	}
}

// Bytes that came in parts and are wrong, or changed on the way, are read once more
// from the first; those of one answer, and those of a file, are not.
func TestThroughoutReadsOnceMore(t *testing.T) {
	wrongBytes := bytes.Repeat([]byte("x"), len(pieceBytes))
	tag := func(w http.ResponseWriter, s string) { w.Header().Set("ETag", s) }
	for name, c := range map[string]struct {
		gets int32
		ok   bool
		h    func(k int32, w http.ResponseWriter, r *http.Request)
	}{
		"joined, then right": {3, true, func(k int32, w http.ResponseWriter, r *http.Request) {
			if k == 1 {
				cutAt(w, wrongBytes, 100)
			}
			good(w, r, pieceBytes)
		}},
		"changed, then right": {3, true, func(k int32, w http.ResponseWriter, r *http.Request) {
			if k == 1 {
				tag(w, `"old"`)
				cutAt(w, wrongBytes, 100)
			}
			tag(w, `"new"`)
			good(w, r, pieceBytes)
		}},
		"joined, always wrong": {4, false, func(k int32, w http.ResponseWriter, r *http.Request) {
			if k%2 == 1 {
				cutAt(w, wrongBytes, 100)
			}
			good(w, r, pieceBytes)
		}},
		"wrong in one answer": {1, false, func(_ int32, w http.ResponseWriter, r *http.Request) { good(w, r, wrongBytes) }},
	} {
		t.Run(name, func(t *testing.T) {
			p, ref, k := pulling(t, c.h)
			open := func() (io.ReadCloser, error) { return p.open(t.Context(), ref) }
			err := throughout(open, func(r io.Reader) error {
				b, err := io.ReadAll(r)
				if err == nil && !bytes.Equal(pieceBytes, b) {
					err = &api.ErrPieceMismatch{Want: "a", Got: "b"}
				}
				return err
			})
			require.Equal(t, c.gets, k.Load())
			if c.ok {
				require.NoError(t, err)
				return
			}
			require.IsType(t, &api.ErrPieceMismatch{}, err)
		})
	}
	runs := 0
	file := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(nil)), nil }
	require.IsType(t, &api.ErrPieceMismatch{}, throughout(file, func(io.Reader) error { runs++; return &api.ErrPieceMismatch{} }))
	require.Equal(t, 1, runs)
	require.ErrorIs(t, throughout(file, func(io.Reader) error { runs++; return httpx.ErrChanged }), httpx.ErrChanged)
	require.Equal(t, 3, runs)
	no := errors.New("no")
	require.ErrorIs(t, throughout(func() (io.ReadCloser, error) { return nil, no }, nil), no)
}

// What the system says of a disk passes; what leads out of a path does not.
func TestPullFromADisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	require.NoError(t, paths.InitDir(dir, api.PathMeta{ID: "p", Weight: 1, CanStore: true}))
	local, err := paths.Open(paths.Config{}, paths.Deps{Index: index.New(index.Config{})})
	require.NoError(t, err)
	require.NoError(t, local.Add(t.Context(), dir))
	p := newPuller(local, time.Millisecond)
	defer p.close()
	_, err = p.open(t.Context(), api.DataRef{StorageID: "p", Path: "staging/data", Size: 1})
	require.IsType(t, &api.ErrNotFound{}, err, "there is no such directory")
	staging := filepath.Join(dir, "staging")
	require.NoError(t, os.MkdirAll(filepath.Join(staging, "dir"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(staging, "data"), pieceBytes, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sealed", "s-t01000-1"), pieceBytes, 0o600))
	require.NoError(t, os.Symlink("/etc/hostname", filepath.Join(staging, "out")))
	require.NoError(t, os.Symlink("../sealed/s-t01000-1", filepath.Join(staging, "in")))

	read := func(name string, size int) ([]byte, error) {
		src, err := p.open(t.Context(), api.DataRef{StorageID: "p", Path: "staging/" + name, Size: uint64(size)})
		if err != nil {
			return nil, err
		}
		defer src.Close() //nolint:errcheck // read only
		return io.ReadAll(src)
	}
	for _, n := range []int{0, 1, len(pieceBytes)} {
		b, err := read("data", n)
		require.NoError(t, err)
		require.True(t, bytes.Equal(pieceBytes[:n], b))
	}
	_, err = read("data", len(pieceBytes)+1)
	require.IsType(t, &api.ErrInvalid{}, err)
	require.ErrorContains(t, err, "it ends 1 bytes early")
	_, err = read("nothing", 1)
	require.IsType(t, &api.ErrNotFound{}, err)
	_, err = read("dir", 1)
	require.ErrorIs(t, err, errTransient)
	require.ErrorIs(t, err, syscall.EISDIR)
	_, err = read("data/x", 1)
	require.ErrorIs(t, err, errTransient)
	for _, link := range []string{"out", "in"} {
		_, err = read(link, 1)
		require.Error(t, err)
		require.NotErrorIs(t, err, errTransient)
	}
	for _, bad := range []string{"../p/data", "/etc/hostname", "dir/../data", ""} {
		_, err = read(bad, 1)
		require.IsType(t, &api.ErrInvalid{}, err, bad)
	}
	for _, bad := range []string{"sealed/s-t01000-1", "sectorstore.json", "staging", "stagings/data", "Staging/data",
		"staging/../sealed/s-t01000-1"} {
		_, err = p.open(t.Context(), api.DataRef{StorageID: "p", Path: bad, Size: 1})
		require.IsType(t, &api.ErrInvalid{}, err, bad)
	}
	_, err = p.open(t.Context(), api.DataRef{StorageID: "q", Path: "data", Size: 1})
	require.IsType(t, &api.ErrNotFound{}, err)
}

// Where clouds keep secrets no piece is pulled from.
func TestPiecesAreNotPulledFromMetadata(t *testing.T) {
	for addr, ok := range map[string]bool{
		"10.0.0.5": true, "127.0.0.1": true, "::1": true, "fd00::1": true, "192.0.2.1": true,
		"169.254.169.254": false, "169.254.0.1": false, "::ffff:169.254.169.254": false, "fe80::1": false, "fd00:ec2::254": false,
		"224.0.0.1": false, "ff02::1": false, "0.0.0.0": false, "::": false,
	} {
		err := noLinkLocal(netip.MustParseAddr(addr))
		require.Equal(t, ok, err == nil, addr)
	}
	p := newPuller(nil, time.Millisecond)
	defer p.close()
	src, err := p.open(t.Context(), api.DataRef{URL: "http://169.254.169.254/x", Size: 1})
	if err == nil {
		_, err = io.ReadAll(src)
		require.NoError(t, src.Close())
	}
	require.ErrorContains(t, err, "metadata addresses")
}
