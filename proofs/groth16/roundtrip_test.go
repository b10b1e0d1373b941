package groth16

import (
	"context"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// chacha is a reader of random bytes that depend on seed.
func chacha(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// generated makes parameters for a circuit.
func generated(t require.TestingT, c synthetic) (*Params, []byte, *Generated) {
	out := new(memFile)
	c.blank = true
	res, err := Generate(context.Background(), c, out, GenerateOptions{Rand: chacha(1)})
	require.NoError(t, err)
	p, err := OpenParams(BytesSource(out.b))
	require.NoError(t, err)
	return p, out.b, res
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := synthetic{seed: rapid.Uint64().Draw(t, "seed"), constraints: rapid.IntRange(1, 3000).Draw(t, "constraints"), wrong: -1}
		p, _, res := generated(t, c)
		require.Equal(t, res.VerifyingKey, p.VerifyingKey())
		workers := rapid.IntRange(1, 4).Draw(t, "workers")
		proof, err := Prove(context.Background(), p, c, ProveOptions{Workers: workers})
		require.NoError(t, err)
		key, err := Prepare(res.VerifyingKey)
		require.NoError(t, err)
		in := c.public()
		require.Len(t, in, key.Inputs())
		ok, err := Verify(key, []Proof{proof}, [][]fr.Element{in})
		require.NoError(t, err)
		require.True(t, ok)
		if len(in) > 0 {
			i := rapid.IntRange(0, len(in)-1).Draw(t, "changed input")
			one := fr.One()
			in[i].Add(&in[i], &one)
			ok, err = Verify(key, []Proof{proof}, [][]fr.Element{in})
			require.NoError(t, err)
			require.False(t, ok)
		}
		c.wrong = rapid.IntRange(0, c.constraints-1).Draw(t, "wrong")
		_, err = Prove(context.Background(), p, c, ProveOptions{})
		var unsat *UnsatisfiedError
		require.ErrorAs(t, err, &unsat)
		require.Equal(t, c.wrong, unsat.Constraint)
	})
}
