package merkle

import (
	"context"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"quarry/proofs/kernel"
	"quarry/proofs/poseidon"
)

// Leaves gives the leaves start, start+1, … of a Poseidon tree. It is called
// from several goroutines at once, for ranges that do not overlap.
type Leaves func(ctx context.Context, start uint64, dst []poseidon.Element) error

// Done is told how many leaves are done, one call at a time. It may be nil.
type Done func(done uint64)

const (
	poseidonChunk = 1 << 15 // leaves hashed by one worker at a time, a power of eight
	binaryChunk   = 1 << 15
)

// Builder builds trees. The zero value does it on the CPU, as BuildPoseidon and
// BuildBinary do.
type Builder struct {
	// Kernel hashes rows; what it refuses, CPU does. It is given chunks of as
	// many leaves as it wants, one for each CPU at a time.
	Kernel kernel.Trees
}

func (b Builder) trees() kernel.Trees { return kernel.TreesOr(b.Kernel, CPU{}) }

// Chunk is how many leaves of a Poseidon tree of leaves leaves one worker hashes
// at a time: 73 bytes of memory for each.
func (b Builder) Chunk(leaves uint64) uint64 {
	want := uint64(poseidonChunk)
	if n := b.trees().Sizes().Leaves; n > 0 {
		for want = 1; want*BaseArity <= uint64(min(n, kernel.MaxLeaves)); {
			want *= BaseArity
		}
	}
	return min(leaves, want)
}

// binaryChunk is Chunk for a SHA-256 tree: 64 bytes for each leaf.
func (b Builder) binaryChunk(leaves uint64) uint64 {
	want := uint64(binaryChunk)
	if n := b.trees().Sizes().Nodes; n > 0 {
		want = 1 << (bits.Len(uint(min(n, kernel.MaxLeaves))) - 1)
	}
	return min(leaves, want)
}

// Rooms of workers. A worker has one of each at most, so that building takes
// 2 MiB or so per CPU however large the tree is, and 36 bytes per chunk of leaves.
var (
	elementRoom = roomsOf[poseidon.Element](treeNodes(poseidonChunk, BaseArity))
	binaryRoom  = roomsOf[byte](treeNodes(binaryChunk, 2) * NodeSize)
	nodeRoom    = sync.Pool{New: func() any { return new([nodesAtOnce * NodeSize]byte) }}
)

// nodesAtOnce is how many nodes of a row are written or compared at once.
const nodesAtOnce = 1 << 15

// rooms hands out slices of one length, of at least size.
type rooms[T any] struct {
	size uint64
	pool sync.Pool
}

func roomsOf[T any](size uint64) *rooms[T] {
	return &rooms[T]{size: size, pool: sync.Pool{New: func() any { s := make([]T, size); return &s }}}
}

// orLarger is r, or other rooms where those of r are too small.
func (r *rooms[T]) orLarger(size uint64) *rooms[T] {
	if size <= r.size {
		return r
	}
	return roomsOf[T](size)
}

// treeNodes is how many nodes a full tree has.
func treeNodes(leaves uint64, arity int) uint64 { return RowsSize(leaves, arity, 0) / NodeSize }

// split divides room into the rows of a tree, with unit entries to a node.
func split[T any](room []T, leaves uint64, arity, unit int) [][]T {
	rows := make([][]T, 0, Rows(leaves, arity))
	for range cap(rows) {
		n := leaves * uint64(unit)
		rows = append(rows, room[:n:n])
		room, leaves = room[n:], leaves/uint64(arity)
	}
	return rows
}

// maxLeaves is four times the largest sector.
const maxLeaves = 1 << 33

// checkLeaves refuses numbers of leaves that make no full tree.
func checkLeaves(leaves uint64, arity int) error {
	n := leaves
	for n > 1 && n%uint64(arity) == 0 {
		n /= uint64(arity)
	}
	if n != 1 || leaves > maxLeaves {
		return fmt.Errorf("merkle: %d leaves make no full tree of arity %d", leaves, arity)
	}
	return nil
}

// BuildPoseidon is Builder.Poseidon on the CPU.
func BuildPoseidon(ctx context.Context, leaves uint64, src Leaves, out io.WriterAt, first int, done Done) (Node, error) {
	return Builder{}.Poseidon(ctx, leaves, src, out, first, done)
}

