package merkle

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"quarry/proofs/commp"
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

// Rooms of workers. A worker has one of each at most, so that building takes
// 2 MiB per CPU however large the tree is, and 32 bytes per chunk of leaves.
var (
	elementRoom = sync.Pool{New: func() any { return new([poseidonChunk]poseidon.Element) }}
	nodeRoom    = sync.Pool{New: func() any { return new([binaryChunk * NodeSize]byte) }}
)

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

// BuildPoseidon builds one base tree of leaves leaves (a power of eight) and
// writes its rows from row first on to out, which may be nil. It returns the
// root. Rows reach out in pieces and in no certain order: a file is complete
// only when BuildPoseidon has returned, and VerifyPoseidon tells one that is
// not.
func BuildPoseidon(ctx context.Context, leaves uint64, src Leaves, out io.WriterAt, first int, done Done) (Node, error) {
	if err := checkLeaves(leaves, BaseArity); err != nil {
		return Node{}, err
	}
	if rows := Rows(leaves, BaseArity); first < 0 || first >= rows {
		return Node{}, fmt.Errorf("merkle: a tree of %d rows cannot be stored from row %d on", rows, first)
	}
	h := poseidon.MustNew(BaseArity)
	chunk := min(leaves, poseidonChunk)
	tops := make([]poseidon.Element, leaves/chunk)
	w := rowWriter{out: out, leaves: leaves, arity: BaseArity, first: first}
	err := eachChunk(ctx, len(tops), chunk, done, func(ctx context.Context, i int) error {
		room := elementRoom.Get().(*[poseidonChunk]poseidon.Element)
		defer elementRoom.Put(room)
		row := room[:chunk]
		if err := src(ctx, uint64(i)*chunk, row); err != nil {
			return err
		}
		top, err := w.climb(h, row, 0, uint64(i)*chunk)
		tops[i] = top
		return err
	})
	if err != nil {
		return Node{}, err
	}
	root := tops[0]
	if len(tops) > 1 {
		// The row of chunk tops is already written; only what is above it is new.
		up := make([]poseidon.Element, len(tops)/BaseArity)
		h.HashRow(up, tops)
		if root, err = w.climb(h, up, Rows(chunk, BaseArity), 0); err != nil {
			return Node{}, err
		}
	}
	return poseidon.Encode(root), nil
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

// climb writes a part of row number row, which begins with node start, and all
// that can be hashed from it, and returns the top. It destroys part.
func (w *rowWriter) climb(h *poseidon.Hasher, part []poseidon.Element, row int, start uint64) (poseidon.Element, error) {
	var room *[binaryChunk * NodeSize]byte
	for {
		if w.out != nil && row >= w.first {
			if room == nil {
				room = nodeRoom.Get().(*[binaryChunk * NodeSize]byte)
				defer nodeRoom.Put(room)
			}
			buf := room[:len(part)*NodeSize]
			poseidon.EncodeRow(buf, part)
			if err := w.write(row, start, buf); err != nil {
				return poseidon.Element{}, err
			}
		}
		if len(part) == 1 {
			return part[0], nil
		}
		up := part[:len(part)/w.arity]
		h.HashRow(up, part)
		part, row, start = up, row+1, start/uint64(w.arity)
	}
}

// BuildBinary builds tree-d over the leaves in src and writes all its rows,
// leaves included, to out, which may be nil. It returns the root.
func BuildBinary(ctx context.Context, leaves uint64, src io.ReaderAt, out io.WriterAt, done Done) (Node, error) {
	if err := checkLeaves(leaves, 2); err != nil {
		return Node{}, err
	}
	chunk := min(leaves, binaryChunk)
	tops := make([]byte, leaves/chunk*NodeSize)
	w := rowWriter{out: out, leaves: leaves, arity: 2}
	climb := func(part []byte, row int, start uint64) ([]byte, error) {
		for {
			if err := w.write(row, start, part); err != nil {
				return nil, err
			}
			if len(part) == NodeSize {
				return part, nil
			}
			commp.HashRow(part[:len(part)/2], part)
			part, row, start = part[:len(part)/2], row+1, start/2
		}
	}
	err := eachChunk(ctx, int(leaves/chunk), chunk, done, func(_ context.Context, i int) error {
		start := uint64(i) * chunk
		room := nodeRoom.Get().(*[binaryChunk * NodeSize]byte)
		defer nodeRoom.Put(room)
		part := room[:chunk*NodeSize]
		if err := ReadFullAt(src, part, int64(start*NodeSize)); err != nil {
			return fmt.Errorf("merkle: reading unsealed data at byte %d: %w", start*NodeSize, err)
		}
		top, err := climb(part, 0, start)
		copy(tops[i*NodeSize:], top)
		return err
	})
	if err != nil {
		return Node{}, err
	}
	if len(tops) > NodeSize {
		up := make([]byte, len(tops)/2)
		commp.HashRow(up, tops)
		if tops, err = climb(up, Rows(chunk, 2), 0); err != nil {
			return Node{}, err
		}
	}
	return Node(tops), nil
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
