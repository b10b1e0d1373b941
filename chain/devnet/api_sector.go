package devnet

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"quarry/api"
)

// StateMinerPreCommitDepositForPower implements api.Chain.
func (n *Node) StateMinerPreCommitDepositForPower(
	ctx context.Context, _ address.Address, pci miner.SectorPreCommitInfo, tsk api.TipSetKey,
) (abi.TokenAmount, error) {
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return big.Zero(), err
	}
	size, err := pci.SealProof.SectorSize()
	if err != nil {
		return big.Zero(), &api.ErrInvalid{What: "pre-commit", Reason: err.Error()}
	}
	ps, err := v.power(ctx)
	if err != nil {
		return big.Zero(), err
	}
	rs, err := v.reward(ctx)
	if err != nil {
		return big.Zero(), err
	}
	return margin(miner.PreCommitDepositForPower(rs.ThisEpochRewardSmoothed, ps.ThisEpochQAPowerSmoothed, miner.QAPowerMax(size))), nil
}

// pledge is the initial pledge of an amount of power at a tipset.
func (n *Node) pledge(ctx context.Context, qa abi.StoragePower, tsk api.TipSetKey) (abi.TokenAmount, error) {
	v, ts, err := n.at(ctx, tsk)
	if err != nil {
		return big.Zero(), err
	}
	ps, err := v.power(ctx)
	if err != nil {
		return big.Zero(), err
	}
	rs, err := v.reward(ctx)
	if err != nil {
		return big.Zero(), err
	}
	sup, err := n.exec.supply(ctx, ts.ParentState())
	if err != nil {
		return big.Zero(), err
	}
	return miner.InitialPledgeForPower(qa, rs.ThisEpochBaselinePower, rs.ThisEpochRewardSmoothed, ps.ThisEpochQAPowerSmoothed,
		sup.FilCirculating, int64(ts.Height)-ps.RampStartEpoch, ps.RampDurationEpochs), nil
}

// StateMinerInitialPledgeForSector implements api.Chain.
func (n *Node) StateMinerInitialPledgeForSector(
	ctx context.Context, duration abi.ChainEpoch, size abi.SectorSize, verified uint64, tsk api.TipSetKey,
) (abi.TokenAmount, error) {
	if duration <= 0 || size == 0 || verified > uint64(size) {
		return big.Zero(), &api.ErrInvalid{
			What:   "pledge of a sector",
			Reason: "duration and size must be above zero, verified size at most the size",
		}
	}
	weight := big.Mul(big.NewIntUnsigned(verified), big.NewInt(int64(duration)))
	p, err := n.pledge(ctx, miner.QAPowerForWeight(size, duration, weight), tsk)
	if err != nil {
		return big.Zero(), err
	}
	return margin(p), nil
}

// StateMinerInitialPledgeCollateral implements api.ChainTools: the pledge of a
// sector with the deals that its pre-commitment names.
func (n *Node) StateMinerInitialPledgeCollateral(
	ctx context.Context, a address.Address, pci miner.SectorPreCommitInfo, tsk api.TipSetKey,
) (abi.TokenAmount, error) {
	size, err := pci.SealProof.SectorSize()
	if err != nil {
		return big.Zero(), &api.ErrInvalid{What: "pre-commit", Reason: err.Error()}
	}
	v, ts, err := n.at(ctx, tsk)
	if err != nil {
		return big.Zero(), err
	}
	if pci.Expiration <= ts.Height {
		reason := fmt.Sprintf("it expires at %d, the state is of %d", pci.Expiration, ts.Height)
		return big.Zero(), &api.ErrInvalid{What: "pre-commit", Reason: reason}
	}
	st, err := v.market(ctx)
	if err != nil {
		return big.Zero(), err
	}
	id, err := v.lookupID(ctx, a)
	if err != nil {
		return big.Zero(), err
	}
	_, verified, _, err := market.ValidateDealsForActivation(st, v.store, pci.DealIDs, id, pci.Expiration, ts.Height)
	if err != nil {
		return big.Zero(), &api.ErrInvalid{What: "deals of the pre-commit", Reason: err.Error()}
	}
	p, err := n.pledge(ctx, miner.QAPowerForWeight(size, pci.Expiration-ts.Height, verified), ts.Key())
	if err != nil {
		return big.Zero(), err
	}
	return margin(p), nil
}

// StateMinerCreationDeposit implements api.Chain: the pledge of a tenth of the
// least power that may mine.
func (n *Node) StateMinerCreationDeposit(ctx context.Context, tsk api.TipSetKey) (abi.TokenAmount, error) {
	return n.pledge(ctx, big.NewInt(consensusMinPower/10), tsk)
}

// StateSectorPreCommitInfo implements api.Chain; nil when absent.
func (n *Node) StateSectorPreCommitInfo(
	ctx context.Context, a address.Address, s abi.SectorNumber, tsk api.TipSetKey,
) (*miner.SectorPreCommitOnChainInfo, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return nil, err
	}
	p, ok, err := m.st.GetPrecommittedSector(m.store, s)
	if err != nil || !ok {
		return nil, err
	}
	return p, nil
}

// StateSectorGetInfo implements api.Chain; nil when absent.
func (n *Node) StateSectorGetInfo(
	ctx context.Context, a address.Address, s abi.SectorNumber, tsk api.TipSetKey,
) (*miner.SectorOnChainInfo, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return nil, err
	}
	info, ok, err := m.st.GetSector(m.store, s)
	if err != nil || !ok {
		return nil, err
	}
	return fillSector(info), nil
}

// StateSectorPartition implements api.Chain.
func (n *Node) StateSectorPartition(
	ctx context.Context, a address.Address, s abi.SectorNumber, tsk api.TipSetKey,
) (*api.SectorLocation, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return nil, err
	}
	dl, part, err := m.st.FindSector(m.store, s)
	if err != nil {
		return nil, fmt.Errorf("sector %d of %s: %w", s, a, err)
	}
	return &api.SectorLocation{Deadline: dl, Partition: part}, nil
}

// StateSectorExpiration implements api.Chain.
func (n *Node) StateSectorExpiration(
	ctx context.Context, a address.Address, s abi.SectorNumber, tsk api.TipSetKey,
) (*api.SectorExpiration, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return nil, err
	}
	di, pi, err := m.st.FindSector(m.store, s)
	if err != nil {
		return nil, fmt.Errorf("sector %d of %s: %w", s, a, err)
	}
	dls, err := m.st.LoadDeadlines(m.store)
	if err != nil {
		return nil, err
	}
	dl, err := dls.LoadDeadline(m.store, di)
	if err != nil {
		return nil, err
	}
	part, err := dl.LoadPartition(m.store, pi)
	if err != nil {
		return nil, err
	}
	q, err := miner.LoadExpirationQueue(m.store, part.ExpirationsEpochs, builtin.NewQuantSpec(1, 0), miner.PartitionExpirationAmtBitwidth)
	if err != nil {
		return nil, err
	}
	var out api.SectorExpiration
	var set miner.ExpirationSet
	err = q.ForEach(&set, func(epoch int64) error {
		if in, err := set.OnTimeSectors.IsSet(uint64(s)); err != nil {
			return err
		} else if in {
			out.OnTime = abi.ChainEpoch(epoch)
		}
		in, err := set.EarlySectors.IsSet(uint64(s))
		if in {
			out.Early = abi.ChainEpoch(epoch)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if out.OnTime == 0 && out.Early == 0 {
		return nil, fmt.Errorf("failed to find sector %d", s)
	}
	return &out, nil
}
