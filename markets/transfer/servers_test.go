package transfer

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// from is where the range asked for begins.
func from(r *http.Request) int {
	var a int
	_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &a)
	return a
}

// part sends [a, z) in the words given.
func part(w http.ResponseWriter, contentRange string, a, z int) {
	w.Header().Set("Content-Range", contentRange)
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(payload[a:z])
}

// cut announces everything, sends a part and drops the connection.
func cut(w http.ResponseWriter, b []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(payload)))
	_, _ = w.Write(b)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// Servers that are odd but have the bytes: each must be believed in the end.
func TestOddServersAreBelieved(t *testing.T) {
	n := len(payload)
	for name, c := range map[string]struct {
		gets   int32
		h      func(k int32, w http.ResponseWriter, r *http.Request)
		change func(*Request)
	}{
		"says 0 and 405 to HEAD": {1, func(_ int32, w http.ResponseWriter, r *http.Request) { content(w, r) }, nil},
		"chunked, no ranges": {1, func(_ int32, w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(payload)
		}, nil},
		"unit Bytes": {1, func(_ int32, w http.ResponseWriter, r *http.Request) {
			part(w, fmt.Sprintf("Bytes %d-%d/%d", from(r), n-1, n), from(r), n)
		}, nil},
		"unit with =": {1, func(_ int32, w http.ResponseWriter, r *http.Request) {
			part(w, fmt.Sprintf("bytes=%d-%d/%d", from(r), n-1, n), from(r), n)
		}, nil},
		"ranges capped at 64 KiB": {5, func(_ int32, w http.ResponseWriter, r *http.Request) {
			a, z := from(r), min(from(r)+65536, n)
			part(w, fmt.Sprintf("bytes %d-%d/%d", a, z-1, n), a, z)
		}, nil},
		"416 to any range": {2, func(_ int32, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			content(w, r)
		}, nil},
		"416 to a resume": {3, func(k int32, w http.ResponseWriter, r *http.Request) {
			if k == 1 {
				cut(w, payload[:5000])
			}
			if from(r) > 0 {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			content(w, r)
		}, nil},
		"206 without Content-Range to ranges": {2, func(_ int32, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(payload)
				return
			}
			content(w, r)
		}, nil},
		"multipart to ranges": {2, func(_ int32, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Type", "multipart/byteranges; boundary=q")
				part(w, fmt.Sprintf("bytes 0-%d/%d", n-1, n), 0, n)
				return
			}
			content(w, r)
		}, nil},
		"virtual host": {1, func(_ int32, w http.ResponseWriter, r *http.Request) {
			if r.Host != "bucket.example.com" {
				http.Error(w, "no such host", http.StatusNotFound)
				return
			}
			content(w, r)
		}, func(r *Request) { r.Headers = map[string]string{"Host": "bucket.example.com"} }},
		"early 403": {3, func(k int32, w http.ResponseWriter, r *http.Request) {
			if k <= 2 {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			content(w, r)
		}, nil},
		"other length at first": {3, func(k int32, w http.ResponseWriter, r *http.Request) {
			if k <= 2 {
				_, _ = w.Write([]byte("back soon"))
				return
			}
			content(w, r)
		}, nil},
		"429 once": {2, func(k int32, w http.ResponseWriter, r *http.Request) {
			if k == 1 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			content(w, r)
		}, nil},
		"Content-Range at 200": {1, func(_ int32, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-9/10")
			_, _ = w.Write(payload)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var gets atomic.Int32
			b, err := fetch(t, open, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet {
					t.Error("asked by", r.Method)
				}
				c.h(gets.Add(1), w, r)
			}, c.change)
			require.NoError(t, err)
			require.True(t, bytes.Equal(payload, b))
			require.Equal(t, c.gets, gets.Load())
		})
	}
}

// Parts that end as announced cost no wait, however long waits are.
func TestCappedRangesAreFollowedAtOnce(t *testing.T) {
	n := len(payload)
	b, err := fetch(t, Config{AllowPrivateIPs: true, RetryMin: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
		a, z := from(r), min(from(r)+1000, n)
		part(w, fmt.Sprintf("bytes %d-%d/%d", a, z-1, n), a, z)
	}, nil)
	require.NoError(t, err)
	require.True(t, bytes.Equal(payload, b))
}

