package kerneltest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/kernel"
	"quarry/proofs/kernel/cpu"
	"quarry/proofs/kernel/kerneltest"
)

// failing are the names of the cases that a set fails, of those with part in
// their names.
func failing(t *testing.T, set kernel.Set, o kerneltest.Options, part string) []string {
	t.Helper()
	var out []string
	for _, c := range kerneltest.Cases(set, o) {
		if !strings.Contains(c.Name, part) {
			continue
		}
		if err := c.Run(t.Context()); err != nil {
			out = append(out, c.Name)
		}
	}
	return out
}

// expect wants a case whose name contains part to fail.
func expect(t *testing.T, fault string, set kernel.Set, part string) {
	t.Helper()
	if failing(t, set, kerneltest.Options{}, part) == nil {
		t.Errorf("%s: no case of %q found it", fault, part)
	}
}

type (
	columnsFunc = func(ctx context.Context, t kernel.Trees, width int, dst, src []fr.Element) error
	rowsFunc    = func(ctx context.Context, t kernel.Trees, rows [][]fr.Element) error
	nodesFunc   = func(ctx context.Context, t kernel.Trees, rows [][]byte) error
)

// faultyTrees is the CPU, spoilt before or after its work.
type faultyTrees struct {
	kernel.Trees
	columns  columnsFunc
	poseidon rowsFunc
	sha256   nodesFunc
	size     kernel.TreeSizes
}

func (f faultyTrees) Sizes() kernel.TreeSizes { return f.size }

func (f faultyTrees) HashColumns(ctx context.Context, width int, dst, src []fr.Element) error {
	if f.columns == nil {
		return f.Trees.HashColumns(ctx, width, dst, src)
	}
	return f.columns(ctx, f.Trees, width, dst, src)
}

func (f faultyTrees) HashPoseidon(ctx context.Context, rows [][]fr.Element) error {
	if f.poseidon == nil {
		return f.Trees.HashPoseidon(ctx, rows)
	}
	return f.poseidon(ctx, f.Trees, rows)
}

func (f faultyTrees) HashSHA256(ctx context.Context, rows [][]byte) error {
	if f.sha256 == nil {
		return f.Trees.HashSHA256(ctx, rows)
	}
	return f.sha256(ctx, f.Trees, rows)
}

func TestSuiteFindsFaultyTrees(t *testing.T) {
	for _, c := range []struct {
		fault, want string
		trees       faultyTrees
	}{
		{"a hash of sixteen lanes only", "columns equal", faultyTrees{
			columns: func(ctx context.Context, t kernel.Trees, width int, dst, src []fr.Element) error {
				n := len(dst)
				if n > 16 {
					n = n / 16 * 16
				}
				return t.HashColumns(ctx, width, dst[:n], src[:n*width])
			}}},
		{"lengths that are not looked at", "wrong lengths", faultyTrees{
			poseidon: func(ctx context.Context, t kernel.Trees, rows [][]fr.Element) error {
				if kernel.CheckPoseidon(rows) != nil {
					return nil
				}
				return t.HashPoseidon(ctx, rows)
			}}},
		{"a refusal that has written", "wrong lengths", faultyTrees{
			columns: func(ctx context.Context, t kernel.Trees, width int, dst, src []fr.Element) error {
				clear(dst)
				return t.HashColumns(ctx, width, dst, src)
			}}},
		{"a context that is not looked at", "end with", faultyTrees{
			sha256: func(ctx context.Context, t kernel.Trees, rows [][]byte) error {
				return t.HashSHA256(context.WithoutCancel(ctx), rows)
			}}},
		{"the caller's leaves are used as room", "poseidon equals", faultyTrees{
			poseidon: func(ctx context.Context, t kernel.Trees, rows [][]fr.Element) error {
				err := t.HashPoseidon(ctx, rows)
				if err == nil && len(rows) > 1 && len(rows[1]) > 0 {
					copy(rows[0], rows[1])
				}
				return err
			}}},
		{"a wrong node high up", "many leaves", faultyTrees{
			poseidon: func(ctx context.Context, t kernel.Trees, rows [][]fr.Element) error {
				err := t.HashPoseidon(ctx, rows)
				if len(rows) > 4 {
					rows[4][len(rows[4])-1] = fr.Element{}
				}
				return err
			}}},
		{"bits that are not cleared", "sha256 equals", faultyTrees{
			sha256: func(ctx context.Context, t kernel.Trees, rows [][]byte) error {
				err := t.HashSHA256(ctx, rows)
				if err == nil && len(rows) > 1 && len(rows[1]) > 0 {
					rows[1][31] |= 0x40
				}
				return err
			}}},
		{"sizes beyond the limits", "sizes", faultyTrees{size: kernel.TreeSizes{Leaves: kernel.MaxLeaves + 1}}},
		{"sizes below zero", "sizes", faultyTrees{size: kernel.TreeSizes{Columns: -1}}},
		{"a refusal where none is allowed", "golden roots", faultyTrees{
			poseidon: func(context.Context, kernel.Trees, [][]fr.Element) error {
				return kernel.ErrUnsupported
			}}},
	} {
		c.trees.Trees = cpu.Set().Trees
		expect(t, c.fault, kernel.Set{Trees: c.trees}, c.want)
	}
}

