package porep

import (
	"context"
	"fmt"
	"io"

	"quarry/proofs/merkle"
)

// The functions here are for package update, whose sectors keep the same files.

func shapeParams(s merkle.Shape) *params { return &params{nodes: s.Nodes, shape: s} }

// WriteTreeD builds tree-d over padded sector data and stores it in cache. It
// returns CommD.
func WriteTreeD(ctx context.Context, s merkle.Shape, data io.ReaderAt, cache Files, p Progress) ([32]byte, error) {
	return shapeParams(s).buildTreeD(ctx, data, cache, p)
}

// WriteTreeR builds tree-r-last over a replica and stores it in cache. It
// returns CommRLast.
func WriteTreeR(ctx context.Context, s merkle.Shape, replica merkle.Leaves, cache Files, p Progress) ([32]byte, error) {
	par := shapeParams(s)
	return par.buildTree(ctx, cache, treeRLast, s.DefaultDiscard()+1, replica, counter(p, StageTreeR, par), nil)
}

// WriteAux stores p_aux in cache, and t_aux as it is in from.
func WriteAux(cache, from Files, commC, commRLast [32]byte) error {
	old, err := from.Open(tAuxName)
	if err != nil {
		return fmt.Errorf("opening %s: %w", tAuxName, err)
	}
	defer closeAll([]File{old})
	size, err := old.Size()
	if err != nil {
		return fmt.Errorf("size of %s: %w", tAuxName, err)
	}
	const limit = 1 << 20 // it is a few hundred bytes
	if size < 0 || size > limit {
		return fmt.Errorf("%s has %d bytes, which is no t_aux", tAuxName, size)
	}
	b := make([]byte, size)
	if err := merkle.ReadFullAt(old, b, 0); err != nil {
		return fmt.Errorf("reading %s: %w", tAuxName, err)
	}
	if err := writeFile(cache, tAuxName, b); err != nil {
		return err
	}
	return writeFile(cache, pAuxName, append(commC[:], commRLast[:]...))
}

// OpenTreeD opens a stored tree-d.
func OpenTreeD(s merkle.Shape, cache Files) (File, error) {
	return openSized(cache, treeDName, int64(merkle.RowsSize(s.Nodes, 2, 0)))
}

// OpenTreeR opens a stored tree-r-last; replica gives the leaves. The returned
// function closes the files behind the tree.
func OpenTreeR(s merkle.Shape, replica io.ReaderAt, cache Files) (*merkle.Tree, func(), error) {
	files, t, err := openTree(cache, s, treeRLast, s.DefaultDiscard()+1, replica)
	if err != nil {
		return nil, nil, fmt.Errorf("porep: %w", err)
	}
	return &t, func() { closeAll(files) }, nil
}
