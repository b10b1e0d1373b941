package guard

import (
	"errors"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
)

func name(t *testing.T, label string) cid.Cid {
	t.Helper()
	c, err := abi.CidBuilder.Sum([]byte(label))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGuard(t *testing.T) {
	type block struct {
		label        string
		miner        uint64
		height       abi.ChainEpoch
		parents      []string
		parentHeight abi.ChainEpoch
	}
	mined := block{"ours", 1000, 10, []string{"p1", "p2"}, 9}
	cases := []struct {
		name   string
		before []block
		try    block
		want   Fault
	}{
		{"first block", nil, mined, ""},
		{"same block again", []block{mined}, mined, ""},
		{"second block of a height", []block{mined}, block{"x", 1000, 10, []string{"p3"}, 9}, DoubleFork},
		{"same parents, later height", []block{mined}, block{"x", 1000, 11, []string{"p1", "p2"}, 9}, TimeOffset},
		{"parents in another number", []block{mined}, block{"x", 1000, 11, []string{"p1"}, 9}, ""},
		{"our block left out of the parents", []block{mined}, block{"x", 1000, 11, []string{"theirs"}, 10}, ParentGrinding},
		{"our block among the parents", []block{mined}, block{"x", 1000, 11, []string{"theirs", "ours"}, 10}, ""},
		{"null round over our block", []block{mined}, block{"x", 1000, 12, []string{"p9"}, 9}, ""},
		{"another miner", []block{mined}, block{"x", 1001, 10, []string{"p1", "p2"}, 9}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ds := dssync.MutexWrap(datastore.NewMapDatastore())
			check := func(b block) error {
				m, err := address.NewIDAddress(b.miner)
				if err != nil {
					t.Fatal(err)
				}
				var parents api.TipSetKey
				for _, p := range b.parents {
					parents = append(parents, name(t, p))
				}
				// A new guard every time: memory is the store's alone.
				return New(ds).Check(t.Context(), Block{m, b.height, parents, b.parentHeight, name(t, b.label)})
			}
			for _, b := range c.before {
				if err := check(b); err != nil {
					t.Fatal(err)
				}
			}
			err := check(c.try)
			var refused *RefusedError
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (!errors.As(err, &refused) || refused.Fault != c.want):
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// What a refused block would have written must not be there.
func TestRefusalLeavesNoTrace(t *testing.T) {
	g := New(dssync.MutexWrap(datastore.NewMapDatastore()))
	m, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	first := Block{m, 10, api.TipSetKey{name(t, "p")}, 9, name(t, "a")}
	if err := g.Check(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := g.Check(t.Context(), Block{m, 10, api.TipSetKey{name(t, "q")}, 9, name(t, "b")}); err == nil {
		t.Fatal("double fork let through")
	}
	if err := g.Check(t.Context(), Block{m, 11, api.TipSetKey{name(t, "q")}, 9, name(t, "c")}); err != nil {
		t.Errorf("parents of the refused block count as used: %v", err)
	}
	if yes, err := g.Mined(t.Context(), m, 11); err != nil || !yes {
		t.Errorf("Mined(11) = %v, %v", yes, err)
	}
}

func TestWithdraw(t *testing.T) {
	g := New(dssync.MutexWrap(datastore.NewMapDatastore()))
	m, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	a := Block{m, 10, api.TipSetKey{name(t, "p")}, 9, name(t, "a")}
	b := Block{m, 10, api.TipSetKey{name(t, "p")}, 9, name(t, "b")}
	if err := errors.Join(g.Check(t.Context(), a), g.Withdraw(t.Context(), b)); err != nil {
		t.Fatal(err)
	}
	if g.Check(t.Context(), b) == nil {
		t.Error("withdrawing one block freed the place of another")
	}
	if err := errors.Join(g.Withdraw(t.Context(), a), g.Check(t.Context(), b)); err != nil {
		t.Errorf("a withdrawn block still stands in the way: %v", err)
	}
}

func TestDamagedMemoryStopsMining(t *testing.T) {
	ds := dssync.MutexWrap(datastore.NewMapDatastore())
	m, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := ds.Put(t.Context(), epochKey(m, 10), []byte("not a cid")); err != nil {
		t.Fatal(err)
	}
	if err := New(ds).Check(t.Context(), Block{m, 10, api.TipSetKey{name(t, "p")}, 9, name(t, "a")}); err == nil {
		t.Error("let a block through without knowing its past")
	}
}
