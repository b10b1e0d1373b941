package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The caller's headers go to the caller's server, also after its own redirects,
// and to no other; what left does not come back with them.
func TestHeadersStayWithTheirServer(t *testing.T) {
	type seen struct{ path, host, auth, key, note string }
	for name, c := range map[string]struct {
		to   []string
		want []seen
	}{
		"none": {nil, []seen{{"/0", "v.example", "Basic x", "k", "Bearer t"}}},
		"own": {[]string{"/1", "http://source.example/2"}, []seen{
			{"/0", "v.example", "Basic x", "k", ""}, {"/1", "v.example", "Basic x", "k", ""}, {"/2", "v.example", "Basic x", "k", ""}}},
		"other host": {[]string{"http://other.example/1"}, []seen{{"/0", "v.example", "Basic x", "k", ""}, {"/1", "other.example",
			"", "", ""}}},
		"a part of the host": {[]string{"http://sub.source.example/1"}, []seen{{"/0", "v.example", "Basic x", "k", ""}, {"/1",
			"sub.source.example", "", "", ""}}},
		"other port": {[]string{"http://source.example:81/1"}, []seen{{"/0", "v.example", "Basic x", "k", ""}, {"/1",
			"source.example:81", "", "", ""}}},
		"the virtual host": {[]string{"http://v.example/1"},
			[]seen{{"/0", "v.example", "Basic x", "k", ""}, {"/1", "v.example", "", "", ""}}},
		"away and back": {[]string{"http://other.example/1", "http://source.example/2"}, []seen{
			{"/0", "v.example", "Basic x", "k", ""}, {"/1", "other.example", "", "", ""}, {"/2", "source.example", "", "", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []seen
			h := func(k int, w http.ResponseWriter, r *http.Request) {
				got = append(got, seen{r.URL.Path, r.Host, r.Header.Get("Authorization"), r.Header.Get("X-Key"), ""})
				if r.Header.Get("Referer") != "" || r.Header.Get("Upgrade") != "" || r.Header.Get("If-Match") != "" {
					t.Error(r.Header)
				}
				if k <= len(c.to) {
					http.Redirect(w, r, c.to[k-1], []int{301, 302, 303, 307, 308}[k])
					return
				}
				rest(w, r)
			}
			inLab(t, Config{Redirects: 2}, h, func(t *testing.T, l *lab) {
				src := l.source()
				src.URL = "http://source.example/0"
				src.Bearer = func() string { return "not when there is one already" }
				src.Header = http.Header{}
				for k, v := range map[string]string{"Host": "v.example", "Authorization": "Basic x", "X-Key": "k", "Range": "bytes=5-6",
					"If-Match": "x", "Upgrade": "h2c", "Accept-Encoding": "gzip"} {
					src.Header.Set(k, v)
				}
				require.NoError(t, l.client.Fetch(t.Context(), src, l.file()))
				for i := range got {
					c.want[i].note = ""
				}
				require.Equal(t, c.want, got)
				l.holds(data, true)
			})
		})
	}
}

// A bearer is asked for at each request, and is no one else's either.
func TestBearer(t *testing.T) {
	var got []string
	h := func(k int, w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		switch k {
		case 1:
			w.WriteHeader(503)
		case 2:
			http.Redirect(w, r, "http://other.example/", http.StatusFound)
		default:
			rest(w, r)
		}
	}
	inLab(t, Config{Redirects: 1}, h, func(t *testing.T, l *lab) {
		src, n := l.source(), 0
		src.Bearer = func() string { n++; return fmt.Sprint("t", n) }
		require.NoError(t, l.client.Fetch(t.Context(), src, l.file()))
		require.Equal(t, []string{"Bearer t1", "Bearer t2", ""}, got)
	})
}

func TestRedirectsAreFew(t *testing.T) {
	for name, c := range map[string]struct {
		to        string
		redirects int
		gets      int
		text      string
	}{
		"none allowed":     {"/x", 0, 1, `more than 0 redirects; the next goes to "/x"`},
		"two allowed":      {"/x", 2, 3, "more than 2 redirects"},
		"another scheme":   {"file:///etc/passwd", 2, 1, `a redirect to scheme other than http(s), or to no host: "file:///etc/passwd"`},
		"no host":          {"http:///x", 2, 1, "or to no host"},
		"no URL":           {"http://a b/", 2, 1, "or to no host"},
		"escape sequences": {"ftp://\u202e/", 2, 1, `"ftp://\u202e/"`},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, Config{Redirects: c.redirects, Refusals: 1}, func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header()["Location"] = []string{c.to}
				w.WriteHeader(http.StatusFound)
			}, func(t *testing.T, l *lab) {
				err := l.client.Fetch(t.Context(), l.source(), l.file())
				require.ErrorContains(t, err, c.text)
				require.True(t, asError0(t, err).Permanent)
				require.Len(t, l.asked(), c.gets)
			})
		})
	}
}

