package sealing

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"

	"quarry/api"
)

func TestRetryAtOnce(t *testing.T) {
	w := newWorld()
	w.taskFails[api.TaskPreCommit1] = []taskFail{{"disk full", true}}
	cfg := testConfig()
	cfg.RetryMin, cfg.RetryMax = time.Hour, time.Hour
	s := open(t, w, memStore(), cfg)
	start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	info := untilState(t, s, id.Number, api.SectorSealFailed)
	if info.LastErr == "" || time.Until(info.NextRetry) < 30*time.Minute || info.Retries != 1 {
		t.Errorf("the failure is not visible: %q, next try %s", info.LastErr, info.NextRetry)
	}
	if err := s.SectorRetry(bg, id.Number); err != nil {
		t.Fatal(err)
	}
	untilState(t, s, id.Number, api.SectorProving)
	var invalid *api.ErrInvalid
	if err := s.SectorRetry(bg, id.Number); !errors.As(err, &invalid) {
		t.Errorf("retry of a proven sector: %v", err)
	}
}

func TestRetryOfAWait(t *testing.T) {
	w := newWorld()
	w.flaky["StateGetRandomnessFromTickets"] = 1
	cfg := testConfig()
	cfg.RetryMin, cfg.RetryMax = time.Hour, time.Hour
	s := open(t, w, memStore(), cfg)
	start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	until(t, s, id.Number, "waits", func(i api.SectorInfo) bool { return i.State == api.SectorGetTicket && i.LastErr != "" })
	if err := s.SectorRetry(bg, id.Number); err != nil {
		t.Fatal(err)
	}
	untilState(t, s, id.Number, api.SectorProving)
}

func TestOldTicketIsDrawnAgain(t *testing.T) {
	w := newWorld()
	gate := make(chan struct{})
	w.block[api.TaskPreCommit2] = gate
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	first := untilState(t, s, id.Number, api.SectorPreCommit2).TicketEpoch
	if first != 100 {
		t.Errorf("ticket epoch %d, want one finality below 1000", first)
	}
	w.setHeight(6000)
	close(gate)
	info := untilState(t, s, id.Number, api.SectorProving)
	if info.TicketEpoch < 5100 {
		t.Errorf("ticket epoch %d, want a new one", info.TicketEpoch)
	}
}

func TestYoungChainUsesItsGenesisTicket(t *testing.T) {
	w := newWorld()
	w.height = 5
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	if info := untilState(t, s, id.Number, api.SectorProving); info.TicketEpoch != 0 {
		t.Errorf("ticket epoch %d", info.TicketEpoch)
	}
}

