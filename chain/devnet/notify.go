package devnet

import (
	"context"
	"log/slog"
	"sync"

	"quarry/api"
)

// notifyBuffer is how far a subscriber of head changes may fall behind before it
// is cut off (lotus chain/store).
const notifyBuffer = 16

// feed fans values out to subscribers, each with a buffer of its own. Who does not
// keep up is cut off: nothing waits for a reader.
type feed[T any] struct {
	what   string // in the log
	buffer int
	log    *slog.Logger
	mu     sync.Mutex
	closed bool
	subs   map[*subscriber[T]]struct{}
}

type subscriber[T any] struct {
	ch     chan T
	unhook func() bool // from its context
}

func newFeed[T any](what string, buffer int, log *slog.Logger) *feed[T] {
	return &feed[T]{what: what, buffer: buffer, log: log, subs: map[*subscriber[T]]struct{}{}}
}

// subscribe starts with what first gives, if anything. The channel closes when ctx
// ends, when the node stops, or when the reader is too slow.
func (f *feed[T]) subscribe(ctx context.Context, first func() T) <-chan T {
	s := &subscriber[T]{ch: make(chan T, f.buffer)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if first != nil {
		s.ch <- first()
	}
	if f.closed {
		close(s.ch)
		return s.ch
	}
	f.subs[s] = struct{}{}
	s.unhook = context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.remove(s)
	})
	return s.ch
}

// remove closes a subscription; the caller holds the lock.
func (f *feed[T]) remove(s *subscriber[T]) {
	if _, ok := f.subs[s]; ok {
		delete(f.subs, s)
		close(s.ch)
		s.unhook()
	}
}

func (f *feed[T]) send(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		select {
		case s.ch <- v:
		default:
			f.log.Warn("closing " + f.what + " subscription due to slow reader")
			f.remove(s)
		}
	}
}

// heard tells whether anybody listens.
func (f *feed[T]) heard() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subs) > 0
}

func (f *feed[T]) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for s := range f.subs {
		f.remove(s)
	}
}

func (f *feed[T]) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// notifier fans head changes out.
type notifier struct{ *feed[[]*api.HeadChange] }

func newNotifier(log *slog.Logger) *notifier {
	return &notifier{newFeed[[]*api.HeadChange]("head change", notifyBuffer, log)}
}

// subscribe starts with the current head.
func (n *notifier) subscribe(ctx context.Context, head func() *api.TipSet) <-chan []*api.HeadChange {
	return n.feed.subscribe(ctx, func() []*api.HeadChange {
		return []*api.HeadChange{{Type: api.HeadCurrent, Val: head()}}
	})
}

func (n *notifier) send(revert, apply []*api.TipSet) {
	var change []*api.HeadChange
	for _, ts := range revert {
		change = append(change, &api.HeadChange{Type: api.HeadRevert, Val: ts})
	}
	for _, ts := range apply {
		change = append(change, &api.HeadChange{Type: api.HeadApply, Val: ts})
	}
	n.feed.send(change)
}
