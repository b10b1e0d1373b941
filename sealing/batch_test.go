package sealing

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

func batchConfig(n int) Config {
	cfg := testConfig()
	cfg.MaxPreCommitBatch, cfg.MaxCommitBatch = n, n
	cfg.PreCommitBatchWait, cfg.CommitBatchWait = fixed(time.Hour), fixed(time.Hour)
	return cfg
}

func pledge(t testing.TB, s *Sealing, n int) []abi.SectorNumber {
	t.Helper()
	var out []abi.SectorNumber
	for range n {
		id, err := s.PledgeSector(bg)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, id.Number)
	}
	return out
}

// messages are how many of each method took effect or failed on chain.
func (w *world) messages() (pre, com int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.executed[28], w.executed[34]
}

func leftBatches(t testing.TB, s *Sealing) int {
	t.Helper()
	res, err := s.store.ds.Query(bg, query.Query{Prefix: batchesPrefix.String()})
	if err != nil {
		t.Fatal(err)
	}
	all, err := res.Rest()
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestFullBatchGoesOutAtOnce(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), batchConfig(3))
	start(t, s)
	for _, n := range pledge(t, s, 6) {
		untilState(t, s, n, api.SectorProving)
	}
	if pre, com := w.messages(); pre != 2 || com != 2 {
		t.Errorf("%d pre-commitments and %d commitments for 6 sectors, want 2 of each", pre, com)
	}
	s.tidyBatches(bg)
	if n := leftBatches(t, s); n != 0 {
		t.Errorf("%d messages are kept for nobody", n)
	}
}

func TestBatchGoesOutInTime(t *testing.T) {
	w := newWorld()
	cfg := batchConfig(100)
	cfg.PreCommitBatchWait, cfg.CommitBatchWait = fixed(200*time.Millisecond), fixed(200*time.Millisecond)
	s := open(t, w, memStore(), cfg)
	start(t, s)
	for _, n := range pledge(t, s, 2) {
		untilState(t, s, n, api.SectorProving)
	}
	if pre, com := w.messages(); pre > 2 || com > 2 {
		t.Errorf("%d pre-commitments and %d commitments for 2 sectors", pre, com)
	}
}

// TestBatchThatIsTooBigIsSplit: what is too long for one message goes out as
// two, down to sectors that are sent alone.
func TestBatchThatIsTooBigIsSplit(t *testing.T) {
	for room, want := range map[int]int{1: 4, 160: 2, 1000: 1} {
		w := newWorld()
		s := open(t, w, memStore(), batchConfig(4))
		s.commits.room = room
		start(t, s)
		for _, n := range pledge(t, s, 4) {
			untilState(t, s, n, api.SectorProving)
		}
		if pre, com := w.messages(); pre != 1 || com != want {
			t.Errorf("room for %d bytes: %d pre-commitments and %d commitments for 4 sectors, want 1 and %d", room, pre, com, want)
		}
	}
}

func TestDealThatStartsSoonWaitsForNobody(t *testing.T) {
	w := newWorld()
	cfg := batchConfig(100)
	cfg.StartEpochSealingBuffer = 4500
	s := open(t, w, memStore(), cfg)
	start(t, s)
	at, err := s.SectorAddPiece(bg, aPiece(t, "p", testSize)) // starts at 5000, it is 1000
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, at.Sector.Number, api.SectorProving)
}

func TestOneAloneIsSentAlone(t *testing.T) {
	w := newWorld()
	cfg := batchConfig(100)
	cfg.PreCommitBatchWait, cfg.CommitBatchWait = fixed(time.Millisecond), fixed(time.Millisecond)
	s := open(t, w, memStore(), cfg)
	start(t, s)
	untilState(t, s, pledge(t, s, 1)[0], api.SectorProving)
	if !w.commits[0].RequireActivationSuccess {
		t.Error("a message of one sector succeeds with it or not at all")
	}
}

