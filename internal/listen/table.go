package listen

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Errors of a request that finds no slot.
var (
	errBusy   = errors.New("too many requests at once, try again")
	errGreedy = errors.New("too many requests at once from your address, try again")
)

// table knows the open connections of a listener.
type table struct {
	lim Limits

	mu       sync.Mutex
	conns    group
	requests group
	sockets  group
	changed  chan struct{} // closed and renewed when a request ends
}

// group is a set of connections by share.
type group struct {
	all, per int // limits
	n        int
	by       map[string]map[*Conn]struct{}
}

func newTable(lim Limits) *table {
	g := func(all, per int) group { return group{all: all, per: per, by: map[string]map[*Conn]struct{}{}} }
	return &table{
		lim:      lim,
		conns:    g(lim.Conns, lim.ConnsPerAddress),
		requests: g(lim.Requests, lim.RequestsPerAddress),
		sockets:  g(lim.Sockets, lim.SocketsPerAddress),
		changed:  make(chan struct{}),
	}
}

// shareOf is the address that a peer's connections count for.
func shareOf(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return a.Network()
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		p, err := ip.Prefix(64)
		if err == nil {
			return p.String()
		}
	}
	return ip.String()
}

func (g *group) full(share string) bool { return g.n >= g.all || len(g.by[share]) >= g.per }

func (g *group) add(c *Conn) {
	set := g.by[c.share]
	if set == nil {
		set = map[*Conn]struct{}{}
		g.by[c.share] = set
	}
	set[c] = struct{}{}
	g.n++
}

func (g *group) drop(c *Conn) bool {
	set := g.by[c.share]
	if _, ok := set[c]; !ok {
		return false
	}
	delete(set, c)
	if len(set) == 0 {
		delete(g.by, c.share)
	}
	g.n--
	return true
}

// victim is the connection that gives way to one of share: of that address where
// its share is full, else of the address that has most.
func (g *group) victim(share string, now time.Time) *Conn {
	if len(g.by[share]) >= g.per {
		c, _ := longest(g.by[share], now)
		return c
	}
	var out *Conn
	var since time.Time
	most := 0
	for _, set := range g.by {
		c, s := longest(set, now)
		if c == nil || len(set) < most || len(set) == most && !s.Before(since) {
			continue
		}
		out, since, most = c, s, len(set)
	}
	return out
}

func longest(set map[*Conn]struct{}, now time.Time) (out *Conn, since time.Time) {
	for c := range set {
		if s, ok := c.waitedFor(now); ok && (out == nil || s.Before(since)) {
			out, since = c, s
		}
	}
	return out, since
}

// admit takes a new connection in, where need be in the place of another.
func (t *table) admit(c *Conn) bool { return t.take(&t.conns, c) }

func (t *table) take(g *group, c *Conn) bool {
	t.mu.Lock()
	var victim *Conn
	if g.full(c.share) {
		if victim = g.victim(c.share, time.Now()); victim == nil {
			t.mu.Unlock()
			return false
		}
		t.forget(victim)
	}
	g.add(c)
	t.mu.Unlock()
	if victim != nil {
		victim.abort()
	}
	return true
}

// forget frees what a connection has; the caller holds the lock.
func (t *table) forget(c *Conn) {
	t.conns.drop(c)
	t.sockets.drop(c)
}

func (t *table) remove(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(c)
}

// enterSocket takes a connection that asks to become a websocket.
func (t *table) enterSocket(c *Conn) bool { return t.take(&t.sockets, c) }

func (t *table) leaveSocket(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sockets.drop(c)
}

// enterRequest waits for a slot for at most Limits.Patience, while one that only
// waits for its peer is cut to make room.
func (t *table) enterRequest(ctx context.Context, c *Conn) error {
	limit := time.NewTimer(t.lim.Patience)
	defer limit.Stop()
	again := time.NewTicker(max(t.lim.Patience/10, time.Millisecond))
	defer again.Stop()
	for {
		victim, greedy, changed := t.tryRequest(c)
		if changed == nil {
			return nil
		}
		if victim != nil {
			victim.abort()
		}
		select {
		case <-changed:
		case <-again.C: // somebody may have become one that is waited for
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			if greedy {
				return errGreedy
			}
			return errBusy
		}
	}
}

// tryRequest takes a slot, or tells who should make room and what to wait for.
func (t *table) tryRequest(c *Conn) (victim *Conn, greedy bool, changed chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.requests.full(c.share) {
		t.requests.add(c)
		return nil, false, nil
	}
	return t.requests.victim(c.share, time.Now()), len(t.requests.by[c.share]) >= t.requests.per, t.changed
}

func (t *table) leaveRequest(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.requests.drop(c) {
		close(t.changed)
		t.changed = make(chan struct{})
	}
}
