package porep

import (
	"context"
	"errors"
	"fmt"
	"io"

	"quarry/proofs/merkle"
	"quarry/proofs/poseidon"
)

// PreCommit2 hashes the label columns into tree-c, writes the replica (label of
// the last layer plus data) to sealed, builds tree-r-last over it, and leaves
// p_aux and t_aux in cache. It may be repeated as long as the layer files are
// there. sealed must already have the size of the sector or grow on writing.
func PreCommit2(ctx context.Context, s Sector, pc1 PreCommit1Out, unsealed io.ReaderAt, sealed File, cache Files, p Progress) (Commitments, error) {
	par, err := paramsFor(s.Proof)
	if err != nil {
		return Commitments{}, err
	}
	out, err := par.preCommit2(ctx, pc1, unsealed, sealed, cache, p)
	if err != nil {
		return Commitments{}, fmt.Errorf("porep: second pre-commit phase of %s: %w", s, err)
	}
	return out, nil
}

func (par *params) preCommit2(ctx context.Context, pc1 PreCommit1Out, unsealed io.ReaderAt, sealed File, cache Files, p Progress) (Commitments, error) {
	if pc1.Layers != par.layers {
		return Commitments{}, fmt.Errorf("the first phase made %d layers, this seal proof has %d", pc1.Layers, par.layers)
	}
	out := Commitments{CommD: pc1.CommD}
	layers, err := par.openLayers(cache)
	if err != nil {
		return Commitments{}, err
	}
	defer closeAll(layers)
	if out.CommC, err = par.buildTree(ctx, cache, "tree-c", 0, par.columns(layers), counter(p, StageTreeC, par)); err != nil {
		return Commitments{}, err
	}
	first := par.shape.DefaultDiscard() + 1
	encode := par.encode(layers[par.layers-1], unsealed, sealed)
	if out.CommRLast, err = par.buildTree(ctx, cache, "tree-r-last", first, encode, counter(p, StageTreeR, par)); err != nil {
		return Commitments{}, err
	}
	if err := sealed.Sync(); err != nil {
		return Commitments{}, fmt.Errorf("syncing the sealed file: %w", err)
	}
	if out.CommR, err = merkle.HashNodes(out.CommC, out.CommRLast); err != nil {
		return Commitments{}, err
	}
	if err := writeFile(cache, tAuxName, par.tAux(auxPath)); err != nil {
		return Commitments{}, err
	}
	return out, writeFile(cache, pAuxName, append(out.CommC[:], out.CommRLast[:]...))
}

func counter(p Progress, stage string, par *params) merkle.Done {
	return func(n uint64) { p.report(stage, int64(n), int64(par.nodes)) }
}

// openLayers opens all layer files, checking their sizes.
func (par *params) openLayers(cache Files) ([]File, error) {
	layers := make([]File, 0, par.layers)
	for l := 1; l <= par.layers; l++ {
		f, err := openSized(cache, layerName(l), par.size())
		if err != nil {
			closeAll(layers)
			return nil, err
		}
		layers = append(layers, f)
	}
	return layers, nil
}

