package sealing

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"pgregory.net/rapid"

	"quarry/api"
	"quarry/proofs/commp"
)

var allKinds = []kind{evReserved, evPlaced, evDropped, evStart, evPlanned, evPacked, evTicket, evTicketExpired, evPC1, evPC2,
	evPreCommitSent, evPreCommitLanded, evSeed, evProved, evCommitSent, evActive, evFinalized, evFinalizedFree, evFailed, evStuck, evRetry,
	evFatal, evRemove, evRemoved, evMarked, evUpgrade, evUpdated, evUpdateProved, evImmutable, evMutable, evUpdateSent,
	evUpdateLanded, evUpdateKept, evUpdateSettled, evKeyReleased, evAbort, evAborted}

func states() []api.SectorState {
	var out []api.SectorState
	for st := range machine {
		out = append(out, st)
	}
	slices.Sort(out)
	return out
}

// TestTransitions is the road of a sector, good and bad, event by event.
func TestTransitions(t *testing.T) {
	full := []piece{{Key: "a", Info: abi.PieceInfo{Size: testSize, PieceCID: commp.ZeroPiece(testSize)}}}
	rows := []struct {
		name string
		from record
		ev   event
		to   api.SectorState
		eff  effect
	}{
		{"first piece", record{State: api.SectorWaitDeals}, event{Kind: evReserved, Pieces: full}, api.SectorAddPiece, effPlace},
		{"more while adding", record{State: api.SectorAddPiece, Pieces: full}, event{Kind: evReserved, Pieces: full},
			api.SectorAddPiece, effPlace},
		{"last one placed", record{State: api.SectorAddPiece, Pieces: full}, event{Kind: evPlaced}, api.SectorWaitDeals, effWaitDeals},
		{"only one dropped", record{State: api.SectorAddPiece, Pieces: full},
			event{Kind: evDropped, Filler: commp.ZeroPiece(testSize)}, api.SectorWaitDeals, effWaitDeals},
		{"pack", record{State: api.SectorWaitDeals, Pieces: full}, event{Kind: evStart}, api.SectorPacking, effPack},
		{"filler planned", record{State: api.SectorPacking}, event{Kind: evPlanned, Pieces: full}, api.SectorPacking, effPack},
		{"packed", record{State: api.SectorPacking}, event{Kind: evPacked}, api.SectorGetTicket, effTicket},
		{"ticket", record{State: api.SectorGetTicket}, event{Kind: evTicket}, api.SectorPreCommit1, effPC1},
		{"old ticket at PC1", record{State: api.SectorPreCommit1}, event{Kind: evTicketExpired}, api.SectorGetTicket, effTicket},
		{"PC1", record{State: api.SectorPreCommit1}, event{Kind: evPC1}, api.SectorPreCommit2, effPC2},
		{"PC2", record{State: api.SectorPreCommit2}, event{Kind: evPC2}, api.SectorPreCommitting, effPreCommit},
		{"old ticket at pre-commit", record{State: api.SectorPreCommitting}, event{Kind: evTicketExpired}, api.SectorGetTicket, effTicket},
		{"sent", record{State: api.SectorPreCommitting}, event{Kind: evPreCommitSent}, api.SectorPreCommitWait, effPreCommitWait},
		{"already there", record{State: api.SectorPreCommitting}, event{Kind: evPreCommitLanded}, api.SectorWaitSeed, effSeed},
		{"landed", record{State: api.SectorPreCommitWait}, event{Kind: evPreCommitLanded}, api.SectorWaitSeed, effSeed},
		{"seed", record{State: api.SectorWaitSeed}, event{Kind: evSeed}, api.SectorCommitting, effProve},
		{"proved", record{State: api.SectorCommitting}, event{Kind: evProved}, api.SectorSubmitCommit, effCommit},
		{"commit sent", record{State: api.SectorSubmitCommit}, event{Kind: evCommitSent}, api.SectorCommitWait, effCommitWait},
		{"active before sending", record{State: api.SectorSubmitCommit}, event{Kind: evActive}, api.SectorFinalizeSector, effFinalize},
		{"active", record{State: api.SectorCommitWait}, event{Kind: evActive}, api.SectorFinalizeSector, effFinalize},
		{"finalized", record{State: api.SectorFinalizeSector}, event{Kind: evFinalized}, api.SectorProving, effNone},
		{"finalized and free", record{State: api.SectorFinalizeSector}, event{Kind: evFinalizedFree}, api.SectorAvailable, effNone},

		{"AP fails", record{State: api.SectorAddPiece}, event{Kind: evFailed}, api.SectorAddPieceFailed, effRetry},
		{"PC1 fails", record{State: api.SectorPreCommit1}, event{Kind: evFailed}, api.SectorSealFailed, effRetry},
		{"PC2 fails", record{State: api.SectorPreCommit2}, event{Kind: evFailed}, api.SectorSeal2Failed, effRetry},
		{"pre-commit fails", record{State: api.SectorPreCommitWait}, event{Kind: evFailed}, api.SectorPreCommitFailed, effRetry},
		{"pre-commit vanished", record{State: api.SectorWaitSeed}, event{Kind: evFailed}, api.SectorPreCommitFailed, effRetry},
		{"proof fails", record{State: api.SectorCommitting}, event{Kind: evFailed}, api.SectorComputeFailed, effRetry},
		{"commit fails", record{State: api.SectorCommitWait}, event{Kind: evFailed}, api.SectorCommitFailed, effRetry},
		{"FIN fails", record{State: api.SectorFinalizeSector}, event{Kind: evFailed}, api.SectorFinalizeFailed, effRetry},

		{"AP again", record{State: api.SectorAddPieceFailed, FailedFrom: api.SectorAddPiece, Pieces: full}, event{Kind: evRetry},
			api.SectorAddPiece, effPlace},
		{"packing again", record{State: api.SectorAddPieceFailed, FailedFrom: api.SectorPacking}, event{Kind: evRetry},
			api.SectorPacking, effPack},
		{"PC1 again", record{State: api.SectorSealFailed, Ticket: []byte{1}}, event{Kind: evRetry}, api.SectorPreCommit1, effPC1},
		{"ticket again", record{State: api.SectorSealFailed}, event{Kind: evRetry}, api.SectorGetTicket, effTicket},
		{"PC2 again", record{State: api.SectorSeal2Failed, Attempts: map[job]int{{kind: jobPC2}: 3}}, event{Kind: evRetry},
			api.SectorPreCommit2, effPC2},
		{"PC2 too often", record{State: api.SectorSeal2Failed, Attempts: map[job]int{{kind: jobPC2}: 4}}, event{Kind: evRetry},
			api.SectorPreCommit1, effPC1},
		{"pre-commit again", record{State: api.SectorPreCommitFailed}, event{Kind: evRetry}, api.SectorPreCommitting, effPreCommit},
		{"prove again", record{State: api.SectorComputeFailed}, event{Kind: evRetry}, api.SectorCommitting, effProve},
		{"commit again", record{State: api.SectorCommitFailed}, event{Kind: evRetry}, api.SectorWaitSeed, effSeed},
		{"C2 fails", record{State: api.SectorCommitting}, event{Kind: evFailed, Job: job{kind: jobC2}}, api.SectorComputeFailed, effRetry},
		{"FIN again", record{State: api.SectorFinalizeFailed}, event{Kind: evRetry}, api.SectorFinalizeSector, effFinalize},

		{"unreachable", record{State: api.SectorCommitWait}, event{Kind: evStuck}, api.SectorCommitWait, effCommitWait},
		{"hopeless", record{State: api.SectorPreCommitting}, event{Kind: evFatal}, api.SectorFailedForGood, effNone},
		{"remove", record{State: api.SectorFailedForGood}, event{Kind: evRemove}, api.SectorRemoving, effRemove},
		{"removed", record{State: api.SectorRemoving}, event{Kind: evRemoved}, api.SectorRemoved, effNone},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, eff, err := apply(row.from, row.ev)
			if err != nil || got.State != row.to || eff != row.eff {
				t.Errorf("%s + %s = %s, effect %d (%v); want %s, effect %d", row.from.State, row.ev.Kind, got.State, eff, err,
					row.to, row.eff)
			}
		})
	}
}

