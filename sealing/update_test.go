package sealing

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/exitcode"

	"quarry/api"
)

// marked seals a sector of zeros and marks it.
func marked(t testing.TB, w *world, s *Sealing) abi.SectorNumber {
	t.Helper()
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, id.Number, api.SectorProving)
	if err := s.SectorMarkForUpgrade(bg, id.Number, true); err != nil {
		t.Fatal(err)
	}
	return id.Number
}

func untilUpdated(t testing.TB, s *Sealing, n abi.SectorNumber) api.SectorInfo {
	t.Helper()
	return until(t, s, n, "was updated", func(i api.SectorInfo) bool {
		return i.State == api.SectorProving && i.UpdateSealed != nil && i.LastErr == ""
	})
}

func updatePiece(t testing.TB, w *world, key string, size abi.PaddedPieceSize) api.AddPieceRequest {
	t.Helper()
	r := aPiece(t, key, size)
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Deal.StartEpoch = w.height + 5000
	return r
}

func (w *world) does() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for _, spec := range w.submitted {
		out[string(spec.Type)]++
		if spec.Type == api.TaskFinalizeUpdate {
			out[string(spec.Params)]++
		}
	}
	return out
}

// TestMarkedSectorTakesTheNextDeals: two deals go into the sector of zeros, are
// announced in one message, and the old replica goes only when it can.
func TestMarkedSectorTakesTheNextDeals(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	n := marked(t, w, s)
	before, _ := s.SectorsStatus(bg, n, false)
	w.mu.Lock()
	w.hold = true
	w.mu.Unlock()
	for i, key := range []string{"a", "bb"} {
		at, err := s.SectorAddPiece(bg, updatePiece(t, w, key, 2<<20))
		if err != nil {
			t.Fatal(err)
		}
		if at.Sector.Number != n || at.Offset != abi.PaddedPieceSize(i)<<21 {
			t.Fatalf("placed at %+v, want sector %d", at, n)
		}
	}
	if err := s.SectorStartSealing(bg, n); err != nil {
		t.Fatal(err)
	}
	info := untilState(t, s, n, api.SectorUpdateActivating)
	if w.does()[`{"Do":"release-key"}`] != 0 {
		t.Error("the old replica was dropped while winning PoSt may draw it")
	}
	landed := w.Head().Height
	w.setHeight(landed + 900)
	info = untilUpdated(t, s, n)
	if *info.CommR != *before.CommR || *info.UpdateSealed == *before.CommR || len(info.Pieces) != 3 {
		t.Errorf("before %+v\nafter %+v", before, info)
	}
	p := w.updates[0].SectorUpdates[0]
	if p.NewSealedCID != *info.UpdateSealed || len(p.Pieces) != 2 {
		t.Errorf("message %+v", p)
	}
	for i, q := range p.Pieces {
		if len(q.Notify) != 1 || q.Notify[0].Address != builtin.StorageMarketActorAddr || q.Notify[0].Payload[0] != byte(8+i) {
			t.Errorf("piece %d: %+v", i, q)
		}
	}
	if d := w.does(); d[`{"Do":"keep"}`] != 1 || d[`{"Do":"release-key"}`] != 1 || d[`{"Do":"abort"}`] != 0 {
		t.Errorf("tasks %v", d)
	}
	eventually(t, "task results are dropped", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.tasks) == 0
	})
	var invalid *api.ErrInvalid
	if err := s.SectorMarkForUpgrade(bg, n, true); !errors.As(err, &invalid) {
		t.Errorf("a second update: %v", err)
	}
}

// TestNewSectorsOfZerosMarkThemselves, where that is wanted, and no others.
func TestNewSectorsOfZerosMarkThemselves(t *testing.T) {
	w := newWorld()
	cfg := testConfig()
	cfg.MarkCC = true
	s := open(t, w, memStore(), cfg)
	start(t, s)
	at, err := s.SectorAddPiece(bg, aPiece(t, "p", testSize))
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, at.Sector.Number, api.SectorProving)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	info := untilState(t, s, id.Number, api.SectorAvailable)
	w.mu.Lock()
	expires := w.sectors[id.Number].Expiration
	w.mu.Unlock()
	if info.Expiration != expires {
		t.Errorf("expires at %d, on chain at %d", info.Expiration, expires)
	}
	if at, err = s.SectorAddPiece(bg, updatePiece(t, w, "a", 8<<20)); err != nil || at.Sector.Number != id.Number {
		t.Errorf("the next deal is placed at %+v: %v", at, err)
	}
}

