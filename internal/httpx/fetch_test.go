package httpx

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type answerer = func(k int, w http.ResponseWriter, r *http.Request)

func status(code int, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// first answers the first requests as given and all others well.
func first(answers ...func(http.ResponseWriter)) answerer {
	return func(k int, w http.ResponseWriter, r *http.Request) {
		if k <= len(answers) {
			answers[k-1](w)
			return
		}
		rest(w, r)
	}
}

func tagged(tag string, next func(http.ResponseWriter)) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("ETag", tag)
		next(w)
	}
}

func drop(a, z int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { sendOf(w, a, z, len(data), len(data)) }
}

// Servers that have the bytes: each request, with its range, its validator and the
// second at which it came.
func TestFetchGoesOn(t *testing.T) {
	n := len(data)
	const all = "bytes=0-9999"
	for name, c := range map[string]struct {
		cfg   Config
		h     answerer
		asked []string
	}{
		"at once": {Config{}, first(), []string{all + " @0"}},
		"waits grow by half": {Config{}, first(status(503), status(500), status(408), status(425), status(429)),
			[]string{all + " @0", all + " @5", all + " @12.5", all + " @23.75", all + " @40.625", all + " @65.9375"}},
		"waits are bounded": {Config{RetryMin: 4 * time.Second, RetryMax: 5 * time.Second}, first(status(503), status(503), status(503)),
			[]string{all + " @0", all + " @4", all + " @9", all + " @14"}},
		"progress resets waits": {Config{}, first(status(503), status(503), drop(0, 100), status(503)),
			[]string{all + " @0", all + " @5", all + " @12.5", "bytes=100-9999 @17.5", "bytes=100-9999 @25"}},
		"Retry-After in seconds":   {Config{}, first(status(503, "Retry-After", "61")), []string{all + " @0", all + " @61"}},
		"Retry-After of a refusal": {Config{}, first(status(403, "Retry-After", "61")), []string{all + " @0", all + " @61"}},
		"Retry-After by date": {Config{}, first(status(429, "Retry-After", "Sat, 01 Jan 2000 00:01:30 GMT")), []string{all + " @0",
			all + " @90"}},
		"Retry-After by the server's clock": {Config{}, first(status(429, "Date", "Sat, 01 Jan 2033 00:00:00 GMT", "Retry-After",
			"Sat, 01 Jan 2033 00:00:45 GMT")),
			[]string{all + " @0", all + " @45"}},
		"Retry-After is bounded": {Config{RetryAfterMax: 100 * time.Second}, first(status(503, "Retry-After", "99999999999999999999"),
			status(503, "Retry-After", "101")),
			[]string{all + " @0", all + " @100", all + " @200"}},
		"Retry-After of a moment": {Config{}, first(status(503, "Retry-After", "1")), []string{all + " @0", all + " @5"}},
		"Retry-After in the past": {Config{}, first(status(503, "Retry-After", "Sat, 01 Jan 1999 00:00:00 GMT")), []string{all + " @0",
			all + " @5"}},
		"Retry-After of nonsense": {Config{}, first(status(503, "Retry-After", "soon")), []string{all + " @0", all + " @5"}},
		"capped parts at once": {Config{}, func(_ int, w http.ResponseWriter, r *http.Request) { send(w, start(r), min(start(r)+4000, n)) },
			[]string{all + " @0", "bytes=4000-9999 @0", "bytes=8000-9999 @0"}},
		"capped parts of unknown total": {Config{}, func(_ int, w http.ResponseWriter, r *http.Request) {
			a, z := start(r), min(start(r)+6000, n)
			w.Header().Set("Content-Range", fmt.Sprintf("BYTES %d-%d/*", a, z-1))
			w.WriteHeader(206)
			_, _ = w.Write(data[a:z])
		}, []string{all + " @0", "bytes=6000-9999 @0"}},
		"validator travels": {Config{}, first(tagged(`"a"`, drop(0, 100)), tagged(`"a"`, drop(100, 300)), tagged(`"a"`, drop(300, n))),
			[]string{all + " @0", `bytes=100-9999 "a" @5`, `bytes=300-9999 "a" @10`}},
		"weak validator does not": {Config{}, first(tagged(`W/"a"`, drop(0, 100))), []string{all + " @0", "bytes=100-9999 @5"}},
		"old date travels": {Config{}, first(func(w http.ResponseWriter) {
			w.Header().Set("Last-Modified", "Fri, 31 Dec 1999 23:59:59 GMT")
			drop(0, 100)(w)
		}), []string{all + " @0", "bytes=100-9999 Fri, 31 Dec 1999 23:59:59 GMT @5"}},
		"young date does not": {Config{}, first(func(w http.ResponseWriter) {
			w.Header().Set("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT")
			drop(0, 100)(w)
		}), []string{all + " @0", "bytes=100-9999 @5"}},
		"validator changed": {Config{}, first(tagged(`"a"`, drop(0, 100)), tagged(`"b"`, drop(100, n)), tagged(`"b"`, drop(0, 50)),
			tagged(`"b"`, drop(50, n))),
			[]string{all + " @0", `bytes=100-9999 "a" @5`, all + " @5", `bytes=50-9999 "b" @12.5`}},
		"validator gone": {Config{}, first(tagged(`"a"`, drop(0, 100)), drop(100, n)), []string{all + " @0", `bytes=100-9999 "a" @5`,
			all + " @5"}},
		"all in answer to a part": {Config{}, func(k int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"a"`)
			if k == 1 {
				w.Header().Set("Content-Length", "10000")
				_, _ = w.Write(make([]byte, 100))
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(data)
		}, []string{all + " @0", `bytes=100-9999 "a" @5`}},
		"length of the part differs": {Config{}, first(drop(0, 100), func(w http.ResponseWriter) { sendOf(w, 100, 200, 200, n+1) }),
			[]string{all + " @0", "bytes=100-9999 @5", all + " @5"}},
		"416 to everything": {Config{}, func(_ int, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(416)
				return
			}
			_, _ = w.Write(data)
		}, []string{all + " @0", " @0"}},
		"416 later, shorter now": {Config{}, first(drop(0, 100), status(416, "Content-Range", "bytes */100")), []string{all + " @0",
			"bytes=100-9999 @5", all + " @5"}},
		"416 later, longer now": {Config{}, first(drop(0, 100), status(416, "Content-Range", "bytes */10001")), []string{all + " @0",
			"bytes=100-9999 @5", all + " @5"}},
		"416 later, without a length": {Config{}, first(drop(0, 100), status(416)),
			[]string{all + " @0", "bytes=100-9999 @5", all + " @5"}},
		"416 later by mistake": {Config{}, first(drop(0, 100), status(416, "Content-Range", "bytes */10000")),
			[]string{all + " @0", "bytes=100-9999 @5", "bytes=100-9999 @5"}},
		"416 later by principle": {Config{}, func(k int, w http.ResponseWriter, r *http.Request) {
			switch {
			case k == 1:
				drop(0, 100)(w)
			case r.Header.Get("Range") != "":
				status(416, "Content-Range", "bytes */10000")(w)
			default:
				_, _ = w.Write(data)
			}
		}, []string{all + " @0", "bytes=100-9999 @5", "bytes=100-9999 @5", " @5"}},
		"part that begins elsewhere": {Config{}, first(drop(0, 100), func(w http.ResponseWriter) { send(w, 99, n) }),
			[]string{all + " @0", "bytes=100-9999 @5", "bytes=100-9999 @5"}},
		"part longer than its body": {Config{}, first(func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-99/10000")
			w.Header().Set("Content-Length", "99")
			w.WriteHeader(206)
			_, _ = w.Write(data[:99])
		}, func(w http.ResponseWriter) { _, _ = w.Write(data) }), []string{all + " @0", " @0"}},
		"dropped behind the last byte": {Config{}, func(_ int, w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(data)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, []string{all + " @0"}},
		"other refusals between": {Config{Refusals: 2}, first(status(403), status(404), status(503), status(404)),
			[]string{all + " @0", all + " @5", all + " @12.5", all + " @23.75", all + " @40.625"}},
		"identity is no encoding": {Config{}, func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "Identity")
			rest(w, r)
		}, []string{all + " @0"}},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, c.cfg, c.h, func(t *testing.T, l *lab) {
				require.NoError(t, l.client.Fetch(t.Context(), l.source(), l.file()))
				require.Equal(t, c.asked, l.asked())
				s := l.holds(data, true)
				require.Equal(t, int64(n), s.Total)
				require.False(t, s.Restarted)
			})
		})
	}
}

// Servers that are given up, when, why, and with what kept.
func TestFetchGivesUp(t *testing.T) {
	n := len(data)
	for name, c := range map[string]struct {
		cfg       Config
		h         answerer
		gets      int
		seconds   float64
		fault     Fault
		status    int
		permanent bool
		text      string
		kept      int
	}{
		"drops at 1000 and 2000 in turn": {Config{Attempts: 3, RetryMin: time.Second}, func(k int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000")
			_, _ = w.Write(data[:1000*(1+k%2)])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, 4, 1 + 1.5 + 2.25, FaultNetwork, 0, true, "could not finish even after 3 attempts", 1000},
		"refused": {Config{}, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
			5, 40.625, FaultServer, 404, true, `server answered "404 Not Found"`, 0},
		"refused at the third": {Config{Refusals: 3}, func(_ int, w http.ResponseWriter,
			_ *http.Request) {
			http.Error(w, "not \"you\"", 401)
		},
			3, 12.5, FaultServer, 401, true, `"401 Unauthorized": "not 'you'"`, 0},
		"busy": {Config{Attempts: 2}, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
			2, 5, FaultServer, 503, true, "after 2 attempts", 0},
		"odd status": {Config{Refusals: 1}, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
			1, 0, FaultServer, 204, true, "204", 0},
		"redirect without a place": {Config{Refusals: 1, Redirects: 1}, func(_ int, w http.ResponseWriter,
			_ *http.Request) {
			w.WriteHeader(302)
		},
			1, 0, FaultServer, 302, true, "302", 0},
		"other length": {Config{Refusals: 2}, func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = w.Write(data[1:])
		}, 2, 5, FaultServer, 0, true, "the server has 9999 bytes, agreed were 10000", 0},
		"other length of a part": {Config{Refusals: 2}, func(_ int, w http.ResponseWriter, _ *http.Request) { sendOf(w, 0, 100, 100, n+1) },
			2, 5, FaultServer, 0, true, "the server has 10001 bytes", 0},
		"part beyond the end": {Config{Refusals: 1}, func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-10000/*")
			w.WriteHeader(206)
			_ = http.NewResponseController(w).Flush()
		}, 1, 0, FaultServer, 0, true, "the server has 10001 bytes", 0},
		"one byte more": {Config{}, func(_ int, w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(data)
			_, _ = w.Write(data[:1])
		}, 1, 0, FaultServer, 0, true, "the server sent more than 10000 bytes", n},
		"fewer, chunked": {Config{Attempts: 2}, func(_ int, w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(data[:n-1])
		}, 3, 5 + 7.5, FaultNetwork, 0, true, "connection ended after 9999 of 10000 bytes", n - 1},
		"compressed": {Config{Refusals: 2}, func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			rest(w, r)
		}, 2, 5, FaultServer, 0, true, "Content-Encoding", 0},
		"multipart": {Config{Refusals: 2}, func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "Multipart/Byteranges; boundary=x")
			rest(w, r)
		}, 3, 5, FaultServer, 0, true, "multipart", 0},
		"without Content-Range": {Config{Refusals: 2}, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206) },
			3, 5, FaultServer, 0, true, `Content-Range "" is not understood`, 0},
		"416 without a range": {Config{Refusals: 2}, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(416) },
			3, 5, FaultServer, 416, true, "416", 0},
		"nothing but silence": {Config{Attempts: 2, Header: 7 * time.Second}, func(_ int, _ http.ResponseWriter,
			r *http.Request) {
			<-r.Context().Done()
		},
			2, 7 + 5 + 7, FaultNetwork, 0, false, "timeout awaiting response headers", 0},
		"silence after 100 bytes": {Config{Attempts: 2, Stall: 9 * time.Second}, func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10000")
			_, _ = w.Write(data[:100])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, 3, 9 + 5 + 9 + 7.5 + 9, FaultNetwork, 0, true, "no data for 9s", 100},
		"a byte a minute": {Config{Stall: 61 * time.Second, Whole: 10*time.Minute + time.Second}, func(_ int, w http.ResponseWriter,
			r *http.Request) {
			w.Header().Set("Content-Length", "10000")
			for i := range data {
				if _, err := w.Write(data[i : i+1]); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-time.After(time.Minute):
				case <-r.Context().Done():
					return
				}
			}
		}, 1, 601, FaultNetwork, 0, false, "not finished within 10m1s", 11},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, c.cfg, c.h, func(t *testing.T, l *lab) {
				err := l.client.Fetch(t.Context(), l.source(), l.file())
				e := asError0(t, err)
				require.Equal(t, c.seconds, time.Since(l.begun).Seconds())
				require.Len(t, l.asked(), c.gets)
				require.ErrorContains(t, err, c.text)
				require.Equal(t, c.fault, e.Fault)
				require.Equal(t, c.status, e.Status)
				require.Equal(t, c.permanent, e.Permanent)
				require.Equal(t, "source.example", e.Host)
				if c.kept > 0 {
					l.holds(data[:c.kept], false)
				} else if _, ok := readSidecar(l.path); ok {
					l.holds(nil, false)
				}
			})
		})
	}
}

// Refusals and failures are counted from the last progress on.
func TestProgressIsCountedAgainstTheBest(t *testing.T) {
	// Each answer reaches one byte more than any before: never given up.
	inLab(t, Config{Attempts: 1, RetryMin: time.Second}, func(_ int, w http.ResponseWriter, r *http.Request) {
		sendOf(w, start(r), min(start(r)+500, len(data)), len(data), len(data))
	}, func(t *testing.T, l *lab) {
		require.NoError(t, l.client.Fetch(t.Context(), l.source(), l.file()))
		require.Len(t, l.asked(), 20)
		require.Equal(t, "bytes=9500-9999 @19", l.asked()[19])
		require.True(t, l.holds(data, true).Joined)
	})
	// A refusal after progress begins to count anew.
	h := first(status(403), drop(0, 10), status(403), status(403))
	inLab(t, Config{Refusals: 2}, h, func(t *testing.T, l *lab) {
		require.ErrorContains(t, l.client.Fetch(t.Context(), l.source(), l.file()), "403")
		require.Len(t, l.asked(), 4)
		l.holds(data[:10], false)
	})
}
