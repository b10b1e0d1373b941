package slowlink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	chunk    = 32 << 10 // bytes read at once
	inFlight = 64       // chunks under way in one direction, 2 MiB; then the sender waits
)

// Config of a Link.
type Config struct {
	// To is the host:port that connections are passed on to. Nobody need listen
	// there yet.
	To string
	// Delay is how long each byte takes, in either direction.
	Delay time.Duration
}

// Link is one proxy. Its methods may be called from several goroutines at once.
type Link struct {
	cfg  Config
	in   net.Listener
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	clear chan struct{} // closed while bytes may pass
	cut   bool
}

// New listens on a free port of the loopback address until Close.
func New(cfg Config) (*Link, error) {
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the link to %s: %w", cfg.To, err)
	}
	l := newLink(cfg)
	l.in = in
	l.wg.Go(l.accept)
	return l, nil
}

func newLink(cfg Config) *Link {
	ctx, stop := context.WithCancel(context.Background())
	l := &Link{cfg: cfg, ctx: ctx, stop: stop, clear: make(chan struct{})}
	close(l.clear)
	return l
}

// Port is where the link listens.
func (l *Link) Port() int { return l.in.Addr().(*net.TCPAddr).Port }

// Cut lets nothing through any more: no byte, no end of a connection, no new
// connection. Who is connected is not told. Cutting twice is cutting once.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cut {
		l.cut, l.clear = true, make(chan struct{})
	}
}

// Heal lets through what waited, in order, and all that comes.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		l.cut = false
		close(l.clear)
	}
}

// passable waits until the link is not cut; false when it was closed first.
func (l *Link) passable() bool {
	for {
		l.mu.Lock()
		clear, cut := l.clear, l.cut
		l.mu.Unlock()
		if !cut {
			return l.ctx.Err() == nil
		}
		select {
		case <-clear:
		case <-l.ctx.Done():
			return false
		}
	}
}

// Close ends the link and all its connections.
func (l *Link) Close() error {
	l.stop()
	err := l.in.Close()
	l.wg.Wait()
	return err
}

func (l *Link) accept() {
	for {
		c, err := l.in.Accept()
		if err != nil {
			if l.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			l.sleep(10 * time.Millisecond) // out of file descriptors: others may end
			continue
		}
		l.wg.Go(func() { l.serve(c) })
	}
}

// serve passes one connection on. The way there and back of the first packet
// comes on top of the delay of the bytes.
func (l *Link) serve(c net.Conn) {
	defer c.Close()
	if !l.sleep(2*l.cfg.Delay) || !l.passable() {
		return
	}
	far, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(l.ctx, "tcp", l.cfg.To)
	if err != nil {
		return // who is at the other end is told by the end of his connection
	}
	defer far.Close()
	l.join(c, far)
}

// join passes bytes both ways until both ends have ended or one has failed.
func (l *Link) join(a, b net.Conn) {
	end := context.AfterFunc(l.ctx, func() {
		_ = a.Close()
		_ = b.Close()
	})
	defer end()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			if err := l.pump(way[1], way[0]); err != nil {
				_, _ = a.Close(), b.Close()
			}
		})
	}
	wg.Wait()
}

// packet is what was read at one moment, and when it arrives.
type packet struct {
	due  time.Time
	data []byte
}

// pump passes bytes one way, each after the delay, and the end after them.
func (l *Link) pump(dst, src net.Conn) error {
	ctx, stop := context.WithCancel(l.ctx)
	way := make(chan packet, inFlight)
	read := make(chan error, 1)
	go func() {
		defer close(way)
		read <- l.fill(ctx, way, src)
	}()
	defer func() {
		for range way { // the reader ends: its source is closed, or nobody listens to it
		}
	}()
	defer stop()
	for p := range way {
		if !l.sleep(time.Until(p.due)) || !l.passable() {
			return net.ErrClosed
		}
		if _, err := dst.Write(p.data); err != nil {
			_ = src.Close()
			return err
		}
	}
	if err := <-read; err != nil {
		return err
	}
	if !l.sleep(l.cfg.Delay) || !l.passable() {
		return net.ErrClosed
	}
	if w, ok := dst.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return dst.Close()
}

// fill reads until the end of src, which is no error.
func (l *Link) fill(ctx context.Context, way chan<- packet, src io.Reader) error {
	for {
		buf := make([]byte, chunk)
		n, err := src.Read(buf)
		if n > 0 {
			select {
			case way <- packet{due: time.Now().Add(l.cfg.Delay), data: buf[:n]}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sleep tells whether the link was still open afterwards.
func (l *Link) sleep(d time.Duration) bool {
	if d <= 0 {
		return l.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}