// faultyPoints spoils points and scalars, or the sum.
type faultyPoints struct {
	kernel.Points
	spoil  func(points []bls.G1Affine, scalars []fr.Element)
	chunks [2]int
}

func (f faultyPoints) Chunks() (g1, g2 int) { return f.chunks[0], f.chunks[1] }

func (f faultyPoints) SumG1(ctx context.Context, points []bls.G1Affine, scalars []fr.Element, workers int) (bls.G1Jac, error) {
	if f.spoil != nil && len(points) == len(scalars) {
		f.spoil(points, scalars)
	}
	return f.Points.SumG1(ctx, points, scalars, workers)
}

// refusesAll refuses every sum.
type refusesAll struct{ kernel.Points }

func (refusesAll) SumG2(context.Context, []bls.G2Affine, []fr.Element, int) (s bls.G2Jac, err error) {
	return s, fmt.Errorf("too little memory: %w", kernel.ErrUnsupported)
}

func TestSuiteFindsFaultyPoints(t *testing.T) {
	good := cpu.Set().Points
	for _, c := range []struct {
		fault, want string
		points      kernel.Points
	}{
		{"the caller's scalars are reordered", "G1/sums equal", faultyPoints{Points: good, spoil: func(p []bls.G1Affine, s []fr.Element) {
			slices.Reverse(p)
			slices.Reverse(s)
		}}},
		{"the largest scalar is taken for zero", "G1/", faultyPoints{Points: good, spoil: func(_ []bls.G1Affine, s []fr.Element) {
			var last fr.Element
			last.SetInt64(-1)
			for i := range s {
				if s[i] == last {
					s[i].SetZero()
				}
			}
		}}},
		{"chunks beyond the limit", "points/chunks", faultyPoints{Points: good, chunks: [2]int{kernel.MaxChunkG1 + 1, 1}}},
		{"chunks below zero", "points/chunks", faultyPoints{Points: good, chunks: [2]int{1, -1}}},
		{"a refusal where none is allowed", "G2/golden", refusesAll{good}},
	} {
		expect(t, c.fault, kernel.Set{Points: c.points}, c.want)
	}
	failed := failing(t, kernel.Set{Points: refusesAll{good}}, kerneltest.Options{MayRefuse: true}, "G2/")
	if !slices.Equal(failed, []string{"points/G2/many points", "points/G2/wrong lengths are refused"}) {
		t.Errorf("a backend that does nothing failed %q", failed)
	}
}

// shiftless forgets the shift; slips shifts by one place.
type shiftless struct{ kernel.Transforms }