// TestUpdateSetbacks has every step fail in turn; the update must always land,
// and take effect exactly once.
func TestUpdateSetbacks(t *testing.T) {
	const upd = abi.MethodNum(35)
	again := func(n int) (out []taskFail) {
		for i := range n {
			out = append(out, taskFail{"worker trouble", i%2 == 0})
		}
		return out
	}
	illegal := misdeed{codes: []batch.FailCode{{Idx: 0, Code: exitcode.ErrIllegalArgument}}}
	cases := map[string]func(*world){
		"nothing":                    func(w *world) {},
		"filler fails":               func(w *world) { w.taskFails[api.TaskAddPiece] = again(3) },
		"RU fails":                   func(w *world) { w.taskFails[api.TaskUpdate] = again(3) },
		"PR1 fails until RU again":   func(w *world) { w.taskFails[api.TaskProveUpdate1] = again(6) },
		"FRU fails":                  func(w *world) { w.taskFails[api.TaskFinalizeUpdate] = again(3) },
		"exit code":                  func(w *world) { w.exits[upd] = []misdeed{{exit: 16}, {exit: 7}, {exit: 18}} },
		"failed but stored":          func(w *world) { w.exits[upd] = []misdeed{{exit: 16, stored: true}} },
		"fail codes":                 func(w *world) { w.exits[upd] = []misdeed{illegal, illegal} },
		"message replaced":           func(w *world) { w.replaced = 1 },
		"not active yet":             func(w *world) { w.inactive = 2 },
		"deadline about to open":     func(w *world) { w.advance(30*60 - 60) },
		"deadline one epoch too far": func(w *world) { w.advance(30*60 - 60 - mutableMargin) },
		"deadline open":              func(w *world) { w.advance(30 * 60) },
		"deadline in its last epoch": func(w *world) { w.advance(31*60 - 1) },
		"deadline of the next day":   func(w *world) { w.deadline = 2; w.advance(2870) },
	}
	for _, call := range []string{"ChainPutObj", "StateMinerInfo", "StateMinerInitialPledgeForSector", "StateSectorGetInfo",
		"StateSectorPartition",
		"StateMinerPartitions", "StateMinerProvingDeadline", "Send", "Wait", "WaitHeight", "TaskSubmit", "TaskWait", "TaskForget"} {
		cases[call+" cannot be reached"] = func(w *world) { w.flaky[call] = 4 }
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			s := open(t, w, memStore(), testConfig())
			start(t, s)
			n := marked(t, w, s)
			w.mu.Lock()
			w.hold = true
			w.mu.Unlock()
			at, err := s.SectorAddPiece(bg, updatePiece(t, w, "piece", 2<<20))
			if err != nil || at.Sector.Number != n {
				t.Fatal(at, err)
			}
			w.mu.Lock()
			spoil(w)
			w.mu.Unlock()
			// A clock that moved on may have begun it already.
			if err := s.SectorStartSealing(bg, n); err != nil && !strings.Contains(err.Error(), "not open for pieces") {
				t.Fatal(err)
			}
			w.release()
			untilUpdated(t, s, n)
			eventually(t, "the last call is made", func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.flaky["TaskForget"] == 0
			})
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.executed[upd] != 1 || len(w.updates) != 1 || len(w.faults) != 0 {
				t.Errorf("messages that took effect: %v, wrong ones: %v", w.executed, w.faults)
			}
			w.checkSpent(t)
		})
	}
}

func TestUpdateWithGroth16(t *testing.T) {
	w := newWorld()
	j := &judge{}
	s := openGroth16(t, w, j)
	start(t, s)
	n := marked(t, w, s)
	w.taskFails[api.TaskProveUpdate2] = []taskFail{{"no memory", true}, {"no memory", true}, {"no memory", true}}
	j.says = []any{false, errors.New("no key")}
	if _, err := s.SectorAddPiece(bg, updatePiece(t, w, "piece", testSize)); err != nil {
		t.Fatal(err)
	}
	untilUpdated(t, s, n)
	d := w.does()
	if len(w.blobs) != 0 || d["PR1"] != 2 || d["PR2"] != 5 || d["RU"] != 1 {
		t.Errorf("%d blobs on the node, tasks %v", len(w.blobs), d)
	}
}

