package merkle

import (
	"errors"
	"testing"
)

// A form that remembers decides as one that does not, about right and wrong
// proofs, in any order.
func TestRemembering(t *testing.T) {
	s := Shape{Nodes: 8}
	plain := s.PoseidonForm()
	leaves := make([]Node, 8)
	for i := range leaves {
		leaves[i][0] = byte(i + 1)
	}
	root, err := HashNodes(leaves...)
	if err != nil {
		t.Fatal(err)
	}
	f := plain.Remembering()
	for range 3 {
		for i := range leaves {
			group := append(append([]Node{}, leaves[:i]...), leaves[i+1:]...)
			p := Proof{Root: root, Leaf: leaves[i], Base: []Step{{Hashes: group, Index: uint64(i)}}}
			if err := f.Check(&p, uint64(i)); err != nil {
				t.Errorf("leaf %d: %v", i, err)
			}
			p.Leaf[31] = 0xff // no field element
			if err := f.Check(&p, uint64(i)); !errors.Is(err, ErrProof) {
				t.Errorf("leaf %d: %v", i, err)
			}
			p.Leaf[31] = 1
			if err := f.Check(&p, uint64(i)); !errors.Is(err, ErrProof) {
				t.Errorf("leaf %d: %v", i, err)
			}
		}
	}
	// One right group and eight wrong ones; what cannot be hashed has no parent.
	if n := len(f.memo.known); n != 1+8 {
		t.Errorf("%d hashes are remembered", n)
	}
	if p, ok := f.memo.recall(flatten([][]Node{leaves})); !ok || p != root {
		t.Errorf("the right group is remembered as %x, %v", p, ok)
	}
	// Two children are not eight with zeros behind.
	two := append(leaves[:2:2], make([]Node, 6)...)
	f.memo.keep(flatten([][]Node{two[:2]}), root)
	if p, ok := f.memo.recall(flatten([][]Node{two})); ok {
		t.Errorf("eight children are taken for two: %x", p)
	}
}