// Servers that have no use are given up after as many tries as configured.
func TestUselessServersAreGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		gets int32
		text string
		h    func(k int32, w http.ResponseWriter, r *http.Request)
	}{
		"drops at 1000 and 2000 in turn": {Config{Attempts: 4}, 5, "after 4 attempts",
			func(k int32, w http.ResponseWriter, _ *http.Request) {
				cut(w, payload[:1000+1000*int(k%2)])
			}},
		"always 403": {Config{Attempts: 99}, 5, "403", func(_ int32, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }},
		"other length": {Config{Attempts: 99}, 5, "deal size mismatch", func(_ int32, w http.ResponseWriter, _ *http.Request) {
			_,
				_ = w.Write([]byte("1"))
		}},
		"too long": {Config{Attempts: 99}, 1, "more than", func(_ int32, w http.ResponseWriter, _ *http.Request) { tooLong(w) }},
		"403 and 404": {Config{Attempts: 7}, 7, "after 7 attempts", func(k int32, w http.ResponseWriter,
			_ *http.Request) {
			w.WriteHeader(403 + int(k%2))
		}},
		"always 503": {Config{Attempts: 6}, 6, "503", func(_ int32, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }},
		"gzip":       {Config{Attempts: 99}, 5, "Content-Encoding", func(_ int32, w http.ResponseWriter, _ *http.Request) { zipped(w) }},
		"ranges amok": {Config{Attempts: 99}, 6, "Content-Range", func(_ int32, w http.ResponseWriter, _ *http.Request) {
			part(w,
				"bytes 7-9/10", 7, 10)
		}},
		"validator new": {Config{Attempts: 3}, 6, "changed", flapping},
	} {
		t.Run(name, func(t *testing.T) {
			var gets atomic.Int32
			c.cfg.AllowPrivateIPs = true
			_, err := fetch(t, c.cfg, func(w http.ResponseWriter, r *http.Request) { c.h(gets.Add(1), w, r) }, nil)
			require.ErrorContains(t, err, c.text)
			require.True(t, isFatal(err), "%v", err)
			require.Equal(t, c.gets, gets.Load())
		})
	}
}

func tooLong(w http.ResponseWriter) {
	_, _ = w.Write(payload)
	_ = http.NewResponseController(w).Flush()
	_, _ = w.Write(payload)
}

func zipped(w http.ResponseWriter) {
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(payload)
}

// flapping names other bytes in each answer.
func flapping(k int32, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, k))
	a, z := from(r), min(from(r)+1000, len(payload))
	part(w, fmt.Sprintf("bytes %d-%d/%d", a, z-1, len(payload)), a, z)
}

// What never answered may be our own line: the deal waits. A full stop by the
// operator's own choice of addresses does not.
func TestSilenceOfTheNetworkIsNotFatal(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	f := New(Config{AllowPrivateIPs: true, Attempts: 3, RetryMin: time.Millisecond})
	defer f.Close()
	r := Request{URL: srv.URL, Size: 5, Path: filepath.Join(t.TempDir(), "staged")}
	err := f.Fetch(t.Context(), r)
	require.ErrorContains(t, err, "after 3 attempts")
	require.False(t, isFatal(err))
	r.Path = filepath.Join(t.TempDir(), "no", "such")
	require.False(t, isFatal(f.Fetch(t.Context(), r)), "our disk")
	for _, bad := range []func(*Request){
		func(r *Request) { r.Size = 0 },
		func(r *Request) { r.Size = 1 << 63 },
		func(r *Request) { r.URL = "ftp://x/" },
		func(r *Request) { r.Headers = map[string]string{"X-A": "a\r\nX-B: b"} },
		func(r *Request) { r.Headers = map[string]string{"X A": "a"} },
	} {
		r := Request{URL: srv.URL, Size: 5, Path: filepath.Join(t.TempDir(), "staged")}
		bad(&r)
		require.True(t, isFatal(f.Fetch(t.Context(), r)), "%+v", r)
	}
}

