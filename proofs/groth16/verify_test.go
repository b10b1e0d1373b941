package groth16

import (
	"context"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"
)

// TestVerifyAgain: a prepared key is not used up.
func TestVerifyAgain(t *testing.T) {
	v := golden(t)
	p, err := OpenParams(BytesSource(unhex(t, v.Mini.Params)))
	require.NoError(t, err)
	key, err := Prepare(p.VerifyingKey())
	require.NoError(t, err)
	one, err := ParseProof(unhex(t, v.Mini.Proof))
	require.NoError(t, err)
	two, err := ParseProof(unhex(t, v.Mini.Proof2))
	require.NoError(t, err)
	in := []fr.Element{elem(35)}
	for range 3 {
		for n := 1; n < 6; n++ {
			proofs, inputs := []Proof{one}, [][]fr.Element{in}
			for range n {
				proofs, inputs = append(proofs, two), append(inputs, in)
			}
			ok, err := Verify(key, proofs, inputs)
			require.NoError(t, err)
			require.True(t, ok)
			proofs[n].C = one.C
			ok, err = Verify(key, proofs, inputs)
			require.NoError(t, err)
			require.False(t, ok, "one of %d proofs is false", n+1)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	v := golden(t)
	p, err := OpenParams(BytesSource(unhex(t, v.Mini.Params)))
	require.NoError(t, err)
	key, err := Prepare(p.VerifyingKey())
	require.NoError(t, err)
	good, err := ProveWith(context.Background(), p, goodMini, elem(1), elem(2), ProveOptions{})
	require.NoError(t, err)
	in := []fr.Element{elem(35)}
	for name, c := range map[string]struct {
		proofs []Proof
		inputs [][]fr.Element
	}{
		"no proofs":          {nil, nil},
		"no inputs":          {[]Proof{good}, nil},
		"inputs of two":      {[]Proof{good}, [][]fr.Element{in, in}},
		"no input":           {[]Proof{good}, [][]fr.Element{{}}},
		"an input too many":  {[]Proof{good}, [][]fr.Element{{in[0], in[0]}}},
		"another input":      {[]Proof{good}, [][]fr.Element{{elem(36)}}},
		"points at infinity": {[]Proof{{}}, [][]fr.Element{in}},
		"A off the curve":    {[]Proof{{A: bls.G1Affine{X: good.A.X, Y: good.A.X}, B: good.B, C: good.C}}, [][]fr.Element{in}},
		"too many":           {make([]Proof, MaxBatch+1), make([][]fr.Element, MaxBatch+1)},
	} {
		ok, err := Verify(key, c.proofs, c.inputs)
		require.NoError(t, err, name)
		require.False(t, ok, name)
	}
	ok, err := Verify(key, []Proof{good}, [][]fr.Element{in})
	require.NoError(t, err)
	require.True(t, ok)
}

// TestVerifyInfinity: the inputs may cancel the points of IC.
func TestVerifyInfinity(t *testing.T) {
	g1, g2 := Generators()
	var minus, two bls.G1Affine
	minus.Neg(&g1)
	two.Double(&g1)
	vk := &VerifyingKey{
		AlphaG1: g1,
		BetaG1:  g1,
		BetaG2:  g2,
		GammaG2: g2,
		DeltaG1: g1,
		DeltaG2: g2,
		IC:      []bls.G1Affine{g1, minus},
	}
	key, err := Prepare(vk)
	require.NoError(t, err)
	for x, want := range map[uint64]bool{1: true, 0: false, 2: false} {
		ok, err := Verify(key, []Proof{{A: two, B: g2, C: g1}}, [][]fr.Element{{elem(x)}})
		require.NoError(t, err)
		require.Equal(t, want, ok, "input %d", x)
	}
}

func TestPrepareRefuses(t *testing.T) {
	g1, g2 := Generators()
	good := VerifyingKey{
		AlphaG1: g1,
		BetaG1:  g1,
		BetaG2:  g2,
		GammaG2: g2,
		DeltaG1: g1,
		DeltaG2: g2,
		IC:      []bls.G1Affine{g1},
	}
	_, err := Prepare(&good)
	require.NoError(t, err)
	for name, spoil := range map[string]func(*VerifyingKey){
		"beta":  func(k *VerifyingKey) { k.BetaG2 = bls.G2Affine{} },
		"gamma": func(k *VerifyingKey) { k.GammaG2.Y = k.GammaG2.X },
		"IC":    func(k *VerifyingKey) { k.IC = nil },
	} {
		k := good
		spoil(&k)
		_, err := Prepare(&k)
		require.ErrorContains(t, err, name)
	}
}
