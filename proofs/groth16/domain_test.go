package groth16

import (
	"context"
	"fmt"
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr/fft"
	"github.com/stretchr/testify/require"
)

// TestDomainRoot pins the roots of unity to bellperson's (blstrs ROOT_OF_UNITY).
func TestDomainRoot(t *testing.T) {
	var root fr.Element
	_, err := root.SetString("10238227357739495823651030575849232062558860180284477541189508159991286009131")
	require.NoError(t, err)
	for k := 1; k <= 31; k++ {
		var want fr.Element
		want.Exp(root, new(big.Int).Lsh(big.NewInt(1), uint(32-k)))
		got, err := fft.Generator(1 << k)
		require.NoError(t, err)
		require.Equal(t, want, got, "2^%d", k)
	}
	require.Equal(t, elem(cosetShift), fft.GeneratorFullMultiplicativeGroup())
}

func TestDomainSize(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 1023: 1024, 1024: 1024, 1025: 2048, 130_278_868: 1 << 27} {
		require.Equal(t, want, domainSize(n), n)
	}
}

// at evaluates a polynomial.
func at(coeff []fr.Element, x fr.Element) (y fr.Element) {
	for i := len(coeff) - 1; i >= 0; i-- {
		y.Mul(&y, &x).Add(&y, &coeff[i])
	}
	return y
}

// TestQuotient compares with the definition at a random point: the polynomials
// through the rows satisfy A·B - C = H·Z.
func TestQuotient(t *testing.T) {
	for _, m := range []int{2, 4, 8, 16, 64, 1024, 4096} {
		for workers := 1; workers <= 3; workers++ {
			t.Run(fmt.Sprint(m, "/", workers), func(t *testing.T) {
				a, b, c := make([]fr.Element, m), make([]fr.Element, m), make([]fr.Element, m)
				var tau fr.Element
				tau.MustSetRandom()
				l, err := newLagrange(m, tau)
				require.NoError(t, err)
				var va, vb, vc, x fr.Element
				for i := range a {
					a[i].MustSetRandom()
					b[i].MustSetRandom()
					c[i].Mul(&a[i], &b[i])
					n := l.next()
					va.Add(&va, x.Mul(n, &a[i]))
					vb.Add(&vb, x.Mul(n, &b[i]))
					vc.Add(&vc, x.Mul(n, &c[i]))
				}
				r := rows{a, b, c}
				require.NoError(t, r.quotient(context.Background(), CPU{}, func() int { return workers }, func(int) {}))
				require.True(t, a[m-1].IsZero(), "degree of H is below m-1")
				h := at(a, tau)
				va.Mul(&va, &vb).Sub(&va, &vc)
				require.Equal(t, va, *h.Mul(&h, &l.z))
			})
		}
	}
}

// TestLagrange compares with the inverse transform of the powers of tau, which is
// how bellperson computes them.
func TestLagrange(t *testing.T) {
	for _, m := range []int{2, 8, 4096} {
		var tau fr.Element
		tau.MustSetRandom()
		want := make([]fr.Element, m)
		x := fr.One()
		for i := range want {
			want[i] = x
			x.Mul(&x, &tau)
		}
		fft.NewDomain(uint64(m)).FFTInverse(want, fft.DIF)
		fft.BitReverse(want)
		l, err := newLagrange(m, tau)
		require.NoError(t, err)
		for i := range want {
			require.Equal(t, want[i], *l.next(), "%d of %d", i, m)
		}
	}
	root, err := fft.Generator(8)
	require.NoError(t, err)
	_, err = newLagrange(8, root)
	require.ErrorContains(t, err, "domain")
}
