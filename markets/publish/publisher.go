package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

// Chain is what publishing reads.
type Chain interface {
	StateMinerInfo(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MinerInfo, error)
	StateMarketBalance(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MarketBalance, error)
	StateCall(ctx context.Context, msg *api.Message, tsk api.TipSetKey) (*api.InvocResult, error)
	ChainGetMessage(ctx context.Context, c cid.Cid) (*api.Message, error)
	StateMarketStorageDeal(ctx context.Context, id abi.DealID, tsk api.TipSetKey) (*api.MarketDeal, error)
	StateLookupID(ctx context.Context, a address.Address, tsk api.TipSetKey) (address.Address, error)
}

// Msgs sends messages by key: the same key gives the same message, also after
// a crash. Wait returns at the configured confidence.
type Msgs interface {
	Send(ctx context.Context, key string, m *api.Message) (cid.Cid, error)
	Wait(ctx context.Context, c cid.Cid) (*api.MsgLookup, error)
}

// Heads is the clock.
type Heads interface {
	Head() *api.TipSet
	WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error)
}

// Config of a Publisher.
type Config struct {
	Miner    address.Address // f0
	From     address.Address // worker or control; Undef: the worker of the miner
	Period   abi.ChainEpoch  // after the first deal queued; a restart does not start it again
	MaxDeals int             // per message, 0 = 8
	Attempts int             // to send one batch before its deals fail, 0 = 5
	RetryGap time.Duration   // first wait between attempts, doubled each time, 0 = 1 s
}

// Deps of a Publisher.
type Deps struct {
	Store datastore.Batching
	Chain Chain
	Msgs  Msgs
	Heads Heads
	Log   *slog.Logger
}

// entry is one deal of a batch.
type entry struct {
	UUID   api.UUID
	Signed []byte // CBOR of ClientDealProposal
}

// batch is one message; it is written before anything is sent.
type batch struct {
	ID      string
	Deals   []entry
	Checked bool            // simulated, membership is final
	TopUp   abi.TokenAmount // escrow added for it, attoFIL
	Failed  int             `json:",omitempty"` // escrow messages that failed on chain
	Cid     *cid.Cid
	Settled bool // executed on chain, collateral locked or not needed
}

// waiter is a deal that waits for its message.
type waiter struct {
	entry
	since abi.ChainEpoch // when it was queued first, maybe by an earlier run
	done  chan result
}

type result struct {
	cid cid.Cid
	err error
}

// Publisher gathers and sends. Run must be running for Publish to return.
type Publisher struct {
	cfg  Config
	deps Deps

	mu      sync.Mutex
	batches map[string]*batch
	byDeal  map[api.UUID]string         // batch of a deal
	since   map[api.UUID]abi.ChainEpoch // of deals queued and in no batch
	queue   []*waiter                   // not in a batch yet
	resend  []*waiter                   // in a batch that has no CID yet
	flush   bool
	wake    chan struct{} // capacity 1
}