// TestRefusedBatchFallsApart: one sector that the node does not take must not
// hold the others up.
func TestRefusedBatchFallsApart(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), batchConfig(3))
	w.refuse = func(m *api.Message) error {
		if m.Method == 28 {
			var p miner.PreCommitSectorBatchParams2
			if err := p.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
				return err
			}
			for _, i := range p.Sectors {
				if i.SectorNumber == 3 {
					return errors.New("estimation: exit code 16")
				}
			}
		}
		return nil
	}
	start(t, s)
	nums := pledge(t, s, 3)
	until(t, s, nums[1], "is refused by itself", func(i api.SectorInfo) bool {
		return i.State == api.SectorPreCommitFailed &&
			i.Retries > 1
	})
	w.mu.Lock()
	w.refuse = nil
	w.mu.Unlock()
	for _, n := range nums {
		untilState(t, s, n, api.SectorProving)
	}
	if pre, com := w.messages(); pre != 3 || com != 1 {
		t.Errorf("%d pre-commitments, want 3; %d commitments, want 1", pre, com)
	}
}

// TestPartOfABatchFails: each sector reads its own outcome.
func TestPartOfABatchFails(t *testing.T) {
	w := newWorld()
	bad := true
	w.computeWith = func(spec api.TaskSpec) (any, error) {
		out, err := w.compute(spec)
		if spec.Type == api.TaskCommit1 && spec.Sector.ID.Number == 3 && bad {
			bad = false // once: the next proof is right
			return api.Commit1Result{Vanilla: putBulk([]byte("wrong"))}, nil
		}
		return out, err
	}
	cfg := batchConfig(3)
	cfg.CommitBatchWait = fixed(50 * time.Millisecond)
	s := open(t, w, memStore(), cfg)
	start(t, s)
	nums := pledge(t, s, 3)
	for _, n := range nums {
		info := untilState(t, s, n, api.SectorProving)
		failures := 0
		for _, l := range info.Log {
			if l.State == api.SectorCommitFailed {
				failures++
			}
		}
		if (n == 3) != (failures > 0) {
			t.Errorf("sector %d: %d failures", n, failures)
		}
	}
}

// TestBatchWhoseAnswerIsLost goes out once: whoever asks again, also after a
// restart, gets the same message.
func TestBatchWhoseAnswerIsLost(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld()
		ds := memStore()
		cfg := batchConfig(3)
		if restart {
			cfg.RetryMin, cfg.RetryMax = time.Hour, time.Hour
		}
		w.lost = 1
		s := open(t, w, ds, cfg)
		stop := start(t, s)
		nums := pledge(t, s, 3)
		if restart {
			for _, n := range nums {
				until(t, s, n, "lost the answer", func(i api.SectorInfo) bool { return i.LastErr != "" })
			}
			stop()
			s = open(t, w, ds, cfg)
			start(t, s)
			for _, n := range nums {
				if err := s.SectorRetry(bg, n); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, n := range nums {
			untilState(t, s, n, api.SectorProving)
		}
		if pre, com := w.messages(); pre != 1 || com != 1 {
			t.Errorf("restart=%v: %d pre-commitments and %d commitments", restart, pre, com)
		}
	}
}

func TestRemovedWhileWaitingForOthers(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), batchConfig(3))
	start(t, s)
	nums := pledge(t, s, 2)
	for _, n := range nums {
		untilState(t, s, n, api.SectorPreCommitting)
	}
	eventually(t, "both wait", func() bool {
		s.preCommits.mu.Lock()
		defer s.preCommits.mu.Unlock()
		return len(s.preCommits.queue) == 2
	})
	if err := s.SectorRemove(bg, nums[0]); err != nil {
		t.Fatal(err)
	}
	untilState(t, s, nums[0], api.SectorRemoved)
	more := pledge(t, s, 2)
	for _, n := range append(more, nums[1]) {
		untilState(t, s, n, api.SectorProving)
	}
	if w.sectors[nums[0]] != nil || w.allocated[nums[0]] {
		t.Error("a removed sector was sent")
	}
}
