package groth16

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"

	"quarry/proofs/r1cs"
)

// vector is made by bellperson 0.27: parameters with known toxic waste, and
// proofs with known blinding.
type vector struct {
	Mini struct {
		Params string   `json:"params_hex"`
		VK     string   `json:"vk_hex"`
		Inputs []uint64 `json:"public_inputs"`
		Proof  string   `json:"proof_hex"`
		R      uint64   `json:"r"`
		S      uint64   `json:"s"`
		Proof2 string   `json:"proof2_r1234_s4321_hex"`
	} `json:"mini"`
	Toxic struct{ Alpha, Beta, Gamma, Delta, Tau uint64 } `json:"toxic"`
}

func golden(t testing.TB) (v vector) {
	t.Helper()
	b, err := os.ReadFile("testdata/groth16.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &v))
	return v
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func elem(x uint64) (e fr.Element) { e.SetUint64(x); return e }

// mini is the circuit of the vectors: x is a root of x³ + x + 5 = out.
type mini struct{ x, out uint64 }

func (m mini) Synthesize(_ context.Context, cs r1cs.ConstraintSystem) error {
	one := fr.One()
	lc := func(v ...r1cs.Variable) (l r1cs.LC) {
		for _, v := range v {
			l = append(l, r1cs.Term{V: v, C: one})
		}
		return l
	}
	x := cs.Aux(elem(m.x))
	x2 := cs.Aux(elem(m.x * m.x))
	cs.Enforce(lc(x), lc(x), lc(x2))
	x3 := cs.Aux(elem(m.x * m.x * m.x))
	cs.Enforce(lc(x2), lc(x), lc(x3))
	out := cs.Aux(elem(m.out))
	cs.Enforce(append(lc(x3, x), r1cs.Term{V: r1cs.One, C: elem(5)}), lc(r1cs.One), lc(out))
	in := cs.Input(elem(m.out))
	cs.Enforce(lc(in), lc(r1cs.One), lc(out))
	return nil
}

var goodMini = mini{x: 3, out: 35}

// readerAt hides that memory is memory.
type readerAt struct{ *bytes.Reader }

func TestGolden(t *testing.T) {
	v := golden(t)
	raw := unhex(t, v.Mini.Params)
	for _, src := range []ParamsSource{BytesSource(raw), readerAt{bytes.NewReader(raw)}} {
		p, err := OpenParams(src)
		require.NoError(t, err)
		require.Equal(t, v.Mini.VK, hex.EncodeToString(p.VerifyingKey().encode()))
		for _, c := range []struct {
			r, s uint64
			want string
		}{{v.Mini.R, v.Mini.S, v.Mini.Proof}, {1234, 4321, v.Mini.Proof2}} {
			proof, err := ProveWith(context.Background(), p, goodMini, elem(c.r), elem(c.s), ProveOptions{})
			require.NoError(t, err)
			b, err := proof.MarshalBinary()
			require.NoError(t, err)
			require.Equal(t, c.want, hex.EncodeToString(b))
			key, err := Prepare(p.VerifyingKey())
			require.NoError(t, err)
			ok, err := Verify(key, []Proof{proof}, [][]fr.Element{{elem(35)}})
			require.NoError(t, err)
			require.True(t, ok)
		}
	}
}

// TestShare: how many workers a piece of work has does not change the proof.
func TestShare(t *testing.T) {
	v := golden(t)
	p, err := OpenParams(BytesSource(unhex(t, v.Mini.Params)))
	require.NoError(t, err)
	asked := 0
	share := func(workers int) int {
		asked++
		require.Equal(t, 8, workers)
		return []int{8, 2, 0, -1, 100}[asked%5]
	}
	proof, err := ProveWith(context.Background(), p, goodMini, elem(v.Mini.R), elem(v.Mini.S), ProveOptions{Workers: 8, Share: share})
	require.NoError(t, err)
	b, err := proof.MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, v.Mini.Proof, hex.EncodeToString(b))
	require.Greater(t, asked, 10)
	few := (&ProveOptions{Workers: 8, Share: func(int) int { return -3 }}).workers()
	many := (&ProveOptions{Workers: 8, Share: func(int) int { return 100 }}).workers()
	require.Equal(t, []int{1, 8}, []int{few(), many()})
}