func TestSameOrigin(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"http://a/", "http://A:80/x", true},
		{"https://a/", "https://a:443/", true},
		{"http://a/", "https://a/", true},
		{"http://a:80/", "https://a:443/", true},
		{"https://a/", "http://a/", false},
		{"http://a:8080/", "https://a/", false},
		{"http://a/", "https://a:8443/", false},
		{"http://a/", "http://a:81/", false},
		{"http://a/", "http://b/", false},
		{"https://a:80/", "http://a:80/", false},
	} {
		a, err := url.Parse(c.a)
		require.NoError(t, err)
		b, err := url.Parse(c.b)
		require.NoError(t, err)
		require.Equal(t, c.same, sameOrigin(a, b), "%s %s", c.a, c.b)
	}
}

// What cannot be asked is refused before anything is touched.
func TestSourceCheck(t *testing.T) {
	inLab(t, Config{}, first(), func(t *testing.T, l *lab) {
		for name, change := range map[string]func(*Source){
			"scheme":          func(s *Source) { s.URL = "libp2p://x" },
			"no host":         func(s *Source) { s.URL = "http:///x" },
			"no URL":          func(s *Source) { s.URL = "http://\x7f" },
			"negative":        func(s *Source) { s.Size = -1 },
			"too large":       func(s *Source) { s.Size = maxBytes + 1 },
			"segment":         func(s *Source) { s.Segment = -1 },
			"header name":     func(s *Source) { s.Header = http.Header{"X A": {"b"}} },
			"no header name":  func(s *Source) { s.Header = http.Header{"": {"b"}} },
			"header DEL":      func(s *Source) { s.Header = http.Header{"X\x7f": {"b"}} },
			"header value":    func(s *Source) { s.Header = http.Header{"X-A": {"b\nX-B: c"}} },
			"header value 7f": func(s *Source) { s.Header = http.Header{"X-A": {"\x7f"}} },
			"Host":            func(s *Source) { s.Header = http.Header{"Host": {"a/b"}} },
		} {
			src := l.source()
			change(&src)
			for _, err := range []error{
				l.client.Fetch(t.Context(), src, l.file()),
				func() error { _, err := l.client.Do(t.Context(), http.MethodGet, src, nil); return err }(),
			} {
				e := asError0(t, err)
				require.Equal(t, FaultCaller, e.Fault, name)
				require.True(t, e.Permanent, name)
			}
		}
		require.Empty(t, l.asked())
		_, err := os.Stat(l.path)
		require.ErrorIs(t, err, os.ErrNotExist)

		src := l.source()
		src.Header = http.Header{"X-Tab": {"a\tb é"}, "Host": {"h.example:8080"}}
		require.NoError(t, l.client.Fetch(t.Context(), src, l.file()))
		src.Size = maxBytes
		require.NoError(t, src.check())
	})
}

// Name and password of a URL are sent as a browser would.
func TestUserOfTheURL(t *testing.T) {
	var got []string
	inLab(t, Config{}, func(_ int, w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
	}, func(t *testing.T, l *lab) {
		for _, h := range []http.Header{nil, {"Authorization": {"Basic x"}}} {
			res, err := l.client.Do(t.Context(), http.MethodGet, Source{URL: "http://me:pass@source.example/", Header: h}, nil)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
		}
		require.Equal(t, []string{"Basic bWU6cGFzcw==", "Basic x"}, got)
	})
}

func TestDo(t *testing.T) {
	h := func(k int, w http.ResponseWriter, _ *http.Request) {
		switch k {
		case 1:
			_, _ = w.Write([]byte("hello"))
		case 2:
			w.WriteHeader(http.StatusNoContent)
		case 3:
			w.WriteHeader(300)
		case 4:
			http.Error(w, strings.Repeat("no ", 100), 404)
		}
	}
	inLab(t, Config{}, h, func(t *testing.T, l *lab) {
		res, err := l.client.Do(t.Context(), http.MethodGet, l.source(), http.Header{"Range": {"bytes=1-2"}})
		require.NoError(t, err)
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, "hello", string(b))
		require.Equal(t, []string{"bytes=1-2 @0"}, l.asked())
		res, err = l.client.Do(t.Context(), http.MethodGet, l.source(), nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		for _, code := range []int{300, 404} {
			_, err = l.client.Do(t.Context(), http.MethodGet, l.source(), nil)
			require.Equal(t, code, asError0(t, err).Status)
			require.Less(t, len(err.Error()), 250)
		}
	})
}

// The guard sees the address after names were resolved; its word is final and the
// caller's fault.
func TestGuard(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { rest(w, r) }))
	defer srv.Close()
	no := errors.New("not there")
	var asked []netip.Addr
	answer := no
	c := New(Config{RetryMin: time.Millisecond, Guard: func(a netip.Addr) error { asked = append(asked, a); return answer }}, Deps{})
	defer c.Close()
	src := Source{URL: strings.Replace(srv.URL, "127.0.0.1", "localhost", 1), Size: int64(len(data))}
	f := File{Path: filepath.Join(t.TempDir(), "f"), Perm: 0o600}
	err := c.Fetch(t.Context(), src, f)
	require.ErrorIs(t, err, no)
	require.Equal(t, FaultCaller, asError0(t, err).Fault)
	require.True(t, asError0(t, err).Permanent)
	require.Contains(t, asked, netip.MustParseAddr("127.0.0.1"))
	answer = nil
	require.NoError(t, c.Fetch(t.Context(), src, f))
	st, err := os.Stat(f.Path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
}

