package devnet

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/proof"

	"github.com/filecoin-project/go-bitfield"

	"quarry/api"
	"quarry/proofs/envelope"
	"quarry/proofs/post"
)

// deadline reads the genesis miner's open deadline as of the next epoch, with
// the partitions that still wait for a proof; nil when nothing is to do.
func (g *genesisMiner) deadline(
	ctx context.Context, epoch abi.ChainEpoch,
) (*dline.Info, map[uint64]*miner.Partition, *view, *miner.State, error) {
	v, err := g.n.nowView(ctx)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	st, _, err := v.miner(ctx, g.n.params.Miner)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	di := deadlineAt(st, epoch)
	if !di.IsOpen() {
		return di, nil, v, st, nil
	}
	dls, err := st.LoadDeadlines(v.store)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	dl, err := dls.LoadDeadline(v.store, di.Index)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	open := map[uint64]*miner.Partition{}
	err = forEachPartition(v.store, dl, func(i uint64, p *miner.Partition) error {
		done, err := dl.PartitionsPoSted.IsSet(i)
		if err != nil || done {
			return err
		}
		nums, err := provable(p)
		if err == nil && len(nums) > 0 {
			open[i] = p
		}
		return err
	})
	return di, open, v, st, err
}

// due tells whether a window proof must be sent in the deadline of epoch.
func (g *genesisMiner) due(ctx context.Context, epoch abi.ChainEpoch) (bool, error) {
	if !g.n.cfg.Mine {
		return false, nil
	}
	_, open, _, _, err := g.deadline(ctx, epoch)
	return len(open) > 0, err
}

// run sends window proofs as the chain goes, until ctx ends.
func (g *genesisMiner) run(ctx context.Context) {
	for e := g.n.Epoch() + 1; ; e++ {
		if err := g.n.waitEpoch(ctx, e); err != nil {
			return
		}
		if g.n.warping.Load() {
			continue
		}
		if err := g.prove(ctx); err != nil && ctx.Err() == nil {
			g.n.log.Error("the genesis miner could not prove its sectors", "epoch", e, "err", err)
		}
		g.mend(ctx, e)
		e = max(e, g.n.Epoch())
	}
}

var errSectorLost = errors.New("a genesis sector cannot be read")

// prove sends the window proof of the open deadline, once.
func (g *genesisMiner) prove(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.n
	epoch := n.Epoch() + 1
	di, open, v, st, err := g.deadline(ctx, epoch)
	if err != nil || len(open) == 0 || g.posted == di.Open || n.ledger.Head().Height < di.Challenge {
		return err
	}
	params, err := g.windowParams(ctx, di, open, v, st)
	if err != nil {
		return err
	}
	raw, err := encodeParams(params)
	if err != nil {
		return err
	}
	if _, err := n.MpoolPushMessage(ctx, &api.Message{
		To:         n.params.Miner,
		From:       n.params.Worker,
		Value:      big.Zero(),
		Method:     builtin.MethodsMiner.SubmitWindowedPoSt,
		Params:     raw,
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
	}, nil); err != nil {
		return fmt.Errorf("send window PoSt of deadline %d: %w", di.Index, err)
	}
	g.posted = di.Open
	return nil
}

func (g *genesisMiner) windowParams(
	ctx context.Context, di *dline.Info, open map[uint64]*miner.Partition, v *view, st *miner.State,
) (*miner.SubmitWindowedPoStParams, error) {
	n := g.n
	ent, err := minerEntropy(n.params.Miner)
	if err != nil {
		return nil, err
	}
	head := n.ledger.Head()
	rand, err := n.StateGetRandomnessFromBeacon(ctx, crypto.DomainSeparationTag_WindowedPoStChallengeSeed, di.Challenge, ent, head.Key())
	if err != nil {
		return nil, err
	}
	commit, err := n.StateGetRandomnessFromTickets(ctx, crypto.DomainSeparationTag_PoStChainCommit, di.Challenge, nil, head.Key())
	if err != nil {
		return nil, err
	}
	params := &miner.SubmitWindowedPoStParams{Deadline: di.Index, ChainCommitEpoch: di.Challenge, ChainCommitRand: commit}
	var acc []post.SectorAccess
	var idx []uint64
	for i := range open {
		idx = append(idx, i)
	}
	sortUint64(idx)
	for _, i := range idx {
		params.Partitions = append(params.Partitions, miner.PoStPartition{Index: i, Skipped: bitfield.New()})
		nums, err := provable(open[i])
		if err != nil {
			return nil, err
		}
		for _, s := range nums {
			a, ok := g.sectors[abi.SectorNumber(s)]
			if !ok {
				return nil, fmt.Errorf("window PoSt: sector %d is not a genesis sector", s)
			}
			acc = append(acc, a)
		}
	}
	blob, skipped, err := post.ProveWindow(ctx, g.id, abi.PoStRandomness(rand), acc)
	if err != nil {
		return nil, fmt.Errorf("window PoSt: %w", err)
	}
	if len(skipped) > 0 {
		return nil, fmt.Errorf("%w: %v", errSectorLost, skipped)
	}
	field, c := envelope.Wrap(blob)
	if err := n.blocks.putNow(ctx, c, blob); err != nil {
		return nil, err
	}
	info, err := st.GetInfo(v.store)
	if err != nil {
		return nil, err
	}
	params.Proofs = []proof.PoStProof{{PoStProof: info.WindowPoStProofType, ProofBytes: field}}
	return params, nil
}

// deadlineAt is the deadline that contains an epoch, whatever the cron has
// recorded.
func deadlineAt(st *miner.State, epoch abi.ChainEpoch) *dline.Info {
	start := st.ProvingPeriodStart
	for start > epoch {
		start -= miner.WPoStProvingPeriod
	}
	start += (epoch - start) / miner.WPoStProvingPeriod * miner.WPoStProvingPeriod
	return miner.NewDeadlineInfo(start, uint64((epoch-start)/miner.WPoStChallengeWindow), epoch)
}