func TestImpossibleEventsChangeNothing(t *testing.T) {
	for _, st := range states() {
		for _, k := range allKinds {
			before := record{State: st}
			after, eff, err := apply(before, event{Kind: k, Now: time.Now()})
			if _, possible := next(before, k); possible == (err != nil) {
				t.Errorf("%s + %s: possible=%v, err=%v", st, k, possible, err)
			}
			if err != nil && (!reflect.DeepEqual(before, after) || eff != effNone) {
				t.Errorf("%s + %s was refused and yet changed the record", st, k)
			}
		}
	}
}

// TestEveryStateHasAWayOut: no state may sleep until a restart.
func TestEveryStateHasAWayOut(t *testing.T) {
	rest := []api.SectorState{api.SectorProving, api.SectorAvailable, api.SectorFailedForGood, api.SectorRemoved}
	for _, st := range states() {
		row := machine[st]
		if slices.Contains(rest, st) {
			if row.Effect != effNone {
				t.Errorf("%s should rest", st)
			}
			continue
		}
		if row.Effect == effNone || len(row.On) == 0 {
			t.Errorf("%s does nothing and is not final", st)
		}
		if row.Effect != effRetry && row.Failed == "" {
			t.Errorf("%s has nowhere to fail to", st)
		}
		for k, to := range row.On {
			if _, ok := machine[to]; !ok {
				t.Errorf("%s + %s leads to %s, which has no row", st, k, to)
			}
		}
	}
}

