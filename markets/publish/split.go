package publish

import (
	"context"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"quarry/api"
)

// splitError says that a batch was given up and its deals go on their own.
type splitError struct{ cause error }

func (e *splitError) Error() string { return "each deal is published on its own: " + e.cause.Error() }
func (e *splitError) Unwrap() error { return e.cause }

// refused deals with a message that the node tried and found to fail: nothing
// is on its way. Of several deals each gets a message of its own, so that the
// one at fault stands in nobody's way; one alone is tried by simulation again.
func (p *Publisher) refused(ctx context.Context, b *batch, cause error) error {
	if len(b.Deals) > 1 {
		p.deps.Log.Warn("a message of several deals is refused, each is published on its own", "batch", b.ID, "deals", len(b.Deals),
			"error", cause)
		if err := p.retire(ctx, b); err != nil {
			return err
		}
		return &splitError{cause}
	}
	if err := p.change(ctx, b, func(b *batch) { b.Checked = false }); err != nil {
		return err
	}
	return &api.ErrBusy{What: "publishing deal " + b.Deals[0].UUID.String(), Reason: cause.Error()}
}

// retire gives a batch up. Its record stays until none of its deals needs it:
// after a restart they still go on their own.
func (p *Publisher) retire(ctx context.Context, b *batch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.Dead {
		return nil
	}
	b.Dead, b.Settled = true, true
	if err := p.save(ctx, b); err != nil {
		b.Dead, b.Settled = false, false
		return err
	}
	for _, d := range b.Deals {
		if p.byDeal[d.UUID] == b.ID {
			delete(p.byDeal, d.UUID)
			p.alone[d.UUID] = true
		}
	}
	return nil
}

// detach takes one deal out of a batch whose message was executed without
// publishing it.
func (p *Publisher) detach(ctx context.Context, id api.UUID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.batches[p.byDeal[id]]
	if !ok {
		return nil
	}
	all := b.Deals
	rest := slices.DeleteFunc(slices.Clone(all), func(d entry) bool { return d.UUID == id })
	if b.Deals = rest; len(rest) == 0 {
		if err := p.remove(ctx, b); err != nil {
			return err
		}
	} else if err := p.save(ctx, b); err != nil {
		b.Deals = all
		return err
	}
	delete(p.byDeal, id)
	p.alone[id] = true
	return nil
}

// readDead finds the deals that share no message any more, and clears away dead
// batches whose deals are all in others.
func (p *Publisher) readDead(ctx context.Context) {
	for _, b := range p.batches {
		if !b.Dead {
			continue
		}
		left := false
		for _, d := range b.Deals {
			if _, in := p.byDeal[d.UUID]; !in {
				p.alone[d.UUID], left = true, true
			}
		}
		if left {
			continue
		}
		if err := p.remove(ctx, b); err != nil {
			p.deps.Log.Warn("cannot forget a batch that was given up", "batch", b.ID, "error", err)
		}
	}
}

// cidOf is the message that a deal is in; ok is false before there is one.
func (p *Publisher) cidOf(id api.UUID) (c cid.Cid, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, in := p.batches[p.byDeal[id]]; in && b.Cid != nil {
		return *b.Cid, true
	}
	return cid.Undef, false
}

// giveUp frees a deal from the message c, which did not publish it: of a message
// that failed as a whole all deals are freed. A deal that is in another message
// by now was freed before.
func (p *Publisher) giveUp(ctx context.Context, id api.UUID, c cid.Cid, whole bool) error {
	p.mu.Lock()
	b, ok := p.batches[p.byDeal[id]]
	ok = ok && b.Cid != nil && *b.Cid == c
	p.mu.Unlock()
	switch {
	case !ok:
		return nil
	case whole:
		if err := p.retire(ctx, b); err != nil {
			return fmt.Errorf("give up publish batch %s: %w", b.ID, err)
		}
		return nil
	}
	if err := p.detach(ctx, id); err != nil {
		return fmt.Errorf("take deal %s out of publish batch %s: %w", id, b.ID, err)
	}
	return nil
}
