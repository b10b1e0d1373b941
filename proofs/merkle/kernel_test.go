package merkle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"quarry/proofs/kernel"
	"quarry/proofs/poseidon"
)

// device is the CPU with sizes of its own; it notes what it is given.
type device struct {
	CPU
	sizes kernel.TreeSizes
	fault error

	mu    sync.Mutex
	given []int // leaves of each call
}

func (d *device) Sizes() kernel.TreeSizes { return d.sizes }

func (d *device) note(n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.given = append(d.given, n)
	return d.fault
}

func (d *device) HashPoseidon(ctx context.Context, rows [][]poseidon.Element) error {
	if err := d.note(len(rows[0])); err != nil {
		return err
	}
	return d.CPU.HashPoseidon(ctx, rows)
}

func (d *device) HashSHA256(ctx context.Context, rows [][]byte) error {
	if err := d.note(len(rows[0]) / NodeSize); err != nil {
		return err
	}
	return d.CPU.HashSHA256(ctx, rows)
}

// repeated is n calls of size and one of last.
func repeated(n, size, last int) []int { return append(slices.Repeat([]int{size}, n), last) }

// A kernel gets as much as it wants, rounded down to what makes a tree, and the
// tree is the same.
func TestKernelsChunks(t *testing.T) {
	const n = 8 << 12
	leaves := leavesOf(3, n)
	for first := range Rows(n, BaseArity) {
		plain := &mem{make([]byte, RowsSize(n, BaseArity, first))}
		want, err := BuildPoseidon(context.Background(), n, source(leaves), plain, first, nil)
		if err != nil {
			t.Fatal(err)
		}
		for size, calls := range map[int][]int{
			1:                    repeated(n, 1, n),
			7:                    repeated(n, 1, n),
			8:                    repeated(n/8, 8, n/8),
			63:                   repeated(n/8, 8, n/8),
			64:                   repeated(n/64, 64, n/64),
			n - 1:                repeated(8, n/8, 8),
			n:                    {n},
			n * 8:                {n},
			kernel.MaxLeaves * 8: {n},
		} {
			if size < 64 && first > 0 {
				continue // slow
			}
			d, out := &device{sizes: kernel.TreeSizes{Leaves: size}}, &mem{make([]byte, len(plain.b))}
			got, err := Builder{Kernel: d}.Poseidon(context.Background(), n, source(leaves), out, first, nil)
			if err != nil || got != want || !bytes.Equal(out.b, plain.b) {
				t.Errorf("from row %d, sizes of %d: root %x, want %x; %v", first, size, got, want, err)
			}
			if !slices.Equal(d.given, calls) {
				t.Errorf("from row %d, sizes of %d: %d calls, want %d; the first of %d leaves", first, size, len(d.given),
					len(calls), d.given[0])
			}
		}
	}
}

