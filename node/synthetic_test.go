package node

import (
	"os"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// The miner actor takes sectors sealed with synthetic PoRep, several in one
// message, and their window PoSt. Those of zeros are marked by themselves.
func TestSyntheticSectors(t *testing.T) {
	if os.Getenv("QUARRY_LONG") == "" {
		t.Skip("runs a chain, seals two sectors and lets a proving period pass, half a minute; set QUARRY_LONG=1 (make soak does)")
	}
	m := newMonolith(t, func(s *Settings) {
		s.SealingOpts.Synthetic, s.SealingOpts.MarkCC = true, true
		s.SealingOpts.PreCommitBatch, s.SealingOpts.CommitBatch = 2, 2
		s.SealingOpts.PreCommitBatchWait, s.SealingOpts.CommitBatchWait = 2000, 2000 // longer than a busy machine takes for the other
		s.ProvingOpts.NoBlocks = true
	})
	var zeros []abi.SectorID
	for range 2 {
		id, err := m.PledgeSector(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		zeros = append(zeros, id)
	}
	msgs := map[string]bool{}
	for _, id := range zeros {
		var info api.SectorInfo
		eventually(t, "sector "+api.SectorName(id)+" is available", func() bool {
			var err error
			if info, err = m.SectorsStatus(t.Context(), id.Number, true); err != nil {
				t.Fatal(err)
			}
			return info.State == api.SectorAvailable
		})
		if info.Retries != 0 || info.PreCommitMsg == nil || info.CommitMsg == nil {
			t.Errorf("%+v", info)
		} else {
			msgs[info.PreCommitMsg.String()], msgs[info.CommitMsg.String()] = true, true
		}
		on, err := m.full.StateSectorGetInfo(t.Context(), m.at.Miner, id.Number, nil)
		if err != nil || on.SealProof != abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep {
			t.Errorf("on chain: %+v, %v", on, err)
		}
	}
	if len(msgs) != 2 {
		t.Errorf("%d messages for two sectors, want a pre-commitment and a commitment together", len(msgs))
	}
	s := m.deal(t, 1400)
	d := m.await(t, s.id, "is in a sector", func(d api.DealInfo) bool { return d.Placement != nil })
	if n := d.Placement.Sector.Number; n != zeros[0].Number && n != zeros[1].Number {
		t.Errorf("the deal went into sector %d, not one of zeros (%v)", n, zeros)
	}
	m.proves(t, "the sectors are proven", []uint64{})
}
