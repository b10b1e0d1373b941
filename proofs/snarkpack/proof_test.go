package snarkpack

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

func TestLengths(t *testing.T) {
	for n, want := range map[int]int{2: 5236, 16: 14164, 128: 23092, 8192: 40948} {
		if got := ProofLength(n); got != want {
			t.Errorf("ProofLength(%d) = %d, want %d", n, got, want)
		}
	}
	for n, want := range map[int]int{-1: 0, 0: 0, 1: 2, 2: 2, 3: 4, 40: 64, 128: 128, 8190: 8192, MaxProofs: MaxProofs, MaxProofs + 1: 0} {
		if got := PaddedCount(n); got != want {
			t.Errorf("PaddedCount(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	v := loadVectors(t, 4)
	good := v.golden[3].proof
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	count := func(n uint32) []byte {
		return edit(func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[countOffset:], n)
			return b
		})
	}
	finalA := ProofLength(4) - 6*g1Length - 5*g2Length
	cases := []struct {
		name  string
		proof []byte
		want  string
	}{
		{"empty", nil, "less than the shortest"},
		{"head only", good[:countOffset], "less than the shortest"},
		{"one byte short", good[:len(good)-1], "needs"},
		{"one byte more", append(bytes.Clone(good), 0), "1 bytes follow"},
		{"no proofs", count(0), "power of two"},
		{"one proof", count(1), "power of two"},
		{"three proofs", count(3), "power of two"},
		{"too many proofs", count(2 * MaxProofs), "power of two"},
		{"2^32−1 proofs", count(1<<32 - 1), "power of two"},
		{"fewer proofs than rounds", count(2), "sum of C in a round at byte 4372"},
		{"more proofs than rounds", count(8), "needs"},
		{"coordinate plus the modulus", edit(func(b []byte) []byte {
			addModulusLE(b[:fp.Bytes])
			return b
		}), "coordinate 0 is not below the field modulus"},
		{"target-group element zero", edit(func(b []byte) []byte {
			clear(b[:gtLength])
			return b
		}), "not in the target group"},
		{"target-group element outside the subgroup", edit(func(b []byte) []byte {
			b[0] ^= 1
			return b
		}), "commitment at byte 0: element is not in the target group"},
		{"point at infinity with rubbish", edit(func(b []byte) []byte {
			b[5*gtLength] = 0xc0
			return b
		}), "sum of C"},
		{"point without the compression flag", edit(func(b []byte) []byte {
			b[5*gtLength] &= 0x7f
			return b
		}), "sum of C"},
		{"point outside the subgroup", edit(func(b []byte) []byte {
			p := outsideG1()
			raw := p.Bytes()
			copy(b[finalA:], raw[:])
			return b
		}), "last A at byte 7444: invalid point: subgroup"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseProof(c.proof)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			ok, err := VerifyBytes(context.Background(), v.statement(4, V2), c.proof)
			if ok || err != nil {
				t.Fatalf("VerifyBytes: %v, %v; want false, nil", ok, err)
			}
		})
	}
}

// outsideG1 is a point of the curve that is not in the subgroup.
func outsideG1() bls.G1Affine {
	for x := uint64(4); ; x++ {
		raw := make([]byte, g1Length)
		binary.BigEndian.PutUint64(raw[g1Length-8:], x)
		raw[0] |= 0x80
		var p bls.G1Affine
		d := bls.NewDecoder(bytes.NewReader(raw), bls.NoSubgroupChecks())
		if d.Decode(&p) == nil && !p.IsInSubGroup() {
			return p
		}
	}
}

// addModulusLE makes another encoding of the same field element, if there is room.
func addModulusLE(b []byte) {
	m := fp.Modulus().FillBytes(make([]byte, fp.Bytes))
	carry := 0
	for i := range b {
		s := int(b[i]) + int(m[fp.Bytes-1-i]) + carry
		b[i], carry = byte(s), s>>8
	}
	if carry != 0 {
		panic("no room above the modulus")
	}
}

func TestParsePrefix(t *testing.T) {
	v := loadVectors(t, 2)
	good := v.golden[0].proof
	p, n, err := ParseProofPrefix(append(bytes.Clone(good), "more"...))
	if err != nil || n != len(good) {
		t.Fatalf("took %d bytes, %v; want %d", n, err, len(good))
	}
	again, err := p.MarshalBinary()
	if err != nil || !bytes.Equal(again, good) {
		t.Fatalf("encoding changed: %v", err)
	}
}

// TestFlippedBits flips single bits of aggregate, include bytes and public
// inputs: nothing may verify. Of the flips in the aggregate only those of a
// point's sign get past the decoder; what verification makes of other elements of
// the right group is in TestEveryElementCounts.
func TestFlippedBits(t *testing.T) {
	v := loadVectors(t, 4)
	flips := 150
	if os.Getenv("QUARRY_LONG") != "" {
		flips = 1000
	}
	rng := rand.New(rand.NewPCG(1, 2))
	ctx := context.Background()
	for i := range flips {
		g := v.golden[rng.IntN(len(v.golden))]
		proof := bytes.Clone(g.proof)
		st := v.statement(g.n, g.version)
		where := "aggregate"
		switch i % 4 {
		case 0:
			where = "include"
			st.Include = bytes.Clone(st.Include)
			st.Include[rng.IntN(len(st.Include))] ^= 1 << rng.IntN(8)
		case 1:
			where = "public input"
			x := st.Inputs[rng.IntN(g.n)]
			flipped := x[0].Bytes()
			flipped[31-rng.IntN(31)] ^= 1 << rng.IntN(8)
			k := rng.IntN(g.n)
			st.Inputs[k] = append(x[:0:0], x...)
			st.Inputs[k][0].SetBytes(flipped[:])
		case 2: // the sign of the last A, B or C
			at := len(proof) - 6*g1Length - 5*g2Length
			at += []int{0, g1Length, g1Length + g2Length}[rng.IntN(3)]
			proof[at] ^= 0x20
			if _, err := ParseProof(proof); err != nil {
				t.Fatalf("flipped sign at byte %d: %v", at, err)
			}
		default:
			proof[rng.IntN(len(proof))] ^= 1 << rng.IntN(8)
		}
		ok, err := VerifyBytes(ctx, st, proof)
		if err != nil || ok {
			t.Fatalf("flip %d in %s: verify says %v, %v", i, where, ok, err)
		}
	}
}

func FuzzParseProof(f *testing.F) {
	v := loadVectors(f, 2)
	for _, g := range v.golden {
		f.Add(g.proof)
		f.Add(g.proof[:len(g.proof)/2])
	}
	f.Add([]byte{})
	f.Add(make([]byte, ProofLength(MaxProofs)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, n, err := ParseProofPrefix(b)
		if err != nil {
			return
		}
		again, err := p.MarshalBinary()
		if err != nil || !bytes.Equal(again, b[:n]) {
			t.Fatalf("parsed aggregate encodes differently: %v", err)
		}
	})
}
