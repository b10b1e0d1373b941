package gadget

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"quarry/proofs/poseidon"
	"quarry/proofs/r1cs"
)

type vector struct {
	Aux         int    `json:"aux"`
	Constraints int    `json:"constraints"`
	Inputs      int    `json:"inputs_incl_one"`
	Terms       [3]int `json:"terms_abc"`
	R1CS        string `json:"r1cs_sha256"`
	AuxValues   string `json:"aux_assignment_sha256"`
	InputValues string `json:"input_assignment_sha256"`
}

func (v *vector) check(t *testing.T, s r1cs.Summary) {
	t.Helper()
	if s.Inputs != v.Inputs || s.Aux != v.Aux || s.Constraints != v.Constraints || s.Terms != v.Terms {
		t.Errorf("%+v, want %+v", s.Counts, v)
	}
	if got := hex.EncodeToString(s.R1CS[:]); got != v.R1CS {
		t.Errorf("constraints %s, want %s", got, v.R1CS)
	}
	if got := hex.EncodeToString(s.AuxValues[:]); got != v.AuxValues {
		t.Errorf("aux values %s, want %s", got, v.AuxValues)
	}
	if got := hex.EncodeToString(s.InputValues[:]); got != v.InputValues {
		t.Errorf("input values %s, want %s", got, v.InputValues)
	}
}

// circuit makes a circuit of a few lines.
type circuit func(b *Builder)

func (c circuit) Synthesize(_ context.Context, cs r1cs.ConstraintSystem) error {
	b := New(cs)
	c(b)
	return b.Err()
}

func num(v uint64) (e r1cs.Element) {
	e.SetUint64(v)
	return e
}

func nums(b *Builder, from, to uint64) (out []Num) {
	for v := from; v <= to; v++ {
		out = append(out, b.Num(num(v)))
	}
	return out
}

// allocated are the bits that the reference circuits were filled with.
func allocated(b *Builder, n int) []Bit {
	out := make([]Bit, n)
	for i := range out {
		out[i] = b.Bit(i%3 == 1)
	}
	return out
}

// gadgets are the circuits that the reference digests are of.
var gadgets = map[string]circuit{
	"alloc_num_inputize":   func(b *Builder) { b.Inputize(b.Num(num(5))) },
	"alloc_num_to_bits_le": func(b *Builder) { b.Bits(b.Num(num(5))) },
	"insert_2_elements_2..2_element_1": func(b *Builder) {
		a, e := b.Num(num(1)), nums(b, 2, 2)
		b.Insert(a, allocated(b, 1), e)
	},
	"insert_4_elements_2..4_element_1": func(b *Builder) {
		a, e := b.Num(num(1)), nums(b, 2, 4)
		b.Insert(a, allocated(b, 2), e)
	},
	"insert_8_elements_2..8_element_1": func(b *Builder) {
		a, e := b.Num(num(1)), nums(b, 2, 8)
		b.Insert(a, allocated(b, 3), e)
	},
	"poseidon_arity2_preimage_1..2":   func(b *Builder) { b.Poseidon(nums(b, 1, 2)...) },
	"poseidon_arity4_preimage_1..4":   func(b *Builder) { b.Poseidon(nums(b, 1, 4)...) },
	"poseidon_arity8_preimage_1..8":   func(b *Builder) { b.Poseidon(nums(b, 1, 8)...) },
	"poseidon_arity11_preimage_1..11": func(b *Builder) { b.Poseidon(nums(b, 1, 11)...) },
	"sha256_512_allocated_bits":       func(b *Builder) { b.SHA256(allocated(b, 512)) },
	"sha256_1024_allocated_bits":      func(b *Builder) { b.SHA256(allocated(b, 1024)) },
	"sha256_9984_allocated_bits":      func(b *Builder) { b.SHA256(allocated(b, 9984)) },
	"sha256hasher_hash2_leaf_nums_1_2 (tree-d node)": func(b *Builder) {
		n := nums(b, 1, 2)
		b.HashData(n[0], n[1])
	},
	"uint64_alloc_pack_into_input(0x0123456789abcdef)": func(b *Builder) { b.PackInput(b.Uint64(0x0123456789abcdef)) },
}

func TestReferenceGadgets(t *testing.T) {
	raw, err := os.ReadFile("testdata/gadgets.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Gadgets map[string]vector `json:"gadgets_standalone"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Gadgets) != len(gadgets) {
		t.Fatalf("%d vectors for %d gadgets", len(v.Gadgets), len(gadgets))
	}
	for name, want := range v.Gadgets {
		t.Run(name, func(t *testing.T) {
			s, err := r1cs.Summarize(context.Background(), gadgets[name])
			if err != nil {
				t.Fatal(err)
			}
			want.check(t, s)
			if _, err := r1cs.Satisfied(context.Background(), gadgets[name]); err != nil {
				t.Error(err)
			}
		})
	}
}

// What the SHA-256 circuit computes is SHA-256, whatever parts are constant.
func TestSHA256Values(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msg := rapid.SliceOfN(rapid.Byte(), 0, 130).Draw(t, "message")
		fixed := rapid.SliceOfN(rapid.Bool(), len(msg), len(msg)).Draw(t, "constant")
		want := sha256.Sum256(msg)
		c := circuit(func(b *Builder) {
			var in []Bit
			for i, m := range msg {
				for k := 7; k >= 0; k-- {
					if v := m>>k&1 == 1; fixed[i] {
						in = append(in, Const(v))
					} else {
						in = append(in, b.Bit(v))
					}
				}
			}
			for i, x := range b.SHA256(in) {
				if x.Value() != (want[i/8]>>(7-i%8)&1 == 1) {
					t.Fatalf("bit %d of the digest of %x is %v", i, msg, x.Value())
				}
			}
		})
		if _, err := r1cs.Satisfied(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	})
}

