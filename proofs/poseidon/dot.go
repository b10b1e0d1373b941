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

// accumulate adds the 512-bit product of a and b to c.
func accumulate(c *[9]uint64, a, b *fr.Element) {
	var p0, p1, p2, p3, p4, p5, p6, p7, k uint64
	b0, b1, b2, b3 := b[0], b[1], b[2], b[3]

	h0, l0 := bits.Mul64(a[0], b0)
	h1, l1 := bits.Mul64(a[0], b1)
	h2, l2 := bits.Mul64(a[0], b2)
	h3, l3 := bits.Mul64(a[0], b3)
	p0 = l0
	p1, k = bits.Add64(h0, l1, 0)
	p2, k = bits.Add64(h1, l2, k)
	p3, k = bits.Add64(h2, l3, k)
	p4, _ = bits.Add64(h3, 0, k)

	p1, p2, p3, p4, p5 = addRow(a[1], b0, b1, b2, b3, p1, p2, p3, p4)
	p2, p3, p4, p5, p6 = addRow(a[2], b0, b1, b2, b3, p2, p3, p4, p5)
	p3, p4, p5, p6, p7 = addRow(a[3], b0, b1, b2, b3, p3, p4, p5, p6)

	c[0], k = bits.Add64(c[0], p0, 0)
	c[1], k = bits.Add64(c[1], p1, k)
	c[2], k = bits.Add64(c[2], p2, k)
	c[3], k = bits.Add64(c[3], p3, k)
	c[4], k = bits.Add64(c[4], p4, k)
	c[5], k = bits.Add64(c[5], p5, k)
	c[6], k = bits.Add64(c[6], p6, k)
	c[7], k = bits.Add64(c[7], p7, k)
	c[8] += k
}

// addRow is t + a*b, of five words.
func addRow(a, b0, b1, b2, b3, t0, t1, t2, t3 uint64) (r0, r1, r2, r3, r4 uint64) {
	var k uint64
	h0, l0 := bits.Mul64(a, b0)
	h1, l1 := bits.Mul64(a, b1)
	h2, l2 := bits.Mul64(a, b2)
	h3, l3 := bits.Mul64(a, b3)
	l1, k = bits.Add64(l1, h0, 0)
	l2, k = bits.Add64(l2, h1, k)
	l3, k = bits.Add64(l3, h2, k)
	h3, _ = bits.Add64(h3, 0, k)
	r0, k = bits.Add64(t0, l0, 0)
	r1, k = bits.Add64(t1, l1, k)
	r2, k = bits.Add64(t2, l2, k)
	r3, k = bits.Add64(t3, l3, k)
	r4, _ = bits.Add64(h3, 0, k)
	return
}

// redc divides a sum of at most maxTerms products by 2^256 and reduces it.
func redc(dst *fr.Element, c *[9]uint64) {
	c0, c1, c2, c3, c4 := c[0], c[1], c[2], c[3], c[4]
	var k1, k2, k3, k4 uint64
	c1, c2, c3, c4, k1 = cancel(c0, c1, c2, c3, c4)
	c2, c3, c4, c5, k2 := cancelNext(c1, c2, c3, c4, c[5], k1)
	c3, c4, c5, c6, k3 := cancelNext(c2, c3, c4, c5, c[6], k2)
	c4, c5, c6, c7, k4 := cancelNext(c3, c4, c5, c6, c[7], k3)
	settle(dst, c4, c5, c6, c7, c[8]+k4)
}

// cancel adds the multiple of r to t that makes its lowest word zero.
func cancel(t0, t1, t2, t3, t4 uint64) (r1, r2, r3, r4, k uint64) {
	m := t0 * orderInv
	_, r1, r2, r3, r4 = addRow(m, order[0], order[1], order[2], order[3], t0, t1, t2, t3)
	r4, k = bits.Add64(r4, t4, 0)
	return
}

// cancelNext is cancel with a carry k into t4 from the step before.
func cancelNext(t0, t1, t2, t3, t4, k uint64) (r1, r2, r3, r4, out uint64) {
	m := t0 * orderInv
	_, r1, r2, r3, r4 = addRow(m, order[0], order[1], order[2], order[3], t0, t1, t2, t3)
	r4, out = bits.Add64(r4, t4, k)
	return
}

// settle reduces a five-word value below 20*r. The quotient is estimated from
// the bits above 2^248, of which r has 115.9: taking 116 it is never too large,
// and below this bound at most one too small.
func settle(dst *fr.Element, t0, t1, t2, t3, t4 uint64) {
	q := (t4<<8 | t3>>56) * 565 >> 16 // 65536/565 is 116 for every value that occurs
	m := &multiples[q]
	var k uint64
	t0, k = bits.Sub64(t0, m[0], 0)
	t1, k = bits.Sub64(t1, m[1], k)
	t2, k = bits.Sub64(t2, m[2], k)
	t3, _ = bits.Sub64(t3, m[3], k)
	s0, k := bits.Sub64(t0, order[0], 0)
	s1, k := bits.Sub64(t1, order[1], k)
	s2, k := bits.Sub64(t2, order[2], k)
	s3, k := bits.Sub64(t3, order[3], k)
	if k == 0 {
		t0, t1, t2, t3 = s0, s1, s2, s3
	}
	*dst = fr.Element{t0, t1, t2, t3}
}
