package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Keep is a part whose failure does not end the process: it is started again
// with growing pauses.
type Keep struct {
	Name string
	// Must says that the process is of no use without the part: a failure before
	// it was ever up ends the start. Later ones do not.
	Must bool
	// Run builds the part, calls up when it works, and works until ctx ends. It is
	// called again after a failure; what it built is its own to take down.
	Run func(ctx context.Context, up func()) error
}

// Status is what is known of a part.
type Status struct {
	Name     string
	Up       bool
	Since    time.Time // of Up
	Restarts int
	Err      error     // of the last end, nil where there was none
	Next     time.Time // of the next start; zero unless one is waited for
}

// pauses between starts of a part. One that was up longer than steady begins
// with the first again.
const (
	firstPause = time.Second
	lastPause  = time.Minute
	steady     = 5 * time.Minute
)

// Keep starts a part and returns when it is up, or when its first start failed:
// with that error if it is a must, else with nil, and the part is tried again.
func (g *Group) Keep(ctx context.Context, k Keep) error {
	p, own, err := g.add(k.Name)
	if err != nil {
		return err
	}
	first := make(chan error, 1)
	go g.keep(own, p, k, first)
	select {
	case err := <-first:
		if err != nil && k.Must {
			return fmt.Errorf("%s: %w", k.Name, err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *Group) keep(ctx context.Context, p *part, k Keep, first chan error) {
	defer close(p.done)
	tell := func(err error) {
		select {
		case first <- err:
		default: // it was told before
		}
	}
	pause, ever := firstPause, false
	for ctx.Err() == nil {
		began := time.Now()
		up := func() { ever = true; p.set(true, nil, time.Time{}); tell(nil) }
		err := attempt(ctx, k, up)
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				p.err = fmt.Errorf("%s: %w", p.name, err)
			}
			return
		}
		if err == nil {
			err = errors.New("ended by itself")
		}
		if time.Since(began) > steady {
			pause = firstPause
		}
		if k.Must && !ever {
			p.set(false, err, time.Time{})
			tell(err)
			return // the caller of Keep ends the start
		}
		p.set(false, err, time.Now().Add(pause))
		tell(err)
		g.log.Error("part failed, it is started again", "part", p.name, "err", err, "in", pause)
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, lastPause)
		p.again()
	}
}

// attempt is one life of a part. Whatever it left running under its context ends
// with it.
func attempt(ctx context.Context, k Keep, up func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return protect(ctx, func(ctx context.Context) error { return k.Run(ctx, up) })
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (p *part) set(up bool, err error, next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Up != up || p.state.Since.IsZero() {
		p.state.Since = time.Now()
	}
	p.state.Up, p.state.Next = up, next
	if err != nil {
		p.state.Err = err
	}
}

func (p *part) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Restarts++
	p.state.Next = time.Time{}
}

// Status lists the parts in the order they were started.
func (g *Group) Status() []Status {
	g.mu.Lock()
	parts := append([]*part(nil), g.parts...)
	g.mu.Unlock()
	out := make([]Status, 0, len(parts))
	for _, p := range parts {
		p.mu.Lock()
		out = append(out, p.state)
		p.mu.Unlock()
	}
	return out
}
