package groth16

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"quarry/proofs/r1cs"
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
		c := synthetic{seed: rapid.Uint64().Draw(t, "seed"), constraints: rapid.IntRange(1, 250).Draw(t, "constraints"), wrong: -1}
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

// TestLarge: the proof is the same however the work is cut.
func TestLarge(t *testing.T) {
	c := synthetic{seed: 5, constraints: 600, wrong: -1}
	p, raw, res := generated(t, c)
	require.NoError(t, p.Check(context.Background(), 2, nil))
	r, s := elem(5), elem(6)
	want, err := ProveWith(context.Background(), p, c, r, s, ProveOptions{})
	require.NoError(t, err)
	q, err := OpenParams(readerAt{bytes.NewReader(raw)})
	require.NoError(t, err)
	got, err := ProveWith(context.Background(), q, c, r, s, ProveOptions{Workers: 3})
	require.NoError(t, err)
	require.Equal(t, want, got, "however it is read, however many workers")
	for _, q := range []*Params{p, q} {
		for _, size := range []int{7, 100} {
			pr := newProver(q, ProveOptions{})
			pr.block, pr.chunk1, pr.chunk2 = size, 2*size, 3*size
			got, err := pr.prove(context.Background(), c, r, s)
			require.NoError(t, err)
			require.Equal(t, want, got, "in blocks of %d", size)
		}
	}
	key, err := Prepare(res.VerifyingKey)
	require.NoError(t, err)
	ok, err := Verify(key, []Proof{want}, [][]fr.Element{c.public()})
	require.NoError(t, err)
	require.True(t, ok)
}

// TestOtherCircuit: parameters of another circuit are named as such.
func TestOtherCircuit(t *testing.T) {
	c := synthetic{seed: 5, constraints: 60, wrong: -1}
	p, _, _ := generated(t, c)
	for _, other := range []synthetic{
		{seed: 5, constraints: 61, wrong: -1}, {seed: 6, constraints: 60, wrong: -1}, {seed: 5, constraints: 500, wrong: -1},
		{seed: 5, constraints: 1, wrong: -1},
	} {
		_, err := Prove(context.Background(), p, other, ProveOptions{})
		require.ErrorContains(t, err, "another circuit")
	}
}

// TestProveStops: cancelled in any stage, with an error that says so; progress
// comes to its end when it is not.
func TestProveStops(t *testing.T) {
	c := synthetic{seed: 5, constraints: 60, wrong: -1}
	p, _, _ := generated(t, c)
	for _, stage := range []string{"synthesize", "transform", "multiply"} {
		ctx, cancel := context.WithCancel(context.Background())
		_, err := Prove(ctx, p, c, ProveOptions{Progress: func(s string, _, _ int64) { stop(s == stage, cancel) }})
		require.ErrorIs(t, err, context.Canceled, stage)
	}
	last := map[string][2]int64{}
	_, err := Prove(context.Background(), p, c, ProveOptions{Progress: func(s string, done,
		total int64) {
		last[s] = [2]int64{done, total}
	}})
	require.NoError(t, err)
	require.Len(t, last, 3)
	for s, l := range last {
		require.Equal(t, l[1], l[0], s)
	}
	_, err = Prove(context.Background(), p, c, ProveOptions{Rand: bytes.NewReader(nil)})
	require.ErrorIs(t, err, io.EOF)
}

// TestBadCircuits are refused before anything is written.
func TestBadCircuits(t *testing.T) {
	bad := errors.New("no such sector")
	one := r1cs.LC{{V: r1cs.One, C: fr.One()}}
	walks := 0
	for name, c := range map[string]circuitFunc{
		"no constraints":     func(r1cs.ConstraintSystem) error { return nil },
		"does not constrain": func(cs r1cs.ConstraintSystem) error { cs.Aux(fr.Element{}); cs.Enforce(one, one, one); return nil },
		"before it is allocated": func(cs r1cs.ConstraintSystem) error {
			cs.Enforce(single(r1cs.Aux(0)), one, one)
			cs.Aux(fr.Element{})
			return nil
		},
		"two walks of the circuit differ": func(cs r1cs.ConstraintSystem) error {
			walks++
			for range walks {
				cs.Enforce(one, one, one)
			}
			return nil
		},
		bad.Error(): func(r1cs.ConstraintSystem) error { return bad },
	} {
		_, err := Generate(context.Background(), c, new(memFile), GenerateOptions{Rand: chacha(1)})
		require.ErrorContains(t, err, name)
	}
	_, err := Generate(context.Background(), mini{}, new(memFile), GenerateOptions{Toxic: &Toxic{Alpha: elem(1)}})
	require.ErrorContains(t, err, "beta")
	p, _, _ := generated(t, synthetic{seed: 5, constraints: 60, wrong: -1})
	for _, c := range []circuitFunc{
		func(cs r1cs.ConstraintSystem) error { cs.Enforce(one, single(r1cs.Input(7)), one); return nil },
		func(r1cs.ConstraintSystem) error { return bad },
	} {
		_, err := Prove(context.Background(), p, c, ProveOptions{})
		require.Error(t, err)
	}
}

// circuitFunc is a circuit that is one function.
type circuitFunc func(cs r1cs.ConstraintSystem) error

func (f circuitFunc) Synthesize(_ context.Context, cs r1cs.ConstraintSystem) error { return f(cs) }
