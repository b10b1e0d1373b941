package listen

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// big is an answer that no socket buffer takes.
const big = 64 << 20

func serve(t *testing.T, lim Limits) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		part := make([]byte, 1<<16)
		for range big / len(part) {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(4 * lim.Stall):
		case <-r.Context().Done():
		}
		fmt.Fprint(w, "waited")
	})
	return serveHandler(t, lim, mux)
}

func serveHandler(t *testing.T, lim Limits, h http.Handler) string {
	t.Helper()
	l, err := Open(Config{Address: "127.0.0.1:0", Limits: lim})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, l.Server(h), 50*time.Millisecond) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		require.Eventually(t, func() bool {
			l.table.mu.Lock()
			defer l.table.mu.Unlock()
			return l.table.requests.n == 0 && l.table.sockets.n == 0
		}, 10*time.Second, time.Millisecond, "a slot was lost")
	})
	return l.Addr().String()
}

func dial(t *testing.T, addr, send string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = io.WriteString(c, send)
	require.NoError(t, err)
	return c
}

// ends waits until the server closes a connection.
func ends(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	_, err := io.Copy(io.Discard, c)
	require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "the connection stays open")
}

func short() Limits {
	return Limits{
		Header:     300 * time.Millisecond,
		Idle:       300 * time.Millisecond,
		Stall:      300 * time.Millisecond,
		SocketIdle: 300 * time.Millisecond,
		Grace:      20 * time.Millisecond,
	}
}

const post = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"

// Whoever is waited for is cut: nothing sent, half a header, a body that never
// comes, one that comes byte by byte, whether the handler reads it or not, and a
// connection that nobody uses any more.
func TestWhoeverIsWaitedForIsCut(t *testing.T) {
	addr := serve(t, short())
	for name, send := range map[string]string{
		"silent":         "",
		"half a header":  "GET /hello HTTP/1.1\r\nHo",
		"no body":        fmt.Sprintf(post, "/read"),
		"body not read":  fmt.Sprintf(post, "/hello"),
		"no such route":  fmt.Sprintf(post, "/nothing"),
		"chunked":        "POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
		"idle":           "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
		"second request": "GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /he",
		"continue":       "POST /read HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ends(t, dial(t, addr, send))
		})
	}
	t.Run("dripping body", func(t *testing.T) {
		t.Parallel()
		c := dial(t, addr, fmt.Sprintf(post, "/read"))
		go func() {
			for {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		}()
		ends(t, c)
	})
}

// A reader that does not read is cut, and so is one that does it byte by byte;
// files are no exception.
func TestReadersThatDoNotReadAreCut(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, make([]byte, big), 0o600))
	ended := make(chan struct{}, 2)
	addr := serveHandler(t, short(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		if r.URL.Path == "/file" {
			http.ServeFile(w, r, name)
			return
		}
		_, _ = w.Write(make([]byte, big))
	}))
	for _, path := range []string{"/file", "/memory"} {
		c := dial(t, addr, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatal(path, "is still being answered")
		}
		_ = c.Close()
	}
}

// Work has no time limit: neither a call that waits long for its answer, nor a
// body or an answer that takes many times the stall time but moves.
func TestWorkTakesItsTime(t *testing.T) {
	lim := short()
	lim.MinBytes = 1024
	addr := serve(t, lim)
	get := func(path string) string {
		resp, err := http.Get("http://" + addr + path)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(b)
	}
	require.Equal(t, "waited", get("/wait"))
	r, w := io.Pipe()
	go func() {
		for range 12 {
			_, _ = w.Write(make([]byte, 4096))
			time.Sleep(lim.Stall / 4)
		}
		_ = w.Close()
	}()
	resp, err := http.Post("http://"+addr+"/read", "", r)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, fmt.Sprint(12*4096, nil), string(b))

	c := dial(t, addr, "GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	in := bufio.NewReader(c)
	total, begun := int64(0), time.Now()
	for time.Since(begun) < 4*lim.Stall { // slower than the server, faster than the limit
		n, err := io.CopyN(io.Discard, in, 256<<10)
		require.NoError(t, err)
		total += n
		time.Sleep(lim.Stall / 10)
	}
	n, err := io.Copy(io.Discard, in)
	require.NoError(t, err)
	require.Greater(t, total+n, int64(big))
	http.DefaultClient.CloseIdleConnections()
}

