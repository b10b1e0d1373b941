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

// Node is the full node. It implements api.Chain, api.ChainTools, api.Node and
// api.Devnet.
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
	funds   *funds
	lists   chan struct{} // slots of calls that walk a whole tree of the state
	genesis *genesisMiner
	session uuid.UUID

	// tick serialises everything that moves the head.
	tick sync.Mutex
	// headAndPool is held to read the head's state together with the pool, and
	// exclusively while both change: between the two, an included message is
	// neither pending nor executed, and its nonce would look free.
	headAndPool sync.RWMutex

	mu         sync.Mutex
	epoch      abi.ChainEpoch // last closed epoch; epoch+1 is open
	epochMoved chan struct{}  // closed and replaced when epoch grows
	candidates []*api.BlockHeader
	closing    abi.ChainEpoch // the epoch whose candidates were taken last
	pushLocks  map[address.Address]*sync.Mutex
	pace       atomic.Int64 // nanoseconds
	paceMoved  chan struct{}
	warping    atomic.Bool

	// Set before Run, then owned by it.
	reach   abi.ChainEpoch // catchUp goes to here
	yielded bool           // to another miner, while catching up
	silent  bool           // no blocks came for a while
}

var (
	_ api.Chain      = (*Node)(nil)
	_ api.ChainTools = (*Node)(nil)
	_ api.Node       = (*Node)(nil)
	_ api.Devnet     = (*Node)(nil)
)

// New opens the chain that Init made.
func New(ctx context.Context, cfg Config, deps Deps) (*Node, error) {
	if deps.Store == nil || deps.Wallet == nil || deps.Engine == nil {
		return nil, errors.New("devnet: store, wallet and engine are needed")
	}
	n := &Node{
		cfg:        cfg,
		log:        deps.Log,
		ds:         deps.Store,
		wallet:     deps.Wallet,
		keys:       deps.Keys,
		session:    uuid.New(),
		lists:      make(chan struct{}, listSlots),
		epochMoved: make(chan struct{}),
		paceMoved:  make(chan struct{}, 1),
		pushLocks:  map[address.Address]*sync.Mutex{},
	}
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
	n.rewind()
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
	n.exec = &executor{
		engine: engine,
		l:      n.ledger,
		beacon: n.beacon,
		proofs: ver,
		params: &n.params,
		memo:   map[string]outcome{},
		faults: &faultChecker{workerAt: n.cons.worker},
	}
	n.cons.x = n.exec
	n.pool = newPool(n.ledger, n.log)
	n.funds = newFunds(n, n.ds)
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

// faucetKey signs what DevnetFund sends.
func (n *Node) faucetKey() address.Address { return n.params.Faucet }
