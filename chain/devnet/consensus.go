package devnet

import (
	"context"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/post"
)

// Lookback of the winning PoSt sector set and power (lotus
// chain/actors/policy), and the least power that may mine.
const (
	winningLookback   = 900
	consensusMinPower = 2048
)

func sortUint64(s []uint64) { slices.Sort(s) }

// consensus answers who may mine what.
type consensus struct {
	l      *ledger
	x      *executor
	beacon *beacon
}

// lookback gives the state that decides about an epoch on top of base.
func (c *consensus) lookback(ctx context.Context, base *api.TipSet, round abi.ChainEpoch) (cid.Cid, error) {
	lbr := max(0, round-winningLookback)
	if lbr >= base.Height {
		o, err := c.x.after(ctx, base)
		return o.State, err
	}
	next, err := c.l.atOrAfter(ctx, base, lbr+1)
	if err != nil {
		return cid.Undef, fmt.Errorf("lookback of epoch %d: %w", round, err)
	}
	return next.ParentState(), nil
}

// worker is the key address that signs for a miner at an epoch.
func (c *consensus) worker(ctx context.Context, base *api.TipSet, maddr address.Address, round abi.ChainEpoch) (address.Address, error) {
	root, err := c.lookback(ctx, base, round)
	if err != nil {
		return address.Undef, err
	}
	v, err := c.l.view(ctx, root)
	if err != nil {
		return address.Undef, err
	}
	st, _, err := v.miner(ctx, maddr)
	if err != nil {
		return address.Undef, err
	}
	info, err := st.GetInfo(v.store)
	if err != nil {
		return address.Undef, fmt.Errorf("info of %s: %w", maddr, err)
	}
	return v.accountKey(ctx, info.Worker)
}

// baseInfo is MinerGetBaseInfo; nil when the miner cannot try.
func (c *consensus) baseInfo(
	ctx context.Context, maddr address.Address, round abi.ChainEpoch, base *api.TipSet,
) (*api.MiningBaseInfo, error) {
	if round <= base.Height {
		return nil, &api.ErrInvalid{What: fmt.Sprintf("mining epoch %d", round), Reason: fmt.Sprintf("base is at height %d", base.Height)}
	}
	now, err := c.l.view(ctx, base.ParentState())
	if err != nil {
		return nil, err
	}
	if maddr, err = now.lookupID(ctx, maddr); err != nil {
		return nil, err
	}
	if _, err := now.actor(ctx, maddr); err != nil {
		return nil, fmt.Errorf("miner %s: %w", maddr, err)
	}
	root, err := c.lookback(ctx, base, round)
	if err != nil {
		return nil, err
	}
	v, err := c.l.view(ctx, root)
	if err != nil {
		return nil, err
	}
	if _, ok, err := v.tree.GetActor(ctx, maddr); err != nil || !ok {
		return nil, err
	}
	st, _, err := v.miner(ctx, maddr)
	if err != nil {
		return nil, err
	}
	info, err := st.GetInfo(v.store)
	if err != nil {
		return nil, fmt.Errorf("info of %s: %w", maddr, err)
	}
	return c.fillBaseInfo(ctx, v, try{st: st, info: info, maddr: maddr, round: round}, base)
}

// try is a miner's attempt at an epoch, with its state at the lookback.
type try struct {
	st    *miner.State
	info  *miner.MinerInfo
	maddr address.Address
	round abi.ChainEpoch
}

func (c *consensus) fillBaseInfo(ctx context.Context, v *view, t try, base *api.TipSet) (*api.MiningBaseInfo, error) {
	entries, err := c.beacon.between(base.Height, t.round)
	if err != nil {
		return nil, err
	}
	prev, err := c.beacon.entry(base.Height)
	if err != nil {
		return nil, err
	}
	rand, err := winningRandomness(entries[len(entries)-1], t.maddr, t.round)
	if err != nil {
		return nil, err
	}
	sectors, err := winningSectors(v, t.st, t.info, t.maddr, rand)
	if err != nil || len(sectors) == 0 {
		return nil, err
	}
	key, err := v.accountKey(ctx, t.info.Worker)
	if err != nil {
		return nil, err
	}
	claim, err := v.claim(ctx, t.maddr)
	if err != nil {
		return nil, err
	}
	ps, err := v.power(ctx)
	if err != nil {
		return nil, err
	}
	eligible, err := c.eligible(ctx, claim, t.maddr, base)
	if err != nil {
		return nil, err
	}
	return &api.MiningBaseInfo{
		MinerPower:        claim.QualityAdjPower,
		NetworkPower:      ps.TotalQualityAdjPower,
		Sectors:           sectors,
		WorkerKey:         key,
		SectorSize:        t.info.SectorSize,
		PrevBeaconEntry:   prev,
		BeaconEntries:     entries,
		EligibleForMining: eligible,
	}, nil
}

