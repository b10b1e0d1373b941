package merkle

import (
	"bytes"
	"context"
	"testing"
)

// winning is how many leaves a winning proof opens.
const winning = 66

// BenchmarkOpen opens what a winning proof of an 8 MiB sector opens, at once
// and one by one, and checks it.
func BenchmarkOpen(b *testing.B) {
	s, err := ShapeOf(1 << 18)
	if err != nil {
		b.Fatal(err)
	}
	tree, _, _ := build(b, s, s.DefaultDiscard()+1)
	var indices []uint64
	for i := range uint64(winning) {
		indices = append(indices, i*2654435761%s.Nodes)
	}
	proofs, err := tree.ProveAll(context.Background(), indices)
	if err != nil {
		b.Fatal(err)
	}
	refs := make([]*Proof, len(proofs))
	for i := range proofs {
		refs[i] = &proofs[i]
	}
	b.Run("at once", func(b *testing.B) {
		for b.Loop() {
			if _, err := tree.ProveAll(context.Background(), indices); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one by one", func(b *testing.B) {
		for b.Loop() {
			for _, i := range indices {
				if _, err := tree.Prove(i); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("check at once", func(b *testing.B) {
		for b.Loop() {
			if err := s.PoseidonForm().CheckAll(refs, indices); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check one by one", func(b *testing.B) {
		for b.Loop() {
			for i, p := range refs {
				if err := s.PoseidonForm().Check(p, indices[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkBuild builds the trees of an 8 MiB sector in memory.
func BenchmarkBuild(b *testing.B) {
	const nodes = 1 << 18
	leaves := leavesOf(1, nodes)
	for _, x := range []struct {
		name string
		run  func(out *mem) (Node, error)
		size uint64
	}{
		{"tree-d", func(out *mem) (Node, error) {
			return BuildBinary(context.Background(), nodes, bytes.NewReader(leaves), out, nil)
		}, RowsSize(nodes, 2, 0)},
		{"tree-r-last", func(out *mem) (Node, error) {
			return BuildPoseidon(context.Background(), nodes, source(leaves), out, 3, nil)
		}, RowsSize(nodes, BaseArity, 3)},
	} {
		b.Run(x.name, func(b *testing.B) {
			out := &mem{make([]byte, x.size)}
			b.SetBytes(nodes * NodeSize)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.run(out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