func TestMarksAreRefused(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	full, err := s.SectorAddPiece(bg, aPiece(t, "p", testSize))
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, full.Sector.Number, api.SectorProving)
	cc, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, cc.Number, api.SectorProving)
	var invalid *api.ErrInvalid
	var gone *api.ErrNotFound
	if err := s.SectorMarkForUpgrade(bg, full.Sector.Number, true); !errors.As(err, &invalid) {
		t.Errorf("sector with data: %v", err)
	}
	if err := s.SectorMarkForUpgrade(bg, cc.Number, false); !errors.As(err, &invalid) {
		t.Errorf("not by snap: %v", err)
	}
	if err := s.SectorMarkForUpgrade(bg, 99, true); !errors.As(err, &gone) {
		t.Errorf("unknown sector: %v", err)
	}
	if err := s.SectorAbortUpgrade(bg, cc.Number); !errors.As(err, &invalid) {
		t.Errorf("abort of nothing: %v", err)
	}
	for range 2 {
		if err := s.SectorMarkForUpgrade(bg, cc.Number, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SectorAbortUpgrade(bg, cc.Number); err != nil {
		t.Fatal(err)
	}
	untilState(t, s, cc.Number, api.SectorProving)
	w.setHeight(w.sectors[cc.Number].Expiration - 180*2880 + 1)
	if err := s.SectorMarkForUpgrade(bg, cc.Number, true); !errors.As(err, &invalid) {
		t.Errorf("sector that expires too soon: %v", err)
	}
}

// TestDealThatOutlivesTheMarkedSector goes into a new one.
func TestDealThatOutlivesTheMarkedSector(t *testing.T) {
	w := newWorld()
	cfg := testConfig()
	cfg.CCLifetime = 390 * 2880
	s := open(t, w, memStore(), cfg)
	start(t, s)
	n := marked(t, w, s)
	r := updatePiece(t, w, "p", 1<<20)
	r.Deal.EndEpoch = w.sectors[n].Expiration + 1
	at, err := s.SectorAddPiece(bg, r)
	if err != nil || at.Sector.Number == n {
		t.Fatalf("%+v, %v", at, err)
	}
	r = updatePiece(t, w, "q", 1<<20)
	r.Deal.EndEpoch = w.sectors[n].Expiration
	if _, err = s.SectorAddPiece(bg, r); err != nil {
		t.Fatal(err)
	}
}

// TestLongWaitsAreNoFailures: a wait that outlives its visit is taken up again
// without a word.
func TestLongWaitsAreNoFailures(t *testing.T) {
	w := newWorld()
	w.hold = true
	s := open(t, w, memStore(), testConfig())
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	if ts, err := s.atHeight(ctx, 2000); ts != nil || err != nil {
		t.Errorf("got %v, %v", ts, err)
	}
	w.flaky["WaitHeight"] = 1
	if ts, err := s.atHeight(bg, 1000); ts != nil || err == nil {
		t.Errorf("an unreachable node went unnoticed: %v, %v", ts, err)
	}
	if ts, err := s.atHeight(bg, 1000); err != nil || ts == nil || ts.Height != 1000 {
		t.Errorf("got %v, %v", ts, err)
	}
}

// FuzzUpdateReturn: whatever a node says a message returned, the sector gets a
// reason and not a panic, and is tried again under a new key.
func FuzzUpdateReturn(f *testing.F) {
	f.Add([]byte{0x82, 0x01, 0x80}, int64(0))
	f.Add([]byte{0x82, 0x00, 0x81, 0x82, 0x00, 0x10}, int64(0))
	f.Add([]byte{0x82, 0x00, 0x9b, 0xff}, int64(0))
	f.Add([]byte{}, int64(16))
	f.Fuzz(func(t *testing.T, ret []byte, exit int64) {
		c := (&api.Message{To: testMiner(), From: testMiner()}).Cid()
		r := record{Update: &replicaUpdate{Round: 2, Msg: &c}}
		err := updateFailure(r, r.updateJob(jobSendUpdate),
			&api.MsgLookup{Receipt: api.MessageReceipt{ExitCode: exitcode.ExitCode(exit), Return: bytes.Clone(ret)}})
		var step *stepError
		if !errors.As(err, &step) || step.kind != evFailed || step.job.String() != "update.2" {
			t.Errorf("got %v, want a failure of the step", err)
		}
	})
}