// New reads the batches of earlier runs.
func New(ctx context.Context, cfg Config, deps Deps) (*Publisher, error) {
	if cfg.MaxDeals == 0 {
		cfg.MaxDeals = 8
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = 5
	}
	if cfg.RetryGap == 0 {
		cfg.RetryGap = time.Second
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	p := &Publisher{cfg: cfg, deps: deps, batches: map[string]*batch{}, byDeal: map[api.UUID]string{},
		since: map[api.UUID]abi.ChainEpoch{}, wake: make(chan struct{}, 1)}
	res, err := deps.Store.Query(ctx, query.Query{Prefix: "/batch"})
	if err != nil {
		return nil, fmt.Errorf("read publish batches: %w", err)
	}
	defer res.Close()
	for e := range res.Next() {
		var b batch
		if e.Error != nil {
			return nil, fmt.Errorf("read publish batches: %w", e.Error)
		}
		if err := json.Unmarshal(e.Value, &b); err != nil {
			return nil, fmt.Errorf("decode %s: %w", e.Key, err)
		}
		p.remember(&b)
	}
	return p, p.readQueued(ctx)
}

func (p *Publisher) remember(b *batch) {
	p.batches[b.ID] = b
	for _, d := range b.Deals {
		p.byDeal[d.UUID] = b.ID
	}
}

func (p *Publisher) save(ctx context.Context, b *batch) error {
	raw, err := json.Marshal(b)
	if err != nil {
		return err
	}
	key := datastore.NewKey("/batch/" + b.ID)
	if err := p.deps.Store.Put(ctx, key, raw); err != nil {
		return fmt.Errorf("write publish batch %s: %w", b.ID, err)
	}
	return p.deps.Store.Sync(ctx, key)
}

// Publish waits until the deal's message is in the mempool and returns its CID.
// Asking again for a deal that was sent before returns the same CID.
func (p *Publisher) Publish(ctx context.Context, id api.UUID, signed []byte) (cid.Cid, error) {
	head := p.deps.Heads.Head()
	if head == nil { // just started
		var err error
		if head, err = p.deps.Heads.WaitHeight(ctx, 0); err != nil {
			return cid.Undef, err
		}
	}
	w := &waiter{entry: entry{UUID: id, Signed: signed}, done: make(chan result, 1)}
	p.mu.Lock()
	if b, ok := p.batches[p.byDeal[id]]; !ok {
		var err error
		if w.since, err = p.queuedSince(ctx, id, head.Height); err != nil {
			p.mu.Unlock()
			return cid.Undef, err
		}
		p.queue = append(p.queue, w)
	} else if b.Cid != nil {
		p.mu.Unlock()
		return *b.Cid, nil
	} else {
		p.resend = append(p.resend, w)
	}
	p.mu.Unlock()
	p.poke()
	select {
	case r := <-w.done:
		return r.cid, r.err
	case <-ctx.Done():
		p.forget(w)
		return cid.Undef, ctx.Err()
	}
}

func (p *Publisher) forget(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, list := range []*[]*waiter{&p.queue, &p.resend} {
		for i, o := range *list {
			if o == w {
				*list = append((*list)[:i:i], (*list)[i+1:]...)
				break
			}
		}
	}
}

func (p *Publisher) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Pending lists the deals that wait for a message.
func (p *Publisher) Pending() []api.UUID {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []api.UUID{}
	for _, w := range p.queue {
		out = append(out, w.UUID)
	}
	return out
}

// Flush sends what is queued without waiting for the period.
func (p *Publisher) Flush() {
	p.mu.Lock()
	p.flush = true
	p.mu.Unlock()
	p.poke()
}

// Run sends batches until ctx ends.
func (p *Publisher) Run(ctx context.Context) error {
	var t *timer // nil while no deal waits
	defer func() { t.stop() }()
	for {
		sent := p.sendReady(ctx, t.over())
		at, waiting := p.dueAt()
		if t != nil && (sent || !waiting || t.at != at) {
			t.stop()
			t = nil
		}
		if sent {
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

// sendReady sends at most one batch, and asks to be called again when it did.
func (p *Publisher) sendReady(ctx context.Context, due bool) (sent bool) {
	if ctx.Err() != nil {
		return false
	}
	b, waiters, err := p.cut(ctx, due)
	if b == nil && err == nil {
		return false
	}
	var r result
	failed := map[api.UUID]error{}
	if err == nil {
		r, failed = p.send(ctx, b)
	} else {
		r.err = err
	}
	for _, w := range waiters {
		if e, ok := failed[w.UUID]; ok {
			w.done <- result{err: e}
		} else {
			w.done <- r
		}
	}
	return true
}

// cut takes the next batch: one to resend, or the head of the queue.
func (p *Publisher) cut(ctx context.Context, due bool) (*batch, []*waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.resend) > 0 {
		b := p.batches[p.byDeal[p.resend[0].UUID]]
		var mine, rest []*waiter
		for _, w := range p.resend {
			if b != nil && p.byDeal[w.UUID] == b.ID {
				mine = append(mine, w)
			} else {
				rest = append(rest, w)
			}
		}
		if b == nil { // its batch dissolved meanwhile; due at once, it has waited before
			p.queue = append(p.queue, p.resend[0])
			p.resend = p.resend[1:]
			return nil, nil, nil
		}
		p.resend = rest
		return b, mine, nil
	}
	if len(p.queue) == 0 {
		p.flush = false
		return nil, nil, nil
	}
	if !due && !p.flush && len(p.queue) < p.cfg.MaxDeals {
		return nil, nil, nil
	}
	n := min(len(p.queue), p.cfg.MaxDeals)
	mine := p.queue[:n:n]
	p.queue = append([]*waiter(nil), p.queue[n:]...)
	b := &batch{ID: uuid.NewString()}
	for _, w := range mine {
		b.Deals = append(b.Deals, w.entry)
	}
	if err := p.save(ctx, b); err != nil {
		return nil, mine, err
	}
	p.remember(b)
	p.unqueue(ctx, b)
	return b, mine, nil
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
		var spent *escrowError
		if errors.Is(err, errEmpty) || errors.As(err, &spent) || ctx.Err() != nil {
			break // trying again at once would change nothing, or cost gas again
		}
		p.deps.Log.Warn("publishing deals failed", "batch", b.ID, "deals", len(b.Deals), "attempt", i+1, "error", err)
	}
	return result{err: fmt.Errorf("recoverable error to publish deal (retry it when the reason is gone): %w", err)}, failed
}
