package sealing

import (
	"context"
	"testing"

	"quarry/api"
)

// TestRestartAtEveryWriteOfAnUpdate kills the process at each write between the
// mark and the end of an update, and goes on with a reopened store.
func TestRestartAtEveryWriteOfAnUpdate(t *testing.T) {
	for _, before := range []bool{true, false} {
		for kill := 1; ; kill++ {
			if kill > 100 {
				t.Fatal("an update should take fewer writes")
			}
			if !killUpdateAt(t, kill, before) {
				t.Logf("%d writes (before=%v)", kill-1, before)
				break
			}
		}
	}
}

func killUpdateAt(t *testing.T, kill int, before bool) (died bool) {
	w := newWorld()
	ds := memStore()
	s := open(t, w, ds, testConfig())
	stop := start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, id.Number, api.SectorProving)
	stop()

	dead, cancel := context.WithCancel(bg)
	defer cancel()
	s = open(t, w, &mortal{Batching: ds, left: kill, before: before, die: cancel}, testConfig())
	stop = start(t, s)
	req := updatePiece(t, w, "piece", 4<<20)
	err = s.SectorMarkForUpgrade(bg, id.Number, true)
	if err == nil {
		_, err = s.SectorAddPiece(dead, req)
	}
	for err == nil && dead.Err() == nil {
		if i, _ := s.SectorsStatus(bg, id.Number, false); i.State == api.SectorProving && i.UpdateSealed != nil {
			break
		}
	}
	stop()
	if dead.Err() == nil {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	s = open(t, w, ds, testConfig())
	stop = start(t, s)
	defer stop()
	if err := s.SectorMarkForUpgrade(bg, id.Number, true); err != nil {
		if i, _ := s.SectorsStatus(bg, id.Number, false); i.State == api.SectorProving && i.UpdateSealed == nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
	}
	if _, err := s.SectorAddPiece(bg, req); err != nil {
		t.Fatalf("kill %d: the piece is refused after the restart: %v", kill, err)
	}
	untilUpdated(t, s, id.Number)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.executed[35] != 1 || len(w.updates) != 1 {
		t.Fatalf("kill %d: messages that took effect: %v", kill, w.executed)
	}
	return true
}
