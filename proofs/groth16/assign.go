package groth16

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/r1cs"
)

// assignment is a ConstraintSystem that keeps the values of variables, the
// values of A, B and C in every row, and which variables occur in A and B. It
// keeps no matrices.
type assignment struct {
	inputs, aux []fr.Element
	a, b, c     []fr.Element

	aAux, bInputs, bAux density

	merged r1cs.LC // scratch
	err    error
}

// assign walks the circuit and adds, as bellperson does, one row input·0 = 0 for
// every input, so that all of them occur in A. The rows have room for domain
// values.
func assign(ctx context.Context, c r1cs.Circuit, aux, domain int) (*assignment, error) {
	s := &assignment{
		inputs: []fr.Element{fr.One()},
		aux:    make([]fr.Element, 0, aux),
		a:      make([]fr.Element, 0, domain),
		b:      make([]fr.Element, 0, domain),
		c:      make([]fr.Element, 0, domain),
	}
	if err := c.Synthesize(ctx, s); err != nil {
		return nil, fmt.Errorf("groth16: walking the circuit: %w", err)
	}
	if s.err != nil {
		return nil, s.err
	}
	for i := range s.inputs {
		s.a, s.b, s.c = append(s.a, s.inputs[i]), append(s.b, fr.Element{}), append(s.c, fr.Element{})
	}
	return s, nil
}

// Input allocates a public input.
func (s *assignment) Input(value r1cs.Element) r1cs.Variable {
	s.inputs = append(s.inputs, value)
	return r1cs.Input(len(s.inputs) - 1)
}

// Aux allocates a private variable.
func (s *assignment) Aux(value r1cs.Element) r1cs.Variable {
	s.aux = append(s.aux, value)
	return r1cs.Aux(len(s.aux) - 1)
}

// Enforce evaluates a row.
func (s *assignment) Enforce(a, b, c r1cs.LC) {
	s.mark(a, nil, &s.aAux)
	s.mark(b, &s.bInputs, &s.bAux)
	s.a, s.b, s.c = append(s.a, s.eval(a)), append(s.b, s.eval(b)), append(s.c, s.eval(c))
}

func (s *assignment) eval(lc r1cs.LC) (sum fr.Element) {
	for i := range lc {
		v := s.value(lc[i].V)
		switch {
		case v == nil:
			s.err = fmt.Errorf("groth16: row %d of the circuit uses a variable before it is allocated", len(s.a))
		case v.IsZero():
		case v.IsOne():
			sum.Add(&sum, &lc[i].C)
		case lc[i].C.IsOne():
			sum.Add(&sum, v)
		default:
			var t fr.Element
			sum.Add(&sum, t.Mul(&lc[i].C, v))
		}
	}
	return sum
}

func (s *assignment) value(v r1cs.Variable) *fr.Element {
	of := s.inputs
	if v.IsAux() {
		of = s.aux
	}
	if v.Index() >= len(of) {
		return nil
	}
	return &of[v.Index()]
}

// mark notes the variables that occur in lc with a coefficient that is not zero
// once equal variables are added up.
func (s *assignment) mark(lc r1cs.LC, inputs, aux *density) {
	if !ascending(lc) {
		lc = s.merge(lc)
	}
	for i := range lc {
		switch v := lc[i].V; {
		case lc[i].C.IsZero():
		case v.IsAux():
			aux.set(v.Index())
		case inputs != nil:
			inputs.set(v.Index())
		}
	}
}

// ascending says whether every variable is greater than the one before it.
func ascending(lc r1cs.LC) bool {
	for i := 1; i < len(lc); i++ {
		if lc[i].V <= lc[i-1].V {
			return false
		}
	}
	return true
}

// merge is lc in ascending order of variables, each once.
func (s *assignment) merge(lc r1cs.LC) r1cs.LC {
	s.merged = append(s.merged[:0], lc...)
	slices.SortFunc(s.merged, func(x, y r1cs.Term) int { return cmp.Compare(x.V, y.V) })
	n := 0
	for i := range s.merged {
		if n > 0 && s.merged[n-1].V == s.merged[i].V {
			s.merged[n-1].C.Add(&s.merged[n-1].C, &s.merged[i].C)
			continue
		}
		s.merged[n] = s.merged[i]
		n++
	}
	return s.merged[:n]
}

// satisfied finds the first row where a·b is not c.
func (s *assignment) satisfied() error {
	var t fr.Element
	for i := range s.a {
		if t.Mul(&s.a[i], &s.b[i]); t != s.c[i] {
			return &UnsatisfiedError{Constraint: i, Constraints: len(s.a) - len(s.inputs)}
		}
	}
	return nil
}

// UnsatisfiedError says that the values of a circuit's variables do not make it
// true, so that there is nothing to prove.
type UnsatisfiedError struct {
	Constraint  int // the first that does not hold, counted from 0 in the order of the walk
	Constraints int // how many the circuit has
}

func (e *UnsatisfiedError) Error() string {
	return fmt.Sprintf("groth16: the statement is false: constraint %d of %d does not hold", e.Constraint, e.Constraints)
}

// density is a set of variable numbers.
type density []uint64

func (d *density) set(i int) {
	for i/64 >= len(*d) {
		*d = append(*d, 0)
	}
	(*d)[i/64] |= 1 << (i % 64)
}

func (d density) has(i int) bool { return i/64 < len(d) && d[i/64]>>(i%64)&1 == 1 }

func (d density) count() (n int) {
	for _, w := range d {
		n += bits.OnesCount64(w)
	}
	return n
}
