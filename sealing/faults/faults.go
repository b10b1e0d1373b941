package faults

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// Config of a Book.
type Config struct {
	Miner address.Address
	Every abi.ChainEpoch // between looks; 0 = 10
}

// Chain is what a Book reads from a full node.
type Chain interface {
	StateMinerFaults(ctx context.Context, a address.Address, tsk api.TipSetKey) (bitfield.BitField, error)
	StateMinerDeadlines(ctx context.Context, a address.Address, tsk api.TipSetKey) ([]api.Deadline, error)
	StateMinerProvingDeadline(ctx context.Context, a address.Address, tsk api.TipSetKey) (*dline.Info, error)
	StateMinerPartitions(ctx context.Context, a address.Address, deadline uint64, tsk api.TipSetKey) ([]api.Partition, error)
}

// Heads is the clock.
type Heads interface {
	WaitHeight(ctx context.Context, epoch abi.ChainEpoch) (*api.TipSet, error)
}

// Deps of a Book; all but Proofs and Log are needed.
type Deps struct {
	Store datastore.Batching // a prefix of its own
	Chain Chain
	Heads Heads
	// Proofs tells how the last window PoSts went; nil: the reason stays unknown.
	Proofs func(ctx context.Context) (api.ProvingStatus, error)
	Log    *slog.Logger
}

// Book is the list of faulty sectors.
type Book struct {
	cfg  Config
	deps Deps

	state state // only Run's

	mu  sync.Mutex
	now []api.ChainFault // of the last look, by number
}

// state is what outlives the process.
type state struct {
	Looked bool // at least once, ever
	Seen   map[abi.SectorNumber]seen
}

type seen struct {
	Since   abi.ChainEpoch
	Time    time.Time
	Earlier bool   `json:",omitempty"`
	Why     string `json:",omitempty"`
}

var key = datastore.NewKey("/seen")

// New reads what earlier runs have seen.
func New(ctx context.Context, cfg Config, deps Deps) (*Book, error) {
	if deps.Store == nil || deps.Chain == nil || deps.Heads == nil {
		return nil, errors.New("faults: incomplete dependencies")
	}
	if cfg.Every <= 0 {
		cfg.Every = 10
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	b := &Book{cfg: cfg, deps: deps}
	raw, err := deps.Store.Get(ctx, key)
	switch {
	case errors.Is(err, datastore.ErrNotFound):
	case err != nil:
		return nil, fmt.Errorf("faults: read what was seen: %w", err)
	default:
		if err := json.Unmarshal(raw, &b.state); err != nil {
			// It is derived: a new look finds all but the time.
			deps.Log.Warn("what was known of faulty sectors cannot be read and is looked up anew", "error", err)
			b.state = state{}
		}
	}
	if b.state.Seen == nil {
		b.state.Seen = map[abi.SectorNumber]seen{}
	}
	return b, nil
}

// Run looks until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	next := abi.ChainEpoch(0)
	for {
		head, err := b.deps.Heads.WaitHeight(ctx, next)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = b.look(ctx, head)
			next = head.Height + b.cfg.Every
		}
		if err != nil && ctx.Err() == nil {
			b.deps.Log.Warn("cannot look for faulty sectors; the list is as of the last look", "error", err)
		}
	}
}

// List is what was faulty at the last look, by number.
func (b *Book) List() []api.ChainFault {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.now)
}

// Fault is that of one sector, nil when it had none at the last look.
func (b *Book) Fault(n abi.SectorNumber) *api.ChainFault {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, ok := slices.BinarySearchFunc(b.now, n, func(f api.ChainFault, n abi.SectorNumber) int { return cmp.Compare(f.Sector, n) })
	if !ok {
		return nil
	}
	f := b.now[i]
	return &f
}

