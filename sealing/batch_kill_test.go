package sealing

import (
	"context"
	"testing"
	"time"

	"quarry/api"
)

// TestRestartAtEveryWriteOfABatch kills the process at each write of two sectors
// that share their messages; none may be sent a second time.
func TestRestartAtEveryWriteOfABatch(t *testing.T) {
	for _, before := range []bool{true, false} {
		for kill := 1; ; kill++ {
			if kill > 200 {
				t.Fatal("two sectors should take fewer writes")
			}
			if !killBatchAt(t, kill, before) {
				t.Logf("%d writes (before=%v)", kill-1, before)
				break
			}
		}
	}
}

func killBatchAt(t *testing.T, kill int, before bool) (died bool) {
	w := newWorld()
	ds := memStore()
	cfg := batchConfig(2)
	cfg.PreCommitBatchWait, cfg.CommitBatchWait = fixed(20*time.Millisecond), fixed(20*time.Millisecond)
	dead, cancel := context.WithCancel(bg)
	defer cancel()
	s := open(t, w, &mortal{Batching: ds, left: kill, before: before, die: cancel}, cfg)
	stop := start(t, s)
	done := func() bool {
		sum, err := s.SectorsSummary(bg)
		return err == nil && sum[api.SectorProving] == 2
	}
	for range 2 {
		_, _ = s.PledgeSector(bg) // the store may be dead: the second process pledges what is missing
	}
	for dead.Err() == nil && !done() {
		time.Sleep(50 * time.Microsecond)
	}
	stop()
	if dead.Err() == nil {
		return false
	}
	s = open(t, w, ds, cfg)
	stop = start(t, s)
	defer stop()
	list, err := s.SectorsList(bg, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	pledge(t, s, 2-len(list))
	eventually(t, "both sectors are proven", done)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) > 0 || len(w.commits) != 2 || w.executed[28] > 2 || w.executed[34] > 2 {
		t.Fatalf("kill %d (before=%v): messages %v, %d sectors committed, wrong: %v", kill, before, w.executed, len(w.commits), w.faults)
	}
	return true
}
