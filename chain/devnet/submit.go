package devnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

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
	if err := n.commitHead(ctx, ts, revert, apply, recs); err != nil {
		return err
	}
	n.moveEpoch(epoch)
	n.notify.send(revert, apply)
	return nil
}

// commitHead moves the head and the pool as one step, on disk and in memory. On
// an error both are as before.
func (n *Node) commitHead(ctx context.Context, ts *api.TipSet, revert, apply []*api.TipSet, recs map[string][]byte) error {
	n.headAndPool.Lock()
	defer n.headAndPool.Unlock()
	undo, tell := n.pool.snapshot()
	if err := n.indexMessages(ctx, revert, apply, recs); err != nil {
		undo()
		return err
	}
	if err := n.blocks.commit(ctx, recs); err != nil {
		undo()
		return err
	}
	n.ledger.move(ts, revert, apply)
	tell()
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
