package sealing

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"quarry/api"
	"quarry/proofs/commp"
)

// loss is a way in which a piece loses its place. at is the type of task at
// which the sector is held, "" for an open sector; spoil makes it lose.
type loss struct {
	name  string
	snap  bool
	size  abi.PaddedPieceSize
	at    api.TaskType
	spoil func(t *testing.T, w *world, s *Sealing, n abi.SectorNumber)
	says  string
}

func remove(t *testing.T, _ *world, s *Sealing, n abi.SectorNumber) {
	t.Helper()
	if err := s.SectorRemove(bg, n); err != nil {
		t.Fatal(err)
	}
}

func abortIt(t *testing.T, _ *world, s *Sealing, n abi.SectorNumber) {
	t.Helper()
	if err := s.SectorAbortUpgrade(bg, n); err != nil {
		t.Fatal(err)
	}
}

func changed(f func(w *world, n abi.SectorNumber)) func(*testing.T, *world, *Sealing, abi.SectorNumber) {
	return func(_ *testing.T, w *world, _ *Sealing, n abi.SectorNumber) {
		w.mu.Lock()
		defer w.mu.Unlock()
		f(w, n)
	}
}

// hurt has as many tasks fail, in a way that repeating does not help, as are
// given to the data of a sector.
func hurt(typ api.TaskType) func(*testing.T, *world, *Sealing, abi.SectorNumber) {
	return changed(func(w *world, _ abi.SectorNumber) {
		w.taskFails[typ] = slices.Repeat([]taskFail{{text: "unsealed file: no such file"}}, dataTries)
	})
}

