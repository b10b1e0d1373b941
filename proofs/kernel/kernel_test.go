package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/kernel"
)

// backend answers every call with err and counts calls.
type backend struct {
	err   error
	size  int
	calls *int
}

func (b backend) did() error { *b.calls++; return b.err }

func (b backend) Label(context.Context, kernel.LabelJob, kernel.LabelStore) error { return b.did() }
func (b backend) Sizes() kernel.TreeSizes                                         { return kernel.TreeSizes{Leaves: b.size} }
func (b backend) Chunks() (g1, g2 int)                                            { return b.size, b.size + 1 }
func (b backend) HashSHA256(context.Context, [][]byte) error                      { return b.did() }
func (b backend) HashPoseidon(context.Context, [][]fr.Element) error              { return b.did() }

func (b backend) HashColumns(context.Context, int, []fr.Element, []fr.Element) error { return b.did() }

func (b backend) SumG1(context.Context, []bls.G1Affine, []fr.Element, int) (s bls.G1Jac, err error) {
	s.X.SetUint64(uint64(b.size))
	return s, b.did()
}

func (b backend) SumG2(context.Context, []bls.G2Affine, []fr.Element, int) (s bls.G2Jac, err error) {
	s.X.A0.SetUint64(uint64(b.size))
	return s, b.did()
}

func (b backend) Extend(context.Context, []fr.Element, fr.Element, int) error { return b.did() }

func (b backend) Interpolate(context.Context, []fr.Element, fr.Element, int) error { return b.did() }

func setOf(b backend) kernel.Set { return kernel.Set{Labels: b, Trees: b, Points: b, Transforms: b} }

// all calls everything of a set; sums must come from the backend of that size.
func all(set kernel.Set, from int) []error {
	ctx := context.Background()
	var one fr.Element
	s1, err1 := set.Points.SumG1(ctx, nil, nil, 1)
	s2, err2 := set.Points.SumG2(ctx, nil, nil, 1)
	if want := uint64(from); s1.X.Uint64() != want || s2.X.A0.Uint64() != want {
		err1 = fmt.Errorf("sums %v, %v are of another backend", s1.X, s2.X.A0)
	}
	return []error{
		set.Labels.Label(ctx, kernel.LabelJob{}, nil), set.Trees.HashColumns(ctx, 2, nil, nil), set.Trees.HashPoseidon(ctx, nil),
		set.Trees.HashSHA256(ctx, nil), set.Transforms.Extend(ctx, nil, one, 1), set.Transforms.Interpolate(ctx, nil, one, 1), err1, err2,
	}
}

// What the first backend refuses the second does; whatever else goes wrong with
// the first is not hidden by it.
func TestOr(t *testing.T) {
	broken := errors.New("the device fell off the bus")
	for _, c := range []struct {
		first        error
		want         error
		second, from int // calls of the second backend, whose sum
		what         string
	}{
		{nil, nil, 0, 1, "done"},
		{fmt.Errorf("width 3: %w", kernel.ErrUnsupported), nil, 8, 2, "refused"},
		{broken, broken, 0, 1, "failed"},
		{kernel.ErrInput, kernel.ErrInput, 0, 1, "senseless"},
		{context.Canceled, context.Canceled, 0, 1, "ended"},
	} {
		var a, b int
		set := setOf(backend{c.first, 1, &a}).Or(setOf(backend{nil, 2, &b}))
		for i, err := range all(set, c.from) {
			if !errors.Is(err, c.want) {
				t.Errorf("%s: call %d: %v", c.what, i, err)
			}
		}
		if a != 8 || b != c.second {
			t.Errorf("%s: %d and %d calls", c.what, a, b)
		}
		if g1, g2 := set.Points.Chunks(); set.Trees.Sizes().Leaves != 1 || g1 != 1 || g2 != 2 {
			t.Errorf("%s: sizes are not those of the first backend", c.what)
		}
	}
}

func TestOrWithoutBackends(t *testing.T) {
	var n int
	b := backend{nil, 3, &n}
	for what, set := range map[string]kernel.Set{
		"nothing first":  kernel.Set{}.Or(setOf(b)),
		"nothing second": setOf(b).Or(kernel.Set{}),
	} {
		if set != setOf(b) {
			t.Errorf("%s: %+v", what, set)
		}
	}
	if none := (kernel.Set{}).Or(kernel.Set{}); none != (kernel.Set{}) {
		t.Errorf("nothing at all: %+v", none)
	}
}

// The edges of what makes sense; what does not is for the conformance suite.
func TestCheckTakesTheEdges(t *testing.T) {
	one := fr.One()
	job := kernel.LabelJob{
		Nodes:    2,
		Parents:  parents{},
		Replicas: make([][32]byte, kernel.MaxSectors),
		Layers:   3,
		First:    3,
	}
	big := job
	big.Nodes, big.First, big.Memory = 1<<32, 0, 1
	for what, err := range map[string]error{
		"two nodes":     job.Check(store{}),
		"2^32 nodes":    big.Check(store{}),
		"no column":     kernel.CheckColumns(2, nil, nil),
		"a row alone":   kernel.CheckPoseidon([][]fr.Element{make([]fr.Element, 9)}),
		"an empty tree": kernel.CheckPoseidon([][]fr.Element{nil, nil}),
		"an odd row":    kernel.CheckSHA256([][]byte{make([]byte, 96)}),
		"no points":     kernel.CheckSum(0, 0),
		"one element":   kernel.CheckTransform(make([]fr.Element, 1), &one),
		"a longer one":  kernel.CheckTransform(make([]fr.Element, 64), &one),
		"unlike rows": inverted(kernel.CheckPoseidon([][]fr.Element{make([]fr.Element, 64), make([]fr.Element, 8),
			make([]fr.Element, 8)})),
		"no rows":        inverted(kernel.CheckSHA256(nil)),
		"other scalars":  inverted(kernel.CheckSum(1, 2)),
		"shift by zero":  inverted(kernel.CheckTransform(make([]fr.Element, 4), new(fr.Element))),
		"three elements": inverted(kernel.CheckTransform(make([]fr.Element, 3), &one)),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// inverted is nil for an ErrInput.
func inverted(err error) error {
	if errors.Is(err, kernel.ErrInput) {
		return nil
	}
	return fmt.Errorf("taken, or refused without saying why: %v", err)
}

type parents struct{}

func (parents) ReadParents(context.Context, uint64, []uint32) error { return nil }

type store struct{ kernel.LabelStore }
