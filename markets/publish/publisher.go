package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
	"quarry/internal/lifecycle"
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
	// Escrow sends AddBalance messages, under a fee limit of their own; nil: Msgs.
	Escrow Msgs
	Heads  Heads
	Log    *slog.Logger
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
	TopUp   abi.TokenAmount // escrow being added for it, attoFIL
	Rounds  int             `json:"Failed,omitempty"` // escrow messages that were executed
	Funded  bool            `json:",omitempty"`       // its collateral is set aside in the escrow
	Cid     *cid.Cid
	Settled bool // executed on chain, collateral locked or not needed
	Dead    bool `json:",omitempty"` // will publish nothing: its deals go on their own
}

// waiter is a deal that waits for its message.
type waiter struct {
	entry
	since abi.ChainEpoch // when it was queued first, maybe by an earlier run
	done  chan result    // buffered, one answer
}

type result struct {
	cid cid.Cid
	err error
}

// Publisher gathers and sends. Run must be running for Publish to return.
type Publisher struct {
	cfg   Config
	deps  Deps
	catch *lifecycle.Catcher

	mu      sync.Mutex
	batches map[string]*batch
	byDeal  map[api.UUID]string         // batch of a deal
	since   map[api.UUID]abi.ChainEpoch // of deals queued and in no batch
	queue   []*waiter                   // not in a batch yet
	resend  []*waiter                   // in a batch that has no CID yet
	busy    map[string][]*waiter        // batches being sent, and who waits for them
	alone   map[api.UUID]bool           // deals that share no message any more
	flush   bool
	wake    chan struct{} // capacity 1

	escrow sync.Mutex    // held from reading the balance to setting aside of it
	active chan struct{} // places for talking to the full node
}

// maxActive is how many batches talk to the full node at once. Those that wait
// for money do not count.
const maxActive = 8

func (c Config) withDefaults() Config {
	if c.MaxDeals == 0 {
		c.MaxDeals = 8
	}
	if c.Attempts == 0 {
		c.Attempts = 5
	}
	if c.RetryGap == 0 {
		c.RetryGap = time.Second
	}
	return c
}

// New reads the batches of earlier runs.
func New(ctx context.Context, cfg Config, deps Deps) (*Publisher, error) {
	cfg = cfg.withDefaults()
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Escrow == nil {
		deps.Escrow = deps.Msgs
	}
	p := &Publisher{
		cfg:     cfg,
		deps:    deps,
		catch:   lifecycle.NewCatcher(deps.Log),
		batches: map[string]*batch{},
		byDeal:  map[api.UUID]string{},
		since:   map[api.UUID]abi.ChainEpoch{},
		busy:    map[string][]*waiter{},
		alone:   map[api.UUID]bool{},
		wake:    make(chan struct{}, 1),
		active:  make(chan struct{}, maxActive),
	}
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
	p.readDead(ctx)
	return p, p.readQueued(ctx)
}

// remember indexes a batch; the deals of a dead one are in no batch.
func (p *Publisher) remember(b *batch) {
	p.batches[b.ID] = b
	if b.Dead {
		return
	}
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
	gone := func(o *waiter) bool { return o == w }
	p.queue, p.resend = slices.DeleteFunc(p.queue, gone), slices.DeleteFunc(p.resend, gone)
	for id, list := range p.busy {
		p.busy[id] = slices.DeleteFunc(list, gone)
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
