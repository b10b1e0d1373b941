package kernel

import (
	"context"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// BaseArity is the number of children of a node of a Poseidon tree.
const BaseArity = 8

// TreeSizes says how much work a backend wants in one call. A caller that has
// that much, and no more than the limits below, gives it. Zero leaves it to the
// caller, who then gives what suits a thread of the CPU: some 2^15 leaves.
// Whatever is asked for, smaller calls come too: small sectors, the tops of trees.
//
// As many calls as the host has CPUs are under way at once, and the host's memory
// goes with them: 73 bytes for a leaf of a Poseidon tree, 64 for one of a SHA-256
// tree, 32 for every element of a column.
type TreeSizes struct {
	Leaves  int // of a Poseidon tree, rounded down to a power of 8; at most MaxLeaves
	Nodes   int // leaves of a SHA-256 tree, rounded down to a power of 2; at most MaxLeaves
	Columns int // at most MaxColumns
}

// Limits of TreeSizes.
const (
	MaxLeaves  = 1 << 24 // 512 MiB of leaves
	MaxColumns = 1 << 20
)

// Trees hashes the trees of sectors. rows are the rows of a part of a tree: the
// first is given and stays as it is, every other one is the hash of the row before
// it and is filled in, up to and including the last. Rows need not reach the top.
type Trees interface {
	// Sizes is how much the backend wants in one call. It never changes.
	Sizes() TreeSizes
	// HashColumns hashes each width elements of src to one of dst, by Poseidon
	// of that arity with the domain tag of Merkle trees, 2^width - 1. Widths are 2,
	// 4, 8, 11, 16, 24 and 36; sectors have columns of 2 and 11. len(src) is width
	// times len(dst), which may be 0.
	HashColumns(ctx context.Context, width int, dst, src []fr.Element) error
	// HashPoseidon fills rows of a Poseidon tree, each an eighth of the row
	// before it. The arity is BaseArity, the domain tag 255.
	HashPoseidon(ctx context.Context, rows [][]fr.Element) error
	// HashSHA256 fills rows of a tree of SHA-256 of pairs, the two top bits of the
	// last byte of every node cleared. Rows are in bytes, NodeSize to a node, each
	// half as long as the row before it.
	HashSHA256(ctx context.Context, rows [][]byte) error
}

// CheckColumns refuses arguments of HashColumns that make no sense. Which widths
// exist is for the backend to know.
func CheckColumns(width int, dst, src []fr.Element) error {
	if width < 1 || len(src)%width != 0 || len(src)/width != len(dst) {
		return fmt.Errorf("%w: %d elements are no columns of %d for %d hashes", ErrInput, len(src), width, len(dst))
	}
	return nil
}

// CheckPoseidon refuses arguments of HashPoseidon that make no sense.
func CheckPoseidon(rows [][]fr.Element) error {
	if len(rows) == 0 {
		return fmt.Errorf("%w: a tree without rows", ErrInput)
	}
	for i := 1; i < len(rows); i++ {
		if below := len(rows[i-1]); below%BaseArity != 0 || len(rows[i]) != below/BaseArity {
			return fmt.Errorf("%w: a row of %d nodes over one of %d", ErrInput, len(rows[i]), below)
		}
	}
	return nil
}

// CheckSHA256 refuses arguments of HashSHA256 that make no sense.
func CheckSHA256(rows [][]byte) error {
	if len(rows) == 0 || len(rows[0])%NodeSize != 0 {
		return fmt.Errorf("%w: a tree without rows, or of parts of nodes", ErrInput)
	}
	for i := 1; i < len(rows); i++ {
		if below := len(rows[i-1]); below%(2*NodeSize) != 0 || len(rows[i]) != below/2 {
			return fmt.Errorf("%w: a row of %d bytes over one of %d", ErrInput, len(rows[i]), below)
		}
	}
	return nil
}

// TreesOr is first, and second where first is nil or refuses.
func TreesOr(first, second Trees) Trees {
	if first == nil {
		return second
	}
	if second == nil {
		return first
	}
	return treesOr{first, second}
}

type treesOr struct{ first, second Trees }

func (t treesOr) Sizes() TreeSizes { return t.first.Sizes() }

func (t treesOr) HashColumns(ctx context.Context, width int, dst, src []fr.Element) error {
	return or(t.first.HashColumns(ctx, width, dst, src), func() error { return t.second.HashColumns(ctx, width, dst, src) })
}

func (t treesOr) HashPoseidon(ctx context.Context, rows [][]fr.Element) error {
	return or(t.first.HashPoseidon(ctx, rows), func() error { return t.second.HashPoseidon(ctx, rows) })
}

func (t treesOr) HashSHA256(ctx context.Context, rows [][]byte) error {
	return or(t.first.HashSHA256(ctx, rows), func() error { return t.second.HashSHA256(ctx, rows) })
}
