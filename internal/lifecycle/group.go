package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Group runs named parts. Parts added first are stopped last.
type Group struct {
	budget time.Duration
	log    *slog.Logger

	mu     sync.Mutex
	parts  []*part
	failed chan struct{} // closed at the first part that ends with an error
	first  error
	closed bool
}

type part struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // set before done is closed

	mu    sync.Mutex
	state Status
}

// New makes an empty group. Stop waits at most budget in all; zero means 30 s.
func New(budget time.Duration, log *slog.Logger) *Group {
	if budget == 0 {
		budget = 30 * time.Second
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Group{budget: budget, log: log, failed: make(chan struct{})}
}

// Go starts run under its own context, which ends when the group stops the
// part (not when an earlier caller's context does, so that parts end in order).
// It is vital: when it returns an error, panics, or returns before it was told
// to, Wait ends. Keep is for the others. Go on a stopped group is refused.
func (g *Group) Go(name string, run func(context.Context) error) error {
	p, ctx, err := g.add(name)
	if err != nil {
		return err
	}
	p.set(true, nil, time.Time{})
	go g.runPart(ctx, p, run)
	return nil
}

// add takes a part into the order. Its context is its own.
func (g *Group) add(name string) (*part, context.Context, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, nil, fmt.Errorf("start %s: the process is stopping", name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{name: name, cancel: cancel, done: make(chan struct{}), state: Status{Name: name}}
	g.parts = append(g.parts, p)
	return p, ctx, nil
}

func (g *Group) runPart(ctx context.Context, p *part, run func(context.Context) error) {
	defer close(p.done)
	err := protect(ctx, run)
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
		return // told to end, and did
	case err == nil:
		err = errors.New("ended by itself")
	}
	p.err = fmt.Errorf("%s: %w", p.name, err)
	p.set(false, err, time.Time{})
	g.log.Error("part failed, the process ends", "part", p.name, "err", err)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first == nil {
		g.first = p.err
		close(g.failed)
	}
}

func protect(ctx context.Context, run func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return run(ctx)
}

// Wait blocks until ctx ends (nil) or a part fails (its error). It does not
// stop anything.
func (g *Group) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-g.failed:
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.first
	}
}

// Stop ends the parts in reverse order, waiting for each before the next, and
// returns every error of a part and the names of parts still running when the
// budget was spent. It is safe to repeat.
func (g *Group) Stop() error {
	g.mu.Lock()
	g.closed = true
	parts := append([]*part(nil), g.parts...)
	g.mu.Unlock()
	deadline := time.NewTimer(g.budget)
	defer deadline.Stop()
	expired := false
	var errs []error
	for i := len(parts) - 1; i >= 0; i-- {
		p := parts[i]
		p.cancel()
		if !expired {
			select {
			case <-p.done:
			case <-deadline.C:
				expired = true
			}
		}
		select {
		case <-p.done:
			errs = append(errs, p.err)
		default:
			errs = append(errs, fmt.Errorf("%s did not stop within %s", p.name, g.budget))
		}
	}
	return errors.Join(errs...)
}
