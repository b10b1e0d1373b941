package gadget

import (
	"fmt"

	"quarry/proofs/poseidon"
	"quarry/proofs/r1cs"
)

// Num is a variable and its value.
type Num struct {
	Var   r1cs.Variable
	Value r1cs.Element
}

// Builder tells a constraint system of gadgets. It reuses its buffers: use one
// for a whole circuit, from one goroutine.
type Builder struct {
	cs  r1cs.ConstraintSystem
	err error
	// Combinations of fixed length, and three of any length.
	bitA       [2]r1cs.Term
	one, x     [1]r1cs.Term
	xorC       [3]r1cs.Term
	a, b, c    r1cs.LC
	sum        multiEq
	message    []Bit
	boxes      []r1cs.Variable
	pathBits   []Bit
	state, row []r1cs.Element
}

// New is a builder that tells cs.
func New(cs r1cs.ConstraintSystem) *Builder {
	b := &Builder{cs: cs}
	b.bitA = [2]r1cs.Term{{V: r1cs.One, C: pow2[0]}, {C: negPow2[0]}}
	b.one = [1]r1cs.Term{{V: r1cs.One, C: pow2[0]}}
	b.x = [1]r1cs.Term{{C: pow2[0]}}
	b.sum.b = b
	return b
}

// Err is the first value given that was no field element. Gadgets take zero in
// its place, so that the circuit keeps its shape.
func (b *Builder) Err() error { return b.err }

// pow2 are 1, 2, 4, … and negPow2 their negations: the coefficients of bits.
var pow2, negPow2 = func() (p, n [256]r1cs.Element) {
	p[0].SetOne()
	for i := range p {
		if i > 0 {
			p[i].Double(&p[i-1])
		}
		n[i].Neg(&p[i])
	}
	return p, n
}()

func term(v r1cs.Variable) r1cs.Term    { return r1cs.Term{V: v, C: pow2[0]} }
func negTerm(v r1cs.Variable) r1cs.Term { return r1cs.Term{V: v, C: negPow2[0]} }

// Num allocates a private variable.
func (b *Builder) Num(value r1cs.Element) Num { return Num{Var: b.cs.Aux(value), Value: value} }

// Node allocates a private variable for a little-endian tree node.
func (b *Builder) Node(node *[32]byte) Num {
	e, err := poseidon.Decode(node)
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("gadget: node %x: %w", *node, err)
	}
	return b.Num(e)
}

// Inputize makes n public: a new input that is equal to it.
func (b *Builder) Inputize(n Num) {
	in := b.cs.Input(n.Value)
	b.a = append(b.a[:0], term(in))
	b.c = append(b.c[:0], term(n.Var))
	b.cs.Enforce(b.a, b.one[:], b.c)
}

// Equal binds two variables to the same value.
func (b *Builder) Equal(x, y Num) {
	b.a = append(b.a[:0], term(x.Var))
	b.c = append(b.c[:0], term(y.Var))
	b.cs.Enforce(b.a, b.one[:], b.c)
}

// Add is x + y.
func (b *Builder) Add(x, y Num) Num {
	var v r1cs.Element
	v.Add(&x.Value, &y.Value)
	n := b.Num(v)
	b.BindSum(x, y, n)
	return n
}

// BindSum binds z to x + y.
func (b *Builder) BindSum(x, y, z Num) {
	b.a = append(b.a[:0], term(x.Var), term(y.Var))
	b.c = append(b.c[:0], term(z.Var))
	b.cs.Enforce(b.a, b.one[:], b.c)
}

// Sum is the sum of several.
func (b *Builder) Sum(xs ...Num) Num {
	var v r1cs.Element
	b.a = b.a[:0]
	for i := range xs {
		v.Add(&v, &xs[i].Value)
		b.a = append(b.a, term(xs[i].Var))
	}
	n := b.Num(v)
	b.c = append(b.c[:0], term(n.Var))
	b.cs.Enforce(b.a, b.one[:], b.c)
	return n
}

// Offset is k*x + c for numbers k and c that the circuit fixes.
func (b *Builder) Offset(x Num, k, c uint64) Num {
	var v, kk, cc r1cs.Element
	kk.SetUint64(k)
	cc.SetUint64(c)
	v.Mul(&x.Value, &kk)
	v.Add(&v, &cc)
	n := b.Num(v)
	b.a = append(b.a[:0], r1cs.Term{V: x.Var, C: kk})
	if c != 0 {
		b.a = append(b.a, r1cs.Term{V: r1cs.One, C: cc})
	}
	b.c = append(b.c[:0], term(n.Var))
	b.cs.Enforce(b.a, b.one[:], b.c)
	return n
}

// Mul is x * y.
func (b *Builder) Mul(x, y Num) Num {
	var v r1cs.Element
	v.Mul(&x.Value, &y.Value)
	n := b.Num(v)
	b.enforceProduct(x.Var, y.Var, n.Var)
	return n
}

// MulBit is x where bit is set and zero elsewhere.
func (b *Builder) MulBit(x Num, bit Bit) Num {
	var v r1cs.Element
	if bit.Value() {
		v = x.Value
	}
	n := b.Num(v)
	b.a = append(b.a[:0], term(x.Var))
	b.b = appendBit(b.b[:0], bit, 0)
	b.c = append(b.c[:0], term(n.Var))
	b.cs.Enforce(b.a, b.b, b.c)
	return n
}

func (b *Builder) enforceProduct(x, y, z r1cs.Variable) {
	b.a = append(b.a[:0], term(x))
	b.b = append(b.b[:0], term(y))
	b.c = append(b.c[:0], term(z))
	b.cs.Enforce(b.a, b.b, b.c)
}
