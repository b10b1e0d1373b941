package devnet

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"golang.org/x/crypto/blake2b"

	"quarry/api"
)

// Run closes epochs until ctx ends. An error means that the chain cannot go on,
// for example because the disk is full.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var g sync.WaitGroup
	defer g.Wait()
	defer n.notify.close()
	defer n.pool.changes.close()
	defer cancel()
	if n.cfg.Mine {
		g.Go(func() { n.genesis.run(ctx) })
	}
	for {
		n.catchUp(ctx)
		n.tellSilence()
		opened := time.Now()
		if n.cfg.Mine && !n.warping.Load() && !n.idle(ctx) {
			if _, err := n.genesis.prepare(ctx, n.ledger.Head(), n.Epoch()+1); err != nil && ctx.Err() == nil {
				n.log.Error("the genesis miner failed", "epoch", n.Epoch()+1, "err", err)
			}
		}
		if err := n.waitSlot(ctx, opened); err != nil {
			return nil
		}
		if n.warping.Load() {
			continue
		}
		if err := n.closeEpoch(ctx, n.pressed(ctx) || !n.idle(ctx)); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("devnet: close epoch %d: %w", n.Epoch()+1, err)
		}
	}
}

// silentFrom is how many null rounds in a row are worth a line.
const silentFrom = 100

// idle tells whether the genesis miner may let the open epoch pass: nothing is
// pending, the head's messages (if any) were executed by a child already, and
// the last block is recent.
func (n *Node) idle(ctx context.Context) bool {
	head := n.ledger.Head()
	if n.Epoch()+1-head.Height >= n.cfg.IdleEpochs || len(n.pool.senders()) > 0 {
		return false
	}
	ms, err := n.ledger.tipsetMessages(ctx, head)
	return err == nil && len(ms) == 0
}

// tellSilence says once when blocks stay away, and once when they come again.
func (n *Node) tellSilence() {
	head := n.ledger.Head().Height
	switch since := n.Epoch() - head; {
	case since >= silentFrom && !n.silent:
		n.silent = true
		n.log.Warn("no miner makes blocks; the chain goes on with null rounds, and sectors that are not proven become faulty",
			"head", head, "epoch", n.Epoch(), "genesis miner at work", n.cfg.Mine)
	case since < silentFrom && n.silent:
		n.silent = false
		n.log.Info("blocks are made again", "head", head, "epoch", n.Epoch())
	}
}

// waitSlot lets one pace interval pass since the epoch opened, so that every
// miner has it whole, however long the last execution took.
func (n *Node) waitSlot(ctx context.Context, opened time.Time) error {
	// Without a pace, still leave submitters a moment.
	t := time.NewTimer(max(time.Until(opened.Add(time.Duration(n.pace.Load()))), time.Millisecond))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-n.paceMoved:
		return nil
	case <-t.C:
		return nil
	}
}

// closeEpoch ends the open epoch: the heaviest group of its blocks becomes the
// head, or the round is null. mine lets the genesis miner try.
func (n *Node) closeEpoch(ctx context.Context, mine bool) error {
	n.tick.Lock()
	defer n.tick.Unlock()
	epoch := n.Epoch() + 1
	head := n.ledger.Head()
	if mine && n.cfg.Mine {
		if err := n.genesis.attempt(ctx, head, epoch); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			n.log.Error("the genesis miner failed", "epoch", epoch, "err", err)
		}
	}
	n.mu.Lock()
	cands := n.candidates
	n.candidates = nil
	n.closing = epoch // a block that comes now is late, not early for the next epoch
	n.mu.Unlock()
	ts, err := n.heaviest(ctx, cands)
	if err != nil {
		return err
	}
	if ts == nil {
		return n.nullRound(ctx, head, epoch)
	}
	return n.setHead(ctx, ts, epoch)
}

// heaviest groups blocks by parents and picks the heaviest tipset that is
// heavier than the head; nil when there is none. Ties go to the smaller ticket.
func (n *Node) heaviest(ctx context.Context, cands []*api.BlockHeader) (*api.TipSet, error) {
	groups := map[string][]*api.BlockHeader{}
	for _, h := range cands {
		k := string(api.TipSetKey(h.Parents).Bytes())
		groups[k] = append(groups[k], h)
	}
	var best *api.TipSet
	bestWeight, err := n.cons.weight(ctx, n.ledger.Head())
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		ts, err := api.NewTipSet(g)
		if err != nil {
			return nil, err
		}
		w, err := n.cons.weight(ctx, ts)
		if err != nil {
			return nil, err
		}
		if c := big.Cmp(w, bestWeight); c > 0 || (c == 0 && best != nil && smallerTicket(ts, best)) {
			best, bestWeight = ts, w
		}
	}
	return best, nil
}

func smallerTicket(a, b *api.TipSet) bool {
	x, y := blake2b.Sum256(a.MinTicket().VRFProof), blake2b.Sum256(b.MinTicket().VRFProof)
	return bytes.Compare(x[:], y[:]) < 0
}

// How many null rounds are run again after a crash, at most: nothing that was
// acknowledged depends on them.
const (
	nullCommitEvery = 64 // while warping
	idleCommitEvery = 10
)

func (n *Node) nullRound(ctx context.Context, head *api.TipSet, epoch abi.ChainEpoch) error {
	if err := n.exec.advanceSome(ctx, head, epoch); err != nil {
		return err
	}
	recs := map[string][]byte{recEpoch: epochBytes(epoch)}
	every := abi.ChainEpoch(nullCommitEvery)
	if !n.warping.Load() {
		every = idleCommitEvery
	}
	if epoch%every == 0 {
		if err := n.blocks.commit(ctx, recs); err != nil {
			return err
		}
	}
	n.moveEpoch(epoch)
	return nil
}

// DevnetSetPace changes the pace; see api.Devnet.
func (n *Node) DevnetSetPace(_ context.Context, millis int64) error {
	if millis < 0 || millis > 3_600_000 {
		return &api.ErrInvalid{What: "pace", Reason: fmt.Sprintf("%d ms is out of range", millis), Hint: "use 0 to 3600000"}
	}
	n.pace.Store(millis * int64(time.Millisecond))
	select {
	case n.paceMoved <- struct{}{}:
	default:
	}
	return nil
}
