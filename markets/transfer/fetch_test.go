package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var payload = bytes.Repeat([]byte("0123456789abcdef"), 20_000) // 320 kB

func content(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(payload))
}

// fetch pulls from h and returns what is on disk.
func fetch(t *testing.T, cfg Config, h http.HandlerFunc, change func(*Request)) ([]byte, error) {
	srv := httptest.NewServer(h)
	defer srv.Close()
	if cfg.RetryMin == 0 {
		cfg.RetryMin = time.Millisecond
	}
	if cfg.Stall == 0 {
		cfg.Stall = 2 * time.Second
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = 3
	}
	f := New(cfg)
	defer f.Close()
	r := Request{URL: srv.URL + "/x.car", Size: uint64(len(payload)), Path: filepath.Join(t.TempDir(), "staged")}
	if change != nil {
		change(&r)
	}
	err := f.Fetch(context.Background(), r)
	b, rerr := os.ReadFile(r.Path)
	if rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		t.Fatal(rerr)
	}
	return b, err
}

func isFatal(err error) bool { var f *FatalError; return errors.As(err, &f) }

var open = Config{AllowPrivateIPs: true}

func TestPlainAndProgress(t *testing.T) {
	var last uint64
	b, err := fetch(t, open, content, func(r *Request) {
		r.Progress = func(n uint64) {
			require.Greater(t, n, last)
			last = n
		}
	})
	require.NoError(t, err)
	require.Equal(t, payload, b)
	require.Equal(t, uint64(len(payload)), last)
}

// A cut transfer goes on in another process where the synced bytes end.
func TestResumeAsksOnlyForTheRest(t *testing.T) {
	var ranges []string
	cut := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Method+" "+r.Header.Get("Range"))
		if !cut {
			content(w, r)
			return
		}
		cut = false
		w.Header().Set("Content-Length", strconv.Itoa(len(payload)))
		_, _ = w.Write(payload[:1000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r := Request{URL: srv.URL, Size: uint64(len(payload)), Path: filepath.Join(t.TempDir(), "staged"), Progress: func(n uint64) {
		if n == 1000 {
			cancel()
		}
	}}
	f := New(open)
	defer f.Close()
	require.ErrorIs(t, f.Fetch(ctx, r), context.Canceled)
	r.Progress = nil
	require.NoError(t, f.Fetch(t.Context(), r))
	require.NoError(t, f.Fetch(t.Context(), r), "a complete file is not asked for")
	b, err := os.ReadFile(r.Path)
	require.NoError(t, err)
	require.Equal(t, payload, b)
	require.Equal(t, []string{"GET bytes=0-319999", "GET bytes=1000-319999"}, ranges)
}

func TestRangeIgnoredStartsOver(t *testing.T) {
	b, err := fetch(t, open, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(payload)
	}, func(r *Request) { require.NoError(t, os.WriteFile(r.Path, []byte("old bytes"), 0o600)) })
	require.NoError(t, err)
	require.Equal(t, payload, b)
}

func TestBrokenConnectionsResume(t *testing.T) {
	var gets atomic.Int32
	b, err := fetch(t, open, func(w http.ResponseWriter, r *http.Request) {
		n := gets.Add(1)
		if n == 2 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		var start int
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start)
		end := min(start+100_000, len(payload))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(payload)-1, len(payload)))
		w.Header().Set("Content-Length", strconv.Itoa(len(payload)-start))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(payload[start:end])
	}, nil)
	require.NoError(t, err)
	require.Equal(t, payload, b)
	require.Equal(t, int32(5), gets.Load())
}

func TestMisbehaviour(t *testing.T) {
	n := len(payload)
	tests := map[string]struct {
		h     http.HandlerFunc
		fatal bool
		text  string
	}{
		"shorter": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, _ = w.Write(payload[:5])
		}, true, "deal size mismatch"},
		"longer": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(n+1))
			_, _ = w.Write(append(payload, 1))
		}, true, "deal size mismatch"},
		"sends more": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(payload)
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte("more"))
		}, true, "more than the deal's"},
		"wrong range": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 7-%d/%d", n-1, n))
			w.WriteHeader(http.StatusPartialContent)
		}, true, "Content-Range"},
		"not found":  {func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, true, "404"},
		"always 500": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, true, "even after 3 attempts"},
		"redirects for ever": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}, true, "redirects"},
		"redirect to a file": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, true, "redirect to scheme"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := fetch(t, open, tt.h, nil)
			require.ErrorContains(t, err, tt.text)
			require.Equal(t, tt.fatal, isFatal(err))
			require.LessOrEqual(t, len(b), n)
		})
	}
}

func TestStall(t *testing.T) {
	start := time.Now()
	_, err := fetch(t, Config{AllowPrivateIPs: true, Stall: 50 * time.Millisecond, Attempts: 2},
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(payload)))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, nil)
	require.ErrorContains(t, err, "no data for")
	require.Less(t, time.Since(start), 2*time.Second)
}

func TestTwoRedirectsAreFollowed(t *testing.T) {
	b, err := fetch(t, open, func(w http.ResponseWriter, r *http.Request) {
		if strings.Count(r.URL.Path, "y") < 2 {
			http.Redirect(w, r, r.URL.Path+"y", http.StatusFound)
			return
		}
		content(w, r)
	}, nil)
	require.NoError(t, err)
	require.Equal(t, payload, b)
}

func TestHeadersTravel(t *testing.T) {
	_, err := fetch(t, open, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Basic OnRvaw==" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		content(w, r)
	}, func(r *Request) { r.Headers = map[string]string{"Authorization": "Basic OnRvaw=="} })
	require.NoError(t, err)
}

func TestCancelKeepsBytes(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(payload[:5000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer srv.Close()
	f := New(open)
	defer f.Close()
	path := filepath.Join(t.TempDir(), "staged")
	err := f.Fetch(ctx, Request{URL: srv.URL, Size: uint64(len(payload)), Path: path, Progress: func(n uint64) {
		if n == 5000 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	b, _ := os.ReadFile(path)
	require.Equal(t, payload[:5000], b)
}

// A full disk of our own (the kernel's real ENOSPC) costs the client's server
// one request and the deal nothing: with space again the transfer succeeds.
func TestDiskFull(t *testing.T) {
	var gets atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gets.Add(1)
		content(w, r)
	}))
	defer srv.Close()
	f := New(Config{AllowPrivateIPs: true, Attempts: 3, RetryMin: time.Millisecond})
	defer f.Close()
	r := Request{URL: srv.URL, Size: uint64(len(payload)), Path: filepath.Join(t.TempDir(), "staged")}
	require.NoError(t, os.Symlink("/dev/full", r.Path))
	err := f.Fetch(context.Background(), r)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "free space")
	require.False(t, isFatal(err), "a full disk must not end the deal")
	require.Equal(t, int32(1), gets.Load())
	require.NoError(t, os.Remove(r.Path))
	require.NoError(t, f.Fetch(context.Background(), r))
	b, err := os.ReadFile(r.Path)
	require.NoError(t, err)
	require.Equal(t, payload, b)
}
