package merkle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// stored is a base tree of leaves leaves in memory, from row first on.
func stored(t testing.TB, leaves []byte, first int) (*mem, Node) {
	t.Helper()
	n := uint64(len(leaves) / NodeSize)
	out := &mem{make([]byte, RowsSize(n, BaseArity, first))}
	root, err := BuildPoseidon(context.Background(), n, source(leaves), out, first, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out, root
}

// Whole trees pass; a changed bit anywhere, a hole, a wrong root or other leaves
// do not.
func TestVerifyPoseidon(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []uint64{1, 8, 64, 512} {
		leaves := leavesOf(byte(n+1), n)
		for first := range Rows(n, BaseArity) {
			file, root := stored(t, leaves, first)
			tree := StoredTree{Leaves: n, File: file, First: first, Root: root}
			both := func(tree StoredTree) [2]error {
				return [2]error{
					VerifyPoseidon(ctx, tree, nil, nil),
					VerifyPoseidon(ctx, tree, source(leaves), nil),
				}
			}
			if err := both(tree); err != [2]error{} {
				t.Errorf("%d leaves from row %d: %v", n, first, err)
			}
			if err := SamplePoseidon(ctx, tree, 8); err != nil {
				t.Errorf("%d leaves from row %d: %v", n, first, err)
			}
			other := tree
			other.Root[3] ^= 1
			if err := both(other); !errors.Is(err[0], ErrDamaged) || !errors.Is(err[1], ErrDamaged) {
				t.Errorf("another root: %v", err)
			}
			if err := SamplePoseidon(ctx, other, 8); !errors.Is(err, ErrDamaged) {
				t.Errorf("another root: %v", err)
			}
			for range 3 {
				at, bit := r.IntN(len(file.b)), byte(1)<<r.IntN(8)
				file.b[at] ^= bit
				if err := both(tree); !errors.Is(err[0], ErrDamaged) || !errors.Is(err[1], ErrDamaged) {
					t.Errorf("%d leaves from row %d, byte %d changed: %v", n, first, at, err)
				}
				// So many paths of so few nodes go through every one of them.
				if err := SamplePoseidon(ctx, tree, 1024); !errors.Is(err, ErrDamaged) {
					t.Errorf("%d leaves from row %d, byte %d changed: sampling says %v", n, first, at, err)
				}
				file.b[at] ^= bit
			}
			if n > 1 {
				leaves[5] ^= 1
				if err := VerifyPoseidon(ctx, tree, source(leaves), nil); !errors.Is(err, ErrDamaged) {
					t.Errorf("%d other leaves from row %d: %v", n, first, err)
				}
				leaves[5] ^= 1
			}
			short := tree
			short.File = &mem{file.b[:len(file.b)-NodeSize]}
			for _, err := range []error{
				VerifyPoseidon(ctx, short, nil, nil),
				SamplePoseidon(ctx, short, 1),
			} {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%d leaves from row %d, cut short: %v", n, first, err)
				}
			}
		}
	}
}

// The last node is always sampled: a file whose tail was never written, but
// whose root was, is found with one sample.
func TestSampleFindsATailOfZeros(t *testing.T) {
	file, root := stored(t, leavesOf(4, 512), 0)
	clear(file.b[500*NodeSize : 512*NodeSize])
	if err := SamplePoseidon(context.Background(), StoredTree{Leaves: 512, File: file, Root: root}, 1); !errors.Is(err, ErrDamaged) {
		t.Errorf("a tail of zeros: %v", err)
	}
}