func winningRandomness(e api.BeaconEntry, maddr address.Address, round abi.ChainEpoch) (abi.PoStRandomness, error) {
	ent, err := minerEntropy(maddr)
	if err != nil {
		return nil, err
	}
	return draw(e.Data, crypto.DomainSeparationTag_WinningPoStChallengeSeed, round, ent), nil
}

// winningSectors are the sectors that a winner of the epoch must prove.
func winningSectors(
	v *view, st *miner.State, info *miner.MinerInfo, maddr address.Address, rand abi.PoStRandomness,
) ([]proof.ExtendedSectorInfo, error) {
	active, err := v.activeSectors(st)
	if err != nil || len(active) == 0 {
		return nil, err
	}
	id, err := address.IDFromAddress(maddr)
	if err != nil {
		return nil, err
	}
	wpt, err := active[0].SealProof.RegisteredWinningPoStProof()
	if err != nil {
		return nil, err
	}
	picks, err := post.WinningSector(wpt, abi.ActorID(id), rand, uint64(len(active)))
	if err != nil {
		return nil, fmt.Errorf("winning challenge of %s: %w", maddr, err)
	}
	var out []proof.ExtendedSectorInfo
	for _, i := range picks {
		s := active[i]
		out = append(out, proof.ExtendedSectorInfo{
			SealProof:    s.SealProof,
			SectorNumber: s.SectorNumber,
			SectorKey:    s.SectorKeyCID,
			SealedCID:    s.SealedCID,
		})
	}
	return out, nil
}

// eligible follows lotus chain/stmgr MinerEligibleToMine: enough power at the
// lookback, and at base a claim, no debt and no consensus fault.
func (c *consensus) eligible(ctx context.Context, lookback api.Claim, maddr address.Address, base *api.TipSet) (bool, error) {
	if lookback.RawBytePower.LessThan(big.NewInt(consensusMinPower)) {
		return false, nil
	}
	v, err := c.l.view(ctx, base.ParentState())
	if err != nil {
		return false, err
	}
	claim, err := v.claim(ctx, maddr)
	if err != nil {
		return false, err
	}
	st, _, err := v.miner(ctx, maddr)
	if err != nil {
		return false, err
	}
	info, err := st.GetInfo(v.store)
	if err != nil {
		return false, err
	}
	return claim.QualityAdjPower.Sign() > 0 && st.FeeDebt.IsZero() && base.Height > info.ConsensusFaultElapsed, nil
}

// weight follows lotus chain/consensus/filcns/weight.go.
func (c *consensus) weight(ctx context.Context, ts *api.TipSet) (big.Int, error) {
	v, err := c.l.view(ctx, ts.ParentState())
	if err != nil {
		return big.Zero(), err
	}
	ps, err := v.power(ctx)
	if err != nil {
		return big.Zero(), err
	}
	return tipsetWeight(ts, ps.TotalQualityAdjPower), nil
}

func tipsetWeight(ts *api.TipSet, total abi.StoragePower) big.Int {
	var log2 int64
	if total.Sign() > 0 {
		log2 = int64(total.BitLen() - 1)
	}
	var wins int64
	for _, b := range ts.Blocks {
		wins += b.ElectionProof.WinCount
	}
	out := big.Add(ts.Blocks[0].ParentWeight, big.Lsh(big.NewInt(log2), 8))
	extra := big.Lsh(big.Mul(big.NewInt(log2), big.NewInt(wins)), 8)
	return big.Add(out, big.Div(extra, big.NewInt(expectedLeaders*2)))
}

// ticketInput is what a block's ticket signs: the last beacon entry, the
// miner, and the smallest ticket of the parents.
func ticketInput(rbase api.BeaconEntry, maddr address.Address, round abi.ChainEpoch, base *api.TipSet) ([]byte, error) {
	ent, err := minerEntropy(maddr)
	if err != nil {
		return nil, err
	}
	ent = append(ent, base.MinTicket().VRFProof...)
	return draw(rbase.Data, crypto.DomainSeparationTag_TicketProduction, round-1, ent), nil
}

// electionInput is what a block's election proof signs.
func electionInput(rbase api.BeaconEntry, maddr address.Address, round abi.ChainEpoch) ([]byte, error) {
	ent, err := minerEntropy(maddr)
	if err != nil {
		return nil, err
	}
	return draw(rbase.Data, crypto.DomainSeparationTag_ElectionProofProduction, round, ent), nil
}