// Connecting has its own limit, the resolving of names included.
func TestDialIsLimited(t *testing.T) {
	hang := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	c := New(Config{Dial: 10 * time.Millisecond, Attempts: 1}, Deps{Resolver: hang})
	defer c.Close()
	_, err := c.Do(t.Context(), http.MethodGet, Source{URL: "http://slow.example/"}, nil)
	e := asError0(t, err)
	require.Equal(t, FaultNetwork, e.Fault)
	require.False(t, e.Permanent)
	require.Equal(t, "slow.example", e.Host)
}

func TestDefaults(t *testing.T) {
	require.Equal(t, Config{
		Dial:          30 * time.Second,
		Header:        time.Minute,
		Stall:         time.Minute,
		Whole:         168 * time.Hour,
		Attempts:      15,
		Refusals:      5,
		RetryMin:      5 * time.Second,
		RetryMax:      10 * time.Minute,
		RetryAfterMax: 10 * time.Minute,
	}, withDefaults(Config{}))
	set := Config{
		Dial:          1,
		Header:        2,
		Stall:         3,
		Whole:         4,
		Attempts:      5,
		Refusals:      6,
		RetryMin:      7,
		RetryMax:      8,
		RetryAfterMax: 9,
		Redirects:     10,
	}
	require.Equal(t, set, withDefaults(set))
	tr := New(Config{Dial: 3 * time.Second, Header: 4 * time.Second}, Deps{}).http
	require.Nil(t, tr.Proxy)
	require.True(t, tr.DisableCompression)
	require.Equal(t, 3*time.Second, tr.TLSHandshakeTimeout)
	require.Equal(t, 4*time.Second, tr.ResponseHeaderTimeout)
	require.Equal(t, int64(65536), tr.MaxResponseHeaderBytes)
	require.Positive(t, tr.IdleConnTimeout)
}

// An unknown certificate is the server's, and believed when it is repeated.
func TestWrongCertificate(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	defer srv.Close()
	c := New(Config{Refusals: 2, RetryMin: time.Millisecond}, Deps{})
	defer c.Close()
	err := c.Fetch(t.Context(), Source{URL: srv.URL, Size: 5}, File{Path: filepath.Join(t.TempDir(), "f"), Perm: 0o600})
	require.ErrorContains(t, err, "certificate")
	require.Equal(t, FaultServer, asError0(t, err).Fault)
	require.True(t, asError0(t, err).Permanent)
}

// Whatever a server writes, an error shows it escaped, and no secrets of the URL.
func TestServersTextIsEscaped(t *testing.T) {
	evil := "\x1b]0;x\a\x1b[31m\u202e\u200b\xff\x85"
	for name, raw := range map[string]string{
		"status":       "HTTP/1.1 404 " + evil + "\r\nContent-Length: 0\r\n\r\n",
		"body":         "HTTP/1.1 404 x\r\nContent-Length: 200\r\n\r\n" + evil + strings.Repeat("z", 200),
		"no HTTP":      evil + "\r\n\r\n",
		"no header":    "HTTP/1.1 200 OK\r\n" + evil + "\r\n\r\n",
		"range":        "HTTP/1.1 206 OK\r\nContent-Range: " + evil + "\r\nContent-Length: 0\r\n\r\n",
		"encoding":     "HTTP/1.1 200 OK\r\nContent-Encoding: " + evil + "\r\nContent-Length: 10000\r\n\r\n",
		"location":     "HTTP/1.1 302 OK\r\nLocation: http://" + evil + "/\r\nContent-Length: 0\r\n\r\n",
		"content type": "HTTP/1.1 206 OK\r\nContent-Type: multipart/" + evil + "\r\nContent-Length: 0\r\n\r\n",
		"length":       "HTTP/1.1 200 OK\r\nContent-Length: " + evil + "\r\n\r\n",
		"chunks":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + evil + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Read(make([]byte, 4096))
					_, _ = conn.Write([]byte(raw))
					_ = conn.Close()
				}
			}()
			c := New(Config{Attempts: 1, Refusals: 1, Redirects: 1}, Deps{})
			err = c.Fetch(t.Context(), Source{URL: "http://user:secret@" + l.Addr().String() + "/?signature=secret",
				Size: int64(len(data))},
				File{Path: filepath.Join(t.TempDir(), "f"), Perm: 0o600})
			require.Error(t, err)
			text := err.Error()
			for _, bad := range []string{"\x1b", "\a", "\u202e", "\u200b", "\xff", "\x85", "\n", "secret"} {
				require.NotContains(t, text, bad)
			}
			require.LessOrEqual(t, len(text), maxText+3)
			c.Close()
			_ = l.Close()
			<-done
		})
	}
}
