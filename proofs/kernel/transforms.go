package kernel

import (
	"context"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// MaxDomain is the longest vector of a transform.
const MaxDomain = 1 << 31

// Transforms are number-theoretic transforms of whole vectors, in place and in
// natural order. A vector of n elements, a power of two of at most MaxDomain,
// stands for a polynomial of degree below n. w is the n-th root of unity that the
// proofs use: 7^((r-1)/n), r being the order of the scalar field.
type Transforms interface {
	// Extend takes the values of a polynomial at w^0, w^1, … to its values at
	// shift·w^0, shift·w^1, …
	Extend(ctx context.Context, v []fr.Element, shift fr.Element, workers int) error
	// Interpolate takes the values of a polynomial at shift·w^0, shift·w^1, … to
	// its coefficients, the constant one first.
	Interpolate(ctx context.Context, v []fr.Element, shift fr.Element, workers int) error
}

// CheckTransform refuses arguments of Extend and Interpolate that make no sense.
func CheckTransform(v []fr.Element, shift *fr.Element) error {
	switch n := len(v); {
	case n == 0 || n&(n-1) != 0 || n > MaxDomain:
		return fmt.Errorf("%w: a transform of %d elements; want a power of two up to 2^31", ErrInput, n)
	case shift.IsZero():
		return fmt.Errorf("%w: a transform shifted by zero", ErrInput)
	}
	return nil
}

// TransformsOr is first, and second where first is nil or refuses.
func TransformsOr(first, second Transforms) Transforms {
	if first == nil {
		return second
	}
	if second == nil {
		return first
	}
	return transformsOr{first, second}
}

type transformsOr struct{ first, second Transforms }

func (t transformsOr) Extend(ctx context.Context, v []fr.Element, shift fr.Element, workers int) error {
	return or(t.first.Extend(ctx, v, shift, workers), func() error { return t.second.Extend(ctx, v, shift, workers) })
}

func (t transformsOr) Interpolate(ctx context.Context, v []fr.Element, shift fr.Element, workers int) error {
	return or(t.first.Interpolate(ctx, v, shift, workers), func() error { return t.second.Interpolate(ctx, v, shift, workers) })
}
