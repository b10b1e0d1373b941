package sealing

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"

	"quarry/api"
)

// sent counts the tasks of a type that were submitted under keys of their own.
func (w *world) sent(typ api.TaskType) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := map[string]bool{}
	for _, s := range w.submitted {
		if s.Type == typ {
			keys[s.Key] = true
		}
	}
	return len(keys)
}

// lose takes a file of every sector away, which tasks of a type need, until PC1 is
// done again.
func (w *world) lose(kind api.FileType, needs api.TaskType) {
	w.missing, w.needs = kind, needs
	w.computeWith = func(spec api.TaskSpec) (any, error) {
		if spec.Type == api.TaskPreCommit1 && strings.HasSuffix(spec.Key, "/1") {
			w.missing = 0
		}
		return w.compute(spec)
	}
}

// A pre-committed sector whose replica or cache is on no path any more is sealed
// again with the ticket it has, which gives the CommR that the chain holds: it is
// proven without another pre-commitment.
func TestLostReplicaIsMadeAgain(t *testing.T) {
	for _, kind := range []api.FileType{api.FileCache, api.FileSealed} {
		w := newWorld()
		w.lose(kind, api.TaskCommit1)
		cfg := testConfig()
		cfg.LostAfter = 30 * time.Millisecond
		s := open(t, w, memStore(), cfg)
		start(t, s)
		at, err := s.SectorAddPiece(bg, aPiece(t, "p", testSize))
		if err != nil {
			t.Fatal(err)
		}
		info := untilState(t, s, at.Sector.Number, api.SectorProving)
		if pc1, pc2, c1 := w.sent(api.TaskPreCommit1), w.sent(api.TaskPreCommit2), w.sent(api.TaskCommit1); pc1 != 2 || pc2 != 2 ||
			c1 != 1 {
			t.Errorf("%s lost: %d PC1, %d PC2 and %d C1 tasks", kind, pc1, pc2, c1)
		}
		w.mu.Lock()
		if n := w.executed[builtin.MethodsMiner.PreCommitSectorBatch2]; n != 1 {
			t.Errorf("%s lost: %d pre-commitments", kind, n)
		}
		if on := w.sectors[at.Sector.Number]; on == nil || on.SealedCID != *info.CommR {
			t.Errorf("%s lost: on chain %+v", kind, on)
		}
		w.mu.Unlock()
		if !slices.ContainsFunc(info.Log, func(l api.SectorLogEntry) bool {
			return strings.Contains(l.Message, "files-lost: its "+kind.String()+" file is on no path since") &&
				strings.Contains(l.Message, "sealed again with the ticket of epoch")
		}) {
			t.Errorf("%s lost: %+v", kind, info.Log)
		}
		if got, err := s.SectorPlacement(bg, "p"); err != nil || got != at {
			t.Errorf("%s lost: the piece is at %+v, %v", kind, got, err)
		}
	}
}

// Layers that are lost before the pre-commitment are made again too, and those of
// the task that waits for them are found by it.
func TestLostLayersAreMadeAgain(t *testing.T) {
	w := newWorld()
	w.lose(api.FileCache, api.TaskPreCommit2)
	cfg := testConfig()
	cfg.LostAfter = 30 * time.Millisecond
	s := open(t, w, memStore(), cfg)
	start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, id.Number, api.SectorProving)
	if pc1, pc2 := w.sent(api.TaskPreCommit1), w.sent(api.TaskPreCommit2); pc1 != 2 || pc2 != 2 {
		t.Errorf("%d PC1 and %d PC2 tasks", pc1, pc2)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.cancelled) != 1 || !strings.Contains(w.cancelled[0], "/PC2/") {
		t.Errorf("cancelled are %v", w.cancelled)
	}
}

// Files that come back in time are waited for, and nothing is computed twice.
func TestFilesThatComeBackAreNotLost(t *testing.T) {
	w := newWorld()
	w.missing, w.needs = api.FileCache, api.TaskCommit1
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	missing := func() (since time.Time) {
		r, err := s.get(id.Number)
		if err != nil {
			t.Fatal(err)
		}
		return r.Missing
	}
	eventually(t, "the loss is noted", func() bool { return !missing().IsZero() })
	w.mu.Lock()
	w.missing = 0
	w.mu.Unlock()
	untilState(t, s, id.Number, api.SectorProving)
	if !missing().IsZero() || w.sent(api.TaskPreCommit1) != 1 {
		t.Errorf("missing since %s, %d PC1 tasks", missing(), w.sent(api.TaskPreCommit1))
	}
}