func openSized(cache Files, name string, size int64) (File, error) {
	f, err := cache.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	got, err := f.Size()
	if err == nil && got != size {
		err = fmt.Errorf("it has %d bytes, not %d", got, size)
	}
	if err != nil {
		_ = f.Close() // the first error is the one to tell
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// closeAll closes files that were only read; their errors change nothing.
func closeAll(files []File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// columns gives the leaves of tree-c: Poseidon over the labels of a node.
func (par *params) columns(layers []File) merkle.Leaves {
	h := poseidon.MustNew(len(layers))
	return func(_ context.Context, start uint64, dst []poseidon.Element) error {
		const batch = 4096
		raw := make([]byte, batch*merkle.NodeSize)
		labels := make([]poseidon.Element, batch)
		column := make([]poseidon.Element, batch*len(layers))
		for len(dst) > 0 {
			n := min(batch, len(dst))
			for l, f := range layers {
				if err := readElements(f, labels[:n], raw, start); err != nil {
					return fmt.Errorf("%s: %w", layerName(l+1), err)
				}
				for i, e := range labels[:n] {
					column[i*len(layers)+l] = e
				}
			}
			h.HashRow(dst[:n], column[:n*len(layers)])
			dst, start = dst[n:], start+uint64(n)
		}
		return nil
	}
}

// readElements reads nodes from start on; raw is room.
func readElements(f io.ReaderAt, dst []poseidon.Element, raw []byte, start uint64) error {
	raw = raw[:len(dst)*merkle.NodeSize]
	if err := merkle.ReadFullAt(f, raw, int64(start)*merkle.NodeSize); err != nil {
		return fmt.Errorf("reading %d bytes at %d: %w", len(raw), start*merkle.NodeSize, err)
	}
	return poseidon.DecodeRow(dst, raw)
}

// encode gives the leaves of tree-r-last, the replica, and writes them.
func (par *params) encode(key, unsealed io.ReaderAt, sealed io.WriterAt) merkle.Leaves {
	return func(_ context.Context, start uint64, dst []poseidon.Element) error {
		raw, data := make([]byte, len(dst)*merkle.NodeSize), make([]poseidon.Element, len(dst))
		if err := readElements(key, dst, raw, start); err != nil {
			return fmt.Errorf("last layer: %w", err)
		}
		if err := readElements(unsealed, data, raw, start); err != nil {
			return fmt.Errorf("unsealed data: %w", err)
		}
		for i := range dst {
			dst[i].Add(&dst[i], &data[i])
		}
		poseidon.EncodeRow(raw, dst)
		if _, err := sealed.WriteAt(raw, int64(start)*merkle.NodeSize); err != nil {
			return fmt.Errorf("writing the sealed file at byte %d: %w", start*merkle.NodeSize, err)
		}
		return nil
	}
}

// buildTree builds all base trees of one kind and returns the root over them.
func (par *params) buildTree(ctx context.Context, cache Files, kind string, first int, src merkle.Leaves, done merkle.Done) ([32]byte, error) {
	leaves := par.shape.BaseLeaves()
	roots := make([][32]byte, 0, par.shape.Bases())
	for i, name := range treeNames(par.shape, kind) {
		before := uint64(i) * leaves
		root, err := buildBase(ctx, cache, name, leaves, first,
			func(ctx context.Context, start uint64, dst []poseidon.Element) error {
				return src(ctx, before+start, dst)
			},
			func(n uint64) { done(before + n) })
		if err != nil {
			return [32]byte{}, fmt.Errorf("building %s: %w", name, err)
		}
		roots = append(roots, root)
	}
	return par.shape.Join(roots)
}

func buildBase(ctx context.Context, cache Files, name string, leaves uint64, first int, src merkle.Leaves, done merkle.Done) (root [32]byte, err error) {
	f, err := cache.Create(name, int64(merkle.RowsSize(leaves, merkle.BaseArity, first)))
	if err != nil {
		return root, err
	}
	defer func() { err = closeSynced(f, name, err) }()
	return merkle.BuildPoseidon(ctx, leaves, src, f, first, done)
}

// errAux is the cause of every failure to make sense of p_aux.
var errAux = errors.New("p_aux is damaged")

// ReadAux reads p_aux: CommC and CommRLast of the sector that cache belongs to.
func ReadAux(cache Files) (commC, commRLast [32]byte, err error) {
	f, err := openSized(cache, pAuxName, 64)
	if err != nil {
		return commC, commRLast, fmt.Errorf("%w: %w", errAux, err)
	}
	defer closeAll([]File{f})
	var b [64]byte
	if err := merkle.ReadFullAt(f, b[:], 0); err != nil {
		return commC, commRLast, fmt.Errorf("%w: %w", errAux, err)
	}
	return [32]byte(b[:32]), [32]byte(b[32:]), nil
}
