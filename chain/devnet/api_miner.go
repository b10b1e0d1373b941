package devnet

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/multiformats/go-multibase"

	"quarry/api"
)

// minerView is a miner's state, the tree that it lies in, and the tipset it was
// asked for at.
type minerView struct {
	*view
	ts *api.TipSet
	st *miner.State
}

// minerAt reads a miner's state for a call with key tsk.
func (n *Node) minerAt(ctx context.Context, a address.Address, tsk api.TipSetKey) (*minerView, error) {
	v, ts, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	st, _, err := v.miner(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("miner %s: %w", a, err)
	}
	return &minerView{view: v, ts: ts, st: st}, nil
}

// StateMinerInfo implements api.Chain.
func (n *Node) StateMinerInfo(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MinerInfo, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return api.MinerInfo{}, err
	}
	in, err := m.st.GetInfo(m.store)
	if err != nil {
		return api.MinerInfo{}, fmt.Errorf("info of %s: %w", a, err)
	}
	out := api.MinerInfo{
		Owner:                      in.Owner,
		Worker:                     in.Worker,
		ControlAddresses:           in.ControlAddresses,
		WorkerChangeEpoch:          -1,
		Multiaddrs:                 in.Multiaddrs,
		WindowPoStProofType:        in.WindowPoStProofType,
		SectorSize:                 in.SectorSize,
		WindowPoStPartitionSectors: in.WindowPoStPartitionSectors,
		ConsensusFaultElapsed:      in.ConsensusFaultElapsed,
		PendingOwnerAddress:        in.PendingOwnerAddress,
		Beneficiary:                in.Beneficiary,
		BeneficiaryTerm: &api.BeneficiaryTerm{
			Quota:      in.BeneficiaryTerm.Quota,
			UsedQuota:  in.BeneficiaryTerm.UsedQuota,
			Expiration: in.BeneficiaryTerm.Expiration,
		},
	}
	if in.PendingWorkerKey != nil {
		out.NewWorker, out.WorkerChangeEpoch = in.PendingWorkerKey.NewWorker, in.PendingWorkerKey.EffectiveAt
	}
	if len(in.PeerId) > 0 {
		s, err := multibase.Encode(multibase.Base58BTC, in.PeerId)
		if err != nil {
			return out, err
		}
		s = s[1:]
		out.PeerId = &s
	}
	if p := in.PendingBeneficiaryTerm; p != nil {
		out.PendingBeneficiaryTerm = &api.PendingBeneficiaryChange{
			NewBeneficiary:        p.NewBeneficiary,
			NewQuota:              p.NewQuota,
			NewExpiration:         p.NewExpiration,
			ApprovedByBeneficiary: p.ApprovedByBeneficiary,
			ApprovedByNominee:     p.ApprovedByNominee,
		}
	}
	return out, nil
}

// StateMinerPower implements api.Chain.
func (n *Node) StateMinerPower(ctx context.Context, a address.Address, tsk api.TipSetKey) (*api.MinerPower, error) {
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	ps, err := v.power(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.MinerPower{MinerPower: api.Claim{RawBytePower: big.Zero(), QualityAdjPower: big.Zero()},
		TotalPower: api.Claim{RawBytePower: ps.TotalRawBytePower, QualityAdjPower: ps.TotalQualityAdjPower}}
	if a != address.Undef {
		if a, err = v.lookupID(ctx, a); err != nil {
			return nil, err
		}
		if out.MinerPower, err = v.claim(ctx, a); err != nil {
			return nil, err
		}
	}
	out.HasMinPower = out.MinerPower.RawBytePower.GreaterThanEqual(big.NewInt(consensusMinPower))
	return out, nil
}

// StateMinerProvingDeadline implements api.Chain.
func (n *Node) StateMinerProvingDeadline(ctx context.Context, a address.Address, tsk api.TipSetKey) (*dline.Info, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return nil, err
	}
	if !m.st.DeadlineCronActive {
		return deadlineAt(m.st, m.ts.Height), nil
	}
	return m.st.RecordedDeadlineInfo(m.ts.Height).NextNotElapsed(), nil
}

// StateMinerDeadlines implements api.Chain.
func (n *Node) StateMinerDeadlines(ctx context.Context, a address.Address, tsk api.TipSetKey) ([]api.Deadline, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return nil, err
	}
	dls, err := m.st.LoadDeadlines(m.store)
	if err != nil {
		return nil, err
	}
	out := make([]api.Deadline, 0, miner.WPoStPeriodDeadlines)
	err = dls.ForEach(m.store, func(_ uint64, dl *miner.Deadline) error {
		arr, err := dl.OptimisticProofsSnapshotArray(m.store)
		if err != nil {
			return err
		}
		fee := dl.DailyFee
		if fee.Int == nil {
			fee = big.Zero()
		}
		out = append(out, api.Deadline{PostSubmissions: dl.PartitionsPoSted, DisputableProofCount: arr.Length(), DailyFee: fee})
		return nil
	})
	return out, err
}