func TestApplyIsPure(t *testing.T) {
	r := record{State: api.SectorAddPiece, Attempts: map[job]int{{kind: jobAddPiece}: 1},
		Pieces: []piece{{Key: "a", Data: api.DataRef{URL: "u"}}, {Seq: 1, Key: "b"}}, NextSeq: 2}
	before := r.clone()
	for _, ev := range []event{{Kind: evPlaced}, {Kind: evDropped}, {Kind: evFailed, Job: job{kind: jobAddPiece}}} {
		if _, _, err := apply(r, ev); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(before, r) {
			t.Fatalf("%s changed its argument", ev.Kind)
		}
	}
}

func TestLogIsBounded(t *testing.T) {
	r := record{State: api.SectorPreCommit1}
	for i := range 3 * maxLog {
		var err error
		k := []kind{evFailed, evRetry}[i%2]
		r.Ticket = []byte{1}
		if r, _, err = apply(r, event{Kind: k, Reason: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.Log) != maxLog || r.Log[maxLog-1].Message != fmt.Sprintf("%s: %s: %d", api.SectorSealFailed, evRetry, 3*maxLog-1) {
		t.Errorf("%d lines, last %q", len(r.Log), r.Log[len(r.Log)-1].Message)
	}
}

// TestFillers: for any two offsets the filler is contiguous, aligned, and as
// few pieces as there can be.
func TestFillers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units := uint64(testSize / minPiece)
		a, b := rapid.Uint64Range(0, units).Draw(t, "a"), rapid.Uint64Range(0, units).Draw(t, "b")
		from, to := abi.PaddedPieceSize(min(a, b))*minPiece, abi.PaddedPieceSize(max(a, b))*minPiece
		at := from
		for _, p := range fillers(from, to) {
			if p.Offset != at || p.Info.Size.Validate() != nil || p.Offset%p.Info.Size != 0 {
				t.Fatalf("filler %d at %d, expected offset %d", p.Info.Size, p.Offset, at)
			}
			if p.Info.PieceCID != commp.ZeroPiece(p.Info.Size) || !p.filler() {
				t.Fatalf("filler %+v is not zeros", p)
			}
			at += p.Info.Size
		}
		if at != to {
			t.Fatalf("filler ends at %d, not %d", at, to)
		}
	})
}

// TestPackingKeepsThePlanWhole: whatever is added and dropped, pieces never
// move, never overlap, stay aligned, and the sector's commitment is that of the
// deals alone, because filler is zeros.
func TestPackingKeepsThePlanWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := record{State: api.SectorWaitDeals, ProofType: testProof}
		told := map[string]abi.PaddedPieceSize{}
		for i := range rapid.IntRange(1, 20).Draw(t, "steps") {
			if j := r.unplaced(); j >= 0 && rapid.Bool().Draw(t, "settle") {
				ev := event{Kind: evPlaced, Seq: r.Pieces[j].Seq}
				if !r.Pieces[j].filler() && rapid.Bool().Draw(t, "drop") {
					ev = event{Kind: evDropped, Seq: r.Pieces[j].Seq, Filler: commp.ZeroPiece(r.Pieces[j].Info.Size)}
					delete(told, r.Pieces[j].Key)
				}
				r, _, _ = apply(r, ev)
			} else {
				size := abi.PaddedPieceSize(128) << rapid.IntRange(8, 16).Draw(t, "size")
				key := fmt.Sprintf("p%d", i)
				add, _, ok := plan(r, piece{Key: key, Info: abi.PieceInfo{Size: size, PieceCID: commp.ZeroPiece(size)}}, testSize)
				if !ok {
					continue
				}
				told[key] = add[len(add)-1].Offset
				r, _, _ = apply(r, event{Kind: evReserved, Pieces: add})
			}
			checkPlan(t, r, told)
		}
		fill := fillers(r.end(), testSize)
		number(fill, r.NextSeq)
		r.State = api.SectorPacking
		r, _, _ = apply(r, event{Kind: evPlanned, Pieces: fill})
		checkPlan(t, r, told)
		if r.end() != testSize {
			t.Fatalf("a packed sector ends at %d", r.end())
		}
		d, err := commp.CommD(testProof, r.infos())
		if err != nil || d != commp.ZeroPiece(testSize) {
			t.Fatalf("CommD of nothing but zeros is %s (%v)", d, err)
		}
	})
}

func checkPlan(t *rapid.T, r record, told map[string]abi.PaddedPieceSize) {
	at, seen, found := abi.PaddedPieceSize(0), map[uint64]bool{}, 0
	for _, p := range r.Pieces {
		if p.Offset != at || p.Offset%p.Info.Size != 0 {
			t.Fatalf("piece of %d at %d, expected offset %d", p.Info.Size, p.Offset, at)
		}
		if seen[p.Seq] || p.Seq >= r.NextSeq {
			t.Fatalf("sequence number %d is used twice or too large (next %d)", p.Seq, r.NextSeq)
		}
		seen[p.Seq] = true
		at += p.Info.Size
		if off, ok := told[p.Key]; ok {
			found++
			if off != p.Offset {
				t.Fatalf("piece %s moved from %d to %d", p.Key, off, p.Offset)
			}
		}
	}
	if found != len(told) {
		t.Fatalf("%d pieces in the plan, %d promised", found, len(told))
	}
}
