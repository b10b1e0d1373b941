package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// Block is what the guard looks at.
type Block struct {
	Miner        address.Address
	Height       abi.ChainEpoch
	Parents      api.TipSetKey
	ParentHeight abi.ChainEpoch
	Cid          cid.Cid
}

// Fault names a consensus fault (actors miner, ReportConsensusFault).
type Fault string

// The three faults of a single miner.
const (
	DoubleFork     Fault = "double-fork mining"
	TimeOffset     Fault = "time-offset mining"
	ParentGrinding Fault = "parent grinding"
)

const (
	epochPrefix   = "/slashfilter/epoch"
	parentsPrefix = "/slashfilter/parents"
)

// RefusedError says that publishing a block would be a fault, and which
// earlier block bears witness.
type RefusedError struct {
	Fault   Fault
	Block   cid.Cid
	Witness cid.Cid
	Height  abi.ChainEpoch
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("block %s at height %d refused: %s, together with our block %s (it is not published; nothing needs "+
		"to be done)", e.Block, e.Height, e.Fault, e.Witness)
}

// Guard is safe for concurrent use.
type Guard struct {
	mu    sync.Mutex
	store datastore.Batching
}

// New opens the memory of the guard in a store.
func New(store datastore.Batching) *Guard { return &Guard{store: store} }

func epochKey(m address.Address, h abi.ChainEpoch) datastore.Key {
	return datastore.NewKey(fmt.Sprintf("%s/%s/%d", epochPrefix, m, h))
}

func parentsKey(m address.Address, parents api.TipSetKey) datastore.Key {
	return datastore.NewKey(fmt.Sprintf("%s/%s/%x", parentsPrefix, m, parents.Bytes()))
}

// Check refuses the block with a *RefusedError or writes it down. Only after
// nil may the block leave the process; it is on disk by then. The same block
// may be checked again.
func (g *Guard) Check(ctx context.Context, b Block) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.same(ctx, DoubleFork, epochKey(b.Miner, b.Height), b); err != nil {
		return err
	}
	if err := g.same(ctx, TimeOffset, parentsKey(b.Miner, b.Parents), b); err != nil {
		return err
	}
	if err := g.ownParent(ctx, b); err != nil {
		return err
	}
	// Parents first: a crash in between leaves the stricter half.
	for _, k := range []datastore.Key{parentsKey(b.Miner, b.Parents), epochKey(b.Miner, b.Height)} {
		if err := g.store.Put(ctx, k, b.Cid.Bytes()); err != nil {
			return fmt.Errorf("remember block %s at height %d: %w", b.Cid, b.Height, err)
		}
	}
	if err := g.store.Sync(ctx, datastore.NewKey("/slashfilter")); err != nil {
		return fmt.Errorf("flush the memory of block %s at height %d: %w", b.Cid, b.Height, err)
	}
	return nil
}

// Withdraw forgets a block that certainly nobody saw. Other blocks of the
// height or the parents are not touched. Never call it for a block whose fate
// is unknown.
func (g *Guard) Withdraw(ctx context.Context, b Block) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range []datastore.Key{epochKey(b.Miner, b.Height), parentsKey(b.Miner, b.Parents)} {
		c, found, err := g.get(ctx, k)
		if err != nil {
			return err
		}
		if !found || !c.Equals(b.Cid) {
			continue
		}
		if err := g.store.Delete(ctx, k); err != nil {
			return fmt.Errorf("withdraw block %s: %w", b.Cid, err)
		}
	}
	return g.store.Sync(ctx, datastore.NewKey("/slashfilter"))
}

// Mined tells whether a block of the miner at this height was ever let
// through.
func (g *Guard) Mined(ctx context.Context, m address.Address, h abi.ChainEpoch) (bool, error) {
	_, found, err := g.get(ctx, epochKey(m, h))
	return found, err
}

func (g *Guard) same(ctx context.Context, f Fault, k datastore.Key, b Block) error {
	other, found, err := g.get(ctx, k)
	if err != nil || !found || other.Equals(b.Cid) {
		return err
	}
	return &RefusedError{Fault: f, Block: b.Cid, Witness: other, Height: b.Height}
}

func (g *Guard) ownParent(ctx context.Context, b Block) error {
	own, found, err := g.get(ctx, epochKey(b.Miner, b.ParentHeight))
	if err != nil || !found {
		return err
	}
	for _, c := range b.Parents {
		if c.Equals(own) {
			return nil
		}
	}
	return &RefusedError{Fault: ParentGrinding, Block: b.Cid, Witness: own, Height: b.Height}
}

func (g *Guard) get(ctx context.Context, k datastore.Key) (cid.Cid, bool, error) {
	v, err := g.store.Get(ctx, k)
	if errors.Is(err, datastore.ErrNotFound) {
		return cid.Undef, false, nil
	}
	if err != nil {
		return cid.Undef, false, fmt.Errorf("read %s: %w", k, err)
	}
	c, err := cid.Cast(v)
	if err != nil {
		return cid.Undef, false, fmt.Errorf("the memory of mined blocks is damaged at %s: %w", k, err)
	}
	return c, true, nil
}
