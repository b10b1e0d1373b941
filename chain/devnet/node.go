package devnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/chain/wallet"
)

// Config of a running node.
type Config struct {
	// Pace is the wall-clock time of an epoch; 0 closes epochs as fast as they
	// can be executed.
	Pace time.Duration
	// SectorDir holds the files of the genesis sectors, as Init made them.
	SectorDir string
	// Mine lets the genesis miner make blocks and prove its sectors.
	Mine bool
	// IdleEpochs is how many epochs the genesis miner leaves to others while
	// there is nothing to include, because each block costs a real proof; 0 and 1
	// mean that it tries every epoch.
	IdleEpochs abi.ChainEpoch
	// Shutdown is called by the Shutdown method; nil refuses it.
	Shutdown func()
}

// Deps are the collaborators. Log may be nil.
type Deps struct {
	Store  datastore.Batching // the chain, already initialised by Init
	Wallet *wallet.Wallet
	Engine Machines
	Keys   Keys // of Groth16 circuits; nil: the network takes vanilla proofs only
	Log    *slog.Logger
}

// Node is the full node. It implements api.Chain, api.Node and api.Devnet.
type Node struct {
	cfg     Config
	log     *slog.Logger
	ds      datastore.Batching
	params  Params
	blocks  *blocks
	keys    Keys
	ledger  *ledger
	exec    *executor
	cons    *consensus
	beacon  *beacon
	winning winningVerifier
	pool    *pool
	wallet  *wallet.Wallet
	notify  *notifier
	genesis *genesisMiner
	session uuid.UUID

	// tick serialises everything that moves the head.
	tick sync.Mutex

	mu         sync.Mutex
	epoch      abi.ChainEpoch // last closed epoch; epoch+1 is open
	epochMoved chan struct{}  // closed and replaced when epoch grows
	candidates []*api.BlockHeader
	closing    abi.ChainEpoch // the epoch whose candidates were taken last
	pushLocks  map[address.Address]*sync.Mutex
	pace       atomic.Int64 // nanoseconds
	paceMoved  chan struct{}
	warping    atomic.Bool
}

var (
	_ api.Chain  = (*Node)(nil)
	_ api.Node   = (*Node)(nil)
	_ api.Devnet = (*Node)(nil)
)

// New opens the chain that Init made.
func New(ctx context.Context, cfg Config, deps Deps) (*Node, error) {
	if deps.Store == nil || deps.Wallet == nil || deps.Engine == nil {
		return nil, errors.New("devnet: store, wallet and engine are needed")
	}
	n := &Node{cfg: cfg, log: deps.Log, ds: deps.Store, wallet: deps.Wallet, keys: deps.Keys, session: uuid.New(),
		epochMoved: make(chan struct{}), paceMoved: make(chan struct{}, 1), pushLocks: map[address.Address]*sync.Mutex{}}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.pace.Store(int64(cfg.Pace))
	raw, err := n.ds.Get(ctx, datastore.RawKey(recParams))
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, &api.ErrNotFound{What: "devnet chain", Hint: "initialise the repo first"}
	}
	if err != nil {
		return nil, fmt.Errorf("devnet: read parameters: %w", err)
	}
	if err := json.Unmarshal(raw, &n.params); err != nil {
		return nil, fmt.Errorf("devnet: decode parameters: %w", err)
	}
	n.assemble(deps.Engine)
	found, err := n.ledger.load(ctx)
	if err != nil || !found {
		return nil, fmt.Errorf("devnet: load chain: found %v: %w", found, err)
	}
	if err := n.loadEpoch(ctx); err != nil {
		return nil, err
	}
	if n.genesis, err = openGenesisMiner(n, cfg.SectorDir); err != nil {
		return nil, err
	}
	v, err := n.headView(ctx)
	if err != nil {
		return nil, fmt.Errorf("devnet: state after the head: %w", err)
	}
	if err := n.pool.load(ctx, func(a address.Address) (address.Address, error) { return v.accountKey(ctx, a) }); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *Node) assemble(engine Machines) {
	n.blocks = newBlocks(n.ds)
	n.ledger = newLedger(n.blocks, n.ds)
	n.beacon = newBeacon(n.params.BeaconKey)
	ver := newVerifier(n.blocks, n.keys, n.log)
	n.winning = ver
	n.cons = &consensus{l: n.ledger, beacon: n.beacon}
	n.exec = &executor{engine: engine, l: n.ledger, beacon: n.beacon, proofs: ver, params: &n.params,
		memo: map[string]outcome{}, faults: &faultChecker{workerAt: n.cons.worker}}
	n.cons.x = n.exec
	n.pool = newPool(n.ledger)
	n.notify = newNotifier(n.log)
}

