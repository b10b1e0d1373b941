package sdr

import (
	"context"
	"math"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Parents computed in runs are those that a verifier computes one by one.
func TestReadParents(t *testing.T) {
	all := permuters
	defer func() { permuters = all }()
	rapid.Check(t, func(t *rapid.T) {
		permuters = all[rapid.IntRange(0, len(all)).Draw(t, "slower"):]
		nodes := uint64(1) << rapid.IntRange(1, 32).Draw(t, "log nodes")
		if rapid.Bool().Draw(t, "odd") {
			nodes = nodes/2 + 1 + rapid.Uint64Range(0, nodes/2-1).Draw(t, "nodes")
		}
		g, err := NewGraph(rapid.Custom(drawNode).Draw(t, "porep id"), nodes, rapid.Bool().Draw(t, "legacy"))
		if err != nil {
			t.Fatal(err)
		}
		start := rapid.Uint64Range(0, nodes-1).Draw(t, "start")
		run := make([]uint32, min(rapid.Uint64Range(1, 700).Draw(t, "run"), nodes-start)*Degree)
		if err := g.ReadParents(context.Background(), start, run); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(run); i += Degree {
			base, exp := g.Parents(start + uint64(i/Degree))
			if !slices.Equal(run[i:i+Degree], append(base[:], exp[:]...)) {
				t.Fatalf("node %d of %d: %v", start+uint64(i/Degree), nodes, run[i:i+Degree])
			}
		}
	})
}

// The number of buckets is an integer logarithm; the reference takes it in
// floating point.
func TestBuckets(t *testing.T) {
	same := func(meta uint64) bool {
		return uint64(math.Ceil(math.Log2(float64(meta)))) == uint64(bits.Len64(meta-1))
	}
	for k := 3; k < 36; k++ {
		for d := uint64(0); d < 7; d++ {
			if meta := uint64(1)<<k - 3 + d; !same(meta) {
				t.Errorf("%d differs", meta)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if !same(rapid.Uint64Range(2, 5<<32).Draw(t, "meta")) {
			t.Fatal("differs")
		}
	})
}

func BenchmarkParents(b *testing.B) {
	g, err := NewGraph(Node{8}, 1<<30, false)
	if err != nil {
		b.Fatal(err)
	}
	run := make([]uint32, runNodes*Degree)
	all := permuters
	defer func() { permuters = all }()
	for i := range len(all) + 1 {
		name := "portable"
		if permuters = all[i:]; i < len(all) {
			name = all[i].name
		}
		b.Run("expansion/"+name, func(b *testing.B) {
			best(b, "ns/node", runNodes, func() { g.expRun(1<<20, run) })
		})
	}
	b.Run("base", func(b *testing.B) {
		best(b, "ns/node", runNodes, func() {
			for n := range uint64(runNodes) {
				g.BaseParents(1<<20+n, (*[BaseDegree]uint32)(run[n*Degree:]))
			}
		})
	})
}