// TestDataIsNotGivenUpLightly: what may heal is tried for ever, and zeros too.
func TestDataIsNotGivenUpLightly(t *testing.T) {
	pc1 := job{kind: jobPC1}
	lost := asFailure(&taskError{job: pc1, failure: &api.Failure{Text: "gone"}})
	may := asFailure(&taskError{job: pc1, failure: &api.Failure{Text: "disk full", Retryable: true}})
	nowhere := asFailure(&taskError{job: pc1, failure: api.NewFailure(&api.ErrNotFound{What: "unsealed"}, true)})
	with := record{Pieces: []piece{{Key: "a"}}}
	long := record{Pieces: with.Pieces, Missing: time.Now().Add(-13 * time.Hour)}
	short := record{Pieces: with.Pieces, Missing: time.Now().Add(-11 * time.Hour)}
	s := open(t, newWorld(), memStore(), testConfig())
	for _, row := range []struct {
		name  string
		r     record
		tries int
		err   error
		fatal bool
	}{
		{"the last try", with, dataTries - 1, lost, true},
		{"one before", with, dataTries - 2, lost, false},
		{"retryable", with, 100, may, false},
		{"damaged", with, dataTries - 1, failed(pc1, "commitment"), true},
		{"unreachable", with, 100, &api.ErrUnreachable{}, false},
		{"on no path", with, 100, nowhere, false},
		{"on no path for eleven hours", short, 100, nowhere, false},
		{"on no path for thirteen hours", long, dataTries - 1, nowhere, true},
		{"the same, at the first tries", long, dataTries - 2, nowhere, false},
		{"retryable for long", long, 100, may, false},
		{"to be sealed again", with, 100, &stepError{kind: evLost, err: errors.New("lost")}, false},
		{"zeros", record{Pieces: []piece{{}}}, 100, lost, false},
	} {
		row.r.Attempts = map[job]int{pc1: row.tries}
		var step *stepError
		l := &lane{rec: row.r}
		err := s.dataFailure(bg, l, row.r, pc1, row.err)
		if noted := !l.rec.Missing.IsZero(); noted != (strings.HasPrefix(row.name, "on no path") || !row.r.Missing.IsZero()) {
			t.Errorf("%s: missing since %s", row.name, l.rec.Missing)
		}
		if isFatal := errors.As(err, &step) && step.kind == evFatal; isFatal != row.fatal {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func losses() []loss {
	other := commp.ZeroPiece(1 << 20)
	late := changed(func(w *world, _ abi.SectorNumber) { w.advance(w.height + 6000) })
	return []loss{
		{"an open sector is removed", false, 1 << 20, "", remove, "was removed"},
		{"a sector is removed at PC1", false, testSize, api.TaskPreCommit1, remove, "was removed"},
		{"a sector is removed at PC2", false, testSize, api.TaskPreCommit2, remove, "was removed"},
		{"a sector is removed at C1", false, testSize, api.TaskCommit1, remove, "was removed"},
		{"the start passes in an open sector", false, 1 << 20, "", late, "cannot be proven in time"},
		{"the start passes at PC1", false, testSize, api.TaskPreCommit1, late, "cannot be proven in time"},
		{"the start passes at PC2", false, testSize, api.TaskPreCommit2, late, "cannot be proven in time"},
		{"the number is used up", false, testSize, api.TaskPreCommit2,
			changed(func(w *world, n abi.SectorNumber) { w.allocated[n] = true }), "was used up on chain"},
		{"another pre-commitment", false, testSize, api.TaskPreCommit2, changed(func(w *world, n abi.SectorNumber) {
			w.pre[n] = &miner.SectorPreCommitOnChainInfo{Info: miner.SectorPreCommitInfo{SealedCID: other}}
		}), "another pre-commitment"},
		{"another sector of the number", false, testSize, api.TaskPreCommit2, changed(func(w *world, n abi.SectorNumber) {
			w.sectors[n] = &miner.SectorOnChainInfo{SealedCID: other, Expiration: 1 << 30}
		}), "another sector under number"},
		{"its data is lost at PC1", false, testSize, api.TaskPreCommit1, hurt(api.TaskPreCommit1), "cannot be worked on"},
		{"its data is lost at PC2", false, testSize, api.TaskPreCommit2, hurt(api.TaskPreCommit2), "cannot be worked on"},
		{"its data is lost at RU", true, testSize, api.TaskUpdate, hurt(api.TaskUpdate), "cannot be worked on"},
		{"an open update is aborted", true, 1 << 20, "", abortIt, "update was given up"},
		{"an update is aborted at RU", true, testSize, api.TaskUpdate, abortIt, "update was given up"},
		{"an update is aborted at PR1", true, testSize, api.TaskProveUpdate1, abortIt, "update was given up"},
		{"the start passes at RU", true, testSize, api.TaskUpdate, late, "a deal starts at epoch"},
		{"the start passes at PR1", true, testSize, api.TaskProveUpdate1, late, "a deal starts at epoch"},
		{"the sector to update was terminated", true, testSize, api.TaskProveUpdate1,
			changed(func(w *world, n abi.SectorNumber) { delete(w.sectors, n) }), "no longer on chain"},
		{"the sector to update has another replica", true, testSize, api.TaskProveUpdate1, changed(func(w *world, n abi.SectorNumber) {
			s := *w.sectors[n]
			s.SealedCID = other
			w.sectors[n] = &s
		}), "another replica"},
		{"the sector to update is faulty beyond the start", true, testSize, api.TaskProveUpdate1,
			changed(func(w *world, _ abi.SectorNumber) {
				w.inactive = 1 << 20
				w.advance(w.height + 4950) // the deal starts in 50 epochs
			}), "faulty or was never proven"},
	}
}

// TestEveryLostPlaceIsToldAndFilledAnew: whatever costs a piece its place, its
// owner is told so in a typed answer, before and after a restart; the old key
// never comes back to life, and a new one finds a place.
func TestEveryLostPlaceIsToldAndFilledAnew(t *testing.T) {
	for _, row := range losses() {
		t.Run(row.name, func(t *testing.T) {
			w, ds := newWorld(), memStore()
			s := open(t, w, ds, testConfig())
			stop := start(t, s)
			if row.snap {
				marked(t, w, s)
			}
			gate := make(chan struct{})
			w.mu.Lock()
			if row.at != "" {
				w.block[row.at] = gate
			}
			w.hold = row.at == "" || row.snap
			w.mu.Unlock()
			r := updatePiece(t, w, "piece", row.size)
			at, err := s.SectorAddPiece(bg, r)
			if err != nil {
				t.Fatal(err)
			}
			n := at.Sector.Number
			if row.at != "" {
				until(t, s, n, "works", func(i api.SectorInfo) bool { return i.Task != nil && i.Task.Spec.Type == row.at })
			}
			row.spoil(t, w, s, n)
			w.mu.Lock()
			delete(w.block, row.at)
			w.mu.Unlock()
			close(gate)

			eventually(t, "the place is given up", func() bool { _, err := s.SectorPlacement(bg, "piece"); return err != nil })
			told(t, s, r, n, row.says)
			stop()
			s = open(t, w, ds, testConfig())
			start(t, s)
			told(t, s, r, n, row.says)
			placedAnew(t, w, s, r, n)
			told(t, s, r, n, row.says) // also when the new place is there
		})
	}
}

func told(t *testing.T, s *Sealing, r api.AddPieceRequest, n abi.SectorNumber, says string) {
	t.Helper()
	for what, ask := range map[string]func() error{
		"placement": func() error { _, err := s.SectorPlacement(bg, r.Key); return err },
		"add piece": func() error { _, err := s.SectorAddPiece(bg, r); return err },
	} {
		var gone *api.ErrGivenUp
		err := ask()
		if !errors.As(err, &gone) || gone.Sector != s.name(n) || !strings.Contains(gone.Reason, says) || gone.What != "piece "+r.Key {
			t.Errorf("%s of a lost place: %v, want sector %s, %q", what, err, s.name(n), says)
		}
	}
}

func placedAnew(t *testing.T, w *world, s *Sealing, r api.AddPieceRequest, old abi.SectorNumber) {
	t.Helper()
	again := r
	again.Key, again.Deal.Attempt = r.Key+"/1", 1
	w.mu.Lock()
	w.hold, w.inactive = true, 0
	again.Deal.StartEpoch = max(again.Deal.StartEpoch, w.height+5000)
	w.mu.Unlock()
	at, err := s.SectorAddPiece(bg, again)
	if err != nil || at.Sector.Number == old {
		t.Fatalf("placed anew: %+v, %v", at, err)
	}
	if got, err := s.SectorPlacement(bg, again.Key); err != nil || got != at {
		t.Errorf("the new place: %+v, %v", got, err)
	}
}

// TestDealIsInOnePlanAtATime: a piece offered again while its old place still
// stands has to wait.
func TestDealIsInOnePlanAtATime(t *testing.T) {
	w := newWorld()
	w.hold = true
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	r := aPiece(t, "piece", 1<<20)
	at, err := s.SectorAddPiece(bg, r)
	if err != nil {
		t.Fatal(err)
	}
	again := r
	again.Key, again.Deal.Attempt = "piece/1", 1
	var busy *api.ErrBusy
	if _, err := s.SectorAddPiece(bg, again); !errors.As(err, &busy) || !strings.Contains(busy.Reason, s.name(at.Sector.Number)) {
		t.Errorf("the same deal twice: %v", err)
	}
	second := again // another piece of another deal is free to come
	second.Key, second.Deal.DealID = "other/1", r.Deal.DealID+1
	if _, err := s.SectorAddPiece(bg, second); err != nil {
		t.Error(err)
	}
	if err := s.SectorRemove(bg, at.Sector.Number); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SectorAddPiece(bg, again); err != nil {
		t.Error(err)
	}
}

// TestWaitingOwnerIsTold: the caller whose bytes are still on their way hears of
// the loss at once.
func TestWaitingOwnerIsTold(t *testing.T) {
	w := newWorld()
	w.block[api.TaskAddPiece] = make(chan struct{})
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	r := aPiece(t, "piece", 1<<20)
	answer := make(chan error, 1)
	go func() { _, err := s.SectorAddPiece(bg, r); answer <- err }()
	until(t, s, 2, "plan grown", func(i api.SectorInfo) bool { return len(i.Pieces) == 1 })
	if err := s.SectorRemove(bg, 2); err != nil {
		t.Fatal(err)
	}
	var gone *api.ErrGivenUp
	if err := <-answer; !errors.As(err, &gone) {
		t.Errorf("the waiting owner is told %v", err)
	}
}

// TestTroubleOfOursIsNotHeldAgainstThePiece: only bytes that are not those of
// the commitment are the piece's fault.
func TestTroubleOfOursIsNotHeldAgainstThePiece(t *testing.T) {
	for _, text := range []string{"sync directory: no such file", "disk full", "permission denied", "stale NFS file handle"} {
		for _, retryable := range []bool{true, false} {
			w := newWorld()
			w.hold = true
			fail := taskFail{text: text, retryable: retryable}
			w.taskFails[api.TaskAddPiece] = []taskFail{fail, fail, fail}[:map[bool]int{true: 3, false: 1}[retryable]]
			s := open(t, w, memStore(), testConfig())
			stop := start(t, s)
			r := aPiece(t, "piece", 1<<20)
			_, err := s.SectorAddPiece(bg, r)
			if err == nil || !api.IsTemporary(err) || api.FaultOf(err) == api.FaultCaller || !strings.Contains(err.Error(), text) {
				t.Errorf("%q: %v", text, err)
			}
			if _, err := s.SectorAddPiece(bg, r); err != nil {
				t.Errorf("%q: the same key again: %v", text, err)
			}
			w.mu.Lock()
			w.checkSpent(t)
			w.mu.Unlock()
			stop()
		}
	}
}

// TestRemovalWaitsForTheProof: a sector whose proof may land keeps its files.
func TestRemovalWaitsForTheProof(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	at, err := s.SectorAddPiece(bg, aPiece(t, "piece", testSize))
	if err != nil {
		t.Fatal(err)
	}
	n := at.Sector.Number
	for _, st := range []api.SectorState{api.SectorSubmitCommit, api.SectorCommitWait} {
		l := &lane{rec: record{Number: 99, State: st}, wake: make(chan struct{}, 1)}
		s.mu.Lock()
		s.lanes[99] = l
		s.mu.Unlock()
		var invalid *api.ErrInvalid
		if err := s.SectorRemove(bg, 99); !errors.As(err, &invalid) || l.rec.State != st {
			t.Errorf("removal in state %s: %v, now %s", st, err, l.rec.State)
		}
	}
	s.mu.Lock()
	delete(s.lanes, 99)
	s.mu.Unlock()
	untilState(t, s, n, api.SectorProving)
}

// TestSectorTakenAfterAllKeepsItsPieces: what the chain took while it was being
// removed is proven, and its pieces have their place.
func TestSectorTakenAfterAllKeepsItsPieces(t *testing.T) {
	w, ds := newWorld(), memStore()
	s := open(t, w, ds, testConfig())
	stop := start(t, s)
	at, err := s.SectorAddPiece(bg, aPiece(t, "piece", testSize))
	if err != nil {
		t.Fatal(err)
	}
	n := at.Sector.Number
	untilState(t, s, n, api.SectorProving)
	w.mu.Lock()
	onChain := w.sectors[n]
	delete(w.sectors, n) // a reorganisation takes it away for a moment
	w.mu.Unlock()
	stop()
	if err := s.SectorRemove(bg, n); err != nil {
		t.Fatal(err)
	}
	var gone *api.ErrGivenUp
	if _, err := s.SectorPlacement(bg, "piece"); !errors.As(err, &gone) {
		t.Errorf("placement in a sector to be removed: %v", err)
	}
	w.mu.Lock()
	w.sectors[n] = onChain
	w.mu.Unlock()
	s = open(t, w, ds, testConfig())
	start(t, s)
	untilState(t, s, n, api.SectorProving)
	if got, err := s.SectorPlacement(bg, "piece"); err != nil || got != at || w.removed[s.id(n)] {
		t.Errorf("the piece is at %+v (%v), files removed: %v", got, err, w.removed[s.id(n)])
	}
}