func (n *Node) loadEpoch(ctx context.Context) error {
	n.epoch = n.ledger.Head().Height
	raw, err := n.ds.Get(ctx, datastore.RawKey(recEpoch))
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	if err != nil || len(raw) != 8 {
		return fmt.Errorf("devnet: read epoch (%d bytes): %w", len(raw), err)
	}
	var e abi.ChainEpoch
	for _, b := range raw {
		e = e<<8 | abi.ChainEpoch(b)
	}
	n.epoch = max(n.epoch, e)
	return nil
}

// Params gives the facts of the network.
func (n *Node) Params() Params { return n.params }

// Epoch is the last closed epoch: the head's height plus null rounds since.
func (n *Node) Epoch() abi.ChainEpoch {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.epoch
}

// waitEpoch returns when epoch e is open for blocks, that is when e-1 closed.
func (n *Node) waitEpoch(ctx context.Context, e abi.ChainEpoch) error {
	for {
		n.mu.Lock()
		now, moved := n.epoch, n.epochMoved
		n.mu.Unlock()
		if e <= now+1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
	}
}

// headView reads the state after the head.
func (n *Node) headView(ctx context.Context) (*view, error) {
	o, err := n.exec.after(ctx, n.ledger.Head())
	if err != nil {
		return nil, err
	}
	return n.ledger.view(ctx, o.State)
}

// nowView is headView with the null rounds since the head.
func (n *Node) nowView(ctx context.Context) (*view, error) {
	root, err := n.exec.advanceNulls(ctx, n.ledger.Head(), n.Epoch())
	if err != nil {
		return nil, err
	}
	return n.ledger.view(ctx, root)
}

// baseFee of blocks on top of ts.
func (n *Node) baseFee(ctx context.Context, ts *api.TipSet) (abi.TokenAmount, error) {
	var per [][]*api.Message
	for _, b := range ts.Blocks {
		ms, err := n.ledger.blockMessages(ctx, b)
		if err != nil {
			return big.Zero(), fmt.Errorf("base fee: %w", err)
		}
		var list []*api.Message
		for _, m := range ms {
			list = append(list, m.msg)
		}
		per = append(per, list)
	}
	return nextBaseFee(ts.Blocks[0].ParentBaseFee, per), nil
}

// Submit validates a block and makes it a candidate of the open epoch. A block
// for an epoch that already closed is taken only when it extends the head: then
// the round was null and no tipset is replaced.
func (n *Node) Submit(ctx context.Context, bm *api.BlockMsg) error {
	if bm == nil || bm.Header == nil {
		return &api.ErrInvalid{What: "block", Reason: "no header"}
	}
	h := bm.Header
	if open := n.Epoch() + 1; h.Height > open {
		return refuse(h, "the epoch is in the future, epoch %d is open", open)
	}
	if err := n.validate(ctx, bm); err != nil {
		return err
	}
	if n.Epoch()+1 == h.Height {
		err := n.accept(ctx, h)
		if !errors.Is(err, errClosed) {
			return err
		}
	}
	return n.submitLate(ctx, h)
}

// errClosed means that the epoch closed while a block was being looked at.
var errClosed = errors.New("the epoch is closed")

// accept makes a valid block a candidate of the open epoch.
func (n *Node) accept(ctx context.Context, h *api.BlockHeader) error {
	if err := n.storeHeader(ctx, h); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.Height != n.epoch+1 || h.Height <= n.closing {
		return errClosed
	}
	for _, c := range n.candidates {
		if c.Cid() == h.Cid() {
			return nil
		}
		if c.Miner == h.Miner {
			return refuse(h, "the miner already has block %s in this epoch", c.Cid())
		}
	}
	n.candidates = append(n.candidates, h)
	return nil
}

func (n *Node) storeHeader(ctx context.Context, h *api.BlockHeader) error {
	raw, err := h.Serialize()
	if err != nil {
		return fmt.Errorf("encode header: %w", err)
	}
	return n.blocks.Put(ctx, h.Cid(), raw)
}

