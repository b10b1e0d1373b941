package merkle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
)

// countingReader counts what is read.
type countingReader struct {
	io.ReaderAt
	bytes atomic.Int64
}

func (c *countingReader) ReadAt(b []byte, off int64) (int, error) {
	c.bytes.Add(int64(len(b)))
	return c.ReaderAt.ReadAt(b, off)
}

// Leaves opened together, in any order and some of them twice, open as they do
// alone, and each block below the stored rows is read once.
func TestProveAllEqualsProve(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	for _, s := range []Shape{{Nodes: 1 << 6}, {Nodes: 1 << 7, Sub: 2}, {Nodes: 1 << 10, Sub: 8, Top: 2}, {Nodes: 1 << 15}} {
		nodes := s.Nodes
		tree, _, _ := build(t, s, s.DefaultDiscard()+1)
		f := s.PoseidonForm()
		for _, n := range []int{0, 1, 3, 40} {
			indices := make([]uint64, n)
			blocks := map[uint64]bool{}
			for i := range indices {
				if indices[i] = r.Uint64N(nodes); i > 3 && i%3 == 0 {
					indices[i] = indices[i-2] ^ 1
				}
				blocks[indices[i]/tree.blockLeaves()] = true
			}
			counted := &countingReader{ReaderAt: tree.Leaves}
			tree.Leaves = counted
			all, err := tree.ProveAll(context.Background(), indices)
			tree.Leaves = counted.ReaderAt
			if err != nil || len(all) != n {
				t.Fatalf("%d leaves of %d nodes: %d proofs, %v", n, nodes, len(all), err)
			}
			if got, want := counted.bytes.Load(), int64(uint64(len(blocks))*tree.blockLeaves()*NodeSize); got != want {
				t.Errorf("%d leaves of %d nodes: %d bytes of leaves read, %d wanted", n, nodes, got, want)
			}
			for i := range all {
				one, err := tree.Prove(indices[i])
				if err != nil || !bytes.Equal(f.Append(nil, &one), f.Append(nil, &all[i])) {
					t.Errorf("%d nodes: leaf %d opens differently among others, %v", nodes, indices[i], err)
				}
			}
		}
	}
}

func TestProveAllRefuses(t *testing.T) {
	s, err := ShapeOf(1 << 10)
	if err != nil {
		t.Fatal(err)
	}
	tree, files, _ := build(t, s, 2)
	if _, err := tree.ProveAll(context.Background(), []uint64{1, 1 << 10}); err == nil || !strings.Contains(err.Error(), "leaf 1024") {
		t.Errorf("a leaf beyond the end: %v", err)
	}
	for what, other := range map[string]Tree{
		"no full tree of arity 8": {Shape: Shape{Nodes: 100}, Files: tree.Files[:1]},
		"3 files for 16":          {Shape: s, Files: tree.Files[:3], First: 2, Leaves: tree.Leaves},
		"from row 3 on":           {Shape: s, Files: tree.Files, First: 3, Leaves: tree.Leaves},
		"from row -1 on":          {Shape: s, Files: tree.Files, First: -1},
		"needs its leaves":        {Shape: s, Files: tree.Files, First: 2},
	} {
		if _, err := other.ProveAll(context.Background(), []uint64{1}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tree.ProveAll(gone, []uint64{1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	files[2].b[0] ^= 1
	if _, err := tree.ProveAll(context.Background(), []uint64{0, 64 * 2, 64 * 9}); !errors.Is(err, ErrProof) {
		t.Errorf("a changed base root: %v", err)
	}
}

// One wrong proof among many is found and named, and nothing else is.
func TestCheckAll(t *testing.T) {
	s, err := ShapeOf(1 << 10)
	if err != nil {
		t.Fatal(err)
	}
	tree, _, _ := build(t, s, 0)
	f := s.PoseidonForm()
	indices := make([]uint64, 40)
	for i := range indices {
		indices[i] = uint64(i * 23)
	}
	open := func() []*Proof {
		proofs, err := tree.ProveAll(context.Background(), indices)
		if err != nil {
			t.Fatal(err)
		}
		refs := make([]*Proof, len(proofs))
		for i := range proofs {
			refs[i] = &proofs[i]
		}
		return refs
	}
	for _, form := range []Form{f, f.Remembering()} {
		if err := errors.Join(form.CheckAll(open(), indices), form.CheckAll(open(), indices), form.CheckAll(nil, nil)); err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(*Proof){
			"root":             func(p *Proof) { p.Root[1] ^= 1 },
			"leaf":             func(p *Proof) { p.Leaf[1] ^= 1 },
			"sibling":          func(p *Proof) { p.Base[1].Hashes[6][0] ^= 1 },
			"sub sibling":      func(p *Proof) { p.Sub[0].Hashes[6][0] ^= 1 },
			"top sibling":      func(p *Proof) { p.Top[0].Hashes[0][0] ^= 1 },
			"no field element": func(p *Proof) { p.Base[0].Hashes[2] = Node(bytes.Repeat([]byte{0xff}, 32)) },
		} {
			proofs := open()
			change(proofs[19])
			if err := form.CheckAll(proofs, indices); !errors.Is(err, ErrProof) || !strings.Contains(err.Error(), "leaf 437") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := form.CheckAll(open(), indices[1:]); !errors.Is(err, ErrProof) {
			t.Errorf("40 proofs about 39 leaves: %v", err)
		}
		wrong := append([]uint64{}, indices...)
		wrong[7]++
		if err := form.CheckAll(open(), wrong); !errors.Is(err, ErrProof) || !strings.Contains(err.Error(), "leaf 161, not 162") {
			t.Errorf("another leaf: %v", err)
		}
	}
}
