package httpx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// lab is a server in memory, so that time is fake, and what it was asked.
type lab struct {
	t      *testing.T
	begun  time.Time
	client *Client
	path   string

	mu    sync.Mutex
	notes []string // "Range If-Range @seconds since the begin"
}

var data = func() []byte {
	b := make([]byte, 10_000)
	for i := range b {
		b[i] = byte(i * 7 / 3)
	}
	return b
}()

// pipes is a listener for connections in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- a:
		return b, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inLab runs f with a client of a server that answers by h; k counts from 1.
func inLab(t *testing.T, cfg Config, h func(k int, w http.ResponseWriter, r *http.Request), f func(t *testing.T, l *lab)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, begun: time.Now(), path: filepath.Join(dir, "file")}
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		var handlers sync.WaitGroup
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.Header.Get("Accept-Encoding") != "identity" {
				t.Error("asked by", r.Method, r.Header)
			}
			handlers.Add(1)
			defer handlers.Done()
			h(l.note(r), w, r)
		})}
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(p) }()
		l.client = New(cfg, Deps{Dial: p.dial})
		defer func() {
			l.client.Close()
			_ = srv.Close()
			<-done
			handlers.Wait()
			synctest.Wait()
		}()
		f(t, l)
	})
}

func (l *lab) note(r *http.Request) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := r.Header.Get("Range")
	if v := r.Header.Get("If-Range"); v != "" {
		s += " " + v
	}
	l.notes = append(l.notes, s+" @"+strconv.FormatFloat(time.Since(l.begun).Seconds(), 'f', -1, 64))
	return len(l.notes)
}

// asked gives what was asked for so far.
func (l *lab) asked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.notes...)
}

func (l *lab) source() Source { return Source{URL: "http://source.example/x", Size: int64(len(data))} }
func (l *lab) file() File     { return File{Path: l.path, Perm: 0o600, Checked: true} }

// holds checks what is on disk, and what the sidecar says of it.
func (l *lab) holds(want []byte, done bool) sidecar {
	l.t.Helper()
	b, err := os.ReadFile(l.path)
	require.NoError(l.t, err)
	require.True(l.t, bytes.Equal(want, b), "%d bytes, want %d", len(b), len(want))
	s, ok := readSidecar(l.path)
	require.True(l.t, ok)
	require.Equal(l.t, int64(len(want)), s.Synced)
	require.Equal(l.t, done, s.Done)
	return s
}

// start is where the range asked for begins; 0 without one.
func start(r *http.Request) int {
	var a int
	_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &a)
	return a
}

// send answers with [a, z) of data as a part.
func send(w http.ResponseWriter, a, z int) { sendOf(w, a, z, z, len(data)) }

// sendOf announces [a, told) and sends [a, z), then drops the connection if that
// is less.
func sendOf(w http.ResponseWriter, a, z, told, total int) {
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", a, told-1, total))
	w.Header().Set("Content-Length", strconv.Itoa(told-a))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(data[a:z])
	if z < told {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// rest serves the range asked for, as a good server does.
func rest(w http.ResponseWriter, r *http.Request) { send(w, start(r), len(data)) }

func asError0(t *testing.T, err error) *Error {
	t.Helper()
	e := new(Error)
	require.ErrorAs(t, err, &e)
	return e
}

func readAll(s *Stream) ([]byte, error) { return io.ReadAll(s) }
