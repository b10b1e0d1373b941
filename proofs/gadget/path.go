package gadget

import (
	"math/bits"

	"quarry/proofs/merkle"
)

// Tree is how the nodes of a Merkle tree are hashed.
type Tree int

const (
	// DataTree is the binary SHA-256 tree-d.
	DataTree Tree = iota
	// ReplicaTree is a Poseidon tree, tree-c or tree-r-last.
	ReplicaTree
)

// Inclusion shows that leaf is in the tree with this root. Positions and siblings
// are allocated here, and the leaf's number becomes a public input
// (storage-proofs-core/src/gadgets/por.rs). The leaf and root of p itself are not
// used.
func (b *Builder) Inclusion(t Tree, p *merkle.Proof, leaf, root Num) {
	b.pathBits = b.pathBits[:0]
	for _, part := range [3][]merkle.Step{p.Base, p.Sub, p.Top} {
		for i := range part {
			step := &part[i]
			from := len(b.pathBits)
			for k := range log2(len(step.Hashes) + 1) {
				b.pathBits = append(b.pathBits, b.Bit(step.Index>>k&1 == 1))
			}
			leaf = b.hash(t, b.Insert(leaf, b.pathBits[from:], b.Nodes(step.Hashes)))
		}
	}
	b.PackInput(b.pathBits)
	b.Equal(leaf, root)
}

// Nodes allocates nodes in order.
func (b *Builder) Nodes(nodes []merkle.Node) []Num {
	out := make([]Num, len(nodes))
	for i := range nodes {
		out[i] = b.Node(&nodes[i])
	}
	return out
}

// Siblings allocates all siblings of a path.
func (b *Builder) Siblings(p *merkle.Proof) [][]Num {
	var out [][]Num
	for _, part := range [3][]merkle.Step{p.Base, p.Sub, p.Top} {
		for i := range part {
			out = append(out, b.Nodes(part[i].Hashes))
		}
	}
	return out
}

// Climb shows that leaf is in the tree with this root, with position bits (leaf
// level first) and siblings that are allocated already.
func (b *Builder) Climb(t Tree, bits []Bit, siblings [][]Num, leaf, root Num) {
	for _, others := range siblings {
		n := log2(len(others) + 1)
		leaf = b.hash(t, b.Insert(leaf, bits[:n], others))
		bits = bits[n:]
	}
	b.Equal(leaf, root)
}

func (b *Builder) hash(t Tree, children []Num) Num {
	if t == DataTree {
		return b.HashData(children[0], children[1])
	}
	return b.Poseidon(children...)
}

func log2(n int) int { return bits.Len(uint(n)) - 1 } // the numbers of children are positive