// StateMinerPartitions implements api.Chain.
func (n *Node) StateMinerPartitions(ctx context.Context, a address.Address, deadline uint64, tsk api.TipSetKey) ([]api.Partition, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return nil, err
	}
	if deadline >= miner.WPoStPeriodDeadlines {
		return nil, &api.ErrInvalid{What: "deadline", Reason: fmt.Sprintf("%d is not below %d", deadline, miner.WPoStPeriodDeadlines)}
	}
	dls, err := m.st.LoadDeadlines(m.store)
	if err != nil {
		return nil, err
	}
	dl, err := dls.LoadDeadline(m.store, deadline)
	if err != nil {
		return nil, err
	}
	out := []api.Partition{}
	err = forEachPartition(m.store, dl, func(_ uint64, p *miner.Partition) error {
		live, err := p.LiveSectors()
		if err != nil {
			return err
		}
		active, err := p.ActiveSectors()
		if err != nil {
			return err
		}
		out = append(out, api.Partition{
			AllSectors:        p.Sectors,
			FaultySectors:     p.Faults,
			RecoveringSectors: p.Recoveries,
			LiveSectors:       live,
			ActiveSectors:     active,
		})
		return nil
	})
	return out, err
}

func fillSector(s *miner.SectorOnChainInfo) *miner.SectorOnChainInfo {
	if s.DailyFee.Int == nil {
		s.DailyFee = big.Zero()
	}
	return s
}

// StateMinerSectors implements api.Chain.
func (n *Node) StateMinerSectors(
	ctx context.Context, a address.Address, filter *bitfield.BitField, tsk api.TipSetKey,
) ([]*miner.SectorOnChainInfo, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return nil, err
	}
	arr, err := miner.LoadSectors(m.store, m.st.Sectors)
	if err != nil {
		return nil, err
	}
	out := []*miner.SectorOnChainInfo{}
	var s miner.SectorOnChainInfo
	err = arr.ForEach(&s, func(i int64) error {
		if filter != nil {
			if in, err := filter.IsSet(uint64(i)); err != nil || !in {
				return err
			}
		}
		c := s
		out = append(out, fillSector(&c))
		return nil
	})
	return out, err
}

// StateMinerActiveSectors implements api.Chain.
func (n *Node) StateMinerActiveSectors(ctx context.Context, a address.Address, tsk api.TipSetKey) ([]*miner.SectorOnChainInfo, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return nil, err
	}
	out, err := m.activeSectors(m.st)
	for _, s := range out {
		fillSector(s)
	}
	return out, err
}

// gather merges a bitfield of every partition.
func (n *Node) gather(
	ctx context.Context, a address.Address, tsk api.TipSetKey, get func(*miner.Partition) (bitfield.BitField, error),
) (bitfield.BitField, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return bitfield.BitField{}, err
	}
	dls, err := m.st.LoadDeadlines(m.store)
	if err != nil {
		return bitfield.BitField{}, err
	}
	var all []bitfield.BitField
	err = dls.ForEach(m.store, func(_ uint64, dl *miner.Deadline) error {
		return forEachPartition(m.store, dl, func(_ uint64, p *miner.Partition) error {
			bf, err := get(p)
			all = append(all, bf)
			return err
		})
	})
	if err != nil {
		return bitfield.BitField{}, err
	}
	return bitfield.MultiMerge(all...)
}

// StateMinerFaults implements api.Chain.
func (n *Node) StateMinerFaults(ctx context.Context, a address.Address, tsk api.TipSetKey) (bitfield.BitField, error) {
	return n.gather(ctx, a, tsk, func(p *miner.Partition) (bitfield.BitField, error) { return p.Faults, nil })
}

// StateMinerRecoveries implements api.Chain.
func (n *Node) StateMinerRecoveries(ctx context.Context, a address.Address, tsk api.TipSetKey) (bitfield.BitField, error) {
	return n.gather(ctx, a, tsk, func(p *miner.Partition) (bitfield.BitField, error) { return p.Recoveries, nil })
}

// StateMinerSectorCount implements api.Chain.
func (n *Node) StateMinerSectorCount(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MinerSectors, error) {
	var out api.MinerSectors
	for _, q := range []struct {
		to  *uint64
		get func(*miner.Partition) (bitfield.BitField, error)
	}{
		{&out.Live, (*miner.Partition).LiveSectors}, {&out.Active, (*miner.Partition).ActiveSectors},
		{&out.Faulty, func(p *miner.Partition) (bitfield.BitField, error) { return p.Faults, nil }},
	} {
		bf, err := n.gather(ctx, a, tsk, q.get)
		if err != nil {
			return out, err
		}
		if *q.to, err = bf.Count(); err != nil {
			return out, err
		}
	}
	return out, nil
}

// StateMinerAvailableBalance implements api.Chain.
func (n *Node) StateMinerAvailableBalance(ctx context.Context, a address.Address, tsk api.TipSetKey) (abi.TokenAmount, error) {
	v, ts, err := n.at(ctx, tsk)
	if err != nil {
		return big.Zero(), err
	}
	st, act, err := v.miner(ctx, a)
	if err != nil {
		return big.Zero(), err
	}
	vested, err := st.CheckVestedFunds(v.store, ts.Height)
	if err != nil {
		return big.Zero(), err
	}
	free, err := st.GetAvailableBalance(act.Balance)
	if err != nil {
		return big.Zero(), err
	}
	return big.Add(free, vested), nil
}

// StateMinerSectorAllocated implements api.Chain.
func (n *Node) StateMinerSectorAllocated(ctx context.Context, a address.Address, s abi.SectorNumber, tsk api.TipSetKey) (bool, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return false, err
	}
	var bf bitfield.BitField
	if err := m.store.Get(ctx, m.st.AllocatedSectors, &bf); err != nil {
		return false, err
	}
	return bf.IsSet(uint64(s))
}