// Operations on bits agree with those on booleans and bind their results, for
// all forms of operands.
func TestBitOperations(t *testing.T) {
	forms := []func(b *Builder, v bool) Bit{
		func(_ *Builder, v bool) Bit { return Const(v) },
		func(b *Builder, v bool) Bit { return b.Bit(v) },
		func(b *Builder, v bool) Bit { return b.Bit(!v).Not() },
	}
	for n := range 27 * 8 {
		c := circuit(func(b *Builder) {
			var x [3]Bit
			var v [3]bool
			for i, d := range [3]int{1, 3, 9} {
				v[i] = n/27>>i&1 == 1
				x[i] = forms[n/d%3](b, v[i])
			}
			for what, pair := range map[string][2]bool{
				"xor": {b.Xor(x[0], x[1]).Value(), v[0] != v[1]},
				"and": {b.And(x[0], x[1]).Value(), v[0] && v[1]},
				"ch":  {b.Ch(x[0], x[1], x[2]).Value(), v[0] && v[1] || !v[0] && v[2]},
				"maj": {b.Maj(x[0], x[1], x[2]).Value(), v[0] && v[1] || v[0] && v[2] || v[1] && v[2]},
			} {
				if pair[0] != pair[1] {
					t.Errorf("case %d: %s of %v is %v", n, what, v, pair[0])
				}
			}
		})
		if _, err := r1cs.Satisfied(context.Background(), c); err != nil {
			t.Errorf("case %d: %v", n, err)
		}
	}
}

// Poseidon and insertion compute what proofs/poseidon and plain code do.
func TestPoseidonAndInsertValues(t *testing.T) {
	for _, arity := range []int{2, 4, 8} {
		for at := range arity {
			c := circuit(func(b *Builder) {
				a, others := b.Num(num(100)), nums(b, 1, uint64(arity-1))
				var bits []Bit
				for k := range log2(arity) {
					bits = append(bits, b.Bit(at>>k&1 == 1))
				}
				var want []r1cs.Element
				for _, o := range others {
					want = append(want, o.Value)
				}
				want = slices.Insert(want, at, a.Value)
				got := b.Insert(a, bits, others)
				for i := range got {
					if got[i].Value != want[i] {
						t.Errorf("arity %d: child %d is %v after insertion at %d", arity, i, got[i].Value, at)
					}
				}
				if h := b.Poseidon(got...).Value; h != poseidon.MustNew(arity).Hash(want) {
					t.Errorf("arity %d hashes to %v", arity, h)
				}
			})
			if _, err := r1cs.Satisfied(context.Background(), c); err != nil {
				t.Errorf("arity %d, position %d: %v", arity, at, err)
			}
		}
	}
}

// liar changes one private value, so that some constraint must fail.
type liar struct {
	r1cs.ConstraintSystem
	at, seen int
}

func (l *liar) Aux(v r1cs.Element) r1cs.Variable {
	if l.seen == l.at {
		v.Add(&v, &pow2[0])
	}
	l.seen++
	return l.ConstraintSystem.Aux(v)
}

type lying struct {
	circuit
	at int
}

func (l lying) Synthesize(ctx context.Context, cs r1cs.ConstraintSystem) error {
	return l.circuit.Synthesize(ctx, &liar{ConstraintSystem: cs, at: l.at})
}

// No private value can be changed alone without a constraint that fails.
func TestEveryValueIsBound(t *testing.T) {
	for _, name := range []string{"alloc_num_to_bits_le", "poseidon_arity2_preimage_1..2",
		"sha256hasher_hash2_leaf_nums_1_2 (tree-d node)"} {
		c := gadgets[name]
		s, err := r1cs.Summarize(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < s.Aux; at += 1 + s.Aux/60 {
			var want *r1cs.Unsatisfied
			if _, err := r1cs.Satisfied(context.Background(), lying{c, at}); !errors.As(err, &want) {
				t.Errorf("%s with variable %d changed: %v", name, at, err)
			}
		}
	}
}

// A node that is no field element is an error, not another value.
func TestNodeMustBeElement(t *testing.T) {
	c := circuit(func(b *Builder) { b.Node(&[32]byte{31: 0xff}) })
	if _, err := r1cs.Summarize(context.Background(), c); err == nil {
		t.Error("accepted")
	}
}

func BenchmarkSHA256(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := gadgets["sha256_9984_allocated_bits"].Synthesize(context.Background(), new(silent)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPoseidon8(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := gadgets["poseidon_arity8_preimage_1..8"].Synthesize(context.Background(), new(silent)); err != nil {
			b.Fatal(err)
		}
	}
}

// silent only counts variables.
type silent struct{ inputs, aux int }

func (s *silent) Input(r1cs.Element) r1cs.Variable { s.inputs++; return r1cs.Input(s.inputs) }
func (s *silent) Aux(r1cs.Element) r1cs.Variable   { s.aux++; return r1cs.Aux(s.aux - 1) }
func (s *silent) Enforce(_, _, _ r1cs.LC)          {}