// Poseidon builds one base tree of leaves leaves (a power of eight) and writes its
// rows from row first on to out, which may be nil. It returns the root. Rows reach
// out in pieces and in no certain order: a file is complete only when Poseidon has
// returned, and VerifyPoseidon tells one that is not.
func (b Builder) Poseidon(ctx context.Context, leaves uint64, src Leaves, out io.WriterAt, first int, done Done) (Node, error) {
	if err := checkLeaves(leaves, BaseArity); err != nil {
		return Node{}, err
	}
	if rows := Rows(leaves, BaseArity); first < 0 || first >= rows {
		return Node{}, fmt.Errorf("merkle: a tree of %d rows cannot be stored from row %d on", rows, first)
	}
	trees, chunk := b.trees(), b.Chunk(leaves)
	chunks := leaves / chunk
	room := elementRoom.orLarger(treeNodes(chunk, BaseArity))
	top := split(make([]poseidon.Element, treeNodes(chunks, BaseArity)), chunks, BaseArity, 1)
	w := rowWriter{out: out, leaves: leaves, arity: BaseArity, first: first}
	err := eachChunk(ctx, int(chunks), chunk, done, func(ctx context.Context, i int) error {
		r := room.pool.Get().(*[]poseidon.Element)
		defer room.pool.Put(r)
		rows, start := split(*r, chunk, BaseArity, 1), uint64(i)*chunk
		if err := src(ctx, start, rows[0]); err != nil {
			return err
		}
		if err := trees.HashPoseidon(ctx, rows); err != nil {
			return fmt.Errorf("merkle: hashing %d leaves from leaf %d on: %w", chunk, start, err)
		}
		top[0][i] = rows[len(rows)-1][0]
		return w.elements(rows, 0, start)
	})
	if err != nil {
		return Node{}, err
	}
	if len(top) > 1 {
		if err := trees.HashPoseidon(ctx, top); err != nil {
			return Node{}, fmt.Errorf("merkle: hashing the upper rows: %w", err)
		}
		// The row of chunk tops is already written; only what is above it is new.
		if err := w.elements(top[1:], Rows(chunk, BaseArity), 0); err != nil {
			return Node{}, err
		}
	}
	return poseidon.Encode(top[len(top)-1][0]), nil
}

// eachChunk runs do for every chunk on all CPUs and reports finished leaves.
func eachChunk(ctx context.Context, chunks int, size uint64, done Done, do func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	var finished uint64
	for i := range chunks {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := do(ctx, i); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if finished += size; done != nil {
				done(finished)
			}
			return nil
		})
	}
	return g.Wait()
}

// rowWriter writes parts of rows to their places in a tree file.
type rowWriter struct {
	out    io.WriterAt
	leaves uint64
	arity  int
	first  int
}

func (w *rowWriter) write(row int, start uint64, nodes []byte) error {
	if w.out == nil || row < w.first {
		return nil
	}
	off := RowOffset(w.leaves, w.arity, w.first, row) + start*NodeSize
	if _, err := w.out.WriteAt(nodes, int64(off)); err != nil {
		return fmt.Errorf("merkle: writing row %d at byte %d: %w", row, off, err)
	}
	return nil
}

// elements writes parts of row number row and those above it; that of the first
// row begins with node start.
func (w *rowWriter) elements(rows [][]poseidon.Element, row int, start uint64) error {
	if w.out == nil {
		return nil
	}
	room := nodeRoom.Get().(*[nodesAtOnce * NodeSize]byte)
	defer nodeRoom.Put(room)
	for _, part := range rows {
		for at := start; row >= w.first && len(part) > 0; {
			n := min(len(part), nodesAtOnce)
			buf := room[:n*NodeSize]
			poseidon.EncodeRow(buf, part[:n])
			if err := w.write(row, at, buf); err != nil {
				return err
			}
			part, at = part[n:], at+uint64(n)
		}
		row, start = row+1, start/uint64(w.arity)
	}
	return nil
}

// nodes writes parts of row number row and those above it, as elements does.
func (w *rowWriter) nodes(rows [][]byte, row int, start uint64) error {
	for i, part := range rows {
		if err := w.write(row+i, start>>i, part); err != nil {
			return err
		}
	}
	return nil
}

// BuildBinary is Builder.Binary on the CPU.
func BuildBinary(ctx context.Context, leaves uint64, src io.ReaderAt, out io.WriterAt, done Done) (Node, error) {
	return Builder{}.Binary(ctx, leaves, src, out, done)
}

// Binary builds tree-d over the leaves in src and writes all its rows, leaves
// included, to out, which may be nil. It returns the root.
func (b Builder) Binary(ctx context.Context, leaves uint64, src io.ReaderAt, out io.WriterAt, done Done) (Node, error) {
	if err := checkLeaves(leaves, 2); err != nil {
		return Node{}, err
	}
	trees, chunk := b.trees(), b.binaryChunk(leaves)
	chunks := leaves / chunk
	room := binaryRoom.orLarger(treeNodes(chunk, 2) * NodeSize)
	top := split(make([]byte, treeNodes(chunks, 2)*NodeSize), chunks, 2, NodeSize)
	w := rowWriter{out: out, leaves: leaves, arity: 2}
	err := eachChunk(ctx, int(chunks), chunk, done, func(ctx context.Context, i int) error {
		r := room.pool.Get().(*[]byte)
		defer room.pool.Put(r)
		rows, start := split(*r, chunk, 2, NodeSize), uint64(i)*chunk
		if err := ReadFullAt(src, rows[0], int64(start*NodeSize)); err != nil {
			return fmt.Errorf("merkle: reading unsealed data at byte %d: %w", start*NodeSize, err)
		}
		if err := trees.HashSHA256(ctx, rows); err != nil {
			return fmt.Errorf("merkle: hashing %d nodes from node %d on: %w", chunk, start, err)
		}
		copy(top[0][i*NodeSize:], rows[len(rows)-1])
		return w.nodes(rows, 0, start)
	})
	if err != nil {
		return Node{}, err
	}
	if len(top) > 1 {
		if err := trees.HashSHA256(ctx, top); err != nil {
			return Node{}, fmt.Errorf("merkle: hashing the upper rows: %w", err)
		}
		if err := w.nodes(top[1:], Rows(chunk, 2), 0); err != nil {
			return Node{}, err
		}
	}
	return Node(top[len(top)-1]), nil
}

// ReadFullAt fills b from r at off. A short read is io.ErrUnexpectedEOF.
func ReadFullAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
