package gadget

import "quarry/proofs/r1cs"

type bitForm uint8

const (
	constant bitForm = iota
	plain
	negated
)

// Bit is a constant, an allocated bit or the negation of one (bellpepper-core
// Boolean). The zero Bit is the constant false.
type Bit struct {
	v    r1cs.Variable
	form bitForm
	val  bool // of the bit itself, negation included
}

// Const is a constant bit.
func Const(v bool) Bit { return Bit{val: v} }

// Value is what the bit is.
func (x Bit) Value() bool { return x.val }

// Not is the negation; it costs nothing.
func (x Bit) Not() Bit {
	x.val = !x.val
	switch x.form {
	case plain:
		x.form = negated
	case negated:
		x.form = plain
	}
	return x
}

var bitValues = [2]r1cs.Element{{}, pow2[0]}

func bitValue(v bool) r1cs.Element {
	if v {
		return bitValues[1]
	}
	return bitValues[0]
}

// free allocates a bit without binding it to 0 and 1, for results that other
// constraints fix.
func (b *Builder) free(v bool) Bit {
	return Bit{v: b.cs.Aux(bitValue(v)), form: plain, val: v}
}

// Bit allocates a bit: (1 - x) * x = 0.
func (b *Builder) Bit(v bool) Bit {
	x := b.free(v)
	b.bitA[1].V = x.v
	b.x[0].V = x.v
	b.cs.Enforce(b.bitA[:], b.x[:], nil)
	return x
}

// appendBit appends 2^shift times x.
func appendBit(lc r1cs.LC, x Bit, shift int) r1cs.LC {
	switch x.form {
	case plain:
		return append(lc, r1cs.Term{V: x.v, C: pow2[shift]})
	case negated:
		return append(lc, r1cs.Term{V: r1cs.One, C: pow2[shift]}, r1cs.Term{V: x.v, C: negPow2[shift]})
	}
	if x.val {
		return append(lc, r1cs.Term{V: r1cs.One, C: pow2[shift]})
	}
	return lc
}

// small is a combination of a few bits with small coefficients. The constant
// parts are added up apart, so that they vanish when they cancel.
type small struct {
	lc  r1cs.LC
	one int
}

func (s *small) add(x Bit, k int) {
	switch x.form {
	case constant:
		if x.val {
			s.one += k
		}
	case plain:
		s.lc = append(s.lc, r1cs.Term{V: x.v, C: smallCoefficient(k)})
	case negated:
		s.one += k
		s.lc = append(s.lc, r1cs.Term{V: x.v, C: smallCoefficient(-k)})
	}
}

func (s *small) done() r1cs.LC {
	if s.one != 0 {
		s.lc = append(s.lc, r1cs.Term{V: r1cs.One, C: smallCoefficient(s.one)})
	}
	return s.lc
}

// smallCoefficient is k for -4 <= k <= 4.
func smallCoefficient(k int) r1cs.Element { return smallCoefficients[k+4] }

var smallCoefficients = func() (c [9]r1cs.Element) {
	for i := range c {
		c[i].SetInt64(int64(i - 4))
	}
	return c
}()

// Xor is x != y.
func (b *Builder) Xor(x, y Bit) Bit {
	switch {
	case x.form == constant && x.val:
		return y.Not()
	case x.form == constant:
		return y
	case y.form == constant && y.val:
		return x.Not()
	case y.form == constant:
		return x
	case x.form == plain && y.form == plain:
		return b.xor(x, y)
	case x.form == plain:
		return b.xor(x, y.Not()).Not()
	case y.form == plain:
		return b.xor(y, x.Not()).Not()
	}
	return b.xor(x.Not(), y.Not())
}

// xor is Xor of two plain bits: 2x * y = x + y - z.
func (b *Builder) xor(x, y Bit) Bit {
	z := b.free(x.val != y.val)
	b.a = append(b.a[:0], r1cs.Term{V: x.v, C: pow2[1]})
	b.x[0].V = y.v
	b.xorC = [3]r1cs.Term{term(x.v), term(y.v), negTerm(z.v)}
	b.cs.Enforce(b.a, b.x[:], b.xorC[:])
	return z
}

// And is x && y.
func (b *Builder) And(x, y Bit) Bit {
	switch {
	case x.form == constant && x.val:
		return y
	case x.form == constant:
		return x
	case y.form == constant && y.val:
		return x
	case y.form == constant:
		return y
	case x.form == negated && y.form == plain:
		x, y = y, x
	}
	z := b.free(x.val && y.val)
	b.a = appendBit(b.a[:0], x, 0)
	b.b = appendBit(b.b[:0], y, 0)
	b.x[0].V = z.v
	b.cs.Enforce(b.a, b.b, b.x[:])
	return z
}

// Ch is y where x is set and z elsewhere (bellpepper-core Boolean::sha256_ch).
func (b *Builder) Ch(x, y, z Bit) Bit {
	v := z.val
	if x.val {
		v = y.val
	}
	switch {
	case x.form == constant && y.form == constant && z.form == constant:
		return Const(v)
	case x.form == constant && !x.val:
		return z
	case y.form == constant && !y.val:
		return b.And(x.Not(), z)
	case z.form == constant && !z.val:
		return b.And(x, y)
	case z.form == constant:
		return b.And(x, y.Not()).Not()
	case y.form == constant:
		return b.And(x.Not(), z.Not()).Not()
	}
	r := b.free(v)
	left, right := small{lc: b.a[:0]}, small{lc: b.c[:0]}
	left.add(y, 1)
	left.add(z, -1)
	right.add(r, 1)
	right.add(z, -1)
	b.a, b.c = left.done(), right.done()
	b.b = appendBit(b.b[:0], x, 0)
	b.cs.Enforce(b.a, b.b, b.c)
	return r
}

// Maj is set where at least two are (bellpepper-core Boolean::sha256_maj).
func (b *Builder) Maj(x, y, z Bit) Bit {
	v := x.val && y.val || x.val && z.val || y.val && z.val
	switch {
	case x.form == constant && y.form == constant && z.form == constant:
		return Const(v)
	case x.form == constant && !x.val:
		return b.And(y, z)
	case y.form == constant && !y.val:
		return b.And(x, z)
	case z.form == constant && !z.val:
		return b.And(x, y)
	case z.form == constant:
		return b.And(x.Not(), y.Not()).Not()
	case y.form == constant:
		return b.And(x.Not(), z.Not()).Not()
	case x.form == constant:
		return b.And(y.Not(), z.Not()).Not()
	}
	r := b.free(v)
	both := b.And(y, z)
	left, right := small{lc: b.a[:0]}, small{lc: b.c[:0]}
	left.add(both, 2)
	left.add(y, -1)
	left.add(z, -1)
	right.add(both, 1)
	right.add(r, -1)
	b.a, b.c = left.done(), right.done()
	b.b = appendBit(b.b[:0], x, 0)
	b.cs.Enforce(b.a, b.b, b.c)
	return r
}
