package heads

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// FuzzWalk moves the head of a node at random, by growth, forks, silence and
// lost subscriptions, with a reader that reads when it likes. Whatever
// happens, playing the events must lead to the node's own chain.
func FuzzWalk(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { walk(t, rand.New(rand.NewPCG(seed, 1))) })
	})
}

func walk(t *testing.T, r *rand.Rand) {
	chain := []*api.TipSet{ts("g", nil, 0)}
	n := newNode(chain[0])
	fl := New(Config{}, Deps{Chain: n})
	scene(t, n, fl, func(ctx context.Context) {
		events := fl.Subscribe(ctx)
		var mine []*api.TipSet
		synctest.Wait()
		for i := range 60 {
			var reverts, applies []*api.TipSet
			for range min(r.IntN(4), len(chain)-1) {
				last := len(chain) - 1
				reverts, chain = append(reverts, chain[last]), chain[:last]
			}
			for k := range 1 + r.IntN(3) {
				tip := chain[len(chain)-1]
				next := ts(fmt.Sprint(i, "/", k), tip, tip.Height+1+abi.ChainEpoch(r.IntN(3)))
				chain, applies = append(chain, next), append(applies, next)
			}
			n.move(r.IntN(4) == 0, reverts, applies...)
			if r.IntN(8) == 0 {
				n.drop()
			}
			synctest.Wait()
			if r.IntN(3) == 0 {
				select {
				case ev := <-events:
					mine = play(t, mine, ev)
				default:
				}
			}
		}
		for len(mine) == 0 || !mine[len(mine)-1].Equal(chain[len(chain)-1]) {
			mine = play(t, mine, <-events)
		}
		if len(mine) != len(chain) {
			t.Fatalf("the events lead to %d tipsets, the node has %d", len(mine), len(chain))
		}
		for i := range chain {
			if !mine[i].Equal(chain[i]) {
				t.Fatalf("tipset %d differs", i)
			}
		}
	})
}

func play(t *testing.T, mine []*api.TipSet, ev Event) []*api.TipSet {
	t.Helper()
	if ev.Gap {
		t.Fatal("a gap without need")
	}
	for _, r := range ev.Reverts {
		if len(mine) == 0 || !mine[len(mine)-1].Equal(r) {
			t.Fatal("reverted what is not the head")
		}
		mine = mine[:len(mine)-1]
	}
	for _, a := range ev.Applies {
		if len(mine) > 0 && !a.Parents().Equal(mine[len(mine)-1].Key()) {
			t.Fatal("applied what does not follow")
		}
		mine = append(mine, a)
	}
	if len(mine) == 0 || !mine[len(mine)-1].Equal(ev.Head) {
		t.Fatal("the events do not lead to the head they name")
	}
	return mine
}
