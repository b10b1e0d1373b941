package heads

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// Source is what the follower needs of a full node.
type Source interface {
	ChainHead(ctx context.Context) (*api.TipSet, error)
	ChainNotify(ctx context.Context) (<-chan []*api.HeadChange, error)
	ChainGetPath(ctx context.Context, from, to api.TipSetKey) ([]*api.HeadChange, error)
	ChainGetTipSet(ctx context.Context, tsk api.TipSetKey) (*api.TipSet, error)
}

// Config tunes a Follower; the zero value is good.
type Config struct {
	// RetryMin and RetryMax bound the pause between subscriptions that failed
	// (0 = 50 ms and 5 s).
	RetryMin, RetryMax time.Duration
	// IdleCheck is how long silence is believed before the head is asked for,
	// which finds a subscription that died without notice (0 = 15 s).
	IdleCheck time.Duration
	// MaxPending bounds the tipsets kept for one slow reader (0 = 4096).
	MaxPending int
}

func (c Config) withDefaults() Config {
	if c.RetryMin <= 0 {
		c.RetryMin = 50 * time.Millisecond
	}
	if c.RetryMax < c.RetryMin {
		c.RetryMax = max(5*time.Second, c.RetryMin)
	}
	if c.IdleCheck <= 0 {
		c.IdleCheck = 15 * time.Second
	}
	if c.MaxPending <= 0 {
		c.MaxPending = 4096
	}
	return c
}

// Deps are the collaborators of a Follower.
type Deps struct {
	Chain Source
	Log   *slog.Logger // nil discards
}

// Follower keeps track of the head. Make it with New, drive it with Run.
type Follower struct {
	cfg  Config
	deps Deps

	mu   sync.Mutex
	head *api.TipSet
	seen time.Time // when head became it
	subs map[*subscriber]struct{}
}

// New makes a follower that has seen nothing yet.
func New(cfg Config, deps Deps) *Follower {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Follower{cfg: cfg.withDefaults(), deps: deps, subs: map[*subscriber]struct{}{}}
}

// Head is the last head seen, nil before the first.
func (f *Follower) Head() *api.TipSet {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head
}

// Seen is when the head became the one it is; zero before the first.
func (f *Follower) Seen() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// Run follows until ctx ends and then returns ctx's error. A node that is away
// is asked again with growing pauses, for ever; the log tells once that it is
// away.
func (f *Follower) Run(ctx context.Context) error {
	pause, level := f.cfg.RetryMin, slog.LevelInfo
	for {
		progressed, err := f.follow(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if progressed {
			pause, level = f.cfg.RetryMin, slog.LevelInfo
		}
		f.deps.Log.Log(ctx, level, "head subscription ended, subscribing again", "cause", err, "pause", pause)
		level = slog.LevelDebug
		if sleep(ctx, pause) != nil {
			return ctx.Err()
		}
		pause = min(2*pause, f.cfg.RetryMax)
	}
}

var (
	errClosed = errors.New("the node closed the head subscription")
	errStale  = errors.New("the head moved without a notification")
)

// follow lives through one subscription. progressed tells whether anything
// came out of it.
func (f *Follower) follow(parent context.Context) (progressed bool, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	ch, err := f.deps.Chain.ChainNotify(ctx)
	if err != nil {
		return false, fmt.Errorf("subscribe to head changes: %w", err)
	}
	idle := time.NewTimer(f.cfg.IdleCheck)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return progressed, ctx.Err()
		case <-idle.C:
			if err := f.checkStale(ctx); err != nil {
				return progressed, err
			}
		case changes, ok := <-ch:
			if !ok {
				return progressed, errClosed
			}
			if err := f.apply(ctx, changes); err != nil {
				return progressed, err
			}
			progressed = true
		}
		idle.Reset(f.cfg.IdleCheck)
	}
}

func (f *Follower) checkStale(ctx context.Context) error {
	ts, err := f.deps.Chain.ChainHead(ctx)
	if err != nil {
		return fmt.Errorf("ask for the head after silence: %w", err)
	}
	if !usable(ts) {
		return fmt.Errorf("ask for the head after silence: the node answered an empty tipset")
	}
	if !ts.Equal(f.Head()) {
		return errStale
	}
	return nil
}

// apply takes one notification. A notification that does not continue from
// our head (the first of a subscription, or one after a loss) is replaced by
// the path that the node computes.
func (f *Follower) apply(ctx context.Context, changes []*api.HeadChange) error {
	ev, current, err := split(changes)
	if err != nil {
		return err
	}
	head := f.Head()
	if current == nil && ev.Head == nil {
		if len(ev.Reverts) == 0 {
			return nil
		}
		// Only reverts: the node has to say what the head is now.
		if current, err = f.deps.Chain.ChainHead(ctx); err != nil {
			return fmt.Errorf("ask for the head after a revert: %w", err)
		}
		if !usable(current) {
			return errors.New("ask for the head after a revert: the node answered an empty tipset")
		}
	}
	switch {
	case current != nil:
		ev, err = f.path(ctx, head, current)
		if err != nil {
			return err
		}
	case !continues(head, ev):
		ev, err = f.path(ctx, head, ev.Head)
		if err != nil {
			return err
		}
	}
	if ev.Head == nil || ev.Head.Equal(head) {
		return nil
	}
	f.publish(ev)
	return nil
}

// path reconciles by asking the node. When the node no longer knows our head
// (its chain was replaced) the answer is a gap.
func (f *Follower) path(ctx context.Context, from, to *api.TipSet) (Event, error) {
	if from == nil {
		return Event{Applies: []*api.TipSet{to}, Head: to}, nil
	}
	if from.Equal(to) {
		return Event{Head: to}, nil
	}
	changes, err := f.deps.Chain.ChainGetPath(ctx, from.Key(), to.Key())
	if err != nil {
		if ctx.Err() != nil {
			return Event{}, ctx.Err()
		}
		if _, known := f.deps.Chain.ChainGetTipSet(ctx, from.Key()); known == nil {
			return Event{}, fmt.Errorf("reconcile the head from height %d to %d: %w", from.Height, to.Height, err)
		}
		if _, known := f.deps.Chain.ChainGetTipSet(ctx, to.Key()); known != nil {
			return Event{}, fmt.Errorf("reconcile the head from height %d to %d: %w", from.Height, to.Height, err)
		}
		f.deps.Log.Warn("the node no longer knows the last head, jumping to its new chain", "from", from.Height, "to", to.Height,
			"cause", err)
		return gapTo(to), nil
	}
	ev, current, err := split(changes)
	if err != nil {
		return Event{}, err
	}
	if n := len(ev.Reverts); ev.Head == nil && n > 0 && ev.Reverts[n-1].Parents().Equal(to.Key()) {
		ev.Head = to // the target lies below our head
	}
	if current != nil || ev.Head == nil || !ev.Head.Equal(to) {
		return Event{}, fmt.Errorf("reconcile the head from height %d to %d: the path of the node does not end there", from.Height,
			to.Height)
	}
	return ev, nil
}

func (f *Follower) publish(ev Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head, f.seen = ev.Head, time.Now()
	for s := range f.subs {
		s.push(ev, f.cfg.MaxPending)
	}
}

// WaitHeight returns the first head at or above the height. It says nothing
// of whether that head stays.
func (f *Follower) WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error) {
	if ts := f.Head(); ts != nil && ts.Height >= h {
		return ts, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for ev := range f.Subscribe(ctx) {
		if ev.Head.Height >= h {
			return ev.Head, nil
		}
	}
	return nil, fmt.Errorf("wait for height %d: %w", h, context.Cause(ctx))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