func TestDealThatCanNoLongerBeMet(t *testing.T) {
	w := newWorld()
	w.hold = true
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	at, err := s.SectorAddPiece(bg, aPiece(t, "p", 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	w.setHeight(5001) // also the moment at which the sector stops waiting
	info := untilState(t, s, at.Sector.Number, api.SectorFailedForGood)
	if info.LastErr == "" || len(w.keyed) != 0 {
		t.Errorf("last error %q, %d messages sent", info.LastErr, len(w.keyed))
	}
	var gone *api.ErrGivenUp
	if _, err := s.SectorPlacement(bg, "p"); !errors.As(err, &gone) {
		t.Errorf("placement in a sector given up: %v", err)
	}
}

func TestNumberTakenMeanwhile(t *testing.T) {
	w := newWorld()
	gate := make(chan struct{})
	w.block[api.TaskPreCommit2] = gate
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, id.Number, api.SectorPreCommit2)
	w.mu.Lock()
	w.allocated[id.Number] = true // CompactSectorNumbers, or another process of this miner
	w.mu.Unlock()
	close(gate)
	if info := untilState(t, s, id.Number, api.SectorFailedForGood); info.LastErr == "" || len(w.keyed) != 0 {
		t.Errorf("last error %q, %d messages sent", info.LastErr, len(w.keyed))
	}
}

func TestDealStartPresses(t *testing.T) {
	w := newWorld()
	w.hold = true
	cfg := testConfig()
	cfg.WaitDealsDelay = 100000
	s := open(t, w, memStore(), cfg)
	start(t, s)
	at, err := s.SectorAddPiece(bg, aPiece(t, "p", 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	w.setHeight(5000 - 480 - 1)
	if i, _ := s.SectorsStatus(bg, at.Sector.Number, false); i.State != api.SectorWaitDeals {
		t.Errorf("state %s before the buffer is reached", i.State)
	}
	w.setHeight(5000 - 480)
	until(t, s, at.Sector.Number, "packed", func(i api.SectorInfo) bool { return i.State != api.SectorWaitDeals })
	w.release()
	w.setHeight(5000 - 470)
	untilState(t, s, at.Sector.Number, api.SectorProving)
}

func TestRemove(t *testing.T) {
	w := newWorld()
	w.block[api.TaskPreCommit1] = make(chan struct{}) // never finishes
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	at, err := s.SectorAddPiece(bg, aPiece(t, "p", testSize))
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, at.Sector.Number, api.SectorPreCommit1)
	if err := s.SectorRemove(bg, at.Sector.Number); err != nil {
		t.Fatal(err)
	}
	untilState(t, s, at.Sector.Number, api.SectorRemoved)
	if !w.removed[at.Sector] {
		t.Error("the files are still there")
	}
	// The owner may place the piece again; the number is not used twice.
	again, err := s.SectorAddPiece(bg, aPiece(t, "p/1", testSize))
	if err != nil || again.Sector.Number == at.Sector.Number {
		t.Errorf("%+v %v", again, err)
	}
}

func TestRemoveRefusesWhatMustBeProven(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	id, err := s.PledgeSector(bg)
	if err != nil {
		t.Fatal(err)
	}
	untilState(t, s, id.Number, api.SectorProving)
	var invalid *api.ErrInvalid
	if err := s.SectorRemove(bg, id.Number); !errors.As(err, &invalid) {
		t.Errorf("removal of a live sector: %v", err)
	}
	w.mu.Lock()
	delete(w.sectors, id.Number) // expired
	w.mu.Unlock()
	if err := s.SectorRemove(bg, id.Number); err != nil {
		t.Fatal(err)
	}
	untilState(t, s, id.Number, api.SectorRemoved)
}

func TestUnseal(t *testing.T) {
	w := newWorld()
	ds := memStore()
	s := open(t, w, ds, testConfig())
	start(t, s)
	at, err := s.SectorAddPiece(bg, aPiece(t, "p", 2<<20))
	if err != nil {
		t.Fatal(err)
	}
	var invalid *api.ErrInvalid
	target := api.UnsealTarget{Sector: at.Sector.Number, Offset: at.Offset, Size: at.Size}
	untilState(t, s, at.Sector.Number, api.SectorProving)
	for range 2 { // the copy may be dropped between the two
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := s.SectorUnseal(bg, target); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	n := 0
	for _, spec := range w.submitted {
		if spec.Type == api.TaskUnseal {
			n++
		}
	}
	if n < 2 {
		t.Errorf("%d unseal tasks, want a new one for the second round", n)
	}
	w.taskFails[api.TaskUnseal] = []taskFail{{"no replica", false}}
	if err := s.SectorUnseal(bg, target); err == nil {
		t.Error("a failed task went unnoticed")
	}
	for _, bad := range []api.UnsealTarget{{Sector: target.Sector}, {Sector: target.Sector, Size: testSize + 128},
		{Sector: target.Sector, Offset: testSize, Size: 128}, {Sector: target.Sector, Offset: 1, Size: 128}} {
		if err := s.SectorUnseal(bg, bad); !errors.As(err, &invalid) {
			t.Errorf("%+v: %v, want ErrInvalid", bad, err)
		}
	}
	var gone *api.ErrNotFound
	if err := s.SectorUnseal(bg, api.UnsealTarget{Sector: 99, Size: 128}); !errors.As(err, &gone) {
		t.Errorf("unknown sector: %v", err)
	}
}

func TestListAndSummary(t *testing.T) {
	w := newWorld()
	s := open(t, w, memStore(), testConfig())
	start(t, s)
	for range 5 {
		id, err := s.PledgeSector(bg)
		if err != nil {
			t.Fatal(err)
		}
		untilState(t, s, id.Number, api.SectorProving)
	}
	var got []abi.SectorNumber
	for cursor := abi.SectorNumber(0); ; {
		page, err := s.SectorsList(bg, cursor, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, i := range page {
			got = append(got, i.Sector.ID.Number)
		}
		cursor = got[len(got)-1] + 1
	}
	sum, _ := s.SectorsSummary(bg)
	if len(got) != 5 || got[0] != 2 || got[4] != 6 || sum[api.SectorProving] != 5 {
		t.Errorf("list %v, summary %v", got, sum)
	}
}

func TestReopenedStoreKnowsEverything(t *testing.T) {
	w := newWorld()
	ds := memStore()
	s := open(t, w, ds, testConfig())
	stop := start(t, s)
	at, err := s.SectorAddPiece(bg, aPiece(t, "p", 2<<20))
	if err != nil {
		t.Fatal(err)
	}
	before := untilState(t, s, at.Sector.Number, api.SectorProving)
	stop()
	s = open(t, w, ds, testConfig())
	after, err := s.SectorsStatus(bg, at.Sector.Number, true)
	if err != nil || len(after.Log) != len(before.Log) || *after.CommR != *before.CommR || after.Expiration != before.Expiration {
		t.Errorf("before %+v\nafter %+v (%v)", before, after, err)
	}
	if got, err := s.SectorPlacement(bg, "p"); err != nil || got != at {
		t.Errorf("placement %+v, %v", got, err)
	}
}

// FuzzCommitReturn: whatever a node says a message returned, the sector gets a
// reason and not a panic.
func FuzzCommitReturn(f *testing.F) {
	f.Add([]byte{0x82, 0x01, 0x80}, int64(0))
	f.Add([]byte{0x82, 0x00, 0x81, 0x82, 0x00, 0x10}, int64(0))
	f.Add([]byte{}, int64(16))
	f.Fuzz(func(t *testing.T, ret []byte, exit int64) {
		c := (&api.Message{To: testMiner(), From: testMiner()}).Cid()
		err := commitFailure(record{CommitMsg: &c}, &api.MsgLookup{Receipt: api.MessageReceipt{ExitCode: exitcode.ExitCode(exit),
			Return: bytes.Clone(ret)}})
		var step *stepError
		if !errors.As(err, &step) || step.kind != evFailed {
			t.Errorf("got %v, want a failure of the step", err)
		}
	})
}