// Where nothing can be sealed again in time, the sector fails with the reason and
// what to do.
func TestLostTooLate(t *testing.T) {
	s := open(t, newWorld(), memStore(), testConfig())
	w := s.deps.Chain.(*world)
	r := record{Number: 7, PreCommitEpoch: 1000, TicketEpoch: 900}
	last := r.PreCommitEpoch + maxProveCommit + testDelay
	for _, c := range []struct {
		name   string
		now    abi.ChainEpoch
		change func(*record)
		kind   kind
		says   string
	}{
		{"there is time", last - 480, func(*record) {}, evLost, "sealed again with the ticket of epoch 900"},
		{"there is none", last - 479, func(*record) {}, evFatal, "too soon to seal again; its deals are placed again, its deposit is lost"},
		{"it was lost once", 2000, func(r *record) { r.Resealed = 1 }, evLost, "sealed again"},
		{"it was lost twice", 2000, func(r *record) { r.Resealed = 2 }, evFatal, "sealed 3 times already"},
		{"it is not on chain yet", last, func(r *record) { r.PreCommitEpoch = 0 }, evLost, "sealed again"},
		{"a deal has begun", 6000, func(r *record) {
			r.Pieces = []piece{{Key: "a", Deal: &api.PieceDealInfo{StartEpoch: 5000, EndEpoch: 1 << 30}}}
		}, evFatal, "cannot be proven in time"},
	} {
		w.mu.Lock()
		w.height = c.now
		w.mu.Unlock()
		r := r
		c.change(&r)
		var step *stepError
		err := s.sealAgain(bg, r, job{}, "lost")
		if !errors.As(err, &step) || step.kind != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.kind == evFatal && c.name != "a deal has begun" && !strings.Contains(err.Error(), "miner sectors remove 7") {
			t.Errorf("%s does not say what to do: %v", c.name, err)
		}
	}
}

// A replica that cannot be proven however often it is tried is made again, twice;
// then the sector is given up, and its piece is free to be placed again.
func TestReplicaThatIsNeverProven(t *testing.T) {
	w := newWorld()
	w.taskFails[api.TaskCommit1] = slices.Repeat([]taskFail{{text: "a layer is torn"}}, 3*dataTries)
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	at, err := s.SectorAddPiece(bg, aPiece(t, "p", testSize))
	if err != nil {
		t.Fatal(err)
	}
	info := untilState(t, s, at.Sector.Number, api.SectorFailedForGood)
	if !strings.Contains(info.LastErr, "cannot be proven (24 tries)") || !strings.Contains(info.LastErr, "sealed 3 times already") {
		t.Errorf("it says %q", info.LastErr)
	}
	if n := w.sent(api.TaskPreCommit1); n != 3 {
		t.Errorf("PC1 ran %d times", n)
	}
	var gone *api.ErrGivenUp
	if _, err := s.SectorPlacement(bg, "p"); !errors.As(err, &gone) {
		t.Errorf("its piece: %v", err)
	}
	w.mu.Lock()
	w.checkSpent(t)
	w.mu.Unlock()
}

// The tasks of a sector that is removed or given up are cancelled and forgotten,
// so that their workers stop, and its files go when nobody holds them.
func TestTasksOfAGivenUpSectorAreCancelled(t *testing.T) {
	for _, typ := range []api.TaskType{api.TaskPreCommit1, api.TaskPreCommit2, api.TaskCommit1} {
		w := newWorld()
		gate := make(chan struct{})
		w.block[typ] = gate
		s := open(t, w, memStore(), testConfig())
		start(t, s)
		id, err := s.PledgeSector(bg)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is at work", func() bool { return w.sent(typ) == 1 })
		until(t, s, id.Number, "has its task", func(i api.SectorInfo) bool { return i.Task != nil && i.Task.Spec.Type == typ })
		if err := s.SectorRemove(bg, id.Number); err != nil {
			t.Fatal(err)
		}
		untilState(t, s, id.Number, api.SectorRemoved)
		w.mu.Lock()
		if len(w.cancelled) != 1 || !strings.Contains(w.cancelled[0], "/"+string(typ)+"/") {
			t.Errorf("cancelled are %v", w.cancelled)
		}
		if !w.removed[id] || len(w.byID) != 0 {
			t.Errorf("removed %v, %d tasks are kept", w.removed, len(w.byID))
		}
		w.mu.Unlock()
		close(gate)
	}
}
