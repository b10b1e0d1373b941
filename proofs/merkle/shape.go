package merkle

import "fmt"

// Node is a 32-byte tree node, a little-endian field element.
type Node = [32]byte

// NodeSize is the length of a Node in bytes.
const NodeSize = 32

// BaseArity is the number of children of a node of a Poseidon base tree.
const BaseArity = 8

// Shape is how the Poseidon trees of a sector are put together
// (rust-fil-proofs filecoin-proofs/src/constants.rs).
type Shape struct {
	Nodes uint64 // leaves over all base trees
	Sub   int    // base trees joined by a sub node, 0 when there is no such level
	Top   int    // sub trees joined by the top node, 0 when there is no such level
}

// ShapeOf is the shape for a sector of nodes 32-byte nodes. Sizes without a
// defined shape are an error.
func ShapeOf(nodes uint64) (Shape, error) {
	switch nodes {
	case 1 << 6, 1 << 18, 1 << 24:
		return Shape{Nodes: nodes}, nil
	case 1 << 7, 1 << 19, 1 << 25:
		return Shape{Nodes: nodes, Sub: 2}, nil
	case 1 << 9, 1 << 30:
		return Shape{Nodes: nodes, Sub: 8}, nil
	case 1 << 10, 1 << 31:
		return Shape{Nodes: nodes, Sub: 8, Top: 2}, nil
	}
	return Shape{}, fmt.Errorf("merkle: no tree shape for a sector of %d nodes", nodes)
}

// Bases is the number of base trees.
func (s Shape) Bases() int { return max(1, s.Sub) * max(1, s.Top) }

// BaseLeaves is the number of leaves of one base tree, a power of eight.
func (s Shape) BaseLeaves() uint64 { return s.Nodes / uint64(s.Bases()) }

// BaseRows is the number of rows of a base tree, leaves and root included.
func (s Shape) BaseRows() int { return Rows(s.BaseLeaves(), BaseArity) }

// BaseNodes is the number of nodes of one whole base tree.
func (s Shape) BaseNodes() uint64 { return RowsSize(s.BaseLeaves(), BaseArity, 0) / NodeSize }

// DefaultDiscard is how many rows above the leaves tree-r-last leaves out, with
// the reference's default setting (storage-proofs-core/src/util.rs).
func (s Shape) DefaultDiscard() int {
	switch rows := s.BaseRows(); {
	case rows <= 2:
		return 0
	case rows == 3:
		return 1
	default:
		return min(rows-2, 2)
	}
}

// Rows is the number of rows, leaves and root included, of a full tree.
func Rows(leaves uint64, arity int) int {
	n := 1
	for leaves > 1 {
		leaves /= uint64(arity)
		n++
	}
	return n
}

// RowsSize is the length in bytes of a tree file that starts with row first.
func RowsSize(leaves uint64, arity, first int) uint64 {
	return RowOffset(leaves, arity, first, Rows(leaves, arity))
}

// RowOffset is where row starts in a tree file whose first row is first.
func RowOffset(leaves uint64, arity, first, row int) uint64 {
	var off uint64
	for r := 0; r < row; r++ {
		if r >= first {
			off += leaves * NodeSize
		}
		leaves /= uint64(arity)
	}
	return off
}
