package blocks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/mining/guard"
)

var lastKey = datastore.NewKey("/last")

// sentBlock is the newest block that was about to leave, kept whole: when its
// fate is unknown, or the node lost it in a crash, the very same block can be
// submitted again, while another one on the same parents would be a fault.
type sentBlock struct {
	Block    *api.BlockMsg
	Guarded  guard.Block
	Accepted bool // the node took it, and it was counted
}

func (p *Producer) loadLast(ctx context.Context) error {
	b, err := p.deps.Store.Get(ctx, lastKey)
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	var s sentBlock
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return fmt.Errorf("read the last block: %w", err)
	}
	if s.Block != nil && s.Block.Header != nil {
		p.last = &s
	}
	return nil
}

// keepLast replaces the memory on disk and in the process; nil forgets.
func (p *Producer) keepLast(ctx context.Context, s *sentBlock) error {
	if s == nil {
		s = &sentBlock{}
	}
	b, err := json.Marshal(s)
	if err == nil {
		err = p.deps.Store.Put(ctx, lastKey, b)
	}
	if err == nil {
		err = p.deps.Store.Sync(ctx, lastKey)
	}
	if err != nil {
		return fmt.Errorf("keep the last block: %w", err)
	}
	if p.last = s; s.Block == nil {
		p.last = nil
	}
	return nil
}

// release asks the guard, keeps the block, and submits it.
func (p *Producer) release(ctx context.Context, s *sentBlock) error {
	// From here on the steps belong together, whatever becomes of ctx.
	disk := context.WithoutCancel(ctx)
	before := p.last
	if err := p.keepLast(disk, s); err != nil {
		return err
	}
	if err := p.guard.Check(disk, s.Guarded); err != nil {
		return errors.Join(err, p.keepLast(disk, before))
	}
	return p.submit(ctx, s)
}

// submit gives the kept block to the node, for the first time or again.
func (p *Producer) submit(ctx context.Context, s *sentBlock) error {
	disk := context.WithoutCancel(ctx)
	err := p.deps.Chain.SyncSubmitBlock(ctx, s.Block)
	switch {
	case err == nil && s.Accepted:
		return nil
	case err == nil:
		s.Accepted = true
		return errors.Join(p.countWin(disk, s.Guarded.Cid), p.keepLast(disk, s))
	case p.neverLeft(err):
		return errors.Join(fmt.Errorf("block %s was refused: %w", s.Guarded.Cid, err), p.guard.Withdraw(disk, s.Guarded),
			p.keepLast(disk, nil))
	}
	return fmt.Errorf("submit block %s (its fate is unknown, it is kept): %w", s.Guarded.Cid, err)
}

// neverLeft tells whether an error proves that nobody else saw the block. Only
// the embedded devnet is trusted with that: it has no gossip, so a block it
// refused is gone. A real node may have published before it failed.
func (p *Producer) neverLeft(err error) bool {
	var away *api.ErrUnreachable
	return p.cfg.EpochWall != nil && !errors.As(err, &away) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// again submits the block that was already made on this base, if there is one:
// the head has not moved to it, so that the node may have lost it. done means
// that nothing new may be made on the base.
func (p *Producer) again(ctx context.Context, a attempt) (done bool, err error) {
	s := p.last
	if s == nil || !api.TipSetKey(s.Block.Header.Parents).Equal(a.base.Key()) {
		return false, nil
	}
	return true, p.submit(ctx, s)
}
