package listen

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// phase of a connection: who is waiting for whom.
type phase int

const (
	phaseHeader phase = iota // for the first header
	phaseIdle                // for the next request
	phaseBusy                // a request is being answered
	phaseSocket              // a websocket: taken over by a handler
)

// partBytes is how much of a file is handed to the kernel at once.
const partBytes = 4 << 20

// Conn is a connection under the limits of its listener.
type Conn struct {
	net.Conn
	table *table
	share string // the address it counts for

	mu     sync.Mutex
	phase  phase
	since  time.Time // of the phase; of a websocket: of its last message
	closed bool

	metered      bool // a body is being read
	read, write  meter
	readDeadline deadline
	sendDeadline deadline
	queued       int // bytes that the kernel held when the writing began
}

// deadline is the earlier of what the owner of a connection set and what its
// meter allows.
type deadline struct{ owner, meter time.Time }

func (d deadline) at() time.Time {
	if d.owner.IsZero() || !d.meter.IsZero() && d.meter.Before(d.owner) {
		return d.meter
	}
	return d.owner
}

func newConn(c net.Conn, t *table) *Conn {
	m := meter{stall: t.lim.Stall, fair: t.lim.MinBytes}
	return &Conn{
		Conn:  c,
		table: t,
		share: shareOf(c.RemoteAddr()),
		since: time.Now(),
		read:  m,
		write: m,
	}
}

// Read implements net.Conn. While a body is being read the waiting is metered.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	metered := c.metered
	if metered {
		c.readDeadline.meter = c.read.begin(time.Now())
		_ = c.Conn.SetReadDeadline(c.readDeadline.at()) // a closed connection says so in Read
	}
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	if metered {
		c.mu.Lock()
		c.read.end(time.Now(), n)
		c.readDeadline.meter = time.Time{}
		c.mu.Unlock()
	}
	return n, err
}

// Write implements net.Conn. A peer that takes too little for too long is cut.
func (c *Conn) Write(p []byte) (total int, err error) {
	for {
		c.beginWrite()
		n, err := c.Conn.Write(p[total:])
		total += n
		if again := c.endWrite(n, err); !again {
			return total, err
		}
	}
}

// ReadFrom implements io.ReaderFrom: files go from the kernel to the kernel.
func (c *Conn) ReadFrom(r io.Reader) (total int64, err error) {
	tcp, ok := c.Conn.(*net.TCPConn)
	src, left := r, int64(1<<62)
	limited, _ := r.(*io.LimitedReader)
	if limited != nil {
		src, left = limited.R, limited.N
	}
	if _, file := src.(*os.File); !ok || !file {
		return io.Copy(writeOnly{c}, r)
	}
	for left > 0 {
		part := &io.LimitedReader{R: src, N: min(left, partBytes)}
		c.beginWrite()
		n, err := tcp.ReadFrom(part)
		total, left = total+n, left-n
		if limited != nil {
			limited.N -= n
		}
		if again := c.endWrite(int(n), err); err != nil && !again || err == nil && n == 0 {
			return total, err
		}
	}
	return total, nil
}

// writeOnly hides ReadFrom.
type writeOnly struct{ io.Writer }

func (c *Conn) beginWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued = outQueue(c.Conn)
	c.sendDeadline.meter = c.write.begin(time.Now())
	_ = c.Conn.SetWriteDeadline(c.sendDeadline.at()) // a closed connection says so in Write
}

// endWrite tells whether a write that ended with err goes on: it only ran out of
// time while the peer was taking bytes out of the kernel's buffer.
func (c *Conn) endWrite(n int, err error) bool {
	c.mu.Lock()
	now := time.Now()
	moved := n
	if err != nil {
		moved += max(c.queued-outQueue(c.Conn), 0)
	}
	fine := c.write.end(now, moved)
	owner := c.sendDeadline.owner
	c.sendDeadline.meter = time.Time{}
	c.mu.Unlock()
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !owner.IsZero() && !now.Before(owner) {
		return false
	}
	if !fine {
		c.abort() // whoever reads from this connection need not wait either
	}
	return fine
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline.owner = t
	return c.Conn.SetReadDeadline(c.readDeadline.at())
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendDeadline.owner = t
	return c.Conn.SetWriteDeadline(c.sendDeadline.at())
}

// Meter says whether the peer owes bytes: the rest of a body, or of a message of
// a websocket. It takes effect at once, for a Read that waits too.
func (c *Conn) Meter(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.metered == on {
		return
	}
	c.metered = on
	c.read.reset()
	c.readDeadline.meter = time.Time{}
	if !on {
		c.read.since = time.Time{}
		_ = c.Conn.SetReadDeadline(c.readDeadline.at()) // a closed connection says so in Read
	}
}

// Touch notes that a websocket is in use.
func (c *Conn) Touch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
}

// SocketIdle is how long a websocket on this connection may send nothing.
func (c *Conn) SocketIdle() time.Duration { return c.table.lim.SocketIdle }

func (c *Conn) enter(p phase) {
	if p == phaseIdle {
		c.Meter(false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase, c.since = p, time.Now()
}

// waitedFor tells since when this side does nothing but wait for the peer.
func (c *Conn) waitedFor(now time.Time) (since time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	grace := now.Add(-c.table.lim.Grace)
	if w := c.write.since; !w.IsZero() && !w.After(grace) {
		return w, true
	}
	switch c.phase {
	case phaseHeader, phaseIdle:
		return c.since, true
	case phaseBusy:
		if r := c.read.since; c.metered && !r.IsZero() && !r.After(grace) {
			return r, true
		}
	case phaseSocket:
		return c.since, now.Sub(c.since) >= c.table.lim.SocketIdle/4
	}
	return time.Time{}, false
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if first {
		c.table.remove(c)
	}
	return c.Conn.Close()
}

// abort closes and throws away what the kernel still holds for the peer.
func (c *Conn) abort() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // it is closed in any case
	}
	_ = c.Close() // nobody is interested any more
}
