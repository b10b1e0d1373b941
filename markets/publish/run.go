package publish

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// Run sends batches until ctx ends, each on its own: one that waits for money,
// or is refused again and again, holds no other.
func (p *Publisher) Run(ctx context.Context) error {
	var t *timer // nil while no deal waits
	defer func() { t.stop() }()
	var work sync.WaitGroup
	defer work.Wait()
	for {
		cut := p.sendReady(ctx, &work, t.over())
		at, waiting := p.dueAt()
		if t != nil && (cut || !waiting || t.at != at) {
			t.stop()
			t = nil
		}
		if cut {
			continue
		}
		if waiting && t == nil {
			t = p.startTimer(ctx, at)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-t.due():
		}
	}
}

// sendReady begins at most one batch, and asks to be called again when it did.
func (p *Publisher) sendReady(ctx context.Context, work *sync.WaitGroup, due bool) (cut bool) {
	if ctx.Err() != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.takeResend(ctx, work) {
		return true
	}
	mine := p.cut(due)
	if len(mine) == 0 {
		return false
	}
	b := &batch{ID: uuid.NewString()}
	for _, w := range mine {
		b.Deals = append(b.Deals, w.entry)
		delete(p.alone, w.UUID)
	}
	if err := p.save(ctx, b); err != nil {
		answer(mine, result{err: err}, nil)
		return true
	}
	p.remember(b)
	p.unqueue(ctx, b)
	p.begin(ctx, work, b, mine)
	return true
}

// takeResend goes on with the batch of a deal that came back; p.mu is held.
func (p *Publisher) takeResend(ctx context.Context, work *sync.WaitGroup) bool {
	if len(p.resend) == 0 {
		return false
	}
	w := p.resend[0]
	p.resend = p.resend[1:]
	b := p.batches[p.byDeal[w.UUID]]
	if b == nil { // its batch dissolved meanwhile; due at once, it has waited before
		p.queue = append(p.queue, w)
		return true
	}
	if list, working := p.busy[b.ID]; working {
		p.busy[b.ID] = append(list, w)
		return true
	}
	p.begin(ctx, work, b, []*waiter{w})
	return true
}

// cut takes the deals of the next message from the queue, none when it is too
// early; p.mu is held.
func (p *Publisher) cut(due bool) (mine []*waiter) {
	for i, w := range p.queue {
		if p.alone[w.UUID] {
			p.queue = append(append([]*waiter(nil), p.queue[:i]...), p.queue[i+1:]...)
			return []*waiter{w}
		}
	}
	if len(p.queue) == 0 {
		p.flush = false
		return nil
	}
	if !due && !p.flush && len(p.queue) < p.cfg.MaxDeals {
		return nil
	}
	n := min(len(p.queue), p.cfg.MaxDeals)
	mine = p.queue[:n:n]
	p.queue = append([]*waiter(nil), p.queue[n:]...)
	return mine
}

// begin sends a batch beside the others; p.mu is held.
func (p *Publisher) begin(ctx context.Context, work *sync.WaitGroup, b *batch, mine []*waiter) {
	p.busy[b.ID] = mine
	work.Go(func() {
		var r result
		var failed map[api.UUID]error
		err := p.catch.Do("publishing batch "+b.ID, func() error {
			r, failed = p.send(ctx, b)
			return nil
		})
		if err != nil {
			r = result{err: &api.ErrBusy{What: "publishing", Reason: err.Error()}}
		}
		p.mu.Lock()
		list := p.busy[b.ID]
		delete(p.busy, b.ID)
		var split *splitError
		if errors.As(r.err, &split) { // each goes on its own, at once
			p.queue = append(p.queue, list...)
			list = nil
		}
		p.mu.Unlock()
		answer(list, r, failed)
		p.poke()
	})
}

func answer(list []*waiter, r result, failed map[api.UUID]error) {
	for _, w := range list {
		if e, ok := failed[w.UUID]; ok {
			w.done <- result{err: e}
		} else {
			w.done <- r
		}
	}
}

// send pushes a batch, trying again with growing pauses. failed holds deals
// that were taken out of the batch.
func (p *Publisher) send(ctx context.Context, b *batch) (result, map[api.UUID]error) {
	gap, failed := p.cfg.RetryGap, map[api.UUID]error{}
	var err error
	for i := range p.cfg.Attempts {
		if i > 0 {
			t := time.NewTimer(gap)
			select {
			case <-ctx.Done():
				t.Stop()
				return result{err: ctx.Err()}, failed
			case <-t.C:
			}
			gap *= 2
		}
		var c cid.Cid
		if c, err = p.attempt(ctx, b, failed); err == nil {
			return result{cid: c}, failed
		}
		if final(err) || ctx.Err() != nil {
			break // trying again at once would change nothing, or cost gas again
		}
		p.deps.Log.Warn("publishing deals failed", "batch", b.ID, "deals", len(b.Deals), "attempt", i+1, "error", err)
	}
	if ctx.Err() == nil && !final(err) && !api.IsTemporary(err) { // none of this is the deal's fault
		err = &api.ErrBusy{What: "publishing", Reason: err.Error()}
	}
	return result{err: fmt.Errorf("recoverable error to publish deal (retry it when the reason is gone): %w", err)}, failed
}

func final(err error) bool {
	var spent *escrowError
	var split *splitError
	return errors.Is(err, errEmpty) || errors.As(err, &spent) || errors.As(err, &split)
}
