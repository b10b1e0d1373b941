package sealing

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/commp"
)

// TestSilentDeals: a deal that the market actor would not take does not keep
// the sector and the other deals in it from being activated.
func TestSilentDeals(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	deal := func(id abi.DealID, start abi.ChainEpoch, attempt int) piece {
		return piece{Seq: uint64(id), Key: "k", Info: abi.PieceInfo{Size: 128, PieceCID: commp.ZeroPiece(128)},
			Deal: &api.PieceDealInfo{DealID: id, StartEpoch: start, Attempt: attempt}}
	}
	w.active = map[abi.DealID]abi.ChainEpoch{2: 900, 3: 0, 5: 900}
	r := record{Pieces: []piece{
		deal(1, 2000, 0), // to be announced
		deal(2, 2000, 1), // active elsewhere
		deal(3, 2000, 1), // no longer on chain
		deal(4, 2000, 1), // placed again
		deal(5, 2000, 0), // nobody has ever placed it elsewhere: not asked for
		deal(6, 1000, 0), // starts at the head
		deal(7, 1001, 0), // starts after it
		{Seq: 8, Info: abi.PieceInfo{Size: 128, PieceCID: commp.ZeroPiece(128)}},
	}}
	silent, err := s.silent(bg, r, w.Head())
	if err != nil {
		t.Fatal(err)
	}
	if len(silent) != 3 || !silent[2] || !silent[3] || !silent[6] || w.calls["StateMarketStorageDeal"] != 3 {
		t.Errorf("silent are %v, after %d questions", silent, w.calls["StateMarketStorageDeal"])
	}
	m, err := manifests(r, silent)
	if err != nil || len(m) != 7 {
		t.Fatal(len(m), err)
	}
	for i, p := range m {
		if (len(p.Notify) == 1) != slices.Contains([]int{0, 3, 4, 6}, i) {
			t.Errorf("piece %d is announced %d times", i, len(p.Notify))
		}
	}
	w.flaky["StateMarketStorageDeal"] = 1
	if _, err := s.silent(bg, r, w.Head()); err == nil || !api.IsTemporary(err) {
		t.Errorf("a node that is away decides nothing: %v", err)
	}
}

// TestPassedStartDoesNotHoldTheOthers: once pre-committed, a sector goes on
// chain without the deal that came too late.
func TestPassedStartDoesNotHoldTheOthers(t *testing.T) {
	w := newWorld()
	w.hold = true
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	early, late := aPiece(t, "early", 4<<20), aPiece(t, "late one", 4<<20)
	late.Deal.StartEpoch = 9000
	for _, r := range []api.AddPieceRequest{early, late} {
		if _, err := s.SectorAddPiece(bg, r); err != nil {
			t.Fatal(err)
		}
	}
	untilState(t, s, 2, api.SectorWaitSeed)
	w.setHeight(early.Deal.StartEpoch)
	w.release()
	untilState(t, s, 2, api.SectorProving)
	if p := w.commits[0].SectorActivations[0].Pieces; len(p[0].Notify) != 0 || len(p[1].Notify) != 1 {
		t.Errorf("announced: %d and %d times", len(p[0].Notify), len(p[1].Notify))
	}
}

// TestOnlyAProvenSectorTakesData: neither the mark nor the piece starts any work
// before the chain would take its outcome; the piece finds another sector.
func TestOnlyAProvenSectorTakesData(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	n := id.Number
	untilState(t, s, n, api.SectorProving)
	w.mu.Lock()
	w.inactive = 1
	w.mu.Unlock()
	var invalid *api.ErrInvalid
	err = s.SectorMarkForUpgrade(bg, n, true)
	if !errors.As(err, &invalid) || !strings.Contains(invalid.Reason, "never proven") ||
		!strings.Contains(invalid.Hint, "until epoch 1860") {
		t.Errorf("mark of a sector that was never proven: %v", err)
	}
	if i, _ := s.SectorsStatus(bg, n, false); i.State != api.SectorProving {
		t.Errorf("state %s after a refusal", i.State)
	}
	if err := s.SectorMarkForUpgrade(bg, n, true); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.inactive, w.hold = 1, true // it became faulty
	w.mu.Unlock()
	at, err := s.SectorAddPiece(bg, updatePiece(t, w, "piece", 1<<20))
	if err != nil || at.Sector.Number == n || w.does()[string(api.TaskUpdate)] != 0 {
		t.Errorf("placed at %+v (%v), tasks %v", at, err, w.does())
	}
	if i, _ := s.SectorsStatus(bg, n, false); i.State != api.SectorAvailable {
		t.Errorf("state %s of the sector that was left alone", i.State)
	}
	w.mu.Lock()
	expiration := w.sectors[n].Expiration
	w.mu.Unlock()
	r := updatePiece(t, w, "second", testSize)
	r.Deal.EndEpoch = expiration
	if at, err := s.SectorAddPiece(bg, r); err != nil || at.Sector.Number != n {
		t.Errorf("a proven sector is passed over: %+v, %v", at, err)
	}
}

// TestNewSectorsAreMarkedButNotUsedBeforeTheirProof: what marks itself is judged
// like what an operator marked.
func TestNewSectorsAreMarkedButNotUsedBeforeTheirProof(t *testing.T) {
	w := newWorld()
	cfg := testConfig()
	cfg.MarkCC = true
	s := open(t, w, memStore(), cfg)
	start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, id.Number, api.SectorAvailable)
	w.mu.Lock()
	w.inactive, w.hold = 1, true
	w.mu.Unlock()
	if at, err := s.SectorAddPiece(bg, updatePiece(t, w, "first", testSize)); err != nil || at.Sector.Number == id.Number {
		t.Errorf("before the proof: %+v, %v", at, err)
	}
	if at, err := s.SectorAddPiece(bg, updatePiece(t, w, "second", testSize)); err != nil || at.Sector.Number != id.Number {
		t.Errorf("after the proof: %+v, %v", at, err)
	}
}

// TestOldRecordsOfLostSectorsAreUnderstood: sectors given up by earlier versions
// have no notes.
func TestOldRecordsOfLostSectorsAreUnderstood(t *testing.T) {
	for _, st := range []api.SectorState{api.SectorFailedForGood, api.SectorRemoved, api.SectorRemoving} {
		ds := memStore()
		r := record{Number: 7, ProofType: testProof, State: st,
			Pieces: []piece{{Key: "piece", Info: abi.PieceInfo{Size: 128, PieceCID: commp.ZeroPiece(128)}, Placed: true}}}
		if err := (store{ds}).put(bg, r); err != nil {
			t.Fatal(err)
		}
		s := open(t, newWorld(), ds, testConfig())
		var gone *api.ErrGivenUp
		if _, err := s.SectorPlacement(bg, "piece"); !errors.As(err, &gone) || !strings.Contains(gone.Reason, string(st)) {
			t.Errorf("state %s: %v", st, err)
		}
	}
}
