package groth16

import (
	"context"
	"fmt"
	"math/big"
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr/fft"

	"quarry/proofs/kernel"
)

// maxDomain is the largest evaluation domain: the multiplicative group of the
// field has a subgroup of 2^32 elements, vectors are counted in 32 bits.
const maxDomain = kernel.MaxDomain

// cosetShift generates the coset on which the quotient is taken: the generator of
// the multiplicative group that bellperson uses (blstrs MULTIPLICATIVE_GENERATOR).
const cosetShift = 7

// domainSize is the power of two that holds n rows.
func domainSize(n int) int {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len(uint(n-1))
}

// rows are the values of A, B and C in the rows of a circuit, each as long as the
// evaluation domain.
type rows struct{ a, b, c []fr.Element }

// quotient makes of the rows the coefficients of (A·B - C)/Z, in a; the last one
// is zero for a true statement. b and c are spoiled. tick is told how many of the
// four transforms are done.
func (r *rows) quotient(ctx context.Context, on kernel.Transforms, workers func() int, tick func(int)) error {
	var seven fr.Element
	seven.SetUint64(cosetShift)
	a, b, c := r.a, r.b, r.c
	for i, v := range [][]fr.Element{a, b, c} {
		if err := on.Extend(ctx, v, seven, workers()); err != nil {
			return fmt.Errorf("groth16: transforming %d rows: %w", len(v), err)
		}
		tick(i + 1)
	}
	var z, one fr.Element // 1/(7^m - 1): Z is constant on the coset
	one.SetOne()
	z.Exp(seven, big.NewInt(int64(len(a)))).Sub(&z, &one).Inverse(&z)
	parallel(len(a), workers(), func(from, to int) {
		for i := from; i < to; i++ {
			a[i].Mul(&a[i], &b[i]).Sub(&a[i], &c[i]).Mul(&a[i], &z)
		}
	})
	if err := on.Interpolate(ctx, a, seven, workers()); err != nil {
		return fmt.Errorf("groth16: transforming the quotient of %d rows: %w", len(a), err)
	}
	tick(4)
	return nil
}

// scaleReversed multiplies v[i] by g to the bit-reversed i. The powers come from
// two tables of about the square root of the length.
func scaleReversed(v []fr.Element, g fr.Element, workers int) {
	n := bits.Len(uint(len(v))) - 1
	low := n / 2
	high := n - low
	// i = hi·2^low + lo, reversed: rev(lo)·2^high + rev(hi)
	forHigh := reversedPowers(g, high)
	var step fr.Element
	step.Exp(g, new(big.Int).Lsh(big.NewInt(1), uint(high)))
	forLow := reversedPowers(step, low)
	parallel(len(v), workers, func(from, to int) {
		var f fr.Element
		for i := from; i < to; i++ {
			f.Mul(&forHigh[i>>low], &forLow[i&(1<<low-1)])
			v[i].Mul(&v[i], &f)
		}
	})
}

// reversedPowers has g^rev(i) at i, for numbers of n bits.
func reversedPowers(g fr.Element, n int) []fr.Element {
	t := make([]fr.Element, 1<<n)
	t[0].SetOne()
	for i := 1; i < len(t); i++ {
		t[i].Mul(&t[i-1], &g)
	}
	fft.BitReverse(t)
	return t
}
