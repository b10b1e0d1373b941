package breaker

import (
	"context"
	"slices"
	"time"
)

// gate is one key. All of it is guarded by Breaker.mu.
type gate struct {
	places  int
	running map[*call]struct{} // probes included
	line    []chan struct{}    // of those who wait for a place; closed when they should look again
	back    time.Time          // when a call last came back

	hung   bool
	since  time.Time
	probes int       // begun since the hang and not back
	probed time.Time // when the last one began, or the hang was found
}

// call is a call that runs.
type call struct {
	b       *Breaker
	g       *gate
	key     string
	limit   time.Duration
	began   time.Time
	late    bool
	overdue chan struct{} // closed when the limit has passed
	timer   *time.Timer
}

// enter waits for a place. Its error says why there is none.
func (b *Breaker) enter(ctx context.Context, key string, limit time.Duration) (*call, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		g := b.gate(key)
		if g.hung {
			return b.probe(g, key, limit)
		}
		if len(g.running) < g.places {
			return b.begin(g, key, limit), nil
		}
		b.queue(ctx, key, g)
	}
}

// probe begins a call of a hung key if it is time for one.
func (b *Breaker) probe(g *gate, key string, limit time.Duration) (*call, error) {
	if time.Since(g.probed) < b.pause(g) {
		return nil, &ErrHung{Key: key, Since: g.since}
	}
	g.probes++
	g.probed = time.Now()
	return b.begin(g, key, limit), nil
}

// pause is how long to leave a hung key alone after a probe. It doubles with each
// probe that is not back: a mount that was replaced is found although the probes
// of the old one never end, and what leaks grows with the logarithm of time.
func (b *Breaker) pause(g *gate) time.Duration { return b.cfg.Retry << min(g.probes, maxDoublings) }

const maxDoublings = 16

// queue waits for its turn, or for ctx.
func (b *Breaker) queue(ctx context.Context, key string, g *gate) {
	turn := make(chan struct{})
	g.line = append(g.line, turn)
	b.mu.Unlock()
	select {
	case <-turn:
	case <-ctx.Done():
	}
	b.mu.Lock()
	if i := slices.Index(g.line, turn); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
	} else if ctx.Err() != nil {
		g.wake(1) // the turn goes to the next
	}
	b.tidy(key, g)
}

func (b *Breaker) gate(key string) *gate {
	g := b.keys[key]
	if g == nil {
		g = &gate{places: b.cfg.Places, running: map[*call]struct{}{}}
		b.keys[key] = g
	}
	return g
}

// tidy drops a gate that nothing would be remembered of.
func (b *Breaker) tidy(key string, g *gate) {
	if !g.hung && len(g.running) == 0 && len(g.line) == 0 && b.keys[key] == g {
		delete(b.keys, key)
	}
}

// begin makes a running call; its limit counts from now.
func (b *Breaker) begin(g *gate, key string, limit time.Duration) *call {
	c := &call{
		b:       b,
		g:       g,
		key:     key,
		limit:   limit,
		began:   time.Now(),
		overdue: make(chan struct{}),
	}
	g.running[c] = struct{}{}
	c.timer = time.AfterFunc(limit, c.expire)
	return c
}

// leave is told that the call came back.
func (c *call) leave() {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.timer.Stop()
	delete(c.g.running, c)
	c.g.back = time.Now()
	c.g.heal()
	c.g.wake(1)
	c.b.tidy(c.key, c.g)
}

// expire is told that the limit has passed.
func (c *call) expire() {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if _, running := c.g.running[c]; !running {
		return
	}
	c.late = true
	close(c.overdue)
	if !c.g.hung && !c.g.back.After(c.began) {
		c.g.trip()
	}
}

// verdict is what is wrong when the call is overdue.
func (c *call) verdict() error {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.g.hung {
		return &ErrHung{Key: c.key, Since: c.g.since}
	}
	return &ErrSlow{Key: c.key, Limit: c.limit}
}

func (g *gate) trip() {
	g.hung, g.probes = true, 0
	g.probed = time.Now()
	g.since = g.probed
	for c := range g.running {
		if c.began.Before(g.since) {
			g.since = c.began
		}
	}
	if g.back.After(g.since) {
		g.since = g.back
	}
	g.wake(len(g.line))
}

func (g *gate) heal() { g.hung, g.probes = false, 0 }

// wake tells the first n in line to look again.
func (g *gate) wake(n int) {
	for range min(n, len(g.line)) {
		close(g.line[0])
		g.line = g.line[1:]
	}
}

// late counts the calls that are past their limit.
func (g *gate) late() int {
	n := 0
	for c := range g.running {
		if c.late {
			n++
		}
	}
	return n
}
