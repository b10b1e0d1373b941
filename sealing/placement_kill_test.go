package sealing

import (
	"errors"
	"testing"

	"quarry/api"
)

// TestRestartAtEveryWriteOfALoss kills the process at each write of a place that
// is given up: by the end of an update, and by the removal of a sector. After
// the restart the place stands as before, or is lost and told as such; once
// lost it stays lost, and the piece finds another place.
func TestRestartAtEveryWriteOfALoss(t *testing.T) {
	for _, snap := range []bool{true, false} {
		for _, before := range []bool{true, false} {
			for kill := 1; ; kill++ {
				if kill > 20 {
					t.Fatal("a loss should take fewer writes")
				}
				if !killLossAt(t, kill, snap, before) {
					t.Logf("%d writes (update=%v, before=%v)", kill-1, snap, before)
					break
				}
			}
		}
	}
}

func killLossAt(t *testing.T, kill int, snap, before bool) (died bool) {
	t.Helper()
	w, ds := newWorld(), memStore()
	s := open(t, w, ds, testConfig())
	stop := start(t, s)
	if snap {
		marked(t, w, s)
	}
	typ := api.TaskPreCommit1
	if snap {
		typ = api.TaskUpdate
	}
	w.mu.Lock()
	w.hold, w.block[typ] = true, make(chan struct{}) // for ever
	w.mu.Unlock()
	r := updatePiece(t, w, "piece", testSize)
	at, err := s.SectorAddPiece(bg, r)
	if err != nil {
		t.Fatal(err)
	}
	n := at.Sector.Number
	until(t, s, n, "works", func(i api.SectorInfo) bool { return i.Task != nil && i.Task.Spec.Type == typ })
	stop()

	dead := make(chan struct{})
	m := &mortal{Batching: ds, left: kill, before: before, die: func() { close(dead) }}
	s = open(t, w, m, testConfig())
	stop = start(t, s)
	end, lose := api.SectorRemoved, s.SectorRemove
	if snap {
		end, lose = api.SectorProving, s.SectorAbortUpgrade
	}
	err = lose(bg, n)
	gone := func() bool { i, _ := s.SectorsStatus(bg, n, false); return i.State == end }
	for err == nil && !gone() {
		select {
		case <-dead:
			err = errors.New("killed")
		default:
		}
	}
	stop()
	select {
	case <-dead:
		died = true
	default:
	}

	s = open(t, w, ds, testConfig())
	start(t, s)
	got, err := s.SectorPlacement(bg, "piece")
	if err == nil { // not lost yet
		if got != at {
			t.Errorf("kill %d: the place moved to %+v", kill, got)
		}
		again := s.SectorRemove
		if snap {
			again = s.SectorAbortUpgrade
		}
		if err := again(bg, n); err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
	}
	says := "was removed"
	if snap {
		says = "update was given up"
	}
	told(t, s, r, n, says)
	if snap {
		untilState(t, s, n, api.SectorProving)
	} else {
		untilState(t, s, n, api.SectorRemoved)
	}
	placedAnew(t, w, s, r, n)
	told(t, s, r, n, says)
	return died
}
