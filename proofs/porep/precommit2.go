package porep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"quarry/proofs/kernel"
	"quarry/proofs/merkle"
	"quarry/proofs/poseidon"
)

// PreCommit2Task is a sector to take through the second pre-commit phase.
type PreCommit2Task struct {
	Sector Sector
	// PC1 is what PreCommit1 gave.
	PC1 PreCommit1Out
	// Unsealed has the same bytes as in the first phase.
	Unsealed io.ReaderAt
	// Sealed takes the replica. It must already have the size of the sector or grow
	// on writing; for going on after an interruption it must keep its bytes.
	Sealed File
	// Cache has the layer files, and takes both trees, p_aux and t_aux.
	Cache Files
	// Kernel hashes columns and trees; what it refuses is done on the CPU. Nil is
	// the CPU. Memory needed: PreCommit2MemoryOn.
	Kernel kernel.Trees
}

// PreCommit2 hashes the label columns into tree-c, writes the replica (label of
// the last layer plus data), builds tree-r-last over it, and leaves p_aux and
// t_aux in the cache. It may be repeated as long as the layer files are there;
// after an interruption it goes on behind the trees that are complete (tree-c
// and tree-r-last are 1, 8 or 16 files each), provided that files and replica
// still are as they were left. Memory needed: PreCommit2Memory.
func PreCommit2(ctx context.Context, t PreCommit2Task, p Progress) (Commitments, error) {
	par, err := t.Sector.params()
	if err != nil {
		return Commitments{}, err
	}
	out, err := par.preCommit2(ctx, &t, p)
	if err != nil {
		return Commitments{}, fmt.Errorf("porep: second pre-commit phase of %s: %w", t.Sector, err)
	}
	return out, nil
}

func (par *params) preCommit2(ctx context.Context, t *PreCommit2Task, p Progress) (Commitments, error) {
	if t.PC1.Layers != par.layers {
		return Commitments{}, fmt.Errorf("the first phase made %d layers, this seal proof has %d", t.PC1.Layers, par.layers)
	}
	out := Commitments{CommD: t.PC1.CommD}
	layers, err := par.openLayers(t.Cache)
	if err != nil {
		return Commitments{}, err
	}
	defer closeAll(layers)
	marks := resumer{cache: t.Cache, id: t.PC1.ReplicaID}
	if out.CommC, err = par.buildTree(ctx, treeJob{
		cache: t.Cache,
		kind:  treeC,
		src:   par.columns(layers, t.Kernel),
		done:  counter(p, StageTreeC, par),
		marks: &marks,
		on:    t.Kernel,
	}); err != nil {
		return Commitments{}, err
	}
	replica := marks
	replica.sealed = t.Sealed
	if out.CommRLast, err = par.buildTree(ctx, treeJob{
		cache: t.Cache,
		kind:  treeRLast,
		first: par.shape.DefaultDiscard() + 1,
		src:   par.encode(layers[par.layers-1], t.Unsealed, t.Sealed),
		done:  counter(p, StageTreeR, par),
		marks: &replica,
		on:    t.Kernel,
	}); err != nil {
		return Commitments{}, err
	}
	if err := par.commit(t, &out); err != nil {
		return Commitments{}, err
	}
	return out, nil
}

