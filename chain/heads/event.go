package heads

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// Event is what happened to the head since the previous event of the same
// subscription: Reverts left it (newest first), then Applies joined it
// (oldest first). Head is the head after all of it, never nil. The first event
// has the head alone, as an apply: what came before it the reader has to know or
// to ask.
//
// An event tells either everything or, with Gap, nothing but the head.
type Event struct {
	Reverts []*api.TipSet
	Applies []*api.TipSet
	Head    *api.TipSet
	// Gap says that tipsets are missing, because the reader was too slow or because
	// the node replaced its chain. Reverts and Applies are empty then: whoever goes
	// by them has missed something, at any height, and must read the state at Head
	// again. Kept asks the right question in both cases.
	Gap bool
}

// Kept tells whether the event proves that the chain up to and including height h
// is what it was before. After a gap it proves nothing.
func (e Event) Kept(h abi.ChainEpoch) bool { return !e.Gap && e.RevertedTo() > h }

// RevertedTo is the lowest height that was reverted, as far as the event knows: 0
// after a gap, when any height may have been, and a height above all others when
// nothing was reverted.
func (e Event) RevertedTo() abi.ChainEpoch {
	if e.Gap {
		return 0
	}
	low := abi.ChainEpoch(math.MaxInt64)
	for _, ts := range e.Reverts {
		low = min(low, ts.Height)
	}
	return low
}

// split sorts a notification into an event. current is set when the list is
// the opening word of a subscription. Head stays nil when nothing was applied.
func split(changes []*api.HeadChange) (ev Event, current *api.TipSet, err error) {
	for _, c := range changes {
		if c == nil || !usable(c.Val) {
			return Event{}, nil, fmt.Errorf("the node sent a head change without a tipset")
		}
		switch c.Type {
		case api.HeadCurrent:
			ev, current = Event{}, c.Val
		case api.HeadRevert:
			ev.revert(c.Val)
		case api.HeadApply:
			ev.apply(c.Val)
			if current != nil {
				current = c.Val
			}
		default:
			return Event{}, nil, fmt.Errorf("the node sent a head change of unknown type %q", c.Type)
		}
	}
	if n := len(ev.Applies); n > 0 {
		ev.Head = ev.Applies[n-1]
	}
	return ev, current, nil
}

func usable(ts *api.TipSet) bool {
	return ts != nil && len(ts.Cids) > 0 && len(ts.Blocks) == len(ts.Cids) && !slices.Contains(ts.Blocks, nil)
}

// continues tells whether ev starts at head.
func continues(head *api.TipSet, ev Event) bool {
	if head == nil {
		return false
	}
	base := head.Key()
	if len(ev.Reverts) > 0 {
		if !ev.Reverts[0].Equal(head) {
			return false
		}
		base = ev.Reverts[len(ev.Reverts)-1].Parents()
	}
	return len(ev.Applies) > 0 && ev.Applies[0].Parents().Equal(base)
}

// revert takes a tipset off; one applied by the same event simply vanishes.
func (e *Event) revert(ts *api.TipSet) {
	if n := len(e.Applies); n > 0 && e.Applies[n-1].Equal(ts) {
		e.Applies = e.Applies[:n-1]
		return
	}
	e.Reverts = append(e.Reverts, ts)
}

// apply puts a tipset on; one reverted last by the same event is back.
func (e *Event) apply(ts *api.TipSet) {
	if n := len(e.Reverts); len(e.Applies) == 0 && n > 0 && e.Reverts[n-1].Equal(ts) {
		e.Reverts = e.Reverts[:n-1]
		return
	}
	e.Applies = append(e.Applies, ts)
}

// gapTo is an event that knows nothing but the head.
func gapTo(head *api.TipSet) Event { return Event{Head: head, Gap: true} }

// merge folds a later event into e. More than limit tipsets a side are a gap.
func (e *Event) merge(o Event, limit int) {
	if e.Gap || o.Gap {
		*e = gapTo(o.Head)
		return
	}
	e.Reverts, e.Applies = slices.Clone(e.Reverts), slices.Clone(e.Applies)
	for _, ts := range o.Reverts {
		e.revert(ts)
	}
	for _, ts := range o.Applies {
		e.apply(ts)
	}
	e.Head = o.Head
	if len(e.Applies) > limit || len(e.Reverts) > limit {
		*e = gapTo(o.Head)
	}
}

// subscriber holds at most one event that its reader has not taken yet.
// Guarded by Follower.mu.
type subscriber struct {
	pending *Event
	wake    chan struct{} // capacity 1
}

func (s *subscriber) push(ev Event, limit int) {
	if s.pending == nil {
		s.pending = &Event{Reverts: slices.Clone(ev.Reverts), Applies: slices.Clone(ev.Applies), Head: ev.Head, Gap: ev.Gap}
	} else {
		s.pending.merge(ev, limit)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Subscribe gives the events from now on, the first being the head already
// known, if any, as an apply. The channel closes when ctx ends. A reader that
// lags gets one event for all it missed.
func (f *Follower) Subscribe(ctx context.Context) <-chan Event {
	s := &subscriber{wake: make(chan struct{}, 1)}
	f.mu.Lock()
	if f.head != nil {
		s.push(Event{Applies: []*api.TipSet{f.head}, Head: f.head}, f.cfg.MaxPending)
	}
	f.subs[s] = struct{}{}
	f.mu.Unlock()
	out := make(chan Event)
	go f.serve(ctx, s, out)
	return out
}

// serve moves pending events to the reader until ctx ends.
func (f *Follower) serve(ctx context.Context, s *subscriber, out chan<- Event) {
	defer close(out)
	defer func() {
		f.mu.Lock()
		delete(f.subs, s)
		f.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		if !f.deliver(ctx, s, out) {
			return
		}
	}
}

// deliver offers the pending event and, while the reader is busy, replaces it
// by what it grew into.
func (f *Follower) deliver(ctx context.Context, s *subscriber, out chan<- Event) bool {
	for {
		f.mu.Lock()
		ev := s.pending
		s.pending = nil
		f.mu.Unlock()
		if ev == nil {
			return true
		}
		select {
		case out <- *ev:
			return true
		case <-ctx.Done():
			return false
		case <-s.wake:
			f.mu.Lock()
			if s.pending != nil {
				ev.merge(*s.pending, f.cfg.MaxPending)
			}
			s.pending = ev
			f.mu.Unlock()
		}
	}
}
