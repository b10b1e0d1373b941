package groth16

import (
	"context"
	"fmt"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"
)

// awkward scalars carry through every window, end at window borders, or are small.
func awkward() (k []fr.Element) {
	var minusOne fr.Element
	minusOne.SetOne().Neg(&minusOne)
	k = append(k, fr.Element{}, fr.One(), minusOne)
	p := fr.One()
	for range 85 {
		k = append(k, p)
		var less, neg fr.Element
		one := fr.One()
		k = append(k, *less.Sub(&p, &one), *neg.Neg(&p))
		p.Double(&p).Double(&p).Double(&p)
	}
	for range 20 {
		var r fr.Element
		r.MustSetRandom()
		k = append(k, r)
	}
	return k
}

func TestFixedBase(t *testing.T) {
	g1, g2 := Generators()
	k := awkward()
	for _, n := range []int{1, 1 << 16} {
		t1, t2 := newBaseG1(g1, n), newBaseG2(g2, n)
		p1, p2 := make([]point[fp.Element], len(k)), make([]point[bls.E2], len(k))
		require.NoError(t, t1.multiply(context.Background(), p1, k, 3))
		require.NoError(t, t2.multiply(context.Background(), p2, k, 2))
		for i := range k {
			var w1 bls.G1Affine
			var w2 bls.G2Affine
			require.Equal(t, *w1.ScalarMultiplication(&g1, bigOf(k[i])), bls.G1Affine(p1[i]), "%s", k[i].String())
			require.Equal(t, *w2.ScalarMultiplication(&g2, bigOf(k[i])), bls.G2Affine(p2[i]), "%s", k[i].String())
		}
	}
}

func BenchmarkFixedBase(b *testing.B) {
	g1, g2 := Generators()
	k := make([]fr.Element, 1<<15)
	for i := range k {
		k[i].MustSetRandom()
	}
	for _, n := range []int{1 << 12, 1 << 14, 1 << 16, 1 << 20} {
		t1, t2 := newBaseG1(g1, n), newBaseG2(g2, n)
		b.Run(fmt.Sprintf("g1/width=%d", t1.width), func(b *testing.B) {
			out := make([]point[fp.Element], len(k))
			for b.Loop() {
				_ = t1.multiply(context.Background(), out, k, 1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(k)), "ns/point")
		})
		b.Run(fmt.Sprintf("g2/width=%d", t2.width), func(b *testing.B) {
			out := make([]point[bls.E2], len(k))
			for b.Loop() {
				_ = t2.multiply(context.Background(), out, k, 1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(k)), "ns/point")
		})
	}
}
