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
	calls := 0
	counted := plain
	counted.hash = func(c ...Node) (Node, error) { calls++; return plain.hash(c...) }
	f := counted.Remembering()
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
	// One right group; eight wrong ones, remembered; eight that cannot be hashed,
	// tried each time.
	if calls != 1+8+3*8 {
		t.Errorf("%d hashes", calls)
	}
	// Two children are not eight with zeros behind.
	two := Form{BaseSteps: 1, BaseArity: 2, hash: plain.hash}.Remembering()
	if a, err := two.hash(leaves[0], leaves[1]); err != nil {
		t.Error(err)
	} else if b, err := two.hash(leaves[0], leaves[1], Node{}, Node{}, Node{}, Node{}, Node{}, Node{}); err != nil || a == b {
		t.Errorf("%x, %x, %v", a, b, err)
	}
}
