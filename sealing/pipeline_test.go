package sealing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

var bg = context.Background()

func TestPledgedSectorIsProven(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	if id.Number != 2 {
		t.Fatalf("number %d, want the first the chain has not allocated, 2", id.Number)
	}
	info := untilState(t, s, id.Number, api.SectorProving)
	if info.CommR == nil || info.LastErr != "" || info.Retries != 0 || info.SeedEpoch == 0 {
		t.Errorf("finished sector: %+v", info)
	}
	w.mu.Lock()
	p := w.commits[0]
	w.mu.Unlock()
	if len(p.SectorActivations[0].Pieces) != 0 || !p.RequireActivationSuccess || !p.RequireNotificationSuccess {
		t.Errorf("commitment of a sector without data: %+v", p)
	}
	for _, spec := range w.submitted {
		if spec.Type == api.TaskAddPiece {
			t.Errorf("a sector of zeros needs no unsealed file, but %s was submitted", spec.Key)
		}
	}
	eventually(t, "task results are dropped", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.tasks) == 0
	})
}

func TestDealsArePackedAnnouncedAndKept(t *testing.T) {
	w := newWorld()
	w.hold = true
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	var at []api.PiecePlacement
	for i, size := range []abi.PaddedPieceSize{1 << 20, 4 << 20, 2 << 20} {
		r := aPiece(t, strings.Repeat("k", i+1), size)
		r.Deal.KeepUnsealed = i == 1
		p, err := s.SectorAddPiece(bg, r)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, p)
	}
	want := []abi.PaddedPieceSize{0, 4 << 20, 2 << 20}
	// 1 MiB at 0, 4 MiB aligned to 4 MiB, and 2 MiB no longer fits: a second sector.
	if at[0].Offset != want[0] || at[1].Offset != want[1] || at[2].Sector == at[0].Sector {
		t.Fatalf("placements %+v", at)
	}
	w.release()
	w.setHeight(1020)
	untilState(t, s, at[0].Sector.Number, api.SectorProving)
	untilState(t, s, at[2].Sector.Number, api.SectorProving)
	first := w.commits[0]
	if first.SectorActivations[0].SectorNumber != at[0].Sector.Number {
		first = w.commits[1]
	}
	notified := 0
	for _, p := range first.SectorActivations[0].Pieces {
		for _, n := range p.Notify {
			notified++
			if n.Address != builtin.StorageMarketActorAddr || len(n.Payload) != 1 || n.Payload[0] != byte(7+notified) {
				t.Errorf("notification %d: %+v", notified, n)
			}
		}
	}
	if notified != 2 {
		t.Errorf("%d deals announced, want 2", notified)
	}
	fin := map[abi.SectorNumber]string{}
	for _, spec := range w.submitted {
		if spec.Type == api.TaskFinalize {
			fin[spec.Sector.ID.Number] = string(spec.Params)
		}
	}
	if fin[at[0].Sector.Number] != `{"KeepUnsealed":true}` || fin[at[2].Sector.Number] != `{"KeepUnsealed":false}` {
		t.Errorf("finalize: %v", fin)
	}
}

