package groth16

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"

	"quarry/proofs/kernel"
)

// device is the CPU with chunks of its own; it notes what it is given.
type device struct {
	CPU
	chunk1, chunk2 int
	fault          map[string]error

	calls        map[string]int
	most1, most2 int
	points1      int // of all calls
}

func (d *device) note(what string) error {
	if d.calls == nil {
		d.calls = map[string]int{}
	}
	d.calls[what]++
	return d.fault[what]
}

func (d *device) Chunks() (g1, g2 int) { return d.chunk1, d.chunk2 }

func (d *device) SumG1(ctx context.Context, points []bls.G1Affine, scalars []fr.Element, workers int) (s bls.G1Jac, err error) {
	d.most1, d.points1 = max(d.most1, len(points)), d.points1+len(points)
	if err := d.note("G1"); err != nil {
		return s, err
	}
	return d.CPU.SumG1(ctx, points, scalars, workers)
}

func (d *device) SumG2(ctx context.Context, points []bls.G2Affine, scalars []fr.Element, workers int) (s bls.G2Jac, err error) {
	d.most2 = max(d.most2, len(points))
	if err := d.note("G2"); err != nil {
		return s, err
	}
	return d.CPU.SumG2(ctx, points, scalars, workers)
}

func (d *device) Extend(ctx context.Context, v []fr.Element, shift fr.Element, workers int) error {
	if err := d.note("extend"); err != nil {
		return err
	}
	return d.CPU.Extend(ctx, v, shift, workers)
}

func (d *device) Interpolate(ctx context.Context, v []fr.Element, shift fr.Element, workers int) error {
	if err := d.note("interpolate"); err != nil {
		return err
	}
	return d.CPU.Interpolate(ctx, v, shift, workers)
}

// TestKernel: a kernel does the transforms and sums, in chunks of at most what it
// wants, and the proof is the same, read from memory or from a file.
func TestKernel(t *testing.T) {
	c := synthetic{seed: 5, constraints: 600, wrong: -1}
	p, raw, _ := generated(t, c)
	r, s := elem(5), elem(6)
	want, err := ProveWith(context.Background(), p, c, r, s, ProveOptions{})
	require.NoError(t, err)
	read, err := OpenParams(readerAt{bytes.NewReader(raw)})
	require.NoError(t, err)
	all := new(device)
	for _, q := range []*Params{p, read} {
		for _, chunks := range [][2]int{{0, 0}, {1, 1}, {7, 5}, {100, 1 << 20}, {1 << 28, 1 << 28}} {
			d := &device{chunk1: chunks[0], chunk2: chunks[1]}
			got, err := ProveWith(context.Background(), q, c, r, s, ProveOptions{Kernel: kernel.Set{Points: d, Transforms: d}})
			require.NoError(t, err)
			require.Equal(t, want, got, "chunks of %v", chunks)
			require.Equal(t, [2]int{3, 1}, [2]int{d.calls["extend"], d.calls["interpolate"]})
			if chunks[0] > 0 {
				require.LessOrEqual(t, d.most1, chunks[0])
				require.LessOrEqual(t, d.most2, chunks[1])
			}
			if chunks[0] == 0 {
				all = d
			}
			require.Equal(t, all.points1, d.points1, "every point once")
		}
	}
}

func TestChunkOr(t *testing.T) {
	for _, c := range [][2]int{{-1, 8}, {0, 8}, {1, 1}, {7, 7}, {8, 8}, {9, 9}, {10, 10}, {11, 10}} {
		require.Equal(t, c[1], chunkOr(c[0], 8, 10), "%d", c[0])
	}
}

// TestKernelThatDoesNotDoIt: what a kernel refuses the CPU does; a kernel that
// fails ends the proof with its error.
func TestKernelThatDoesNotDoIt(t *testing.T) {
	c := synthetic{seed: 5, constraints: 60, wrong: -1}
	p, _, _ := generated(t, c)
	r, s := elem(5), elem(6)
	want, err := ProveWith(context.Background(), p, c, r, s, ProveOptions{})
	require.NoError(t, err)
	broken := errors.New("out of order")
	for _, what := range []string{"G1", "G2", "extend", "interpolate"} {
		d := &device{fault: map[string]error{what: fmt.Errorf("not that: %w", kernel.ErrUnsupported)}}
		got, err := ProveWith(context.Background(), p, c, r, s, ProveOptions{Kernel: kernel.Set{Points: d, Transforms: d}})
		require.NoError(t, err, what)
		require.Equal(t, want, got, what)
		require.NotZero(t, d.calls[what])
		d.fault[what] = broken
		_, err = ProveWith(context.Background(), p, c, r, s, ProveOptions{Kernel: kernel.Set{Points: d, Transforms: d}})
		require.ErrorIs(t, err, broken, what)
	}
}