// While many connections stay silent and as many do not read, somebody who does
// neither is served at once, from the same address too.
func TestHonestClientAmongSilentOnes(t *testing.T) {
	lim := Limits{
		Conns:              96,
		ConnsPerAddress:    64,
		Requests:           32,
		RequestsPerAddress: 24,
		Grace:              20 * time.Millisecond,
	}
	addr := serve(t, lim)
	for range 64 {
		dial(t, addr, "")
	}
	for range 64 {
		c := dial(t, addr, "")
		_, _ = io.WriteString(c, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n") // it may have been cut already
	}
	for range 64 {
		c := dial(t, addr, "")
		_, _ = fmt.Fprintf(c, post, "/read")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for i := range 5 {
		begun := time.Now()
		resp, err := client.Get("http://" + addr + "/hello")
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, "hello", string(b))
		t.Log(i, time.Since(begun))
	}
}

// A full share refuses with 429 when nobody can give way, and takes the request
// when somebody ends in time.
func TestRequestsWaitForASlot(t *testing.T) {
	release := make(chan struct{})
	var entered atomic.Int32
	addr := serveHandler(t, Limits{Requests: 2, RequestsPerAddress: 1, Patience: 300 * time.Millisecond},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			entered.Add(1)
			<-release
		}))
	code := make(chan int, 2)
	get := func() {
		resp, err := http.Get("http://" + addr)
		if err != nil {
			code <- -1
			return
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "1" {
			code <- -2
			return
		}
		code <- resp.StatusCode
	}
	go get()
	require.Eventually(t, func() bool { return entered.Load() == 1 }, 10*time.Second, time.Millisecond)
	go get()
	require.Equal(t, http.StatusTooManyRequests, <-code)
	require.EqualValues(t, 1, entered.Load())
	go get()
	close(release)
	require.Equal(t, 200, <-code)
	require.Equal(t, 200, <-code)
	http.DefaultClient.CloseIdleConnections()
}

// The owner's deadlines count beside the limits.
func TestOwnersDeadlines(t *testing.T) {
	got := make(chan error, 2)
	addr := serveHandler(t, Limits{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		got <- errors.Join(rc.SetReadDeadline(time.Now().Add(50*time.Millisecond)),
			rc.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
		_, err := io.ReadAll(r.Body)
		got <- err
		_, err = w.Write(make([]byte, big))
		got <- err
	}))
	c := dial(t, addr, fmt.Sprintf(post, "/"))
	require.NoError(t, <-got)
	require.ErrorIs(t, <-got, os.ErrDeadlineExceeded)
	require.ErrorIs(t, <-got, os.ErrDeadlineExceeded)
	_ = c.Close()
}

// A file goes out whole, in ranges too, whatever the kernel takes at once.
func TestFilesGoOutWhole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	want := bytes.Repeat([]byte("0123456789abcdef"), (9<<20)/16)
	require.NoError(t, os.WriteFile(name, want, 0o600))
	addr := serveHandler(t, Limits{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }))
	for _, rng := range []string{"", "bytes=0-0", "bytes=5-5000000", "bytes=4194304-", "bytes=-17"} {
		req, err := http.NewRequest(http.MethodGet, "http://"+addr, nil)
		require.NoError(t, err)
		from, to := 0, len(want)
		if rng != "" {
			req.Header.Set("Range", rng)
			_, _ = fmt.Sscanf(rng, "bytes=%d-%d", &from, &to)
			if to++; strings.HasSuffix(rng, "-") {
				to = len(want)
			}
			if strings.HasPrefix(rng, "bytes=-") {
				from, to = len(want)-17, len(want)
			}
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.True(t, bytes.Equal(want[from:min(to, len(want))], b), rng)
	}
	http.DefaultClient.CloseIdleConnections()
}

// Websockets have a share of their own.
func TestSocketsHaveAShare(t *testing.T) {
	addr := serveHandler(t, Limits{Sockets: 2, SocketsPerAddress: 2, SocketIdle: time.Hour},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !Upgrades(r) {
				return
			}
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}))
	ask := func() string {
		c := dial(t, addr, "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\r\n")
		line, err := bufio.NewReader(c).ReadString('\n')
		require.NoError(t, err)
		if !strings.Contains(line, " 101 ") {
			_ = c.Close()
			return line
		}
		return line
	}
	require.Contains(t, ask(), " 101 ")
	require.Contains(t, ask(), " 101 ")
	require.Contains(t, ask(), " 429 ")
	resp, err := http.Get("http://" + addr)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	http.DefaultClient.CloseIdleConnections()
}
