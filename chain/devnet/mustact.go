package devnet

import (
	"context"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
)

// mustAct tells whether a miner other than the genesis miner has an open or
// nearly open deadline with live sectors at epoch.
func (n *Node) mustAct(ctx context.Context, epoch abi.ChainEpoch) (bool, error) {
	v, err := n.nowView(ctx)
	if err != nil {
		return false, err
	}
	miners, err := listMiners(ctx, v)
	if err != nil {
		return false, err
	}
	for _, m := range miners {
		if m == n.params.Miner {
			continue
		}
		stop, err := minerMustAct(ctx, v, m, epoch)
		if err != nil || stop {
			return stop, err
		}
	}
	return false, nil
}

// actBefore is how many epochs before a deadline opens its miner must act: from ten
// before the challenge.
const actBefore = miner.WPoStChallengeLookback + 10

// nextAct is the first epoch from which on any miner, the genesis miner included,
// must act, as long as no block brings a message: at most a mendEvery away, when
// there are faults to mend.
func (n *Node) nextAct(ctx context.Context, epoch abi.ChainEpoch) (abi.ChainEpoch, error) {
	v, err := n.nowView(ctx)
	if err != nil {
		return 0, err
	}
	miners, err := listMiners(ctx, v)
	if err != nil {
		return 0, err
	}
	next := epoch + warpBlockEvery
	for _, m := range miners {
		at, err := minerNextAct(ctx, v, m, epoch)
		if err != nil {
			return 0, err
		}
		next = min(next, at)
	}
	return next, nil
}

func minerNextAct(ctx context.Context, v *view, m address.Address, epoch abi.ChainEpoch) (abi.ChainEpoch, error) {
	st, _, err := v.miner(ctx, m)
	if err != nil {
		return 0, err
	}
	dls, err := st.LoadDeadlines(v.store)
	if err != nil {
		return 0, err
	}
	next := epoch + miner.WPoStProvingPeriod
	start := deadlineAt(st, epoch).PeriodStart
	err = dls.ForEach(v.store, func(index uint64, dl *miner.Deadline) error {
		return forEachPartition(v.store, dl, func(_ uint64, p *miner.Partition) error {
			nums, err := provable(p)
			if err != nil || len(nums) == 0 {
				return err
			}
			opens := start + abi.ChainEpoch(index)*miner.WPoStChallengeWindow
			if opens+miner.WPoStChallengeWindow <= epoch {
				opens += miner.WPoStProvingPeriod
			}
			next = min(next, max(opens-actBefore, epoch+1))
			return nil
		})
	})
	return next, err
}

func minerMustAct(ctx context.Context, v *view, m address.Address, epoch abi.ChainEpoch) (bool, error) {
	st, _, err := v.miner(ctx, m)
	if err != nil {
		return false, err
	}
	// From ten epochs before the challenge until the proof is on chain.
	for _, e := range []abi.ChainEpoch{epoch, epoch + actBefore} {
		di := deadlineAt(st, e)
		if !di.IsOpen() {
			continue
		}
		dls, err := st.LoadDeadlines(v.store)
		if err != nil {
			return false, err
		}
		dl, err := dls.LoadDeadline(v.store, di.Index)
		if err != nil {
			return false, err
		}
		waiting := false
		err = forEachPartition(v.store, dl, func(i uint64, p *miner.Partition) error {
			nums, err := provable(p)
			if err != nil || len(nums) == 0 {
				return err
			}
			done, err := dl.PartitionsPoSted.IsSet(i)
			waiting = waiting || !done || e != epoch
			return err
		})
		if err != nil || waiting {
			return waiting, err
		}
	}
	return false, nil
}
