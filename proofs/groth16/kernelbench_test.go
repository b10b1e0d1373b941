package groth16

import (
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"
)

// BenchmarkQuotient is the transforms of a proof of benchSize rows, on one thread.
func BenchmarkQuotient(b *testing.B) {
	n := benchSize(b)
	r := rows{make([]fr.Element, n), make([]fr.Element, n), make([]fr.Element, n)}
	for i, v := range [][]fr.Element{r.a, r.b, r.c} {
		for k := range v {
			v[k].SetUint64(uint64(i*n + k + 2))
		}
	}
	for b.Loop() {
		require.NoError(b, r.quotient(b.Context(), CPU{}, func() int { return 1 }, func(int) {}))
	}
}

// BenchmarkSum is benchSize points of G1 with large scalars, on one thread.
func BenchmarkSum(b *testing.B) {
	n := benchSize(b)
	g1, _ := Generators()
	scalars, points := make([]fr.Element, n), make([]pointG1, n)
	for i := range scalars {
		scalars[i].SetInt64(-int64(i) - 2)
	}
	require.NoError(b, newBaseG1(g1, n).multiply(b.Context(), points, scalars, 1))
	affine := make([]bls.G1Affine, n)
	for i := range points {
		affine[i] = bls.G1Affine(points[i])
	}
	for b.Loop() {
		_, err := CPU{}.SumG1(b.Context(), affine, scalars, 1)
		require.NoError(b, err)
	}
}
