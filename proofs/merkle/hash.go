package merkle

import (
	"fmt"

	"quarry/proofs/poseidon"
)

// HashNodes is the Poseidon parent of 2 or 8 children. A child that is no field
// element is an error.
func HashNodes(children ...Node) (Node, error) {
	h, err := poseidon.New(len(children))
	if err != nil {
		return Node{}, err
	}
	in := make([]poseidon.Element, len(children))
	for i := range children {
		if in[i], err = poseidon.Decode(&children[i]); err != nil {
			return Node{}, fmt.Errorf("merkle: child %d (%x): %w", i, children[i], err)
		}
	}
	return poseidon.Encode(h.Hash(in)), nil
}

// Join is the root over the roots of all base trees.
func (s Shape) Join(bases []Node) (Node, error) {
	if len(bases) != s.Bases() {
		return Node{}, fmt.Errorf("merkle: %d base roots for a tree of %d", len(bases), s.Bases())
	}
	row := bases
	for _, arity := range []int{s.Sub, s.Top} {
		if arity == 0 {
			break
		}
		up := make([]Node, len(row)/arity)
		for i := range up {
			var err error
			if up[i], err = HashNodes(row[i*arity : (i+1)*arity]...); err != nil {
				return Node{}, err
			}
		}
		row = up
	}
	return row[0], nil
}
