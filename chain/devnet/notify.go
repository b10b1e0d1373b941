package devnet

import (
	"context"
	"log/slog"
	"sync"

	"quarry/api"
)

// notifyBuffer is how far a subscriber may fall behind before it is cut off
// (lotus chain/store).
const notifyBuffer = 16

// notifier fans head changes out.
type notifier struct {
	log    *slog.Logger
	mu     sync.Mutex
	closed bool
	subs   map[*subscriber]struct{}
}

type subscriber struct {
	ch   chan []*api.HeadChange
	done chan struct{}
}

func newNotifier(log *slog.Logger) *notifier {
	return &notifier{log: log, subs: map[*subscriber]struct{}{}}
}

// subscribe starts with the current head. The channel closes when ctx ends,
// when the node stops, or when the reader is too slow.
func (n *notifier) subscribe(ctx context.Context, head func() *api.TipSet) <-chan []*api.HeadChange {
	s := &subscriber{ch: make(chan []*api.HeadChange, notifyBuffer), done: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	s.ch <- []*api.HeadChange{{Type: api.HeadCurrent, Val: head()}}
	if n.closed {
		close(s.ch)
		return s.ch
	}
	n.subs[s] = struct{}{}
	go func() {
		select {
		case <-ctx.Done():
			n.mu.Lock()
			n.remove(s)
			n.mu.Unlock()
		case <-s.done:
		}
	}()
	return s.ch
}

// remove closes a subscription; the caller holds the lock.
func (n *notifier) remove(s *subscriber) {
	if _, ok := n.subs[s]; ok {
		delete(n.subs, s)
		close(s.ch)
		close(s.done)
	}
}

func (n *notifier) send(revert, apply []*api.TipSet) {
	var change []*api.HeadChange
	for _, ts := range revert {
		change = append(change, &api.HeadChange{Type: api.HeadRevert, Val: ts})
	}
	for _, ts := range apply {
		change = append(change, &api.HeadChange{Type: api.HeadApply, Val: ts})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for s := range n.subs {
		select {
		case s.ch <- change:
		default:
			n.log.Warn("closing head change subscription due to slow reader")
			n.remove(s)
		}
	}
}

func (n *notifier) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for s := range n.subs {
		n.remove(s)
	}
}

func (n *notifier) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}
