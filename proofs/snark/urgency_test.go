package snark

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
)

func TestUrgentProofsGoFirst(t *testing.T) {
	want := func(d, m, s int) {
		t.Helper()
		for u, n := range map[urgency]int{days: d, minutes: m, seconds: s} {
			if got := u.share(8); got != n {
				t.Errorf("urgency %d: %d workers of 8, not %d", u, got, n)
			}
		}
	}
	seal := days.begin()
	want(8, 8, 8)
	window := minutes.begin()
	want(2, 8, 8)
	winning, another := seconds.begin(), seconds.begin()
	want(2, 2, 8)
	winning()
	want(2, 2, 8)
	another()
	want(2, 8, 8)
	window()
	seal()
	want(8, 8, 8)
}

func TestWhoIsUrgent(t *testing.T) {
	w, err := window(proof.WindowPoStVerifyInfo{Proofs: []proof.PoStProof{{PoStProof: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1}}})
	if err != nil || w.urgency != minutes {
		t.Error("window", w.urgency, err)
	}
	b, err := winning(proof.WinningPoStVerifyInfo{Proofs: []proof.PoStProof{{PoStProof: abi.RegisteredPoStProof_StackedDrgWinning2KiBV1}}})
	if err != nil || b.urgency != seconds {
		t.Error("winning", b.urgency, err)
	}
	s, err := sealed(proof.SealVerifyInfo{SealProof: abi.RegisteredSealProof_StackedDrg2KiBV1_1})
	if err != nil || s.urgency != days {
		t.Error("seal", s.urgency, err)
	}
}
