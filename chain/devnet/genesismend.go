package devnet

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"quarry/api"
)

const (
	// mendEvery is how many epochs lie between looks for faulty sectors.
	mendEvery = 20
	// pressedFor is how many epochs before the close of a deadline its proof is no
	// longer left to chance.
	pressedFor = 10
)

// provable lists the sectors of a partition in the order in which a window PoSt
// proves them: those that are faulty and not recovering, or terminated, are
// replaced by the first that is neither (actors miner, SubmitWindowedPoSt).
// Nothing when there is no such sector.
func provable(p *miner.Partition) ([]uint64, error) {
	faulty, err := bitfield.SubtractBitField(p.Faults, p.Recoveries)
	if err != nil {
		return nil, err
	}
	bad, err := bitfield.MergeBitFields(faulty, p.Terminated)
	if err != nil {
		return nil, err
	}
	good, err := bitfield.SubtractBitField(p.Sectors, bad)
	if err != nil {
		return nil, err
	}
	first, err := good.First()
	if err != nil {
		return nil, nil // nothing is left to prove
	}
	nums, err := p.Sectors.All(1 << 10)
	if err != nil {
		return nil, err
	}
	for i, s := range nums {
		if ok, err := good.IsSet(s); err != nil {
			return nil, err
		} else if !ok {
			nums[i] = first
		}
	}
	return nums, nil
}

// pressed tells whether the open deadline of the genesis miner is about to close
// without its proof. The proof is made now, however long it takes, because power
// that is lost may leave nobody to make blocks.
func (n *Node) pressed(ctx context.Context) bool {
	if !n.cfg.Mine {
		return false
	}
	epoch := n.Epoch() + 1
	di, open, _, _, err := n.genesis.deadline(ctx, epoch)
	if err != nil || len(open) == 0 || di.Close-epoch > pressedFor {
		return false
	}
	if err := n.genesis.prove(ctx); err != nil && ctx.Err() == nil {
		n.log.Error("the genesis miner could not prove its sectors", "epoch", epoch, "err", err)
	}
	return true
}

// mend declares faulty sectors of the genesis miner recovered, so that their next
// window PoSt gives their power back.
func (g *genesisMiner) mend(ctx context.Context, epoch abi.ChainEpoch) {
	if !g.n.cfg.Mine || epoch < g.looked+mendEvery {
		return
	}
	g.looked = epoch
	if err := g.declare(ctx, epoch); err != nil && ctx.Err() == nil {
		g.n.log.Error("the genesis miner could not declare its sectors recovered", "epoch", epoch, "err", err)
	}
}

func (g *genesisMiner) declare(ctx context.Context, epoch abi.ChainEpoch) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.n
	v, err := n.nowView(ctx)
	if err != nil {
		return err
	}
	st, _, err := v.miner(ctx, n.params.Miner)
	if err != nil {
		return err
	}
	list, err := g.lost(v, st, epoch)
	if err != nil || len(list) == 0 {
		return err
	}
	raw, err := encodeParams(&miner.DeclareFaultsRecoveredParams{Recoveries: list})
	if err != nil {
		return err
	}
	// A miner in debt can neither recover nor make blocks.
	if _, err := n.MpoolPushMessage(ctx, &api.Message{
		To:         n.params.Miner,
		From:       n.params.Worker,
		Value:      st.FeeDebt,
		Method:     builtin.MethodsMiner.DeclareFaultsRecovered,
		Params:     raw,
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
	}, nil); err != nil {
		return fmt.Errorf("send recoveries: %w", err)
	}
	for _, r := range list {
		g.mended[[2]uint64{r.Deadline, r.Partition}] = epoch
	}
	n.log.Info("the genesis miner declares faulty sectors recovered", "epoch", epoch, "partitions", len(list))
	return nil
}

// lost lists the sectors that are faulty, not declared recovered, and may be
// declared so now.
func (g *genesisMiner) lost(v *view, st *miner.State, epoch abi.ChainEpoch) ([]miner.RecoveryDeclaration, error) {
	dls, err := st.LoadDeadlines(v.store)
	if err != nil {
		return nil, err
	}
	var out []miner.RecoveryDeclaration
	err = dls.ForEach(v.store, func(index uint64, dl *miner.Deadline) error {
		start := deadlineAt(st, epoch).PeriodStart
		if miner.NewDeadlineInfo(start, index, epoch).NextNotElapsed().FaultCutoffPassed() {
			return nil
		}
		return forEachPartition(v.store, dl, func(i uint64, p *miner.Partition) error {
			faulty, err := bitfield.SubtractBitField(p.Faults, p.Recoveries)
			if err != nil {
				return err
			}
			empty, err := faulty.IsEmpty()
			last, sent := g.mended[[2]uint64{index, i}]
			if err != nil || empty || (sent && epoch-last < miner.WPoStChallengeWindow) {
				return err
			}
			out = append(out, miner.RecoveryDeclaration{Deadline: index, Partition: i, Sectors: faulty})
			return nil
		})
	})
	return out, err
}
