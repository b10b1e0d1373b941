package devnet

import (
	"context"
	"errors"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// warpBlockEvery makes a block at least so often while warping, because each
// header carries the beacon entries of all rounds since its parent.
const warpBlockEvery = 256

// DevnetWarp runs epochs back to back; see api.Devnet.
func (n *Node) DevnetWarp(ctx context.Context, count abi.ChainEpoch, allowMissed bool) (abi.ChainEpoch, error) {
	if count < 0 {
		return n.Epoch(), &api.ErrInvalid{What: "warp", Reason: "the number of epochs is negative"}
	}
	if !n.warping.CompareAndSwap(false, true) {
		return n.Epoch(), &api.ErrBusy{What: "warp", Reason: "another warp is running"}
	}
	defer n.warping.Store(false)
	w := warp{n: n}
	target := n.Epoch() + count
	for n.Epoch() < target {
		if err := ctx.Err(); err != nil {
			return n.Epoch(), err
		}
		next := n.Epoch() + 1
		own, stop, err := w.look(ctx, next, allowMissed)
		if err != nil || stop {
			return n.Epoch(), err
		}
		mine := own || next == target || next-n.ledger.Head().Height >= warpBlockEvery || len(n.pool.senders()) > 0
		if own {
			if err := n.genesis.prove(ctx); err != nil {
				n.log.Error("the genesis miner could not prove", "epoch", next, "err", err)
			}
		}
		if err := n.closeEpoch(ctx, mine); err != nil {
			return n.Epoch(), err
		}
	}
	// Close what the last null rounds left in memory.
	if err := n.blocks.commit(ctx, map[string][]byte{recEpoch: epochBytes(n.Epoch())}); err != nil {
		return n.Epoch(), err
	}
	return n.Epoch(), nil
}

// warp knows up to which epoch there is nothing to look at.
type warp struct {
	n     *Node
	quiet abi.ChainEpoch // nobody has to act before this one, unless a message comes
}

// look tells whether the genesis miner owes a proof in an epoch, and whether
// another miner must act, for which the warp stops.
func (w *warp) look(ctx context.Context, next abi.ChainEpoch, allowMissed bool) (own, stop bool, err error) {
	n := w.n
	if next < w.quiet && len(n.pool.senders()) == 0 {
		return false, false, nil
	}
	if !allowMissed {
		if stop, err = n.mustAct(ctx, next); stop || err != nil {
			return false, stop, err
		}
	}
	if own, err = n.genesis.due(ctx, next); err != nil {
		return false, false, err
	}
	n.genesis.mend(ctx, next)
	w.quiet = 0
	if !own && len(n.pool.senders()) == 0 {
		w.quiet, err = n.nextAct(ctx, next)
	}
	return own, false, err
}

// catchUp runs the rounds again that were null when the node was stopped, up to
// the epoch it had reached, as a warp does: back to back, with a block of the
// genesis miner in each of its deadlines. It stops for a while, and goes on at the
// next epoch, when another miner must prove something.
func (n *Node) catchUp(ctx context.Context) {
	if n.Epoch() >= n.reach {
		return
	}
	_, err := n.DevnetWarp(ctx, n.reach-n.Epoch(), false)
	var busy *api.ErrBusy
	switch {
	case ctx.Err() != nil || errors.As(err, &busy):
		return
	case err != nil:
		n.log.Error("the chain cannot catch up by itself; epochs go on at their pace", "epoch", n.Epoch(), "up to", n.reach, "err", err)
		n.reach = 0
		return
	}
	if n.Epoch() >= n.reach {
		n.log.Info("the chain has caught up", "epoch", n.Epoch())
		return
	}
	if !n.yielded {
		n.yielded = true
		n.log.Info("the chain catches up at its pace while another miner has to prove its sectors", "epoch", n.Epoch(), "up to", n.reach)
	}
}

// rewind prepares catchUp when the node starts: null rounds that nobody built on
// bind nobody, and passing over the genesis miner's deadlines would take away its
// power, without which there may be nobody left to make blocks.
func (n *Node) rewind() {
	head := n.ledger.Head().Height
	if !n.cfg.Mine || n.epoch-head <= max(n.cfg.IdleEpochs, warpBlockEvery) {
		return
	}
	n.reach, n.epoch = n.epoch, head
	n.log.Info("the chain catches up: no block was made for a long time before the stop", "from", head, "up to", n.reach)
}
