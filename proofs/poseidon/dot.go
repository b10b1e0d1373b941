package poseidon

import (
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// order is r, low word first.
var order = [4]uint64{0xffffffff00000001, 0x53bda402fffe5bfe, 0x3339d80809a1d805, 0x73eda753299d7d48}

// orderInv is -1/r mod 2^64.
const orderInv = 0xfffffffeffffffff

// maxTerms bounds the length of a dot product, so that its reduced sum is below
// 20*r (see settle).
const maxTerms = 40

// multiples[k] is k*r mod 2^256.
var multiples = func() (m [20][4]uint64) {
	for k := 1; k < len(m); k++ {
		var c uint64
		for i := range order {
			m[k][i], c = bits.Add64(m[k-1][i], order[i], c)
		}
	}
	return m
}()

// dotGeneric is dot in plain Go.
func dotGeneric(dst *fr.Element, a, b []fr.Element) {
	var c [9]uint64
	b = b[:len(a)]
	for i := range a {
		accumulate(&c, &a[i], &b[i])
	}
	redc(dst, &c)
}

// words is a number of four words, w0 the lowest. The compiler keeps a struct of
// four in registers, which it does not do for an array.
type words struct{ w0, w1, w2, w3 uint64 }

func wordsOf(a *[4]uint64) words { return words{a[0], a[1], a[2], a[3]} }

// accumulate adds the 512-bit product of a and b to c.
func accumulate(c *[9]uint64, a, b *fr.Element) {
	f := wordsOf((*[4]uint64)(b))
	h0, p0 := bits.Mul64(a[0], f.w0) // the first row has nothing to be added to
	h1, l1 := bits.Mul64(a[0], f.w1)
	h2, l2 := bits.Mul64(a[0], f.w2)
	h3, l3 := bits.Mul64(a[0], f.w3)
	var t words
	var k uint64
	t.w0, k = bits.Add64(h0, l1, 0)
	t.w1, k = bits.Add64(h1, l2, k)
	t.w2, k = bits.Add64(h2, l3, k)
	t.w3, _ = bits.Add64(h3, 0, k)

	p1, t := addRow(a[1], f, t)
	p2, t := addRow(a[2], f, t)
	p3, t := addRow(a[3], f, t)

	c[0], k = bits.Add64(c[0], p0, 0)
	c[1], k = bits.Add64(c[1], p1, k)
	c[2], k = bits.Add64(c[2], p2, k)
	c[3], k = bits.Add64(c[3], p3, k)
	c[4], k = bits.Add64(c[4], t.w0, k)
	c[5], k = bits.Add64(c[5], t.w1, k)
	c[6], k = bits.Add64(c[6], t.w2, k)
	c[7], k = bits.Add64(c[7], t.w3, k)
	c[8] += k
}

// addRow is t + a*b: its lowest word and the other four.
func addRow(a uint64, b, t words) (low uint64, r words) {
	h0, l0 := bits.Mul64(a, b.w0)
	h1, l1 := bits.Mul64(a, b.w1)
	h2, l2 := bits.Mul64(a, b.w2)
	h3, l3 := bits.Mul64(a, b.w3)
	l1, k := bits.Add64(l1, h0, 0)
	l2, k = bits.Add64(l2, h1, k)
	l3, k = bits.Add64(l3, h2, k)
	h3, _ = bits.Add64(h3, 0, k)
	low, k = bits.Add64(t.w0, l0, 0)
	r.w0, k = bits.Add64(t.w1, l1, k)
	r.w1, k = bits.Add64(t.w2, l2, k)
	r.w2, k = bits.Add64(t.w3, l3, k)
	r.w3, _ = bits.Add64(h3, 0, k)
	return low, r
}

// redc divides a sum of at most maxTerms products by 2^256 and reduces it.
func redc(dst *fr.Element, c *[9]uint64) {
	t, k := cancel(words{c[0], c[1], c[2], c[3]}, c[4], 0)
	t, k = cancel(t, c[5], k)
	t, k = cancel(t, c[6], k)
	t, k = cancel(t, c[7], k)
	settle(dst, t, c[8]+k)
}

// cancel adds the multiple of r to t that makes its lowest word zero, and drops
// that word. next is the fifth word of t, to which the step before carried k.
func cancel(t words, next, k uint64) (r words, carry uint64) {
	_, r = addRow(t.w0*orderInv, wordsOf(&order), t)
	r.w3, carry = bits.Add64(r.w3, next, k)
	return r, carry
}

// settle reduces a value of five words, top the highest, below 20*r. The quotient
// is estimated from the bits above 2^248, of which r has 115.9: taking 116 it is
// never too large, and below this bound at most one too small.
func settle(dst *fr.Element, t words, top uint64) {
	q := (top<<8 | t.w3>>56) * 565 >> 16 // 65536/565 is 116 for every value that occurs
	t, _ = t.sub(wordsOf(&multiples[q]))
	if s, borrow := t.sub(wordsOf(&order)); borrow == 0 {
		t = s
	}
	*dst = fr.Element{t.w0, t.w1, t.w2, t.w3}
}

// sub is a - b, and whether that borrowed.
func (a words) sub(b words) (d words, borrow uint64) {
	d.w0, borrow = bits.Sub64(a.w0, b.w0, 0)
	d.w1, borrow = bits.Sub64(a.w1, b.w1, borrow)
	d.w2, borrow = bits.Sub64(a.w2, b.w2, borrow)
	d.w3, borrow = bits.Sub64(a.w3, b.w3, borrow)
	return d, borrow
}
