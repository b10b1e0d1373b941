package breaker

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"quarry/internal/lifecycle"
)

// Config of a Breaker; the zero value is good.
type Config struct {
	// Places is how many calls of one key run at the same time (0 = 8). It bounds
	// what a hung key leaks, too.
	Places int
	// Retry is how long a hung key is left alone between two probes (0 = 10 s).
	Retry time.Duration
	Log   *slog.Logger // of panics in calls; nil: nobody is told
}

// ErrHung says that nothing comes back from a key.
type ErrHung struct {
	Key   string
	Since time.Time // when the oldest call that did not come back began
}

// Error says what to look at.
func (e *ErrHung) Error() string {
	return fmt.Sprintf("%s has not answered since %s; check its disk, mount or host", e.Key, e.Since.UTC().Format(time.RFC3339))
}

// ErrSlow says that one call did not come back within its limit, while others of
// its key did.
type ErrSlow struct {
	Key   string
	Limit time.Duration
}

// Error names the limit.
func (e *ErrSlow) Error() string {
	return fmt.Sprintf("one read from %s took longer than %s, others did not; the disk may be failing", e.Key, e.Limit)
}

// State is a key that is hung or has calls that are not back.
type State struct {
	Key     string
	Hung    bool
	Since   time.Time // of the hang; zero while there is none
	Running int       // calls not back yet, probes included
	Overdue int       // of these, past their limit
}

// Breaker holds the keys. Its methods may be called from several goroutines.
type Breaker struct {
	cfg   Config
	catch *lifecycle.Catcher

	mu   sync.Mutex
	keys map[string]*gate
}

// New makes a Breaker that has seen nothing yet.
func New(cfg Config) *Breaker {
	if cfg.Places <= 0 {
		cfg.Places = 8
	}
	if cfg.Retry <= 0 {
		cfg.Retry = 10 * time.Second
	}
	return &Breaker{cfg: cfg, catch: lifecycle.NewCatcher(cfg.Log), keys: map[string]*gate{}}
}

// Do runs f as a call of the key and waits for it for at most limit, counted from
// when a place is free, or until ctx ends. The context that f gets ends when the
// caller no longer waits. An f that comes back later is not heard: it must own
// what it uses and release it itself. Errors of its own are *ErrHung, *ErrSlow and
// the cause of ctx; any other is what f returned, or *lifecycle.PanicError.
func (b *Breaker) Do(ctx context.Context, key string, limit time.Duration, f func(context.Context) error) error {
	_, err := Get(ctx, b, key, limit, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

// Get is Do of a call that gives a value.
func Get[T any](ctx context.Context, b *Breaker, key string, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	var zero T
	c, err := b.enter(ctx, key, limit)
	if err != nil {
		return zero, err
	}
	type answer struct {
		v   T
		err error
	}
	inner, cancel := context.WithCancel(ctx)
	back := make(chan answer, 1) // so that a late call ends although nobody listens
	go func() {
		var a answer
		a.err = b.catch.Do("a call of "+key, func() (err error) {
			a.v, err = f(inner)
			return err
		})
		c.leave()
		back <- a
	}()
	defer cancel()
	select {
	case a := <-back:
		return a.v, a.err
	case <-c.overdue:
	case <-ctx.Done():
	}
	select { // what is back in the same moment counts
	case a := <-back:
		return a.v, a.err
	default:
	}
	if err := context.Cause(ctx); err != nil {
		return zero, err
	}
	return zero, c.verdict()
}

// Hung is nil, or why calls of the key are refused.
func (b *Breaker) Hung(key string) *ErrHung {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.keys[key]; g != nil && g.hung {
		return &ErrHung{Key: key, Since: g.since}
	}
	return nil
}

// States lists the keys that are hung or have calls that are not back, by key.
func (b *Breaker) States() []State {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]State, 0, len(b.keys))
	for k, g := range b.keys {
		s := State{Key: k, Hung: g.hung, Running: len(g.running), Overdue: g.late()}
		if g.hung {
			s.Since = g.since
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b State) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// Forget begins anew with a key, as after another disk was mounted in the place
// of one whose calls will never come back. Those calls stay leaked.
func (b *Breaker) Forget(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.keys[key]; g != nil {
		g.heal()
		g.wake(len(g.line))
		delete(b.keys, key)
	}
}

// Watch probes what is hung until ctx ends, so that a key is found well before
// somebody needs it. limit is how long it waits for one probe. Keys for which
// probe is nil are left to their callers.
func (b *Breaker) Watch(ctx context.Context, limit time.Duration, probe func(key string) func(context.Context) error) {
	tick := time.NewTicker(b.cfg.Retry)
	defer tick.Stop()
	var probes sync.WaitGroup
	defer probes.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, s := range b.States() {
			if f := probe(s.Key); s.Hung && f != nil {
				probes.Go(func() { _ = b.Do(ctx, s.Key, limit, f) }) // coming back is what counts
			}
		}
	}
}
