package kerneltest

import (
	"context"
	"fmt"
	"math/big"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/kernel"
)

type transformSuite struct {
	k kernel.Transforms
	Options
}

func (s transformSuite) cases() []Case {
	return []Case{
		{"transforms/golden", s.golden},
		{"transforms/equal the reference", s.reference},
		{"transforms/long vectors", s.large},
		{"transforms/many calls at once", s.together},
		{"transforms/wrong lengths and shifts are refused", s.senseless},
		{"transforms/end with the context", s.ends},
	}
}

// root is the n-th root of unity of the proofs.
func root(n int) *big.Int {
	e := new(big.Int).Sub(order, big.NewInt(1))
	return new(big.Int).Exp(big.NewInt(7), e.Div(e, big.NewInt(int64(n))), order)
}

// points are shift·w^0, shift·w^1, …
func points(n int, shift *big.Int) []*big.Int {
	out, w, x := make([]*big.Int, n), root(n), new(big.Int).Mod(shift, order)
	for i := range out {
		out[i] = new(big.Int).Set(x)
		x.Mul(x, w).Mod(x, order)
	}
	return out
}

// evaluate is the value at x of the polynomial with these coefficients.
func evaluate(coefficients []*big.Int, x *big.Int) *big.Int {
	y := new(big.Int)
	for _, c := range slices.Backward(coefficients) {
		y.Mul(y, x).Add(y, c).Mod(y, order)
	}
	return y
}

func evaluateAll(coefficients, at []*big.Int) []*big.Int {
	out := make([]*big.Int, len(at))
	for i, x := range at {
		out[i] = evaluate(coefficients, x)
	}
	return out
}

type transform func(ctx context.Context, v []fr.Element, shift fr.Element, workers int) error

// run gives the transform of v, or nil where the backend may refuse and did.
func (s transformSuite) run(ctx context.Context, do transform, v []fr.Element, shift *big.Int, workers int) ([]fr.Element, error) {
	out := slices.Clone(v)
	err := do(ctx, out, element(shift), workers)
	if s.refused(err) {
		return nil, wrong("a transform", err, kernel.ErrUnsupported, slices.Equal(v, out))
	}
	if err != nil {
		return nil, fmt.Errorf("%d elements, %d workers: %w", len(v), workers, err)
	}
	return out, nil
}

func (s transformSuite) golden(ctx context.Context) error {
	v := &vectors().Transform
	for what, c := range map[string]struct {
		do   transform
		want []bytesOf
	}{"extended": {s.k.Extend, v.Extended}, "interpolated": {s.k.Interpolate, v.Interpolated}} {
		got, err := s.run(ctx, c.do, elements(bigs(v.Values)), big.NewInt(v.Shift), 1)
		if err == nil && got != nil {
			err = equal(what, got, bigs(c.want))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// against compares both transforms of a polynomial drawn at random.
func (s transformSuite) against(ctx context.Context, n int, shift *big.Int, workers int) error {
	coefficients := draw(random(uint64(n)), max(n, 5))[:n]
	shifted := elements(evaluateAll(coefficients, points(n, shift)))
	got, err := s.run(ctx, s.k.Interpolate, shifted, shift, workers)
	if err == nil && got != nil {
		err = equal("interpolated", got, coefficients)
	}
	if err == nil {
		got, err = s.run(ctx, s.k.Extend, elements(evaluateAll(coefficients, points(n, big.NewInt(1)))), shift, workers)
	}
	if err == nil && got != nil && !slices.Equal(got, shifted) {
		err = fmt.Errorf("the values extended to are wrong")
	}
	if err != nil {
		return fmt.Errorf("%d elements, shift %d, %d workers: %w", n, shift, workers, err)
	}
	return nil
}

func (s transformSuite) reference(ctx context.Context) error {
	last := new(big.Int).Sub(order, big.NewInt(1))
	for _, n := range []int{1, 2, 4, 8, 16, 32, 256} {
		for _, shift := range []*big.Int{big.NewInt(7), big.NewInt(1), last, draw(random(40), 9)[8]} {
			if shift.Sign() == 0 {
				shift = big.NewInt(3)
			}
			for _, workers := range []int{-1, 1, 3, 5000} {
				if err := s.against(ctx, n, shift, workers); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// large looks at the polynomial in some places: its values given and got belong to
// the coefficients that come out.
func (s transformSuite) large(ctx context.Context) error {
	const n = 1 << 15
	shift, r := big.NewInt(7), random(41)
	in := draw(r, n)
	coefficients, err := s.run(ctx, s.k.Interpolate, elements(in), big.NewInt(1), 2)
	if err != nil {
		return err
	}
	extended, err := s.run(ctx, s.k.Extend, elements(in), shift, 2)
	if err != nil {
		return err
	}
	if coefficients == nil || extended == nil {
		return fmt.Errorf("transforms of 2^15 elements must be done: %w", kernel.ErrUnsupported)
	}
	poly, err := numbers(coefficients)
	if err != nil {
		return err
	}
	plain, coset := points(n, big.NewInt(1)), points(n, shift)
	for _, i := range []int{0, 1, 2, n / 2, n - 1, r.IntN(n), r.IntN(n), r.IntN(n)} {
		if evaluate(poly, plain[i]).Cmp(in[i]) != 0 {
			return fmt.Errorf("the polynomial of %d coefficients has another value at place %d than it was made of", n, i)
		}
		if err := equal(fmt.Sprintf("value %d of %d", i, n), extended[i:], []*big.Int{evaluate(poly, coset[i])}); err != nil {
			return err
		}
	}
	return nil
}

func (s transformSuite) together(ctx context.Context) error {
	return atOnce(func(i int) error { return s.against(ctx, 16<<(i%3), big.NewInt(7), 1+i%2) })
}

func (s transformSuite) senseless(ctx context.Context) error {
	seven := big.NewInt(7)
	for what, do := range map[string]transform{"extending": s.k.Extend, "interpolating": s.k.Interpolate} {
		for _, c := range []struct {
			n     int
			shift *big.Int
		}{{0, seven}, {3, seven}, {6, seven}, {1023, seven}, {8, new(big.Int)}, {1, new(big.Int)}} {
			v := poisoned(c.n)
			err := do(ctx, v, element(c.shift), 1)
			if err := wrong(fmt.Sprintf("%s %d elements with shift %d", what, c.n, c.shift), err, kernel.ErrInput,
				untouched(v)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s transformSuite) ends(ctx context.Context) error {
	for _, do := range []transform{s.k.Extend, s.k.Interpolate} {
		v := poisoned(64)
		if err := s.ended("a transform", do(gone(ctx), v, element(big.NewInt(7)), 1), untouched(v)); err != nil {
			return err
		}
	}
	return nil
}
