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

// pauses lets pauses of the scheduler pass.
func (s *sim) pauses() {
	time.Sleep(6 * time.Second)
	synctest.Wait()
}

// Heads jump over whole deadlines: each that had something to prove is counted and
// named, those without are not, and recoveries go out for the next that can have
// them.
func TestDeadlinesThatPassedUnseenAreNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(2, []uint64{0, 1}, nil, nil, nil)
		s.partition(3, []uint64{2, 3}, []uint64{3}, nil, nil)
		s.partition(5, []uint64{4}, nil, nil, nil)
		var log bytes.Buffer
		s.log = slog.New(slog.NewTextHandler(&log, nil))
		p := s.start(t, memory())
		s.tick(12)
		s.failReads = 1 // the first question fails and is asked again
		s.advance(30)   // from deadline 1 into deadline 4
		synctest.Wait()
		s.pauses()
		s.tick(2 * simWindow)
		p.stop()
		s.expect(t, p, 1, 2)
		var missed []uint64
		for _, r := range p.Status().Recent[1:] {
			missed = append(missed, r.Deadline)
			if r.Accepted || r.Message != nil || !slices.Equal(r.Partitions, []uint64{0}) || r.Open != abi.ChainEpoch(10*r.Deadline) ||
				!strings.Contains(r.Error, "no head came") {
				t.Errorf("record %+v", r)
			}
		}
		slices.Sort(missed)
		if !slices.Equal(missed, []uint64{2, 3}) {
			t.Errorf("missed %v, want 2 and 3", missed)
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
			t.Errorf("%d errors in the log:\n%s", n, log.String())
		}
		if !slices.Contains(s.declared, "recovered 2/0 [0 1]") {
			t.Errorf("declared %v", s.declared)
		}
	})
}

// A jump over more than a period looks at each deadline once.
func TestAJumpOverPeriodsLooksAtEachDeadlineOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(2, []uint64{0, 1}, nil, nil, nil)
		p := s.start(t, memory())
		s.tick(5)
		s.advance(3 * simPeriod)
		synctest.Wait()
		p.stop()
		s.expect(t, p, 0, 1)
	})
}

// A deadline whose job was under way when the heads jumped far ahead is counted
// once, and its job ends.
func TestAJumpFromWithinAJobCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(2, []uint64{0, 1}, nil, nil, nil)
		p := s.start(t, memory())
		s.tick(18)
		s.advance(3 * simPeriod)
		synctest.Wait()
		time.Sleep(2 * lastLook)
		s.expect(t, p, 0, 1)
		p.stop()
		for open := range p.jobs {
			if open < 3*simPeriod {
				t.Errorf("the job of %d is kept", open)
			}
		}
	})
}

// What another process proved while no head came here was not missed.
func TestAPassedDeadlineThatWasProvenIsNotNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(2, []uint64{0, 1}, nil, nil, nil)
		p := s.start(t, memory())
		s.tick(12)
		s.posted[2] = map[uint64]bool{0: true}
		s.advance(20)
		synctest.Wait()
		p.stop()
		s.expect(t, p, 0, 0)
	})
}

// The node comes back with another chain below the challenge and says nothing of
// what it dropped: the proof is made again for the new challenge, also when the
// node cannot be asked at once. A chain that differs above it changes nothing.
func TestAReplacedChainIsReadAgain(t *testing.T) {
	for name, c := range map[string]struct {
		depth, draws, proofs int
	}{
		"below the challenge":                   {4, 0, 2},
		"below, and the node does not answer":   {4, 3, 2},
		"above the challenge":                   {1, 0, 1},
		"above, and the node does not answer":   {1, 3, 1},
		"as deep as the challenge's own tipset": {3, 0, 2},
		"just above the challenge's own tipset": {2, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t)
				s.partition(2, []uint64{0, 1}, nil, nil, nil)
				p := s.start(t, memory())
				s.tick(18) // the challenge is at 16
				if s.proofs != 1 {
					t.Fatalf("%d proofs", s.proofs)
				}
				s.failDraws = c.draws
				s.replace(c.depth)
				synctest.Wait()
				for range simWindow {
					s.tick(1)
					s.pauses()
				}
				p.stop()
				if s.proofs != c.proofs || s.accepted != 1 || len(s.rejected) != 0 {
					t.Errorf("%d proofs, %d accepted, rejected %v; want %d proofs", s.proofs, s.accepted, s.rejected, c.proofs)
				}
				s.expect(t, p, 1, 0)
			})
		})
	}
}

// Declarations that went with a dropped chain are made again.
func TestDeclarationsAreReadAgainAfterAReplacedChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(3, []uint64{0, 1}, nil, []uint64{1}, nil)
		p := s.start(t, memory())
		s.tick(6)
		s.tick(6) // cutoff of deadline 3 is at 18
		if n := s.times("recovered 3/0 [1]"); n != 1 {
			t.Fatalf("declared %v", s.declared)
		}
		s.parts[3][0].RecoveringSectors, _ = s.parts[3][0].RecoveringSectors.Copy()
		s.parts[3][0].RecoveringSectors.Unset(1) // it went with the chain
		s.replace(3)
		synctest.Wait()
		s.tick(25)
		p.stop()
		if n := s.times("recovered 3/0 [1]"); n != 2 || s.accepted != 1 {
			t.Errorf("declared %v, accepted %d", s.declared, s.accepted)
		}
	})
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		head := func(h abi.ChainEpoch) *api.TipSet { return &api.TipSet{Height: h} }
		var p pace
		if p.epoch() != 0 {
			t.Error("a pace before any head")
		}
		p.observe(head(100))
		if p.epoch() != 0 {
			t.Error("a pace of one head")
		}
		time.Sleep(time.Minute)
		p.observe(head(102))
		if p.epoch() != 30*time.Second {
			t.Errorf("pace %s, want 30 s", p.epoch())
		}
		for h := abi.ChainEpoch(103); h < 140; h++ { // it follows a change of pace
			time.Sleep(2 * time.Second)
			p.observe(head(h))
			if n := p.last.height - p.from.height; h > 110 && (n < paceSpan || n >= 2*paceSpan+1) {
				t.Fatalf("at %d measured over %d epochs", h, n)
			}
		}
		if p.epoch() != 2*time.Second {
			t.Errorf("pace %s, want 2 s", p.epoch())
		}
		p.observe(head(90)) // another chain
		if p.epoch() != 0 {
			t.Errorf("pace %s after the height fell", p.epoch())
		}
		p.told = func() time.Duration { return 0 }
		if p.epoch() != 0 {
			t.Error("nobody knows")
		}
		p.told = func() time.Duration { return time.Second }
		if p.epoch() != time.Second {
			t.Error("what is told does not count")
		}
	})
}