func (s shiftless) Interpolate(ctx context.Context, v []fr.Element, shift fr.Element, workers int) error {
	if !shift.IsZero() {
		shift.SetOne()
	}
	return s.Transforms.Interpolate(ctx, v, shift, workers)
}

type slips struct{ kernel.Transforms }

func (s slips) Extend(ctx context.Context, v []fr.Element, shift fr.Element, workers int) error {
	err := s.Transforms.Extend(ctx, v, shift, workers)
	if err == nil && len(v) > 1<<12 {
		v[0], v[1] = v[1], v[0]
	}
	return err
}

func TestSuiteFindsFaultyTransforms(t *testing.T) {
	good := cpu.Set().Transforms
	expect(t, "no shift", kernel.Set{Transforms: shiftless{good}}, "golden")
	expect(t, "wrong order", kernel.Set{Transforms: slips{good}}, "long vectors")
}

// faultyLabels spoils jobs.
type faultyLabels struct {
	kernel.Labels
	spoil func(*kernel.LabelJob)
	store func(kernel.LabelStore) kernel.LabelStore
}

func (f faultyLabels) Label(ctx context.Context, job kernel.LabelJob, store kernel.LabelStore) error {
	if job.Check(store) == nil {
		if f.spoil != nil {
			f.spoil(&job)
		}
		if f.store != nil {
			store = f.store(store)
		}
	}
	return f.Labels.Label(ctx, job, store)
}

// doubled writes everything in two parts, the second one again.
type doubled struct{ kernel.LabelStore }

func (d doubled) WriteLabels(sector, layer int, off int64, labels []byte) error {
	if err := d.LabelStore.WriteLabels(sector, layer, off, labels); err != nil {
		return err
	}
	return d.LabelStore.WriteLabels(sector, layer, off, labels)
}

// unfinished never says that a layer is whole.
type unfinished struct{ kernel.LabelStore }

func (unfinished) FinishLayer(int, int) error { return nil }

func TestSuiteFindsFaultyLabels(t *testing.T) {
	for _, c := range []struct {
		fault, want string
		spoil       func(*kernel.LabelJob)
		store       func(kernel.LabelStore) kernel.LabelStore
	}{
		{"two sectors are mixed up", "equal the reference", func(j *kernel.LabelJob) {
			j.Replicas = slices.Clone(j.Replicas)
			slices.Reverse(j.Replicas)
		}, nil},
		{"the layers below are made again", "go on after", func(j *kernel.LabelJob) { j.First = 0 }, nil},
		{"no progress", "equal the reference", func(j *kernel.LabelJob) { j.Done = nil }, nil},
		{"labels are written twice", "equal the reference", nil, func(s kernel.LabelStore) kernel.LabelStore { return doubled{s} }},
		{"layers are not finished", "equal the reference", nil, func(s kernel.LabelStore) kernel.LabelStore { return unfinished{s} }},
	} {
		l := faultyLabels{cpu.Set().Labels, c.spoil, c.store}
		expect(t, c.fault, kernel.Set{Labels: l}, c.want)
	}
}

// A backend that refuses what is small conforms where it may, and with the CPU
// behind it everywhere.
func TestSuiteTakesRefusals(t *testing.T) {
	picky := kernel.Set{Trees: faultyTrees{
		Trees: cpu.Set().Trees,
		poseidon: func(ctx context.Context, t kernel.Trees, rows [][]fr.Element) error {
			if err := kernel.CheckPoseidon(rows); err == nil && len(rows[0]) < 1<<15 {
				return kernel.ErrUnsupported
			}
			return t.HashPoseidon(ctx, rows)
		},
	}}
	if failed := failing(t, picky, kerneltest.Options{MayRefuse: true}, ""); failed != nil {
		t.Errorf("cases failed: %q", failed)
	}
	picky.Trees = picky.Or(cpu.Set()).Trees
	if failed := failing(t, picky, kerneltest.Options{}, ""); failed != nil {
		t.Errorf("cases failed with the CPU behind it: %q", failed)
	}
}