// The file behind the URL changes between two connections, and the server does not
// look at If-Range: what came before is thrown away.
func TestOldAndNewBytesAreNeverPutTogether(t *testing.T) {
	n := len(payload)
	for _, header := range []string{"ETag", "Last-Modified"} {
		value := map[string][2]string{
			"ETag":          {`"one"`, `"two"`},
			"Last-Modified": {"Mon, 02 Jan 2006 15:04:05 GMT", "Mon, 02 Jan 2006 15:04:06 GMT"},
		}[header]
		t.Run(header, func(t *testing.T) {
			var asked []string
			b, err := fetch(t, open, func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
				if len(asked) == 1 {
					w.Header().Set(header, value[0])
					w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", n-1, n))
					w.Header().Set("Content-Length", strconv.Itoa(n))
					w.WriteHeader(http.StatusPartialContent)
					_, _ = w.Write(make([]byte, 100000))
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				}
				w.Header().Set(header, value[1])
				part(w, fmt.Sprintf("bytes %d-%d/%d", from(r), n-1, n), from(r), n)
			}, nil)
			require.NoError(t, err)
			require.True(t, bytes.Equal(payload, b))
			require.Equal(t, []string{"bytes=0-319999 ", "bytes=100000-319999 " + value[0], "bytes=0-319999 "}, asked)
		})
	}
}

// Without a validator, parts of two files can meet; and a torn disk can spoil what
// was synced. The check of the whole finds it, and one more transfer from byte 0
// is made: once.
func TestMismatchAfterAResumeStartsOnceFromByteZero(t *testing.T) {
	n := len(payload)
	var gets atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gets.Add(1) == 1 {
			cut(w, make([]byte, 100000)) // other bytes
		}
		part(w, fmt.Sprintf("bytes %d-%d/%d", from(r), n-1, n), from(r), n)
	}))
	defer srv.Close()
	f := New(Config{AllowPrivateIPs: true, RetryMin: time.Millisecond})
	defer f.Close()
	r := Request{URL: srv.URL, Size: uint64(n), Path: filepath.Join(t.TempDir(), "staged")}
	get := func() []byte {
		require.NoError(t, f.Fetch(t.Context(), r))
		b, err := os.ReadFile(r.Path)
		require.NoError(t, err)
		return b
	}
	require.False(t, bytes.Equal(payload, get()))
	again, err := Restart(r.Path)
	require.NoError(t, err)
	require.True(t, again)
	require.True(t, bytes.Equal(payload, get()))
	again, err = Restart(r.Path)
	require.NoError(t, err)
	require.False(t, again, "it came in one answer")
	require.Equal(t, int32(3), gets.Load())

	require.NoError(t, Remove(r.Path))
	require.NoError(t, Remove(r.Path))
	entries, err := os.ReadDir(filepath.Dir(r.Path))
	require.NoError(t, err)
	require.Empty(t, entries)
}

// A file that lies there without a word of what it is, or longer than the deal, is
// no part of anything.
func TestBareFileIsNotBelieved(t *testing.T) {
	for _, size := range []int{100, len(payload), len(payload) + 1} {
		var asked []string
		b, err := fetch(t, open, func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Header.Get("Range"))
			content(w, r)
		}, func(r *Request) { require.NoError(t, os.WriteFile(r.Path, make([]byte, size), 0o600)) })
		require.NoError(t, err)
		require.True(t, bytes.Equal(payload, b))
		require.Equal(t, []string{"bytes=0-319999"}, asked)
	}
}

// A stranger's words reach no terminal as they are.
func TestTextOfTheServerIsEscaped(t *testing.T) {
	_, err := fetch(t, Config{AllowPrivateIPs: true, Attempts: 1}, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write([]byte("HTTP/1.1 404 \x1b]0;x\x07\x1b[31m\u202egone" + strings.Repeat("y",
			2000) + "\r\nContent-Length: 3\r\n\r\n\x1b[m"))
		_ = conn.Close()
	}, nil)
	require.ErrorContains(t, err, `404 \x1b]0;x\x07\x1b[31m\u202egone`)
	require.NotContains(t, err.Error(), "\x1b")
	require.NotContains(t, err.Error(), "\u202e")
	require.Less(t, len(err.Error()), 500)
}
