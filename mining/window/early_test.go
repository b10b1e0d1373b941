package window

import (
	"slices"
	"testing"
	"testing/synctest"

	"quarry/api"
)

// A chain whose heads lie far apart passes over the turn of a deadline; what is
// whole again is declared recovered all the same, and only that.
func TestRecoveriesDoNotWaitForTheTurnOfTheirDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.partition(4, []uint64{0, 1, 2, 3}, nil, []uint64{1, 2}, []uint64{3})
		s.breakAll(2, 3, api.FaultHung)
		p := s.start(t, memory())
		s.epochs(2) // deadline 4 is far away
		if !slices.Equal(s.declared, []string{"recovered 4/0 [1]"}) {
			t.Errorf("declared %v", s.declared)
		}
		s.mend()
		s.epochs(14)
		if !slices.Equal(s.declared, []string{"recovered 4/0 [1]", "recovered 4/0 [2]"}) {
			t.Errorf("after it is mended: declared %v", s.declared)
		}
		p.stop()
	})
}