func TestKernelsBinaryChunks(t *testing.T) {
	const n = 1 << 10
	leaves := leavesOf(4, n)
	plain := &mem{make([]byte, RowsSize(n, 2, 0))}
	want, err := BuildBinary(context.Background(), n, bytes.NewReader(leaves), plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	for size, calls := range map[int][]int{
		1: repeated(n, 1, n), 2: repeated(n/2, 2, n/2), 3: repeated(n/2, 2, n/2), n - 1: repeated(2, n/2, 2), n: {n}, n + 1: {n},
		kernel.MaxLeaves + 1: {n},
	} {
		d, out := &device{sizes: kernel.TreeSizes{Nodes: size}}, &mem{make([]byte, len(plain.b))}
		got, err := Builder{Kernel: d}.Binary(context.Background(), n, bytes.NewReader(leaves), out, nil)
		if err != nil || got != want || !bytes.Equal(out.b, plain.b) || !slices.Equal(d.given, calls) {
			t.Errorf("sizes of %d: root %x, want %x; %d calls; %v", size, got, want, len(d.given), err)
		}
	}
}

// Chunks larger than what is written at once, and rooms that are not shared.
func TestKernelsLargeChunk(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes 2^18 leaves; run without -short")
	}
	const n = 8 * poseidonChunk
	leaves := leavesOf(6, n)
	plain, out := &mem{make([]byte, RowsSize(n, BaseArity, 0))}, &mem{make([]byte, RowsSize(n, BaseArity, 0))}
	want, err := BuildPoseidon(context.Background(), n, source(leaves), plain, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Builder{Kernel: &device{sizes: kernel.TreeSizes{Leaves: n}}}.Poseidon(context.Background(), n, source(leaves), out, 0, nil)
	if err != nil || got != want || !bytes.Equal(out.b, plain.b) {
		t.Errorf("root %x, want %x; %v", got, want, err)
	}
}

func TestChunk(t *testing.T) {
	for _, c := range []struct {
		wants        int
		leaves, want uint64
	}{
		{0, 1 << 30, poseidonChunk}, {0, 64, 64}, {1, 64, 1}, {8, 64, 8}, {9, 64, 8}, {511, 1 << 30, 64}, {512, 1 << 30, 512},
		{kernel.MaxLeaves, 1 << 27, 1 << 24}, {kernel.MaxLeaves * 64, 1 << 30, 1 << 24}, {1 << 18, 1 << 15, 1 << 15},
	} {
		b := Builder{Kernel: &device{sizes: kernel.TreeSizes{Leaves: c.wants, Nodes: c.wants}}}
		if got := b.Chunk(c.leaves); got != c.want {
			t.Errorf("a kernel that wants %d of %d leaves is given %d, not %d", c.wants, c.leaves, got, c.want)
		}
	}
	if got := (Builder{}).Chunk(1 << 30); got != poseidonChunk {
		t.Errorf("the CPU is given %d", got)
	}
}

// What a kernel refuses the CPU does; a kernel that fails ends the work, in the
// chunks as in the rows above.
func TestKernelThatDoesNotDoIt(t *testing.T) {
	const n = 64
	leaves, broken := leavesOf(3, n), errors.New("out of order")
	want, err := BuildPoseidon(context.Background(), n, source(leaves), nil, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantD, err := BuildBinary(context.Background(), n, bytes.NewReader(leaves), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{8, n} {
		sizes := kernel.TreeSizes{Leaves: size, Nodes: size}
		refuses := Builder{Kernel: &device{sizes: sizes, fault: fmt.Errorf("not that: %w", kernel.ErrUnsupported)}}
		if got, err := refuses.Poseidon(context.Background(), n, source(leaves), nil, 0, nil); err != nil || got != want {
			t.Errorf("refused: root %x, want %x; %v", got, want, err)
		}
		if got, err := refuses.Binary(context.Background(), n, bytes.NewReader(leaves), nil, nil); err != nil || got != wantD {
			t.Errorf("refused: root %x, want %x; %v", got, wantD, err)
		}
		fails := Builder{Kernel: &device{sizes: sizes, fault: broken}}
		if _, err := fails.Poseidon(context.Background(), n, source(leaves), nil, 0, nil); !errors.Is(err, broken) {
			t.Errorf("failed: %v", err)
		}
		if _, err := fails.Binary(context.Background(), n, bytes.NewReader(leaves), nil, nil); !errors.Is(err, broken) {
			t.Errorf("failed: %v", err)
		}
	}
	above := Builder{Kernel: &failsAt{device: device{sizes: kernel.TreeSizes{Leaves: 8, Nodes: 32}}, leaves: []int{2, 8}, calls: 9}}
	if _, err := above.Poseidon(context.Background(), n, source(leaves), nil, 0, nil); !errors.Is(err, errAbove) {
		t.Errorf("failed in the upper rows: %v", err)
	}
	if _, err := above.Binary(context.Background(), n, bytes.NewReader(leaves), nil, nil); !errors.Is(err, errAbove) {
		t.Errorf("failed in the upper rows: %v", err)
	}
}

// failsAt fails in the rows above the chunks.
type failsAt struct {
	device
	leaves []int
	calls  int
}

var errAbove = errors.New("too small")

func (f *failsAt) HashPoseidon(ctx context.Context, rows [][]poseidon.Element) error {
	if err := f.device.HashPoseidon(ctx, rows); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.given) == f.calls {
		return errAbove
	}
	return nil
}

func (f *failsAt) HashSHA256(ctx context.Context, rows [][]byte) error {
	if slices.Contains(f.leaves, len(rows[0])/NodeSize) {
		return errAbove
	}
	return f.device.HashSHA256(ctx, rows)
}
