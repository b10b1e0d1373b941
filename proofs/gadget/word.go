package gadget

import (
	"math/bits"

	"quarry/proofs/r1cs"
)

// word is 32 bits, least significant first (bellpepper UInt32).
type word [32]Bit

func constWord(v uint32) (w word) {
	for i := range w {
		w[i].val = v>>i&1 == 1
	}
	return w
}

// rotr is w rotated to the right, shr shifted, filled with constant false.
func (w *word) rotr(by int) (out word) {
	copy(out[:32-by], w[by:])
	copy(out[32-by:], w[:by])
	return out
}

func (w *word) shr(by int) (out word) {
	copy(out[:32-by], w[by:])
	return out
}

// xor3 is x ^ y ^ z, the first two first.
func (b *Builder) xor3(x, y, z word) (out word) {
	for i := range out {
		out[i] = b.Xor(x[i], y[i])
	}
	for i := range out {
		out[i] = b.Xor(out[i], z[i])
	}
	return out
}

func (b *Builder) chWord(x, y, z *word) (out word) {
	for i := range out {
		out[i] = b.Ch(x[i], y[i], z[i])
	}
	return out
}

func (b *Builder) majWord(x, y, z *word) (out word) {
	for i := range out {
		out[i] = b.Maj(x[i], y[i], z[i])
	}
	return out
}

// multiEq gathers equalities of small sums into few constraints, each scaled to
// lie above the one before (bellpepper MultiEq).
type multiEq struct {
	b        *Builder
	lhs, rhs r1cs.LC
	one      r1cs.Element // constant part of lhs
	used     int          // bits
}

// flush adds the constraint lhs * 1 = rhs, if there is anything to say.
func (m *multiEq) flush() {
	if m.used == 0 {
		return
	}
	if !m.one.IsZero() {
		m.lhs = append(m.lhs, r1cs.Term{V: r1cs.One, C: m.one})
	}
	m.b.cs.Enforce(m.lhs, m.b.one[:], m.rhs)
	m.lhs, m.rhs, m.used = m.lhs[:0], m.rhs[:0], 0
	m.one.SetZero()
}

// addMany is the sum of words modulo 2^32. The whole sum is allocated as bits
// and bound to the words through m; carries are then dropped. Constant words
// alone give a constant.
func (m *multiEq) addMany(ops ...*word) (out word) {
	var total, constants uint64
	all := true
	for _, op := range ops {
		for i, x := range op {
			if x.form != constant {
				all = false
			}
			if x.val {
				total += 1 << i
			}
			if x.form == negated || x.form == constant && x.val {
				constants += 1 << i
			}
		}
	}
	if all {
		return constWord(uint32(total)) // modulo 2^32 is meant
	}
	width := bits.Len64(uint64(len(ops)) * (1<<32 - 1))
	var sum [40]Bit
	for i := range width {
		sum[i] = m.b.Bit(total>>i&1 == 1)
	}
	if m.used+width >= capacity {
		m.flush()
	}
	for _, op := range ops {
		m.lhs = appendScaled(m.lhs, op[:], m.used)
	}
	if constants != 0 {
		var k r1cs.Element
		k.SetUint64(constants)
		k.Mul(&k, &pow2[m.used])
		m.one.Add(&m.one, &k)
	}
	m.rhs = appendScaled(m.rhs, sum[:width], m.used)
	m.used += width
	copy(out[:], sum[:])
	return out
}

// appendScaled appends the variable part of bits, the first with 2^shift.
func appendScaled(lc r1cs.LC, bits []Bit, shift int) r1cs.LC {
	for i, x := range bits {
		switch x.form {
		case plain:
			lc = append(lc, r1cs.Term{V: x.v, C: pow2[shift+i]})
		case negated:
			lc = append(lc, r1cs.Term{V: x.v, C: negPow2[shift+i]})
		}
	}
	return lc
}
