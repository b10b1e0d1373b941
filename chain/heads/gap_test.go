package heads

import (
	"math"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// What is left of two events that a slow reader gets as one, and what it proves
// about heights: an event tells everything, or that it does not.
func TestMergedEventsTellEverythingOrThatTheyDoNot(t *testing.T) {
	w := newWorld()
	const never = abi.ChainEpoch(math.MaxInt64)
	list := func(t ...*api.TipSet) []*api.TipSet { return t }
	for name, c := range map[string]struct {
		first, second Event
		limit         int
		want          string
		gap           bool
		revertedTo    abi.ChainEpoch
	}{
		"growth": {Event{Applies: list(w.a1), Head: w.a1}, Event{Applies: list(w.a2), Head: w.a2}, 2, "+a1+a2", false, never},
		"growth beyond the limit": {Event{Applies: list(w.a1, w.a2), Head: w.a2}, Event{Applies: list(w.a3), Head: w.a3},
			2, "", true, 0},
		"growth that was reverted again stays below the limit": {Event{Applies: list(w.a2, w.a3), Head: w.a3},
			Event{Reverts: list(w.a3, w.a2), Applies: list(w.b2), Head: w.b2}, 2, "+b2", false, never},
		"a fork": {Event{Reverts: list(w.a3), Head: w.a2}, Event{Reverts: list(w.a2), Applies: list(w.b2, w.b3), Head: w.b3},
			2, "-a3-a2+b2+b3", false, 2},
		"reverts beyond the limit": {Event{Reverts: list(w.a3), Head: w.a2}, Event{Reverts: list(w.a2), Head: w.a1},
			1, "", true, 0},
		"a gap, then growth":  {gapTo(w.a1), Event{Applies: list(w.a2), Head: w.a2}, 9, "", true, 0},
		"growth, then a gap":  {Event{Applies: list(w.a1), Head: w.a1}, gapTo(w.b3), 9, "", true, 0},
		"a gap, then reverts": {gapTo(w.a3), Event{Reverts: list(w.a3, w.a2), Head: w.a1}, 9, "", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ev := c.first
			ev.merge(c.second, c.limit)
			if got := labels(ev, w.names); got != c.want || ev.Gap != c.gap || !ev.Head.Equal(c.second.Head) {
				t.Errorf("got %q, gap %v; want %q, %v", got, ev.Gap, c.want, c.gap)
			}
			if got := ev.RevertedTo(); got != c.revertedTo {
				t.Errorf("reverted to %d, want %d", got, c.revertedTo)
			}
			for _, h := range []abi.ChainEpoch{0, 1, 2, 3} {
				if want := !c.gap && h < c.revertedTo; ev.Kept(h) != want {
					t.Errorf("height %d kept: %v, want %v", h, ev.Kept(h), want)
				}
			}
		})
	}
}
