package groth16

import (
	"context"
	"os"
	"strconv"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"
)

// benchSize is 2^16 constraints, or QUARRY_CONSTRAINTS of them.
func benchSize(b *testing.B) int {
	if s := os.Getenv("QUARRY_CONSTRAINTS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(b, err)
		return n
	}
	return 1 << 16
}

func BenchmarkGenerate(b *testing.B) {
	c := synthetic{seed: 1, constraints: benchSize(b) - 8000, blank: true, wrong: -1}
	out := new(memFile)
	for b.Loop() {
		_, err := Generate(context.Background(), c, out, GenerateOptions{})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(len(out.b)), "bytes")
}

func BenchmarkProve(b *testing.B) {
	c := synthetic{seed: 1, constraints: benchSize(b) - 8000, wrong: -1}
	p, _, _ := generated(b, c)
	b.ResetTimer()
	for b.Loop() {
		_, err := Prove(context.Background(), p, c, ProveOptions{})
		require.NoError(b, err)
	}
}

func BenchmarkVerify(b *testing.B) {
	c := synthetic{seed: 1, constraints: 1000, wrong: -1}
	p, _, res := generated(b, c)
	proof, err := Prove(context.Background(), p, c, ProveOptions{})
	require.NoError(b, err)
	key, err := Prepare(res.VerifyingKey)
	require.NoError(b, err)
	in := c.public()
	for _, n := range []int{1, 10} {
		proofs, inputs := make([]Proof, n), make([][]fr.Element, n)
		for i := range proofs {
			proofs[i], inputs[i] = proof, in
		}
		b.Run("proofs="+strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				ok, err := Verify(key, proofs, inputs)
				require.NoError(b, err)
				require.True(b, ok)
			}
		})
	}
}

// BenchmarkVerifyWindow has as many inputs as a window PoSt of 32 GiB sectors.
func BenchmarkVerifyWindow(b *testing.B) {
	g1, g2 := Generators()
	const n = 25_840
	vk := &VerifyingKey{
		AlphaG1: g1,
		BetaG1:  g1,
		BetaG2:  g2,
		GammaG2: g2,
		DeltaG1: g1,
		DeltaG2: g2,
		IC:      make([]bls.G1Affine, n),
	}
	k := make([]fr.Element, n)
	points := make([]pointG1, n)
	for i := range k {
		k[i].MustSetRandom()
	}
	require.NoError(b, newBaseG1(g1, n).multiply(b.Context(), points, k, 1))
	for i := range points {
		vk.IC[i] = bls.G1Affine(points[i])
	}
	key, err := Prepare(vk)
	require.NoError(b, err)
	for b.Loop() {
		_, err := Verify(key, []Proof{{A: g1, B: g2, C: g1}}, [][]fr.Element{k[1:]})
		require.NoError(b, err)
	}
}
