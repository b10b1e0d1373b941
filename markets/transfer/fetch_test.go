package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
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

func TestResumeAsksOnlyForTheRest(t *testing.T) {
	var ranges []string
	b, err := fetch(t, open, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			ranges = append(ranges, r.Header.Get("Range"))
		}
		content(w, r)
	}, func(r *Request) { require.NoError(t, os.WriteFile(r.Path, payload[:1000], 0o600)) })
	require.NoError(t, err)
	require.Equal(t, payload, b)
	require.Equal(t, []string{fmt.Sprintf("bytes=1000-%d", len(payload)-1)}, ranges)
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
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusForbidden) // some stores refuse HEAD
			return
		}
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
		"head lies": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
		}, true, "deal size mismatch"},
		"get lies": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(n+1))
			_, _ = w.Write(append(payload, 1))
		}, true, "deal size mismatch"},
		"sends more": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				return
			}
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
	_, err := fetch(t, Config{AllowPrivateIPs: true, Stall: 50 * time.Millisecond, Attempts: 2}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			return
		}
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

func TestPrivateAddressesAreRefused(t *testing.T) {
	var hits atomic.Int32
	for _, host := range []string{"", "localhost"} {
		_, err := fetch(t, Config{}, func(w http.ResponseWriter, r *http.Request) { hits.Add(1) }, func(r *Request) {
			if host != "" {
				r.URL = strings.Replace(r.URL, "127.0.0.1", host, 1)
			}
		})
		require.ErrorIs(t, err, ErrPrivateAddress)
		require.True(t, isFatal(err))
	}
	require.Zero(t, hits.Load())
}

// A public server that sends us on into our own network is not followed.
func TestRedirectToPrivateAddress(t *testing.T) {
	var hits atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hits.Add(1); content(w, r) }))
	defer inside.Close()
	for name, target := range map[string]string{"address": inside.URL, "name": strings.Replace(inside.URL, "127.0.0.1", "localhost", 1)} {
		t.Run(name, func(t *testing.T) {
			outside := httptest.NewServer(http.RedirectHandler(target, http.StatusTemporaryRedirect))
			defer outside.Close()
			f := New(Config{RetryMin: time.Millisecond})
			defer f.Close()
			// Only the first hop is let through, as if it were on the internet; the
			// dialer that is under test decides about the second.
			tr, ok := f.client.Transport.(*http.Transport)
			require.True(t, ok)
			guarded := tr.DialContext
			tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == "public.example:80" {
					return new(net.Dialer).DialContext(ctx, network, outside.Listener.Addr().String())
				}
				return guarded(ctx, network, addr)
			}
			err := f.Fetch(context.Background(), Request{URL: "http://public.example/x.car", Size: uint64(len(payload)), Path: filepath.Join(t.TempDir(), "staged")})
			require.ErrorIs(t, err, ErrPrivateAddress)
			require.True(t, isFatal(err))
			require.Zero(t, hits.Load())
		})
	}
}

func TestPublicAddr(t *testing.T) {
	for _, s := range []string{"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "::1",
		"fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255", "::"} {
		require.False(t, publicAddr(netip.MustParseAddr(s)), s)
	}
	for _, s := range []string{"1.1.1.1", "8.8.8.8", "2606:4700::1111"} {
		require.True(t, publicAddr(netip.MustParseAddr(s)), s)
	}
}

func TestCancelKeepsBytes(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			return
		}
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

func TestFileLargerThanDeal(t *testing.T) {
	_, err := fetch(t, open, content, func(r *Request) { require.NoError(t, os.WriteFile(r.Path, append(payload, 1), 0o600)) })
	require.ErrorContains(t, err, "but file size=")
}

// A full disk of our own (the kernel's real ENOSPC) costs the client's server
// one request and the deal nothing: with space again the transfer succeeds.
func TestDiskFull(t *testing.T) {
	var gets atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			gets.Add(1)
		}
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

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-9/10", uint64(0), uint64(10))
	f.Add("bytes */10", uint64(3), uint64(10))
	f.Fuzz(func(t *testing.T, h string, start, size uint64) {
		if checkContentRange(h, start, size) == nil && !strings.Contains(h, strconv.FormatUint(start, 10)) {
			t.Fatalf("accepted %q for start %d", h, start)
		}
	})
}
