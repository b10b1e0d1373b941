package publish

import (
	"context"
	"fmt"
	"strconv"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

// When a deal was queued is written down under /queued/<uuid> as a decimal
// epoch, until the deal is in a batch: a process that is restarted more often
// than the period lasts would otherwise never publish anything.

func queuedKey(id api.UUID) datastore.Key { return datastore.NewKey("/queued/" + id.String()) }

// readQueued loads the queueing times left by earlier runs. One whose batch was
// written just before a crash is cleared away.
func (p *Publisher) readQueued(ctx context.Context) error {
	res, err := p.deps.Store.Query(ctx, query.Query{Prefix: "/queued"})
	if err != nil {
		return fmt.Errorf("read queued deals: %w", err)
	}
	defer res.Close()
	for e := range res.Next() {
		if e.Error != nil {
			return fmt.Errorf("read queued deals: %w", e.Error)
		}
		id, err := uuid.Parse(datastore.RawKey(e.Key).BaseNamespace())
		if err != nil {
			return fmt.Errorf("decode %s: %w", e.Key, err)
		}
		at, err := strconv.ParseInt(string(e.Value), 10, 64)
		if err != nil {
			return fmt.Errorf("decode %s: %w", e.Key, err)
		}
		p.since[id] = abi.ChainEpoch(at)
	}
	for _, b := range p.batches {
		p.unqueue(ctx, b)
	}
	return nil
}

// queuedSince is the epoch a deal was queued at first; p.mu is held.
func (p *Publisher) queuedSince(ctx context.Context, id api.UUID, now abi.ChainEpoch) (abi.ChainEpoch, error) {
	if at, ok := p.since[id]; ok {
		return at, nil
	}
	key := queuedKey(id)
	if err := p.deps.Store.Put(ctx, key, strconv.AppendInt(nil, int64(now), 10)); err != nil {
		return 0, fmt.Errorf("write when deal %s was queued for publishing: %w", id, err)
	}
	if err := p.deps.Store.Sync(ctx, key); err != nil {
		return 0, fmt.Errorf("write when deal %s was queued for publishing: %w", id, err)
	}
	p.since[id] = now
	return now, nil
}

// unqueue forgets the queueing times of a batch's deals; p.mu is held. One that
// stays on disk is cleared away by the next start.
func (p *Publisher) unqueue(ctx context.Context, b *batch) {
	for _, d := range b.Deals {
		if _, ok := p.since[d.UUID]; !ok {
			continue
		}
		delete(p.since, d.UUID)
		if err := p.deps.Store.Delete(ctx, queuedKey(d.UUID)); err != nil {
			p.deps.Log.Warn("cannot forget when a published deal was queued", "deal", d.UUID, "error", err)
		}
	}
}

// dueAt is the epoch at which the deal that waits longest must be published.
func (p *Publisher) dueAt() (at abi.ChainEpoch, waiting bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.queue {
		if due := w.since + p.cfg.Period; !waiting || due < at {
			at, waiting = due, true
		}
	}
	return at, waiting
}

// timer closes its channel when the chain has reached an epoch. A nil one never
// does.
type timer struct {
	at     abi.ChainEpoch
	closed chan struct{}
	ended  chan struct{}
	cancel context.CancelFunc
}

func (p *Publisher) startTimer(ctx context.Context, at abi.ChainEpoch) *timer {
	ctx, cancel := context.WithCancel(ctx)
	t := &timer{at: at, closed: make(chan struct{}), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(t.ended)
		err := p.catch.Do("waiting for an epoch", func() error {
			_, err := p.deps.Heads.WaitHeight(ctx, at)
			return err
		})
		if err == nil {
			close(t.closed)
		}
	}()
	return t
}

func (t *timer) due() chan struct{} {
	if t == nil {
		return nil
	}
	return t.closed
}

func (t *timer) over() bool {
	select {
	case <-t.due():
		return true
	default:
		return false
	}
}

// stop waits for the timer's goroutine.
func (t *timer) stop() {
	if t != nil {
		t.cancel()
		<-t.ended
	}
}
