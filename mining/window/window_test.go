package window

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"
	"go.uber.org/goleak"

	"quarry/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func (s *sim) expect(t *testing.T, p *process, accepted, failed int) {
	t.Helper()
	st := p.Status()
	if int(st.Accepted) != accepted || int(st.Failed) != failed || len(st.Recent) != min(accepted+failed, maxRecent) {
		t.Errorf("status counts %d accepted, %d failed, %d records; want %d, %d", st.Accepted, st.Failed, len(st.Recent), accepted, failed)
	}
}

func TestEveryDeadlineOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(1, []uint64{0, 1}, nil, nil, nil)
		s.partition(3, []uint64{2, 3}, nil, nil, nil)
		for n := uint64(4); n < 12; n += 2 { // four partitions: two messages
			s.partition(5, []uint64{n, n + 1}, nil, nil, nil)
		}
		p := s.start(t, memory())
		s.tick(3 * simPeriod)
		p.stop()
		if s.accepted != 3*4 || len(s.rejected) != 0 {
			t.Errorf("chain accepted %d, rejected %v; want 12 and none", s.accepted, s.rejected)
		}
		s.expect(t, p, 12, 0)
		if len(s.keys) != 0 {
			t.Errorf("%d send keys were never forgotten", len(s.keys))
		}
		rec := p.Status().Recent[0]
		if rec.Deadline != 5 || rec.Sectors == 0 || rec.Message == nil || !rec.Accepted {
			t.Errorf("newest record %+v", rec)
		}
	})
}

func TestSubstitutesAndSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		// 0 terminated, 1 good, 2 faulty, 3 recovering; 4 and 5 all faulty;
		// 6 unreadable, 7 good; 8 unreadable alone.
		s.partition(2, []uint64{0, 1, 2, 3}, []uint64{0}, []uint64{2, 3}, []uint64{3})
		s.partition(2, []uint64{4, 5}, nil, []uint64{4, 5}, nil)
		s.partition(2, []uint64{6, 7}, nil, nil, nil)
		s.partition(2, []uint64{8}, nil, nil, nil)
		s.broken = map[uint64]api.FaultReason{2: api.FaultMissing, 4: api.FaultMissing, 5: api.FaultMissing}
		p := s.start(t, memory())
		s.tick(12) // too late to declare faults
		s.broken[6], s.broken[8] = api.FaultMissing, api.FaultMissing
		s.tick(3 * simWindow)
		p.stop()
		if s.accepted != 1 || len(s.rejected) != 0 {
			t.Errorf("accepted %d, rejected %v", s.accepted, s.rejected)
		}
		s.expect(t, p, 1, 1)
		last, rec := p.Status().Recent[0], p.Status().Recent[1]
		if !slices.Equal(rec.Skipped, []abi.SectorNumber{6}) || rec.Sectors != 3 || !slices.Equal(rec.Partitions, []uint64{0, 2}) {
			t.Errorf("record %+v", rec)
		}
		if !slices.Equal(last.Skipped, []abi.SectorNumber{8}) || !slices.Equal(last.Partitions, []uint64{3}) || last.Accepted {
			t.Errorf("record of what could not be proven %+v", last)
		}
	})
}

func TestNothingReadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(2, []uint64{0}, nil, nil, nil)
		p := s.start(t, memory())
		s.tick(12)
		s.broken[0] = api.FaultMissing
		s.tick(3 * simWindow)
		p.stop()
		s.expect(t, p, 0, 1)
		if rec := p.Status().Recent[0]; rec.Accepted || rec.Error == "" || !slices.Equal(rec.Skipped, []abi.SectorNumber{0}) {
			t.Errorf("record %+v", rec)
		}
	})
}

func TestTroubleWithinTheWindow(t *testing.T) {
	cases := map[string]struct {
		prepare func(*sim)
		failed  int
	}{
		"the node refuses connections": {func(s *sim) { s.failSends, s.sendError = 5, errors.New("connection refused") }, 0},
		"the trial run fails": {func(s *sim) {
			s.failSends, s.sendError = 2, errors.New("message execution failed (exit=[16])")
		}, 2},
		"the storage restarts":       {func(s *sim) { s.failProofs = 5 }, 0},
		"the message fails on chain": {func(s *sim) { s.nextExit = exitcode.SysErrOutOfGas }, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t)
				s.partition(2, []uint64{0, 1}, nil, nil, nil)
				c.prepare(s)
				p := s.start(t, memory())
				for range 3 * simWindow {
					s.tick(1)
					time.Sleep(2 * time.Second) // lets pauses pass
				}
				p.stop()
				if s.accepted != 1 {
					t.Errorf("accepted %d, want 1", s.accepted)
				}
				s.expect(t, p, 1, c.failed)
			})
		})
	}
}

func TestMissedWindowIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(2, []uint64{0, 1}, nil, nil, nil)
		s.hold = true // never included
		p := s.start(t, memory())
		s.tick(4 * simWindow)
		time.Sleep(2 * lastLook)
		s.expect(t, p, 0, 1)
		p.stop()
	})
}

func TestHeadsJumpOverTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(2, []uint64{0, 1}, nil, nil, nil)
		p := s.start(t, memory())
		s.tick(17) // challenge of deadline 2 is at 16
		s.advance(20)
		synctest.Wait()
		time.Sleep(2 * lastLook)
		p.stop()
		s.expect(t, p, 0, 1)
		if s.accepted != 0 {
			t.Error("a proof was accepted after its window")
		}
	})
}

// A reorganisation below the challenge makes the proof worthless; one above
// it changes nothing.
func TestReorganisations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(2, []uint64{0, 1}, nil, nil, nil)
		p := s.start(t, memory())
		s.tick(18)
		if s.proofs != 1 {
			t.Fatalf("%d proofs before the deadline opened, want 1", s.proofs)
		}
		s.reorg(1)
		synctest.Wait()
		if s.proofs != 1 {
			t.Errorf("proven again after a reorganisation above the challenge")
		}
		s.reorg(4)
		synctest.Wait()
		s.tick(simWindow)
		if s.proofs != 2 {
			t.Errorf("%d proofs after a reorganisation below the challenge, want 2", s.proofs)
		}
		p.stop()
		if s.accepted != 1 || len(s.rejected) != 0 {
			t.Errorf("accepted %d, rejected %v", s.accepted, s.rejected)
		}
		s.expect(t, p, 1, 0)
	})
}

// The process is stopped at every epoch around a window, in turn, and started
// again at once: one accepted message, counted once.
func TestRestartAtEveryEpoch(t *testing.T) {
	for stop := 14; stop < 34; stop++ {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t)
			s.partition(2, []uint64{0, 1}, nil, nil, nil)
			store := memory()
			p := s.start(t, store)
			s.tick(stop)
			p.stop()
			p = s.start(t, store)
			s.tick(45 - stop)
			time.Sleep(2 * lastLook)
			p.stop()
			if s.accepted != 1 || len(s.rejected) != 0 {
				t.Errorf("stopped at %d: accepted %d, rejected %v", stop, s.accepted, s.rejected)
			}
			s.expect(t, p, 1, 0)
		})
	}
}

// The message lands while the process is down.
func TestReceiptWhileDown(t *testing.T) {
	for _, down := range []int{2, 40} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t)
			s.partition(2, []uint64{0, 1}, nil, nil, nil)
			store := memory()
			p := s.start(t, store)
			s.tick(22) // sent at 22, to be executed at 23
			if len(s.mempool) != 1 {
				t.Fatalf("%d messages in the pool at height 22", len(s.mempool))
			}
			p.stop()
			s.tick(down)
			p = s.start(t, store)
			s.tick(3)
			time.Sleep(2 * lastLook)
			p.stop()
			if s.accepted != 1 {
				t.Errorf("accepted %d", s.accepted)
			}
			s.expect(t, p, 1, 0)
		})
	}
}

func TestDeclarations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(4, []uint64{0, 1, 2}, nil, []uint64{2}, nil)
		s.broken[1] = api.FaultDamaged
		p := s.start(t, memory())
		s.tick(30)
		p.stop()
		want := []string{"faulty 4/0 [1]", "recovered 4/0 [2]"}
		slices.Sort(s.declared)
		if !slices.Equal(s.declared, want) {
			t.Errorf("declared %v, want %v", s.declared, want)
		}
	})
}

func TestFollowingWrapsPeriods(t *testing.T) {
	s := newSim(t)
	last := s.deadlineAt(simPeriod - 1)
	next := following(last, 1)
	if next.Index != 0 || next.Open != simPeriod || next.Challenge != simPeriod-simLookback {
		t.Errorf("after the last deadline: %+v", next)
	}
	if two := following(s.deadlineAt(25), 2); two.Index != 4 || two.Open != 40 {
		t.Errorf("two after deadline 2: %+v", two)
	}
}

func TestStatusKeepsTheNewest(t *testing.T) {
	b, err := openBook(t.Context(), memory())
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxRecent + 10 {
		rec := api.PoStRecord{Open: abi.ChainEpoch(i), Accepted: true}
		if err := b.intend(t.Context(), pending{Key: "k", Record: rec}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time changes nothing
			if err := b.settle(t.Context(), "k", rec); err != nil {
				t.Fatal(err)
			}
		}
	}
	again, err := openBook(t.Context(), b.store)
	if err != nil {
		t.Fatal(err)
	}
	st := again.snapshot()
	if st.Accepted != maxRecent+10 || len(st.Recent) != maxRecent || st.Recent[0].Open != maxRecent+9 {
		t.Errorf("%d accepted, %d kept, newest %d", st.Accepted, len(st.Recent), st.Recent[0].Open)
	}
}
