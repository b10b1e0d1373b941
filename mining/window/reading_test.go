package window

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// partOf is a partition of sectors from to to-1.
func (s *sim) partOf(deadline, from, to uint64) {
	var all []uint64
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	s.partition(deadline, all, nil, nil, nil)
}

func (s *sim) breakAll(from, to uint64, why api.FaultReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := from; n < to; n++ {
		s.broken[n] = why
	}
}

// mend makes sectors readable; none named means all.
func (s *sim) mend(sectors ...uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(sectors) == 0 {
		clear(s.broken)
	}
	for _, n := range sectors {
		delete(s.broken, n)
	}
}

// epochs lets epochs of 30 s pass.
func (s *sim) epochs(n int) {
	for range n {
		time.Sleep(30 * time.Second)
		s.tick(1)
	}
}

// One path of three hangs, with 100 of 300 sectors: the 200 others are proven in
// time in this deadline and in the next, and all of them once it is back.
func TestAHungPathCostsNothingButItsSectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partOf(2, 0, 300)
		s.partOf(3, 300, 600)
		s.partOf(5, 600, 900)
		p := s.start(t, memory())
		s.epochs(10)
		s.breakAll(100, 200, api.FaultHung)
		s.breakAll(400, 500, api.FaultHung)
		s.breakAll(700, 800, api.FaultHung)
		s.epochs(32)
		if s.accepted != 2 || len(s.rejected) != 0 {
			t.Errorf("accepted %d, rejected %v", s.accepted, s.rejected)
		}
		for i, rec := range p.Status().Recent {
			if rec.Sectors != 200 || len(rec.Skipped) != 100 || !rec.Accepted {
				t.Errorf("record %d: %d sectors, %d skipped, %s", i, rec.Sectors, len(rec.Skipped), rec.Error)
			}
		}
		s.mend()
		s.epochs(18)
		if rec := p.Status().Recent[0]; s.accepted != 3 || rec.Sectors != 300 || len(rec.Skipped) != 0 {
			t.Errorf("after it is back: accepted %d, %d sectors, %d skipped", s.accepted, rec.Sectors, len(rec.Skipped))
		}
		// No fault was declared; what was skipped is declared recovered as soon as it
		// can be read, long before its next turn.
		if len(s.declared) != 2 || !strings.HasPrefix(s.declared[0], "recovered 2/0 [100 101") ||
			!strings.HasPrefix(s.declared[1], "recovered 3/0 [400 401") {
			t.Errorf("declared %v", s.declared)
		}
		p.stop()
	})
}

// Sectors that may come back are read again, they alone, until a third of the
// window is over; then there is a proof of the rest.
func TestSectorsThatMayComeBackAreReadAgain(t *testing.T) {
	for name, c := range map[string]struct {
		back    int // the epoch at which they can be read
		skipped int
		snark   bool
	}{
		"before the deadline opens":        {18, 0, false},
		"before a third of it is over":     {22, 0, false},
		"later":                            {25, 2, false},
		"with Groth16, before it opens":    {18, 0, true},
		"with Groth16, after it is opened": {21, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t)
				if c.snark {
					s.snark = &script{}
				}
				s.partOf(2, 0, 4)
				p := s.start(t, memory())
				s.epochs(12)
				s.breakAll(1, 2, api.FaultHung)
				s.breakAll(2, 3, api.FaultDamaged)
				s.breakAll(3, 4, api.FaultAway)
				s.epochs(c.back - 12)
				s.mend(1, 3)
				s.epochs(32 - c.back)
				p.stop()
				rec := p.Status().Recent[0]
				if s.accepted != 1 || len(s.rejected) != 0 || len(rec.Skipped) != 1+c.skipped || rec.Sectors != 3-c.skipped {
					t.Errorf("accepted %d, rejected %v, record %+v", s.accepted, s.rejected, rec)
				}
				if len(s.requests) < 2 || len(s.requests[0].Sectors) != 4 {
					t.Fatalf("%d passes", len(s.requests))
				}
				for _, r := range s.requests[1:] {
					if len(r.Sectors) != 2 || r.Sectors[0].SectorNumber != 1 || r.Sectors[1].SectorNumber != 3 || r.Miner != 1000 {
						t.Errorf("a later pass reads %v", r.Sectors)
					}
				}
			})
		})
	}
}

// The limit of a pass is what the deadline leaves at the pace of the epochs.
func TestAPassHasALimit(t *testing.T) {
	for name, c := range map[string]struct {
		epoch time.Duration
		want  time.Duration
	}{
		"epochs of 1 s":   {time.Second, 6 * time.Second}, // read at 17, until 23
		"epochs of 100 s": {100 * time.Second, maxPass},
		"nobody knows":    {0, maxPass},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t)
				s.partOf(2, 0, 2)
				s.epochWall = func() time.Duration { return c.epoch }
				p := s.start(t, memory())
				s.tick(20)
				p.stop()
				if len(s.requests) != 1 || s.requests[0].Limit != c.want {
					t.Errorf("%d passes, limit %s, want %s", len(s.requests), s.requests[0].Limit, c.want)
				}
			})
		})
	}
	s := newSim(t)
	w := &Scheduler{deps: Deps{Heads: at(22)}, pace: pace{told: func() time.Duration { return time.Second }}}
	for height, want := range map[abi.ChainEpoch]time.Duration{10: 13 * time.Second, 21: 2 * time.Second, 22: time.Second,
		23: time.Second, 29: time.Second} {
		w.deps.Heads = at(height)
		if got := w.readLimit(&job{info: s.deadlineAt(25)}); got != want {
			t.Errorf("at %d: %s, want %s", height, got, want)
		}
		if may := w.mayRead(&job{info: s.deadlineAt(25)}); may != (height < 23) {
			t.Errorf("at %d: may read again is %v", height, may)
		}
	}
}