func TestVerifyBinary(t *testing.T) {
	ctx := context.Background()
	const n = 1 << 16 // several chunks
	out := &mem{make([]byte, RowsSize(n, 2, 0))}
	root, err := BuildBinary(ctx, n, bytes.NewReader(leavesOf(2, n)), out, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyBinary(ctx, n, out, root, nil); err != nil {
		t.Error(err)
	}
	for _, at := range []int{0, n*NodeSize - 1, n * NodeSize, len(out.b) - NodeSize, len(out.b) - 1} {
		out.b[at] ^= 4
		if err := VerifyBinary(ctx, n, out, root, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d changed: %v", at, err)
		}
		out.b[at] ^= 4
	}
	if err := VerifyBinary(ctx, n, &mem{out.b[:100]}, root, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut short: %v", err)
	}
	if err := VerifyBinary(ctx, n, out, Node{}, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("another root: %v", err)
	}
}

// In a tree of more than one chunk the chunks are the trees they are alone, and
// the root is over theirs.
func TestTreeOfSeveralChunks(t *testing.T) {
	ctx := context.Background()
	const n, topRow = 8 * poseidonChunk, 5
	leaves := leavesOf(6, n)
	file, root := stored(t, leaves, 3)
	tree := StoredTree{Leaves: n, File: file, First: 3, Root: root}
	if err := errors.Join(VerifyPoseidon(ctx, tree, nil, nil), SamplePoseidon(ctx, tree, 100)); err != nil {
		t.Error(err)
	}
	tops := file.b[RowOffset(n, BaseArity, 3, topRow):][:8*NodeSize]
	if rows := naive(t, tops, BaseArity, HashNodes); rows[1][0] != root {
		t.Errorf("root %x over chunks, %x at once", rows[1][0], root)
	}
	const k = 6
	if _, top := stored(t, leaves[k*poseidonChunk*NodeSize:(k+1)*poseidonChunk*NodeSize],
		topRow); top != Node(tops[k*NodeSize:(k+1)*NodeSize]) {
		t.Errorf("chunk %d has root %x alone", k, top)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := VerifyPoseidon(gone, tree, source(leaves), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := SamplePoseidon(gone, tree, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestWrongShapesAreRefused(t *testing.T) {
	ctx, none := context.Background(), bytes.NewReader(nil)
	for _, n := range []uint64{0, 2, 7, 9, 16, 8 * 8 * 3, maxLeaves * 8, 1 << 63} {
		tree := StoredTree{Leaves: n, File: none}
		_, err := BuildPoseidon(ctx, n, nil, nil, 0, nil)
		for _, err := range []error{err, VerifyPoseidon(ctx, tree, nil, nil), SamplePoseidon(ctx, tree, 1)} {
			if err == nil || !strings.Contains(err.Error(), "no full tree") {
				t.Errorf("%d leaves: %v", n, err)
			}
		}
	}
	for _, n := range []uint64{0, 3, 6, 1<<20 + 1, maxLeaves * 2} {
		_, err := BuildBinary(ctx, n, none, nil, nil)
		for _, err := range []error{err, VerifyBinary(ctx, n, none, Node{}, nil)} {
			if err == nil || !strings.Contains(err.Error(), "no full tree") {
				t.Errorf("%d leaves: %v", n, err)
			}
		}
	}
	for _, first := range []int{-1, 3, 4} {
		tree := StoredTree{Leaves: 64, File: none, First: first}
		_, err := BuildPoseidon(ctx, 64, nil, nil, first, nil)
		for _, err := range []error{err, VerifyPoseidon(ctx, tree, nil, nil), SamplePoseidon(ctx, tree, 1)} {
			if err == nil || !strings.Contains(err.Error(), "from row") {
				t.Errorf("stored from row %d: %v", first, err)
			}
		}
	}
	for _, n := range []int{-1, 0, maxSamples + 1} {
		if err := SamplePoseidon(ctx, StoredTree{Leaves: 64, File: none}, n); err == nil || !strings.Contains(err.Error(), "to sample") {
			t.Errorf("%d samples: %v", n, err)
		}
	}
}

// FuzzVerifyPoseidon: only the file that was built passes.
func FuzzVerifyPoseidon(f *testing.F) {
	file, root := stored(f, leavesOf(3, 64), 0)
	f.Add([]byte{1}, uint16(7))
	f.Add(make([]byte, 64), uint16(64*32))
	f.Add(bytes.Repeat([]byte{0xff}, 32), uint16(72*32))
	f.Fuzz(func(t *testing.T, patch []byte, at uint16) {
		bad := bytes.Clone(file.b)
		copy(bad[int(at)%len(bad):], patch)
		same := bytes.Equal(bad, file.b)
		err := VerifyPoseidon(context.Background(), StoredTree{Leaves: 64, File: &mem{bad}, Root: root}, nil, nil)
		if same != (err == nil) || !same && !errors.Is(err, ErrDamaged) {
			t.Errorf("patched at %d with %x: %v", at, patch, err)
		}
	})
}