func (n *Node) submitLate(ctx context.Context, h *api.BlockHeader) error {
	n.tick.Lock()
	defer n.tick.Unlock()
	head := n.ledger.Head()
	if hasCid(head.Cids, h.Cid()) {
		return nil
	}
	if !head.Key().Equal(h.Parents) {
		return refuse(h, "it came too late: the epoch closed, epoch %d is open and the head is at %d", n.Epoch()+1, head.Height)
	}
	if err := n.storeHeader(ctx, h); err != nil {
		return err
	}
	ts, err := api.NewTipSet([]*api.BlockHeader{h})
	if err != nil {
		return err
	}
	return n.setHead(ctx, ts, n.Epoch())
}

// setHead executes ts, commits it with everything it needs, and tells
// subscribers. The caller holds tick.
func (n *Node) setHead(ctx context.Context, ts *api.TipSet, epoch abi.ChainEpoch) error {
	old := n.ledger.Head()
	n.ledger.remember(ts)
	revert, apply, err := n.ledger.path(ctx, old, ts)
	if err != nil {
		return fmt.Errorf("path to the new head: %w", err)
	}
	recs := n.ledger.headRecords(ts, revert, apply)
	recs[recEpoch] = epochBytes(epoch)
	for _, a := range apply {
		o, err := n.exec.after(ctx, a)
		if err != nil {
			return err
		}
		k, v, err := n.exec.record(a, o)
		if err != nil {
			return err
		}
		recs[k] = v
	}
	if err := n.indexMessages(ctx, revert, apply, recs); err != nil {
		return err
	}
	if err := n.blocks.commit(ctx, recs); err != nil {
		return err
	}
	n.ledger.move(ts, revert, apply)
	n.moveEpoch(epoch)
	n.notify.send(revert, apply)
	return nil
}

func (n *Node) moveEpoch(epoch abi.ChainEpoch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if epoch > n.epoch {
		n.epoch = epoch
		close(n.epochMoved)
		n.epochMoved = make(chan struct{})
	}
}

// location says where a message is included.
type location struct {
	TipSet api.TipSetKey
	Height abi.ChainEpoch
	Index  int // among the receipts of the tipset
}

// indexMessages adds the records by which messages are found, and cleans the
// pool: what is included leaves it, what is reverted comes back.
func (n *Node) indexMessages(ctx context.Context, revert, apply []*api.TipSet, recs map[string][]byte) error {
	for _, ts := range revert {
		ms, err := n.ledger.tipsetMessages(ctx, ts)
		if err != nil {
			return err
		}
		for _, m := range ms {
			recs[recMsg+m.cid.String()] = nil
			if err := n.restoreMessage(ctx, m, recs); err != nil {
				return err
			}
		}
	}
	for _, ts := range apply {
		ms, err := n.ledger.tipsetMessages(ctx, ts)
		if err != nil {
			return err
		}
		if len(ms) == 0 {
			continue
		}
		v, err := n.ledger.view(ctx, ts.ParentState())
		if err != nil {
			return err
		}
		for i, m := range ms {
			raw, err := json.Marshal(location{ts.Key(), ts.Height, i})
			if err != nil {
				return err
			}
			recs[recMsg+m.cid.String()] = raw
			key, err := v.accountKey(ctx, m.msg.From)
			if err != nil {
				return err
			}
			recs[nonceKey(key, m.msg.Nonce)] = m.cid.Bytes()
			n.pool.drop(key, m.msg.Nonce+1, recs)
		}
	}
	return nil
}

// restoreMessage takes a message of a reverted block back into the pool. Blocks
// carry BLS messages without signatures; those that came through the pool are
// kept beside it, others cannot come back.
func (n *Node) restoreMessage(ctx context.Context, m included, recs map[string][]byte) error {
	s := m.signed
	if s == nil {
		raw, err := n.ds.Get(ctx, datastore.RawKey(recSigned+m.cid.String()))
		if errors.Is(err, datastore.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("signature of message %s: %w", m.cid, err)
		}
		if s, err = api.DecodeSignedMessage(raw); err != nil {
			return err
		}
	}
	v, err := n.headView(ctx)
	if err != nil {
		return err
	}
	key, err := v.accountKey(ctx, m.msg.From)
	if err != nil {
		return nil // the sender does not exist on the other branch
	}
	return n.pool.restore(key, s, recs)
}

func nonceKey(key address.Address, nonce uint64) string {
	return fmt.Sprintf("/nonce/%s/%d", key, nonce)
}

// faucetKey signs what DevnetFund sends.
func (n *Node) faucetKey() address.Address { return n.params.Faucet }
