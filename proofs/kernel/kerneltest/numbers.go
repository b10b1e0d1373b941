package kerneltest

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// order is that of the scalar field.
var order = number("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001")

// number reads hexadecimal digits, the highest first.
func number(hex string) *big.Int {
	n, ok := new(big.Int).SetString(hex, 16)
	if !ok {
		panic("kerneltest: no number: " + hex)
	}
	return n
}

// limbsOf is x in Montgomery form modulo m, in limbs of 64 bits.
func limbsOf(x, m *big.Int, limbs int) []uint64 {
	x = new(big.Int).Lsh(x, uint(64*limbs))
	x.Mod(x, m)
	out, low := make([]uint64, limbs), new(big.Int)
	for i := range out {
		out[i] = low.SetUint64(0).And(x, mask64).Uint64()
		x.Rsh(x, 64)
	}
	return out
}

// valueOf undoes limbsOf. What is not reduced is an error.
func valueOf(limbs []uint64, m *big.Int) (*big.Int, error) {
	x := new(big.Int)
	for _, l := range slices.Backward(limbs) {
		x.Lsh(x, 64).Or(x, new(big.Int).SetUint64(l))
	}
	if x.Cmp(m) >= 0 {
		return nil, fmt.Errorf("%x is not reduced", x)
	}
	r := new(big.Int).Lsh(big.NewInt(1), uint(64*len(limbs)))
	x.Mul(x, r.ModInverse(r, m))
	return x.Mod(x, m), nil
}

var mask64 = new(big.Int).SetUint64(1<<64 - 1)

func element(x *big.Int) fr.Element { return fr.Element(limbsOf(x, order, 4)) }

func elements(xs []*big.Int) []fr.Element {
	out := make([]fr.Element, len(xs))
	for i, x := range xs {
		out[i] = element(x)
	}
	return out
}

// numbers are elements as whole numbers.
func numbers(es []fr.Element) ([]*big.Int, error) {
	out := make([]*big.Int, len(es))
	for i := range es {
		var err error
		if out[i], err = valueOf(es[i][:], order); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return out, nil
}

// equal compares elements with numbers.
func equal(what string, got []fr.Element, want []*big.Int) error {
	for i := range want {
		if w := element(want[i]); got[i] != w {
			return fmt.Errorf("%s: element %d of %d is %x, want %x", what, i, len(want), got[i], w)
		}
	}
	return nil
}

// draw gives n scalars. The first ones are the edges: 0, 1, 2, r-1 and (r-1)/2.
func draw(r *rand.Rand, n int) []*big.Int {
	out := make([]*big.Int, n)
	b := make([]byte, 40)
	for i := range out {
		fill(r, b)
		out[i] = new(big.Int).SetBytes(b)
		out[i].Mod(out[i], order)
	}
	last := new(big.Int).Sub(order, big.NewInt(1))
	copy(out, []*big.Int{big.NewInt(0), big.NewInt(1), big.NewInt(2), last, new(big.Int).Rsh(last, 1)})
	r.Shuffle(n, func(i, k int) { out[i], out[k] = out[k], out[i] })
	return out
}
