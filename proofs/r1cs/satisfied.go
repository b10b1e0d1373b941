package r1cs

import (
	"context"
	"fmt"
)

// Unsatisfied tells which constraint of a circuit does not hold.
type Unsatisfied struct {
	Constraint int // the first that fails, counted from 0
	Failed     int // how many fail
}

func (e *Unsatisfied) Error() string {
	return fmt.Sprintf("constraint %d does not hold, %d fail in all", e.Constraint, e.Failed)
}

// Satisfied walks through c and checks every constraint with the values told.
// It returns the public inputs without One. The error is *Unsatisfied when
// constraints fail, and what Synthesize says otherwise.
func Satisfied(ctx context.Context, c Circuit) ([]Element, error) {
	s := &checker{first: -1, inputs: make([]Element, 1)}
	s.inputs[0].SetOne()
	if err := c.Synthesize(ctx, s); err != nil {
		return nil, err
	}
	if s.failed > 0 {
		return s.inputs[1:], &Unsatisfied{Constraint: s.first, Failed: s.failed}
	}
	return s.inputs[1:], nil
}

// checker is a ConstraintSystem that evaluates constraints as they come.
type checker struct {
	inputs, aux          []Element
	count, first, failed int
}

func (s *checker) Input(value Element) Variable {
	s.inputs = append(s.inputs, value)
	return Input(len(s.inputs) - 1)
}

func (s *checker) Aux(value Element) Variable {
	s.aux = append(s.aux, value)
	return Aux(len(s.aux) - 1)
}

func (s *checker) Enforce(a, b, c LC) {
	x, y, z := s.eval(a), s.eval(b), s.eval(c)
	x.Mul(&x, &y)
	if x != z {
		if s.failed == 0 {
			s.first = s.count
		}
		s.failed++
	}
	s.count++
}

func (s *checker) eval(lc LC) (sum Element) {
	for i := range lc {
		v := &s.inputs[0]
		switch n := lc[i].V.Index(); {
		case lc[i].V.IsAux():
			v = &s.aux[n]
		default:
			v = &s.inputs[n]
		}
		if v.IsZero() {
			continue
		}
		p := lc[i].C
		if !v.IsOne() {
			p.Mul(&p, v)
		}
		sum.Add(&sum, &p)
	}
	return sum
}
