package poseidon

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"pgregory.net/rapid"
)

// onEveryPath runs f with all instructions the CPU has, without the lanes, and
// in plain Go.
func onEveryPath(t *testing.T, f func(t *testing.T)) {
	mul, lanes := wideMul, wideLanes
	defer func() { wideMul, wideLanes = mul, lanes }()
	for _, p := range []struct {
		name       string
		mul, lanes bool
	}{{"best", mul, lanes}, {"one by one", mul, false}, {"lanes only", false, lanes}, {"plain", false, false}} {
		wideMul, wideLanes = p.mul, p.lanes
		t.Run(fmt.Sprintf("%s, mul %v, lanes %v", p.name, p.mul, p.lanes), f)
	}
}

// plain is the permutation as the paper has it: all constants, the whole matrix
// in every round, every sum reduced at once.
func plain(h *Hasher, in []Element) Element {
	c := h.c.constants
	s := append([]fr.Element{h.tag}, in...)
	for r := range fullRounds + c.partial {
		for i := range s {
			s[i].Add(&s[i], &c.round[r*c.width+i])
		}
		full := r < fullRounds/2 || r >= fullRounds/2+c.partial
		for i := range s {
			if full || i == 0 {
				s[i].Exp(s[i], big.NewInt(5))
			}
		}
		s = c.mds.mulVec(s) // the matrix is symmetric
	}
	return s[1]
}

// extremes are elements whose inner form has long carries.
func extremes() []fr.Element {
	var out []fr.Element
	for _, w := range [][4]uint64{
		{}, {1}, {order[0] - 1, order[1], order[2], order[3]},
		{^uint64(0), ^uint64(0), ^uint64(0), order[3] - 1}, {0, 0, 0, order[3]}, {1<<52 - 1, 0, 0, 0},
		{^uint64(0), ^uint64(0), ^uint64(0), 0}, {0, ^uint64(0), 0, 0},
	} {
		out = append(out, fr.Element(w))
	}
	return out
}

func randomElement(r *rand.Rand) fr.Element {
	if r.IntN(8) == 0 {
		e := extremes()
		return e[r.IntN(len(e))]
	}
	for {
		e := fr.Element{r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64() >> 1}
		if belowOrder(&e) {
			return e
		}
	}
}

func TestEveryPathEqualsThePlainPermutation(t *testing.T) {
	onEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, arity := range []int{2, 4, 8, 11, 16, 24, 36} {
			custom, err := NewCustom(arity, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range []*Hasher{MustNew(arity), custom} {
				src := make([]Element, 7*arity)
				for i := range src {
					src[i] = randomElement(r)
				}
				copy(src, slices.Repeat(extremes(), arity)[:arity])
				copy(src[arity:], slices.Repeat(extremes()[2:3], arity))
				copy(src[2*arity:], slices.Repeat(extremes()[3:4], arity))
				row := make([]Element, 7)
				h.HashRow(row, src)
				for i := range row {
					in := src[i*arity : (i+1)*arity]
					want := plain(h, in)
					if got := h.Hash(in); got != want {
						t.Errorf("arity %d: Hash of group %d is %s, want %s", arity, i, hexOf(got), hexOf(want))
					}
					if row[i] != want {
						t.Errorf("arity %d: HashRow of group %d is %s, want %s", arity, i, hexOf(row[i]), hexOf(want))
					}
				}
			}
		}
	})
}

// Every row length must give what single hashes give, whichever path it takes,
// also when it is written over its source.
func TestHashRowEqualsHash(t *testing.T) {
	onEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, arity := range []int{2, 8, 11} {
			h := MustNew(arity)
			for _, n := range []int{0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 19, 20, 33, 36} {
				src := make([]Element, n*arity)
				for i := range src {
					src[i] = randomElement(r)
				}
				want := make([]Element, n)
				for i := range want {
					want[i] = h.Hash(src[i*arity : (i+1)*arity])
				}
				h.HashRow(src[:n], src)
				for i := range want {
					if src[i] != want[i] {
						t.Fatalf("arity %d, row of %d: element %d differs", arity, n, i)
					}
				}
			}
		}
	})
}

