package window

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// again is a sector that is faulty, looks well whenever it is checked, and cannot
// be proven when its deadline comes.
func again(t *testing.T, reason api.FaultReason) (*sim, datastore.Batching, *process) {
	t.Helper()
	s := newSim(t)
	s.partition(4, []uint64{0, 1}, nil, []uint64{1}, nil)
	s.broken[1] = reason
	s.flaky = map[uint64]bool{1: true}
	store := memory()
	p := s.start(t, store)
	s.period()
	want := []string{"recovered 4/0 [1]"}
	if !reason.Certain() && reason != api.FaultUnreadable { // not the sector's fault: at once declared for the next period
		want = append(want, want[0])
	}
	if !slices.Equal(s.declared, want) {
		t.Fatalf("declared %v in the first period", s.declared)
	}
	return s, store, p
}

// period lets a proving period pass, with time for pauses.
func (s *sim) period() {
	for range simPeriod {
		s.tick(1)
		s.pauses()
	}
}

func (s *sim) times(what string) int {
	n := 0
	for _, d := range s.declared {
		if d == what {
			n++
		}
	}
	return n
}

// A sector that failed again after it was declared recovered is not declared again
// while nothing about its files has changed, also after a restart; it is after a
// change, once for each.
func TestARecoveryThatFailedIsNotRepeatedWithoutAChange(t *testing.T) {
	for _, reason := range []api.FaultReason{api.FaultDamaged, api.FaultMissing, api.FaultOtherSeal, api.FaultUnreadable} {
		t.Run(string(reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const recovered = "recovered 4/0 [1]"
				s, store, p := again(t, reason)
				s.period()
				p.stop()
				p = s.start(t, store)
				s.period()
				if n := s.times(recovered); n != 1 {
					t.Errorf("declared %d times without a change", n)
				}
				if r, err := p.book.recoveries(t.Context()); err != nil || !r[1].Failed || !strings.Contains(r[1].Why, string(reason)) ||
					r[1].Print != "as ever" {
					t.Errorf("written down %+v, %v", r, err)
				}
				s.prints[1] = ", replaced"
				s.period()
				s.period()
				if n := s.times(recovered); n != 2 {
					t.Errorf("declared %d times after a change, want 2", n)
				}
				delete(s.broken, 1)
				s.prints[1] = ", and mended"
				s.period()
				s.period()
				p.stop()
				if n := s.times(recovered); n != 3 {
					t.Errorf("declared %d times after it was mended, want 3", n)
				}
				if left, err := p.book.recoveries(t.Context()); err != nil || len(left) != 0 {
					t.Errorf("a sector that is proven again is remembered: %v, %v", left, err)
				}
			})
		})
	}
}

// A failure that is not the sector's does not count against it.
func TestARecoveryThatAHungPathSpoiltIsRepeated(t *testing.T) {
	for _, reason := range []api.FaultReason{api.FaultHung, api.FaultSlow, api.FaultAway} {
		synctest.Test(t, func(t *testing.T) {
			s, _, p := again(t, reason)
			s.period()
			p.stop()
			if n := s.times("recovered 4/0 [1]"); n != 3 {
				t.Errorf("%s: declared %d times, want 3", reason, n)
			}
		})
	}
}

func TestAnOperatorMayHaveARecoveryTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, p := again(t, api.FaultDamaged)
		s.period()
		var none *api.ErrNotFound
		if err := p.RetryRecoveries(t.Context(), []abi.SectorNumber{1, 0}); !errors.As(err, &none) || !strings.Contains(err.Error(),
			"sector 0") {
			t.Errorf("of a sector that was never declared: %v", err)
		}
		if r, err := p.book.recoveries(t.Context()); err != nil || len(r) != 1 {
			t.Errorf("a refused call changed something: %v, %v", r, err)
		}
		if err := p.RetryRecoveries(t.Context(), []abi.SectorNumber{1}); err != nil {
			t.Error(err)
		}
		s.period()
		p.stop()
		if n := s.times("recovered 4/0 [1]"); n != 2 {
			t.Errorf("declared %d times, want 2", n)
		}
	})
}

// Without a note of the declaration (another program made it) a failure is written
// down all the same, and the sector gets one more try.
func TestARecoveryOfAnotherProgramGetsOneMoreTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(2, []uint64{0, 1}, nil, []uint64{1}, []uint64{1})
		s.broken[1] = api.FaultDamaged
		s.flaky = map[uint64]bool{1: true}
		p := s.start(t, memory())
		for range 4 {
			s.period()
		}
		p.stop()
		if n := s.times("recovered 2/0 [1]"); n != 1 {
			t.Errorf("declared %d times, want 1", n)
		}
	})
}

func TestDamagedRecoveryRowsAreRefused(t *testing.T) {
	for key, value := range map[string]string{"7": "{", "x": "{}"} {
		b, err := openBook(t.Context(), memory())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.store.Put(t.Context(), recoveryPrefix.ChildString(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
		if r, err := b.recoveries(t.Context()); err == nil {
			t.Errorf("%s: taken as %v", key, r)
		}
	}
}

// A sector with files of another CommR than the chain's is not declared recovered.
func TestARecoveryNeedsTheCommROfTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(4, []uint64{0, 1}, nil, []uint64{1}, nil)
		s.broken[1] = api.FaultOtherSeal
		p := s.start(t, memory())
		s.period()
		p.stop()
		if len(s.declared) != 0 {
			t.Errorf("declared %v", s.declared)
		}
		for _, c := range s.checks {
			for _, r := range c.Sectors {
				if !r.SealedCID.Defined() {
					t.Errorf("sector %d was checked without CommR", r.Number)
				}
			}
		}
	})
}