// A partition of which nothing can be read is proven by itself when it is back
// before the deadline closes; the others do not wait for it.
func TestAPartitionThatComesBackIsProvenByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partOf(2, 0, 2)
		s.partOf(2, 2, 4)
		s.partOf(2, 4, 6)
		var log bytes.Buffer
		s.log = slog.New(slog.NewTextHandler(&log, nil))
		p := s.start(t, memory())
		s.epochs(12)
		s.breakAll(0, 2, api.FaultHung)
		s.breakAll(4, 6, api.FaultMissing)
		s.epochs(13)
		if s.accepted != 1 || !slices.Equal(p.Status().Recent[0].Partitions, []uint64{1}) {
			t.Fatalf("accepted %d: %+v", s.accepted, p.Status().Recent)
		}
		s.mend(0, 1)
		s.epochs(4)
		if rec := p.Status().Recent[0]; s.accepted != 2 || !slices.Equal(rec.Partitions, []uint64{0}) || len(rec.Skipped) != 0 {
			t.Errorf("accepted %d: %+v", s.accepted, rec)
		}
		s.epochs(12)
		p.stop()
		s.expect(t, p, 2, 1)
		last := p.Status().Recent[0]
		if !slices.Equal(last.Partitions, []uint64{2}) || !slices.Equal(last.Skipped, []abi.SectorNumber{4, 5}) ||
			!strings.Contains(last.Error, "none of the 2 sectors") || !strings.Contains(last.Error, "2 missing") {
			t.Errorf("what was never proven: %+v", last)
		}
		if len(s.rejected) != 0 || len(s.declared) != 0 {
			t.Errorf("rejected %v, declared %v", s.rejected, s.declared)
		}
		if n := strings.Count(log.String(), "NOTHING OF THESE PARTITIONS CAN BE READ"); n != 2 {
			t.Errorf("said loudly %d times:\n%s", n, log.String())
		}
	})
}

// A node that can read nothing sends nothing and says so, and is well again with
// the next deadline.
func TestANodeThatCanReadNothingSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partOf(2, 0, 2)
		s.partOf(4, 2, 4)
		s.breakAll(0, 4, api.FaultAway)
		var log bytes.Buffer
		s.log = slog.New(slog.NewTextHandler(&log, nil))
		p := s.start(t, memory())
		s.epochs(33)
		st := p.Status()
		if s.accepted != 0 || len(s.keys) != 0 || len(s.declared) != 0 {
			t.Errorf("accepted %d, %d messages, declared %v", s.accepted, len(s.keys), s.declared)
		}
		if len(st.Alerts) != 2 || !strings.Contains(st.Alerts[0], "deadline 2") || !strings.Contains(st.Alerts[1], "deadline 4") ||
			len(st.Unreadable) != 4 || st.Unreadable[3].Sector != 3 {
			t.Errorf("status %+v", st)
		}
		if !strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("not loud:\n%s", log.String())
		}
		s.mend()
		s.epochs(11)
		st = p.Status()
		if s.accepted != 1 || len(st.Alerts) != 1 || len(st.Unreadable) != 2 {
			t.Errorf("after it is back: accepted %d, %+v", s.accepted, st)
		}
		p.stop()
	})
}

// Restarted at any epoch while one partition cannot be read: each partition is
// accepted once, and nothing is rejected.
func TestRestartWhileAPartitionIsAway(t *testing.T) {
	for stop := 15; stop < 30; stop++ {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t)
			s.partOf(2, 0, 2)
			s.partOf(2, 2, 4)
			store := memory()
			p := s.start(t, store)
			s.epochs(12)
			s.breakAll(0, 2, api.FaultHung)
			for h := 13; h < 40; h++ {
				if h == 25 {
					s.mend()
				}
				if h == stop {
					p.stop()
					p = s.start(t, store)
				}
				s.epochs(1)
			}
			time.Sleep(2 * lastLook)
			p.stop()
			if s.accepted != 2 || len(s.rejected) != 0 {
				t.Errorf("stopped at %d: accepted %d, rejected %v", stop, s.accepted, s.rejected)
			}
			s.expect(t, p, 2, 0)
		})
	}
}

// A prover that gives less than it says is not believed.
func TestAnEmptyProofIsNoProof(t *testing.T) {
	r := newReading(batch{{prove: []uint64{1, 2}}}, onChain(1, 2))
	if err := r.take(api.WindowPoStResult{Skipped: []api.SectorFault{{Sector: 1}}}); err == nil ||
		!strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("error %v", err)
	}
	if err := r.take(api.WindowPoStResult{Skipped: []api.SectorFault{{Sector: 1}, {Sector: 2}}}); err != nil {
		t.Error(err)
	}
}

func TestTellSumsUp(t *testing.T) {
	got := tell([]api.SectorFault{{Sector: 3, Reason: api.FaultHung, Path: "b"}, {Sector: 4, Reason: api.FaultHung}, {Sector: 5,
		Reason: api.FaultDamaged, Detail: "p_aux"}})
	if want := "1 damaged (sector 5: damaged: p_aux); 2 hung (sector 3: hung at b)"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// Readings are bounded in the status.
func TestStatusIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partOf(2, 0, 1500)
		s.breakAll(0, 1500, api.FaultHung)
		p := s.start(t, memory())
		s.epochs(5)
		p.stop()
		if n := len(p.Status().Unreadable); n != maxUnreadable {
			t.Errorf("%d unreadable sectors in the status", n)
		}
	})
}