// A dot product of any length equals the sum of single products.
func TestDot(t *testing.T) {
	onEveryPath(t, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
			n := rapid.IntRange(1, maxTerms).Draw(t, "terms")
			a, b := make([]fr.Element, n), make([]fr.Element, n)
			var want fr.Element
			same := rapid.Bool().Draw(t, "all the largest")
			for i := range a {
				a[i], b[i] = randomElement(r), randomElement(r)
				if same {
					a[i], b[i] = extremes()[2], extremes()[2]
				}
				var p fr.Element
				p.Mul(&a[i], &b[i])
				want.Add(&want, &p)
			}
			var got fr.Element
			if dot(&got, a, b); got != want {
				t.Fatalf("%d terms: %v, want %v", n, got, want)
			}
		})
	})
}

// settle must take every value up to its limit, in particular next to the
// multiples of the order.
func TestSettle(t *testing.T) {
	mask := new(big.Int).SetUint64(^uint64(0))
	check := func(v *big.Int) {
		t.Helper()
		var w [5]uint64
		for i := range w {
			w[i] = new(big.Int).And(new(big.Int).Rsh(v, uint(64*i)), mask).Uint64()
		}
		var got fr.Element
		settle(&got, words{w[0], w[1], w[2], w[3]}, w[4])
		want, have := new(big.Int).Mod(v, fr.Modulus()), new(big.Int)
		for i := 3; i >= 0; i-- {
			have.Add(have.Lsh(have, 64), new(big.Int).SetUint64(got[i]))
		}
		if have.Cmp(want) != 0 {
			t.Fatalf("%x settles to %x, not %x", v, have, want)
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for k := range int64(20) {
		at := new(big.Int).Mul(fr.Modulus(), big.NewInt(k))
		for d := int64(-3); d <= 3; d++ {
			if v := new(big.Int).Add(at, big.NewInt(d)); v.Sign() >= 0 {
				check(v)
			}
		}
		for range 200 {
			x := randomElement(r)
			v := new(big.Int)
			for i := 3; i >= 0; i-- {
				v.Add(v.Lsh(v, 64), new(big.Int).SetUint64(x[i]))
			}
			check(v.Add(v, at))
		}
	}
}

// All widths that are hashed in lanes stay within what a lane holds, and the
// bound is one that can be broken.
func TestLanesFit(t *testing.T) {
	for _, arity := range []int{2, 4, 8, 11} {
		if p := MustNew(arity).c.scalar; !lanesFit(p.width, p.batches) {
			t.Errorf("arity %d does not fit", arity)
		}
	}
	if lanesFit(80, MustNew(36).c.scalar.batches) {
		t.Error("width 80 fits")
	}
}

func FuzzPathsAgree(f *testing.F) {
	f.Add(make([]byte, 8*32))
	f.Add([]byte("some bytes that fill a node"))
	hs := []*Hasher{MustNew(2), MustNew(8), MustNew(11)}
	f.Fuzz(func(t *testing.T, b []byte) {
		var src []Element
		for len(b) >= 32 && len(src) < 88 {
			e := fr.Element{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]),
				binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])}
			if b = b[32:]; belowOrder(&e) {
				src = append(src, e)
			}
		}
		for len(src) < 44 {
			src = append(src, fr.NewElement(uint64(len(src))))
		}
		for _, h := range hs {
			n := len(src) / h.Arity()
			row := make([]Element, n)
			h.HashRow(row, src[:n*h.Arity()])
			for i := range row {
				if want := h.Hash(src[i*h.Arity() : (i+1)*h.Arity()]); row[i] != want {
					t.Errorf("arity %d: element %d differs", h.Arity(), i)
				}
			}
		}
	})
}

// FuzzDecodeRow: what decodes encodes to the same bytes; what does not decode
// has a node that is no field element.
func FuzzDecodeRow(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Add(slices.Repeat([]byte{0xff}, 32))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:len(b)/32*32]
		els := make([]Element, len(b)/32)
		err := DecodeRow(els, b)
		good := true
		for i := range els {
			var be [32]byte
			for k := range be {
				be[k] = b[i*32+31-k]
			}
			good = good && new(big.Int).SetBytes(be[:]).Cmp(fr.Modulus()) < 0
		}
		if good != (err == nil) {
			t.Fatalf("%x: %v", b, err)
		}
		if back := make([]byte, len(b)); err == nil {
			if EncodeRow(back, els); string(back) != string(b) {
				t.Fatalf("%x comes back as %x", b, back)
			}
		}
	})
}
