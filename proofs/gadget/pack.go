package gadget

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/r1cs"
)

const (
	// FieldBits is the number of bits of the field order.
	FieldBits = fr.Bits
	// capacity is how many bits fit whatever their values.
	capacity = FieldBits - 1
)

// decompose allocates the count lowest bits of v, least significant first.
func (b *Builder) decompose(v *r1cs.Element, count int) []Bit {
	w, out := v.Bits(), make([]Bit, count)
	for i := range out {
		out[i] = b.Bit(w[i/64]>>(i%64)&1 == 1)
	}
	return out
}

// appendPacked appends the sum of 2^i times bit i.
func appendPacked(lc r1cs.LC, bits []Bit) r1cs.LC {
	for i, x := range bits {
		lc = appendBit(lc, x, i)
	}
	return lc
}

// Bits are the 255 bits of n, least significant first: 0 * 0 = sum - n. Numbers
// below 2^255 - order have two decompositions; the circuit takes either, the
// value computed here is the smaller one.
func (b *Builder) Bits(n Num) []Bit {
	out := b.decompose(&n.Value, FieldBits)
	b.c = append(appendPacked(b.c[:0], out), negTerm(n.Var))
	b.cs.Enforce(nil, nil, b.c)
	return out
}

// BoundBits are count bits that make n, least significant first: n has no more.
// The constraint is sum * 1 = n, the form that SnapDeals has in place of that of
// Bits (storage-proofs-update/src/gadgets.rs).
func (b *Builder) BoundBits(n Num, count int) []Bit {
	out := b.decompose(&n.Value, count)
	b.a = appendPacked(b.a[:0], out)
	b.c = append(b.c[:0], term(n.Var))
	b.cs.Enforce(b.a, b.one[:], b.c)
	return out
}

// Uint64 allocates 64 bits, least significant first.
func (b *Builder) Uint64(v uint64) []Bit {
	out := make([]Bit, 64)
	for i := range out {
		out[i] = b.Bit(v>>i&1 == 1)
	}
	return out
}

// packedValue is the number that at most 254 bits make.
func packedValue(bits []Bit) (e r1cs.Element) {
	var le [32]byte
	for i, x := range bits {
		if x.val {
			le[i/8] |= 1 << (i % 8)
		}
	}
	e, err := fr.LittleEndian.Element(&le)
	if err != nil {
		panic("gadget: 254 bits must be below the field order: " + err.Error())
	}
	return e
}

// Pack is the number that bits make, least significant first; bits beyond the
// 254th are dropped.
func (b *Builder) Pack(bits []Bit) Num {
	bits = bits[:min(len(bits), capacity)]
	n := b.Num(packedValue(bits))
	b.pack(bits, n.Var)
	return n
}

// PackInput is Pack into a new public input.
func (b *Builder) PackInput(bits []Bit) {
	bits = bits[:min(len(bits), capacity)]
	b.pack(bits, b.cs.Input(packedValue(bits)))
}

func (b *Builder) pack(bits []Bit, v r1cs.Variable) {
	b.a = appendPacked(b.a[:0], bits)
	b.c = append(b.c[:0], term(v))
	b.cs.Enforce(b.a, b.one[:], b.c)
}

// ReverseBytes turns the order of bits within each byte around, between the least
// significant first of numbers and the most significant first of SHA-256. An
// incomplete last byte is first filled with constant false.
func ReverseBytes(bits []Bit) []Bit {
	out := make([]Bit, (len(bits)+7)/8*8)
	for i, x := range bits {
		out[i&^7|7-i&7] = x
	}
	return out
}
