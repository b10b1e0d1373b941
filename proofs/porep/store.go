package porep

import (
	"context"
	"fmt"
	"io"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/kernel"
	"quarry/proofs/merkle"
)

// The functions here are for package update, whose sectors keep the same files.

func shapeParams(s merkle.Shape) *params { return &params{nodes: s.Nodes, shape: s} }

// WriteTreeD builds tree-d over padded sector data and stores it in cache. It
// returns CommD. on, which may be nil, hashes.
func WriteTreeD(ctx context.Context, s merkle.Shape, data io.ReaderAt, cache Files, on kernel.Trees, p Progress) ([32]byte, error) {
	return shapeParams(s).buildTreeD(ctx, data, cache, on, p)
}

// WriteTreeR builds tree-r-last over a replica and stores it in cache. It
// returns CommRLast. on, which may be nil, hashes.
func WriteTreeR(ctx context.Context, s merkle.Shape, replica merkle.Leaves, cache Files, on kernel.Trees, p Progress) ([32]byte, error) {
	par := shapeParams(s)
	return par.buildTree(ctx, treeJob{
		cache: cache,
		kind:  treeRLast,
		first: s.DefaultDiscard() + 1,
		src:   replica,
		done:  counter(p, StageTreeR, par),
		on:    on,
	})
}

// WriteAux stores p_aux in cache, and t_aux as in from, except that it says of
// tree-r-last what WriteTreeR does. A t_aux that is not that of a sector of shape
// s is refused.
func WriteAux(s merkle.Shape, cache, from Files, commC, commRLast [32]byte) error {
	aux, err := readTAux(s, from)
	if err != nil {
		return err
	}
	aux.discard = s.DefaultDiscard()
	if err := writeFile(cache, tAuxName, aux.bytes(s)); err != nil {
		return err
	}
	return writeFile(cache, pAuxName, append(commC[:], commRLast[:]...))
}

// CheckTAux tells whether t_aux is there and is that of a sector of a seal proof.
// Proofs of spacetime do without it; unsealing, updates and other programs do not.
func CheckTAux(proof abi.RegisteredSealProof, cache Files) error {
	par, err := paramsFor(proof)
	if err != nil {
		return err
	}
	_, err = readTAux(par.shape, cache)
	return err
}

func readTAux(s merkle.Shape, from Files) (tAuxInfo, error) {
	f, err := from.Open(tAuxName)
	if err != nil {
		return tAuxInfo{}, fmt.Errorf("opening %s: %w", tAuxName, err)
	}
	defer closeAll([]File{f})
	size, err := f.Size()
	if err != nil {
		return tAuxInfo{}, fmt.Errorf("size of %s: %w", tAuxName, err)
	}
	if size < 0 || size > maxTAux {
		return tAuxInfo{}, fmt.Errorf("%w: %d bytes", errTAux, size)
	}
	b := make([]byte, size)
	if err := merkle.ReadFullAt(f, b, 0); err != nil {
		return tAuxInfo{}, fmt.Errorf("reading %s: %w", tAuxName, err)
	}
	return parseTAux(s, b)
}

// OpenTreeD opens a stored tree-d.
func OpenTreeD(s merkle.Shape, cache Files) (File, error) {
	return openSized(cache, treeDName, int64(merkle.RowsSize(s.Nodes, 2, 0)))
}

// OpenTreeR opens a stored tree-r-last; replica gives the leaves. How many rows
// above the leaves the files lack is a setting where the sector was sealed; their
// length tells. The returned function closes the files behind the tree.
func OpenTreeR(s merkle.Shape, replica io.ReaderAt, cache Files) (*merkle.Tree, func(), error) {
	files, t, err := openTree(cache, s, treeRLast, treeRFirst(s, cache), replica)
	if err != nil {
		return nil, nil, fmt.Errorf("porep: %w", err)
	}
	return &t, func() { closeAll(files) }, nil
}

// treeRFirst is the row that the files of tree-r-last begin with. If no row fits
// their length, it is the default one, and opening them will say what is wrong.
func treeRFirst(s merkle.Shape, cache Files) int {
	first := s.DefaultDiscard() + 1
	f, err := cache.Open(treeNames(s, treeRLast)[0])
	if err != nil {
		return first
	}
	defer closeAll([]File{f})
	size, err := f.Size()
	if err != nil {
		return first
	}
	for row := 1; row < s.BaseRows(); row++ {
		if int64(merkle.RowsSize(s.BaseLeaves(), merkle.BaseArity, row)) == size {
			return row
		}
	}
	return first
}
