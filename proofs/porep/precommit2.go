package porep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"quarry/proofs/merkle"
	"quarry/proofs/poseidon"
)

// PreCommit2 hashes the label columns into tree-c, writes the replica (label of
// the last layer plus data) to sealed, builds tree-r-last over it, and leaves
// p_aux and t_aux in cache. It may be repeated as long as the layer files are
// there; after an interruption it goes on behind the trees that are complete
// (tree-c and tree-r-last are 1, 8 or 16 files each), provided that files and
// replica still are as they were left. sealed must already have the size of the
// sector or grow on writing; for going on it must keep its bytes. Memory needed:
// PreCommit2Memory.
func PreCommit2(ctx context.Context, s Sector, pc1 PreCommit1Out, unsealed io.ReaderAt, sealed File, cache Files, p Progress) (Commitments, error) {
	par, err := s.params()
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
	marks := resumer{cache: cache, id: pc1.ReplicaID}
	if out.CommC, err = par.buildTree(ctx, cache, treeC, 0, par.columns(layers), counter(p, StageTreeC, par), &marks); err != nil {
		return Commitments{}, err
	}
	first, replica := par.shape.DefaultDiscard()+1, marks
	replica.sealed = sealed
	encode := par.encode(layers[par.layers-1], unsealed, sealed)
	if out.CommRLast, err = par.buildTree(ctx, cache, treeRLast, first, encode, counter(p, StageTreeR, par), &replica); err != nil {
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
	if err := writeFile(cache, pAuxName, append(out.CommC[:], out.CommRLast[:]...)); err != nil {
		return Commitments{}, err
	}
	return out, par.clearMarks(cache)
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

// batchNodes is how many nodes are read and put together at a time.
const batchNodes = 4096

// room is what a worker needs to put leaves together.
type room struct {
	raw    []byte
	nodes  []poseidon.Element
	column []poseidon.Element
}

// newRooms are rooms for columns of the given number of labels. Workers hand
// them on, so there are never more than workers.
func newRooms(labels int) *sync.Pool {
	return &sync.Pool{New: func() any {
		return &room{raw: make([]byte, batchNodes*merkle.NodeSize), nodes: make([]poseidon.Element, batchNodes),
			column: make([]poseidon.Element, batchNodes*labels)}
	}}
}

// columns gives the leaves of tree-c: Poseidon over the labels of a node.
func (par *params) columns(layers []File) merkle.Leaves {
	h, rooms := poseidon.MustNew(len(layers)), newRooms(len(layers))
	return func(ctx context.Context, start uint64, dst []poseidon.Element) error {
		r := rooms.Get().(*room)
		defer rooms.Put(r)
		for len(dst) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(batchNodes, len(dst))
			for l, f := range layers {
				if err := readElements(f, r.nodes[:n], r.raw, start); err != nil {
					return fmt.Errorf("%s: %w", layerName(l+1), err)
				}
				for i, e := range r.nodes[:n] {
					r.column[i*len(layers)+l] = e
				}
			}
			h.HashRow(dst[:n], r.column[:n*len(layers)])
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
	rooms := newRooms(0)
	return func(ctx context.Context, start uint64, dst []poseidon.Element) error {
		r := rooms.Get().(*room)
		defer rooms.Put(r)
		for len(dst) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(batchNodes, len(dst))
			if err := readElements(key, dst[:n], r.raw, start); err != nil {
				return fmt.Errorf("last layer: %w", err)
			}
			if err := readElements(unsealed, r.nodes[:n], r.raw, start); err != nil {
				return fmt.Errorf("unsealed data: %w", err)
			}
			for i := range n {
				dst[i].Add(&dst[i], &r.nodes[i])
			}
			raw := r.raw[:n*merkle.NodeSize]
			poseidon.EncodeRow(raw, dst[:n])
			if _, err := sealed.WriteAt(raw, int64(start)*merkle.NodeSize); err != nil {
				return fmt.Errorf("writing the sealed file at byte %d: %w", start*merkle.NodeSize, err)
			}
			dst, start = dst[n:], start+uint64(n)
		}
		return nil
	}
}

// buildTree builds all base trees of one kind that are not finished yet and
// returns the root over them.
func (par *params) buildTree(ctx context.Context, cache Files, kind string, first int, src merkle.Leaves, done merkle.Done, marks *resumer) ([32]byte, error) {
	leaves := par.shape.BaseLeaves()
	size := int64(merkle.RowsSize(leaves, merkle.BaseArity, first))
	roots := make([][32]byte, 0, par.shape.Bases())
	for i, name := range treeNames(par.shape, kind) {
		before := uint64(i) * leaves
		root, ok, err := marks.finished(ctx, name, size, before, leaves)
		if err == nil && !ok {
			root, err = buildBase(ctx, cache, base{name: name, size: size, start: before, leaves: leaves, first: first}, src, done, marks)
		}
		if err != nil {
			return [32]byte{}, fmt.Errorf("building %s: %w", name, err)
		}
		if ok {
			done(before + leaves)
		}
		roots = append(roots, root)
	}
	return par.shape.Join(roots)
}

// base is one base tree: its file, and its leaves among those of the sector.
type base struct {
	name          string
	size          int64
	start, leaves uint64
	first         int // row that the file begins with
}

func buildBase(ctx context.Context, cache Files, b base, src merkle.Leaves, done merkle.Done, marks *resumer) (root [32]byte, err error) {
	if err := marks.begin(b.name); err != nil {
		return root, err
	}
	f, err := cache.Create(b.name, b.size)
	if err != nil {
		return root, err
	}
	leaves := func(ctx context.Context, start uint64, dst []poseidon.Element) error {
		return src(ctx, b.start+start, dst)
	}
	root, err = merkle.BuildPoseidon(ctx, b.leaves, leaves, f, b.first, func(n uint64) { done(b.start + n) })
	if err := closeSynced(f, b.name, err); err != nil {
		return root, err
	}
	return root, marks.end(ctx, b.name, b.size, b.start, b.leaves, root)
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