func (b *Book) look(ctx context.Context, head *api.TipSet) error {
	found, err := b.read(ctx, head)
	if err != nil {
		return err
	}
	period, proofs, err := b.context(ctx, head, len(found) > 0)
	if err != nil {
		return err
	}
	next := state{Looked: true, Seen: map[abi.SectorNumber]seen{}}
	for i := range found {
		f := &found[i]
		old, known := b.state.Seen[f.Sector]
		if !known {
			old = seen{Since: head.Height, Time: time.Now(), Earlier: !b.state.Looked}
			if !old.Earlier && declared(f.Deadline, period, b.cfg.Every) {
				old.Why = whyDeclared
			}
		}
		if why := reason(*f, proofs); why != "" {
			old.Why = why
		}
		next.Seen[f.Sector] = old
		f.Since, f.Time, f.Earlier = old.Since, old.Time, old.Earlier
		f.Why, f.Do = explain(*f, old.Why)
		if !known {
			b.deps.Log.Warn("sector is faulty", "sector", f.Sector, "deadline", f.Deadline, "since", f.Since, "why", f.Why, "do", f.Do)
		}
	}
	if err := b.save(ctx, next); err != nil {
		return err
	}
	b.state = next
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = found
	return nil
}

// context is what the reasons are read from, asked only where something is
// faulty. That the proofs cannot be asked about hides no fault.
func (b *Book) context(ctx context.Context, head *api.TipSet, any bool) (*dline.Info, api.ProvingStatus, error) {
	if !any {
		return nil, api.ProvingStatus{}, nil
	}
	period, err := b.deps.Chain.StateMinerProvingDeadline(ctx, b.cfg.Miner, head.Key())
	if err != nil {
		return nil, api.ProvingStatus{}, fmt.Errorf("ask for the proving period of %s: %w", b.cfg.Miner, err)
	}
	if b.deps.Proofs == nil {
		return period, api.ProvingStatus{}, nil
	}
	proofs, err := b.deps.Proofs(ctx)
	if err != nil {
		b.deps.Log.Warn("the reasons of faults are not known: how the last proofs went cannot be asked", "error", err)
		return period, api.ProvingStatus{}, nil
	}
	return period, proofs, nil
}

// read asks for the faults and, only where there are any, for their places.
func (b *Book) read(ctx context.Context, head *api.TipSet) ([]api.ChainFault, error) {
	bits, err := b.deps.Chain.StateMinerFaults(ctx, b.cfg.Miner, head.Key())
	if err != nil {
		return nil, fmt.Errorf("ask for the faults of %s: %w", b.cfg.Miner, err)
	}
	if empty, err := bits.IsEmpty(); err != nil || empty {
		return nil, err
	}
	deadlines, err := b.deps.Chain.StateMinerDeadlines(ctx, b.cfg.Miner, head.Key())
	if err != nil {
		return nil, fmt.Errorf("ask for the deadlines of %s: %w", b.cfg.Miner, err)
	}
	var out []api.ChainFault
	for d := range uint64(len(deadlines)) {
		parts, err := b.deps.Chain.StateMinerPartitions(ctx, b.cfg.Miner, d, head.Key())
		if err != nil {
			return nil, fmt.Errorf("ask for the partitions of deadline %d: %w", d, err)
		}
		for i, p := range parts {
			if out, err = faultsOf(out, p, d, uint64(i)); err != nil { //nolint:gosec // not negative
				return nil, fmt.Errorf("read partition %d of deadline %d: %w", i, d, err)
			}
		}
	}
	slices.SortFunc(out, func(a, b api.ChainFault) int { return cmp.Compare(a.Sector, b.Sector) })
	return out, nil
}

func faultsOf(out []api.ChainFault, p api.Partition, deadline, index uint64) ([]api.ChainFault, error) {
	err := p.FaultySectors.ForEach(func(n uint64) error {
		recovering, err := p.RecoveringSectors.IsSet(n)
		out = append(out, api.ChainFault{Sector: abi.SectorNumber(n), Deadline: deadline, Partition: index, Recovering: recovering})
		return err
	})
	return out, err
}

// save writes only what changed.
func (b *Book) save(ctx context.Context, next state) error {
	raw, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode the faulty sectors: %w", err)
	}
	old, err := json.Marshal(b.state)
	if err == nil && string(old) == string(raw) {
		return nil
	}
	if err := b.deps.Store.Put(ctx, key, raw); err != nil {
		return fmt.Errorf("write the faulty sectors: %w", err)
	}
	return b.deps.Store.Sync(ctx, key)
}