// commit writes what is left once the trees are there.
func (par *params) commit(t *PreCommit2Task, out *Commitments) (err error) {
	if err := t.Sealed.Sync(); err != nil {
		return fmt.Errorf("syncing the sealed file: %w", err)
	}
	if out.CommR, err = merkle.HashNodes(out.CommC, out.CommRLast); err != nil {
		return err
	}
	if err := writeFile(t.Cache, tAuxName, par.tAux(auxPath)); err != nil {
		return err
	}
	if err := writeFile(t.Cache, pAuxName, append(out.CommC[:], out.CommRLast[:]...)); err != nil {
		return err
	}
	return par.clearMarks(t.Cache)
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

// newRooms are rooms for so many nodes, and for as many columns of the given
// number of labels. Workers hand them on, so there are never more than workers.
func newRooms(nodes, labels int) *sync.Pool {
	return &sync.Pool{New: func() any {
		return &room{raw: make([]byte, batchNodes*merkle.NodeSize), nodes: make([]poseidon.Element, batchNodes),
			column: make([]poseidon.Element, nodes*labels)}
	}}
}

// columnsAtOnce is how many columns are hashed in one call, of chunks of leaves.
func columnsAtOnce(on kernel.Trees, chunk uint64) int {
	if n := on.Sizes().Columns; n > 0 {
		return min(n, kernel.MaxColumns, max(batchNodes, int(chunk))) // at most MaxLeaves
	}
	return batchNodes
}

// columns gives the leaves of tree-c: Poseidon over the labels of a node.
func (par *params) columns(layers []File, on kernel.Trees) merkle.Leaves {
	on = kernel.TreesOr(on, merkle.CPU{})
	most := columnsAtOnce(on, merkle.Builder{Kernel: on}.Chunk(par.shape.BaseLeaves()))
	rooms := newRooms(most, len(layers))
	return func(ctx context.Context, start uint64, dst []poseidon.Element) error {
		r := rooms.Get().(*room)
		defer rooms.Put(r)
		for len(dst) > 0 {
			n := min(most, len(dst))
			for at := 0; at < n; at += batchNodes {
				if err := r.gather(ctx, layers, start+uint64(at), at, min(batchNodes, n-at)); err != nil {
					return err
				}
			}
			if err := on.HashColumns(ctx, len(layers), dst[:n], r.column[:n*len(layers)]); err != nil {
				return fmt.Errorf("hashing columns from node %d on: %w", start, err)
			}
			dst, start = dst[n:], start+uint64(n)
		}
		return nil
	}
}

// gather reads the labels of n nodes from node start on into the columns from at on.
func (r *room) gather(ctx context.Context, layers []File, start uint64, at, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	column := r.column[at*len(layers):]
	for l, f := range layers {
		if err := readElements(f, r.nodes[:n], r.raw, start); err != nil {
			return fmt.Errorf("%s: %w", layerName(l+1), err)
		}
		for i, e := range r.nodes[:n] {
			column[i*len(layers)+l] = e
		}
	}
	return nil
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
	rooms := newRooms(0, 0)
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

// treeJob is a tree to build: all its base trees.
type treeJob struct {
	cache Files
	kind  string
	first int // row that the files begin with
	src   merkle.Leaves
	done  merkle.Done
	marks *resumer
	on    kernel.Trees // nil: the CPU
}

// buildTree builds all base trees of one kind that are not finished yet and
// returns the root over them.
func (par *params) buildTree(ctx context.Context, j treeJob) ([32]byte, error) {
	leaves := par.shape.BaseLeaves()
	size := int64(merkle.RowsSize(leaves, merkle.BaseArity, j.first))
	roots := make([][32]byte, 0, par.shape.Bases())
	for i, name := range treeNames(par.shape, j.kind) {
		before := uint64(i) * leaves
		root, ok, err := j.marks.finished(ctx, name, size, before, leaves)
		if err == nil && !ok {
			root, err = j.buildBase(ctx, base{name: name, size: size, start: before, leaves: leaves})
		}
		if err != nil {
			return [32]byte{}, fmt.Errorf("building %s: %w", name, err)
		}
		if ok {
			j.done(before + leaves)
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
}

func (j *treeJob) buildBase(ctx context.Context, b base) (root [32]byte, err error) {
	if err := j.marks.begin(b.name); err != nil {
		return root, err
	}
	f, err := j.cache.Create(b.name, b.size)
	if err != nil {
		return root, err
	}
	leaves := func(ctx context.Context, start uint64, dst []poseidon.Element) error {
		return j.src(ctx, b.start+start, dst)
	}
	done := func(n uint64) { j.done(b.start + n) }
	root, err = merkle.Builder{Kernel: j.on}.Poseidon(ctx, b.leaves, leaves, f, j.first, done)
	if err := closeSynced(f, b.name, err); err != nil {
		return root, err
	}
	return root, j.marks.end(ctx, b.name, b.size, b.start, b.leaves, root)
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
