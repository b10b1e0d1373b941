package post

import (
	"context"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
)

// sealed8MiB is a sector whose trees have all the rows that small ones lack.
func sealed8MiB(b *testing.B) SectorAccess {
	b.Helper()
	sector := porep.Sector{Proof: abi.RegisteredSealProof_StackedDrg8MiBV1_1, Miner: miner, Number: 1}
	s, err := poreptest.Seal(context.Background(), sector)
	if err != nil {
		b.Fatal(err)
	}
	return SectorAccess{Info: s.Info(), Sealed: s.Sealed, Cache: s.Cache}
}

func BenchmarkProveWinning8MiB(b *testing.B) {
	a := sealed8MiB(b)
	for b.Loop() {
		if _, err := ProveWinning(context.Background(), miner, draw, []SectorAccess{a}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyWinning8MiB(b *testing.B) {
	a := sealed8MiB(b)
	blob, err := ProveWinning(context.Background(), miner, draw, []SectorAccess{a})
	if err != nil {
		b.Fatal(err)
	}
	info := winningInfo(a, draw)
	info.Proofs[0].PoStProof = abi.RegisteredPoStProof_StackedDrgWinning8MiBV1
	for b.Loop() {
		if ok, err := VerifyWinning(context.Background(), info, blob); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkProveWindow8MiB(b *testing.B) {
	a := sealed8MiB(b)
	for b.Loop() {
		if _, skipped, err := ProveWindow(context.Background(), miner, draw, []SectorAccess{a}); len(skipped) > 0 || err != nil {
			b.Fatal(skipped, err)
		}
	}
}
