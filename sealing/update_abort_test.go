package sealing

import (
	"errors"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// TestAbortAnywhere: wherever an update is given up, the sector is as before,
// its files and pieces are free, and it can be marked again.
func TestAbortAnywhere(t *testing.T) {
	for _, typ := range []api.TaskType{"", api.TaskUpdate, api.TaskProveUpdate1} {
		t.Run(string(typ), func(t *testing.T) {
			w := newWorld()
			s := open(t, w, memStore(), testConfig())
			start(t, s)
			n := marked(t, w, s)
			gate := make(chan struct{})
			w.mu.Lock()
			w.block[typ] = gate
			w.hold = true
			w.mu.Unlock()
			at, err := s.SectorAddPiece(bg, updatePiece(t, w, "piece", 2<<20))
			if err != nil || at.Sector.Number != n {
				t.Fatal(at, err)
			}
			if typ != "" {
				if err := s.SectorStartSealing(bg, n); err != nil {
					t.Fatal(err)
				}
				until(t, s, n, "works", func(i api.SectorInfo) bool { return i.Task != nil && i.Task.Spec.Type == typ })
			}
			if err := s.SectorAbortUpgrade(bg, n); err != nil {
				t.Fatal(err)
			}
			info := untilState(t, s, n, api.SectorProving)
			if info.UpdateSealed != nil || len(info.Pieces) != 0 || w.does()[`{"Do":"abort"}`] != 1 || len(w.updates) != 0 {
				t.Errorf("after the end %+v, tasks %v", info, w.does())
			}
			var gone *api.ErrGivenUp
			if _, err := s.SectorPlacement(bg, "piece"); !errors.As(err, &gone) {
				t.Errorf("placement of a piece given back: %v", err)
			}
			w.mu.Lock()
			delete(w.block, typ)
			w.mu.Unlock()
			close(gate)
			if err := s.SectorMarkForUpgrade(bg, n, true); err != nil {
				t.Fatal(err)
			}
			if at, err = s.SectorAddPiece(bg, updatePiece(t, w, "piece/1", testSize)); err != nil || at.Sector.Number != n {
				t.Fatal(at, err)
			}
			w.release()
			untilUpdated(t, s, n)
		})
	}
}

// TestHopelessUpdateIsGivenUp: a deal that starts before the update can land
// costs the deal, never the sector.
func TestHopelessUpdateIsGivenUp(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	n := marked(t, w, s)
	gate := make(chan struct{})
	w.mu.Lock()
	w.block[api.TaskProveUpdate1] = gate
	w.mu.Unlock()
	r := updatePiece(t, w, "piece", testSize)
	if _, err := s.SectorAddPiece(bg, r); err != nil {
		t.Fatal(err)
	}
	untilState(t, s, n, api.SectorProveUpdate)
	w.setHeight(r.Deal.StartEpoch)
	close(gate)
	info := until(t, s, n, "was given back", func(i api.SectorInfo) bool { return i.State == api.SectorProving && len(i.Pieces) == 0 })
	if len(w.updates) != 0 || !slices.ContainsFunc(info.Log, func(l api.SectorLogEntry) bool { return l.State == api.SectorAbortUpgrade }) {
		t.Errorf("%d updates, %+v", len(w.updates), info)
	}
}

// TestUpdateTakenBackIsMadeAgain: a reorganisation takes the update away after
// what only its proof needed was dropped.
func TestUpdateTakenBackIsMadeAgain(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	n := marked(t, w, s)
	old := *w.sectors[n]
	w.mu.Lock()
	w.hold = true
	w.mu.Unlock()
	if _, err := s.SectorAddPiece(bg, updatePiece(t, w, "piece", testSize)); err != nil {
		t.Fatal(err)
	}
	untilState(t, s, n, api.SectorUpdateActivating)
	var invalid *api.ErrInvalid
	if err := s.SectorAbortUpgrade(bg, n); !errors.As(err, &invalid) {
		t.Errorf("abort of an update that landed: %v", err)
	}
	w.mu.Lock()
	w.sectors[n] = &old
	w.mu.Unlock()
	w.release()
	untilUpdated(t, s, n)
	if d := w.does(); len(w.updates) != 2 || d["RU"] != 2 || d["PR1"] != 2 || d[`{"Do":"release-key"}`] != 1 {
		t.Errorf("%d updates, tasks %v", len(w.updates), d)
	}
}

// TestDealThatStartsBeforeTheDeadlineCloses goes into a new sector: that the
// update could not land in time is known before the work.
func TestDealThatStartsBeforeTheDeadlineCloses(t *testing.T) {
	for _, row := range []struct {
		start abi.ChainEpoch
		snap  bool
	}{
		{30*60 - 60 + 60 + 2*60 + 10 - 1, false}, // one epoch less than the work and two challenge windows take
		{30*60 - 60 + 60 + 2*60 + 10, true},
	} {
		w := newWorld()
		s := open(t, w, memStore(), testConfig())
		start(t, s)
		n := marked(t, w, s)
		w.mu.Lock()
		w.hold = true
		w.advance(30*60 - 60) // the deadline closes at 1860
		w.mu.Unlock()
		r := updatePiece(t, w, "piece", testSize)
		r.Deal.StartEpoch = row.start
		at, err := s.SectorAddPiece(bg, r)
		if err != nil {
			t.Fatal(err)
		}
		if (at.Sector.Number == n) != row.snap {
			t.Errorf("a deal that starts at %d went into sector %d, the marked one is %d", row.start, at.Sector.Number, n)
		}
		info, err := s.SectorsStatus(bg, n, false)
		if err != nil || !row.snap && (info.State != api.SectorAvailable || len(w.does()) > 0 && w.does()["RU"] > 0) {
			t.Errorf("the marked sector is %s, tasks %v (%v)", info.State, w.does(), err)
		}
		w.release()
		if row.snap {
			untilUpdated(t, s, n)
		}
	}
}