// TestSetbacks has every step fail in turn; the sector must always arrive, with
// each message taking effect exactly once.
func TestSetbacks(t *testing.T) {
	const pre, com = abi.MethodNum(28), abi.MethodNum(34)
	again := func(n int) []taskFail {
		var out []taskFail
		for i := range n {
			out = append(out, taskFail{fmt.Sprintf("worker trouble %d", i), i%2 == 0})
		}
		return out
	}
	cases := map[string]func(*world){
		"filler fails":              func(w *world) { w.taskFails[api.TaskAddPiece] = again(3) },
		"PC1 fails":                 func(w *world) { w.taskFails[api.TaskPreCommit1] = again(3) },
		"PC2 fails until PC1 again": func(w *world) { w.taskFails[api.TaskPreCommit2] = again(6) },
		"C1 fails":                  func(w *world) { w.taskFails[api.TaskCommit1] = again(3) },
		"FIN fails":                 func(w *world) { w.taskFails[api.TaskFinalize] = again(3) },
		"pre-commit exit code":      func(w *world) { w.exits[pre] = []misdeed{{exit: 16}, {exit: 7}} },
		"pre-commit failed but stored": func(w *world) {
			w.exits[pre] = []misdeed{{exit: 16, stored: true}}
		},
		"commit exit code": func(w *world) { w.exits[com] = []misdeed{{exit: 18}, {exit: 16}, {exit: 19}} },
		"commit fail codes": func(w *world) {
			w.exits[com] = []misdeed{{codes: []batch.FailCode{{Idx: 0, Code: exitcode.ErrIllegalArgument}}}}
		},
		"both messages replaced":   func(w *world) { w.replaced = 2 },
		"commit failed but stored": func(w *world) { w.exits[com] = []misdeed{{exit: 16, stored: true}} },
	}
	for _, call := range []string{"ChainPutObj", "StateGetNetworkParams", "StateMinerInfo", "StateMinerPreCommitDepositForPower",
		"StateMinerInitialPledgeForSector", "StateSectorPreCommitInfo", "StateSectorGetInfo", "StateGetRandomnessFromTickets",
		"StateGetRandomnessFromBeacon", "Send", "Wait", "WaitHeight", "TaskSubmit", "TaskWait", "TaskForget"} {
		cases[call+" cannot be reached"] = func(w *world) { w.flaky[call] = 4 }
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.hold = true
			s := open(t, w, memStore(), testConfig())
			start(t, s)
			at, err := s.SectorAddPiece(bg, aPiece(t, "piece", 2<<20))
			if err != nil {
				t.Fatal(err)
			}
			w.mu.Lock()
			spoil(w)
			w.mu.Unlock()
			if err := s.SectorStartSealing(bg, at.Sector.Number); err != nil {
				t.Fatal(err)
			}
			w.release()
			untilState(t, s, at.Sector.Number, api.SectorProving)
			eventually(t, "the last call is made", func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.flaky["TaskForget"] == 0
			})
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.executed[pre] != 1 || w.executed[com] != 1 {
				t.Errorf("messages that took effect: %v, want one of each", w.executed)
			}
			w.checkSpent(t)
		})
	}
}

// mortal is a store that ends the process just before or just after one of its
// writes.
type mortal struct {
	datastore.Batching
	mu     sync.Mutex
	left   int
	before bool
	die    func()
}

func (m *mortal) Put(ctx context.Context, k datastore.Key, v []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left--
	if m.left == 0 {
		m.die()
		if m.before {
			return errors.New("killed")
		}
	}
	if m.left < 0 {
		return errors.New("dead")
	}
	return m.Batching.Put(ctx, k, v)
}

// TestRestartAtEveryWrite kills the process at each write of a sector's life
// and goes on with a reopened store.
func TestRestartAtEveryWrite(t *testing.T) {
	for _, before := range []bool{true, false} {
		for kill := 1; ; kill++ {
			if kill > 200 {
				t.Fatal("a sector should take fewer writes")
			}
			if !restartAt(t, kill, before) {
				t.Logf("%d writes (before=%v)", kill-1, before)
				break
			}
		}
	}
}

func restartAt(t *testing.T, kill int, before bool) (died bool) {
	w := newWorld()
	ds := memStore()
	dead := make(chan struct{})
	m := &mortal{Batching: ds, left: kill, before: before, die: func() { close(dead) }}
	s := open(t, w, m, testConfig())
	stop := start(t, s)
	req := aPiece(t, "piece", 4<<20)
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	go func() {
		select {
		case <-dead:
			cancel()
		case <-ctx.Done():
		}
	}()
	at, err := s.SectorAddPiece(ctx, req)
	if err == nil {
		ok := make(chan struct{})
		go func() {
			defer close(ok)
			for ctx.Err() == nil {
				if i, _ := s.SectorsStatus(bg, at.Sector.Number, false); i.State == api.SectorProving {
					return
				}
			}
		}()
		<-ok
	}
	select {
	case <-dead:
	default:
		if err != nil {
			t.Fatal(err)
		}
		stop()
		return false
	}
	stop()
	s = open(t, w, ds, testConfig())
	stop = start(t, s)
	defer stop()
	again, err2 := s.SectorAddPiece(bg, req)
	if err2 != nil {
		t.Fatalf("kill %d: the piece is refused after the restart: %v", kill, err2)
	}
	if err == nil && again != at {
		t.Fatalf("kill %d: acknowledged placement %+v became %+v", kill, at, again)
	}
	untilState(t, s, again.Sector.Number, api.SectorProving)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.executed[28] != 1 || w.executed[34] != 1 {
		t.Fatalf("kill %d: messages that took effect: %v", kill, w.executed)
	}
	return true
}
