package listen

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Config of a Listener.
type Config struct {
	// Address is host:port; port 0 picks a free one.
	Address string
	Limits  Limits
	Log     *slog.Logger // nil: nothing is logged
}

// Listener accepts connections under limits.
type Listener struct {
	*net.TCPListener
	table *table
	log   *slog.Logger
}

// Open binds the address.
func Open(cfg Config) (*Listener, error) {
	ln, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Listener{TCPListener: ln.(*net.TCPListener), table: newTable(cfg.Limits.withDefaults()), log: log}, nil
}

// Accept implements net.Listener. A connection for which there is no room waits for
// one to give way for at most Limits.Patience, and others wait behind it in the
// kernel's queue; then it is closed.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.TCPListener.Accept()
		if err != nil {
			return nil, err
		}
		c := newConn(raw, l.table)
		if l.admit(c) {
			return c, nil
		}
		l.log.Warn("connection refused: too many are busy", "remote", raw.RemoteAddr().String(), "limit", l.table.lim.Conns,
			"per_address", l.table.lim.ConnsPerAddress)
		c.abort()
	}
}

// admit takes a connection in as soon as there is room.
func (l *Listener) admit(c *Conn) bool {
	lim := l.table.lim
	end := time.Now().Add(lim.Patience)
	for !l.table.admit(c) {
		if !time.Now().Before(end) {
			return false
		}
		time.Sleep(max(lim.Grace/10, time.Millisecond)) // who is busy now may be one that is waited for then
	}
	return true
}

type connKey struct{}

// Server makes the HTTP server to be run on this listener; it has the listener's
// limits. The caller may set BaseContext.
func (l *Listener) Server(h http.Handler) *http.Server {
	lim := l.table.lim
	return &http.Server{
		Handler:           l.guard(h),
		ReadHeaderTimeout: lim.Header,
		IdleTimeout:       lim.Idle,
		MaxHeaderBytes:    lim.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			own, ok := c.(*Conn)
			if !ok {
				return
			}
			switch s {
			case http.StateActive:
				own.enter(phaseBusy)
			case http.StateIdle:
				own.enter(phaseIdle)
			case http.StateHijacked:
				own.enter(phaseSocket)
			}
		},
	}
}

// guard holds requests to the limits.
func (l *Listener) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connKey{}).(*Conn)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		if r.Body != nil && r.Body != http.NoBody {
			c.Meter(true)                  // also for who does not read it: the server throws the rest away
			r = r.WithContext(r.Context()) // the server looks at its own request again
			r.Body = &body{ReadCloser: r.Body, conn: c}
		}
		if Upgrades(r) {
			if !l.table.enterSocket(c) {
				l.refuse(w, r, errors.New("too many websockets at once, try again"))
				return
			}
			defer l.table.leaveSocket(c)
			next.ServeHTTP(w, r)
			return
		}
		if err := l.table.enterRequest(r.Context(), c); err != nil {
			l.refuse(w, r, err)
			return
		}
		defer l.table.leaveRequest(c)
		next.ServeHTTP(w, r)
	})
}

func (l *Listener) refuse(w http.ResponseWriter, r *http.Request, why error) {
	l.log.Warn("request refused", "remote", r.RemoteAddr, "err", why)
	w.Header().Set("Retry-After", "1")
	w.Header().Set("Connection", "close")
	http.Error(w, why.Error(), http.StatusTooManyRequests)
}

// Upgrades tells whether a request asks for a websocket.
func Upgrades(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}

// body ends the metering of a connection when it was read whole: from there on
// the server reads only to notice that the peer went away.
type body struct {
	io.ReadCloser
	conn *Conn
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.conn.Meter(false)
	}
	return n, err
}

// Serve runs srv until ctx ends, then lets requests in flight end within grace
// and cuts the rest.
func (l *Listener) Serve(ctx context.Context, srv *http.Server, grace time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		_ = srv.Close() // cut what is left
	}
	<-done
	return nil
}
