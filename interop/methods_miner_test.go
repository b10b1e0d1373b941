package interop

import (
	"context"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	lapi "github.com/filecoin-project/lotus/api"
	minertypes "github.com/filecoin-project/lotus/chain/actors/builtin/miner"
	"github.com/filecoin-project/lotus/chain/types"
)

func minerPart(t *testing.T, s *session) {
	key := types.EmptyTSK
	pow, err := s.f.StateMinerPower(s.ctx, s.miner, key)
	s.same(t, pow, err)
	dl, err := s.f.StateMinerProvingDeadline(s.ctx, s.miner, key)
	s.same(t, dl, err)
	dls, err := s.f.StateMinerDeadlines(s.ctx, s.miner, key)
	if s.same(t, dls, err); len(dls) != 48 {
		t.Errorf("%d deadlines", len(dls))
	}
	sectors, err := s.f.StateMinerSectors(s.ctx, s.miner, nil, key)
	s.same(t, sectors, err)
	active, err := s.f.StateMinerActiveSectors(s.ctx, s.miner, key)
	if s.same(t, active, err); len(active) != 2 || len(sectors) != 2 {
		t.Errorf("%d sectors, %d active", len(sectors), len(active))
	}
	faults, err := s.f.StateMinerFaults(s.ctx, s.miner, key)
	s.same(t, faults, err)
	recoveries, err := s.f.StateMinerRecoveries(s.ctx, s.miner, key)
	s.same(t, recoveries, err)
	count, err := s.f.StateMinerSectorCount(s.ctx, s.miner, key)
	if s.same(t, count, err); count != (lapi.MinerSectors{Live: 2, Active: 2}) {
		t.Errorf("count %+v", count)
	}
	free, err := s.f.StateMinerAvailableBalance(s.ctx, s.miner, key)
	s.same(t, free, err)
	taken, err := s.f.StateMinerAllocated(s.ctx, s.miner, key)
	s.same(t, taken, err)
	if n, err := taken.Count(); err != nil || n != 2 {
		t.Errorf("%d numbers are taken, %v", n, err)
	}
	for _, sec := range sectors {
		is, err := s.f.StateMinerSectorAllocated(s.ctx, s.miner, sec.SectorNumber, key)
		s.same(t, is, err)
		if in, err := taken.IsSet(uint64(sec.SectorNumber)); !is || !in || err != nil {
			t.Errorf("sector %d: %v, %v, %v", sec.SectorNumber, is, in, err)
		}
	}
	miners, err := s.f.StateListMiners(s.ctx, key)
	if s.same(t, miners, err); len(miners) != 1 || miners[0] != s.miner {
		t.Errorf("miners %v", miners)
	}
	head, err := s.f.ChainHead(s.ctx)
	s.same(t, head, err)
	base, err := s.f.MinerGetBaseInfo(s.ctx, s.miner, head.Height()+1, head.Key())
	s.same(t, base, err)
	entry, err := s.f.StateGetBeaconEntry(s.ctx, head.Height())
	s.same(t, entry, err)
	for _, draw := range []func(context.Context, crypto.DomainSeparationTag, abi.ChainEpoch, []byte,
		types.TipSetKey) (abi.Randomness, error){
		s.f.StateGetRandomnessFromTickets, s.f.StateGetRandomnessFromBeacon,
	} {
		r, err := draw(s.ctx, crypto.DomainSeparationTag_SealRandomness, head.Height(), []byte("e"), head.Key())
		if s.same(t, r, err); len(r) != 32 {
			t.Errorf("randomness %x", r)
		}
	}
}

func sectorPart(t *testing.T, s *session) {
	key := types.EmptyTSK
	sectors, err := s.f.StateMinerSectors(s.ctx, s.miner, nil, key)
	s.same(t, sectors, err)
	n := sectors[0].SectorNumber
	info, err := s.f.StateSectorGetInfo(s.ctx, s.miner, n, key)
	if s.same(t, info, err); info.SealedCID != sectors[0].SealedCID {
		t.Errorf("sector %+v", info)
	}
	exp, err := s.f.StateSectorExpiration(s.ctx, s.miner, n, key)
	s.same(t, exp, err)
	at, err := s.f.StateSectorPartition(s.ctx, s.miner, n, key)
	s.same(t, at, err)
	parts, err := s.f.StateMinerPartitions(s.ctx, s.miner, at.Deadline, key)
	s.same(t, parts, err)
	pre, err := s.f.StateSectorPreCommitInfo(s.ctx, s.miner, n, key)
	if s.same(t, pre, err); pre != nil {
		t.Errorf("pre-commit %+v", pre)
	}
	head, err := s.f.ChainHead(s.ctx)
	s.same(t, head, err)
	pci := minertypes.SectorPreCommitInfo{
		SealProof:  abi.RegisteredSealProof_StackedDrg2KiBV1_1,
		SealedCID:  info.SealedCID,
		Expiration: head.Height() + 600_000,
	}
	deposit, err := s.f.StateMinerPreCommitDepositForPower(s.ctx, s.miner, pci, head.Key())
	s.same(t, deposit, err)
	pledge, err := s.f.StateMinerInitialPledgeCollateral(s.ctx, s.miner, pci, head.Key())
	s.same(t, pledge, err)
	same, err := s.f.StateMinerInitialPledgeForSector(s.ctx, 600_000, 2048, 0, head.Key())
	if s.same(t, same, err); !same.Equals(pledge) || pledge.IsZero() {
		t.Errorf("pledge %s, by its size %s", pledge, same)
	}
	pci.DealIDs = []abi.DealID{77}
	if _, err := s.f.StateMinerInitialPledgeCollateral(s.ctx, s.miner, pci, head.Key()); err == nil {
		t.Error("a deal that does not exist has a pledge")
	}
}
