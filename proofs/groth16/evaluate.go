package groth16

import (
	"context"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/r1cs"
)

// counter is a ConstraintSystem that only counts.
type counter struct{ shape }

func (c *counter) Input(r1cs.Element) r1cs.Variable {
	c.Inputs++
	return r1cs.Input(int(c.Inputs) - 1) // limited by the circuit's size
}

func (c *counter) Aux(r1cs.Element) r1cs.Variable {
	c.shape.Aux++
	return r1cs.Aux(int(c.shape.Aux) - 1) // limited by the circuit's size
}

func (c *counter) Enforce(_, _, _ r1cs.LC) { c.Constraints++ }

// count walks the circuit once for its size.
func count(ctx context.Context, c r1cs.Circuit) (shape, error) {
	n := &counter{shape{Inputs: 1}}
	if err := c.Synthesize(ctx, n); err != nil {
		return shape{}, fmt.Errorf("groth16: walking the circuit to count: %w", err)
	}
	switch {
	case n.Constraints == 0:
		return shape{}, fmt.Errorf("groth16: the circuit has no constraints")
	case n.Inputs > MaxInputs:
		return shape{}, fmt.Errorf("groth16: the circuit has %d public inputs, at most %d are possible", n.Inputs, MaxInputs)
	case n.Constraints+n.Inputs > maxDomain || n.shape.Aux >= 1<<31:
		return shape{}, fmt.Errorf("groth16: the circuit has %d constraints and %d variables, at most %d are possible",
			n.Constraints, n.shape.Aux, maxDomain)
	}
	return n.shape, nil
}

// rows is the number of constraints with the one added for each input.
func (s shape) rows() int { return int(s.Constraints + s.Inputs) } // count has limited the size

func (s shape) domain() int { return domainSize(s.rows()) }

// evaluation is a ConstraintSystem that sums, for every variable, its polynomials
// of A, B and C at tau. Inputs come before aux variables.
type evaluation struct {
	a, b, c     []fr.Element
	inputs, aux int // allocated so far
	want        shape
	rows        int
	lagrange    *lagrange
	tick        func(rows int)
	err         error
}

// evaluate walks the circuit and adds a row input·0 = 0 for every input
// (bellperson src/groth16/generator.rs).
func evaluate(ctx context.Context, c r1cs.Circuit, size shape, tau fr.Element, tick func(rows int)) (*evaluation, error) {
	l, err := newLagrange(size.domain(), tau)
	if err != nil {
		return nil, err
	}
	n := size.Inputs + size.Aux
	e := &evaluation{
		a:        make([]fr.Element, n),
		b:        make([]fr.Element, n),
		c:        make([]fr.Element, n),
		inputs:   1,
		want:     size,
		lagrange: l,
		tick:     tick,
	}
	if err := c.Synthesize(ctx, e); err != nil {
		return nil, fmt.Errorf("groth16: walking the circuit: %w", err)
	}
	if e.err == nil && (e.inputs != int(size.Inputs) || e.aux != int(size.Aux) || e.rows != int(size.Constraints)) {
		e.fail()
	}
	if e.err != nil {
		return nil, e.err
	}
	for i := range int(size.Inputs) { // at most MaxInputs
		e.a[i].Add(&e.a[i], l.next())
	}
	return e, nil
}

func (e *evaluation) fail() {
	e.err = fmt.Errorf("groth16: two walks of the circuit differ, or it uses a variable before it is allocated (at constraint %d)", e.rows)
}

// Input counts an input.
func (e *evaluation) Input(r1cs.Element) r1cs.Variable {
	e.inputs++
	return r1cs.Input(e.inputs - 1)
}

// Aux counts a private variable.
func (e *evaluation) Aux(r1cs.Element) r1cs.Variable {
	e.aux++
	return r1cs.Aux(e.aux - 1)
}

// Enforce adds the row's Lagrange polynomial to the variables in it.
func (e *evaluation) Enforce(a, b, c r1cs.LC) {
	if e.inputs > int(e.want.Inputs) || e.aux > int(e.want.Aux) || e.rows >= int(e.want.Constraints) {
		e.fail()
		return
	}
	l := e.lagrange.next()
	e.add(e.a, a, l)
	e.add(e.b, b, l)
	e.add(e.c, c, l)
	if e.rows++; e.rows%(1<<16) == 0 {
		e.tick(e.rows)
	}
}

func (e *evaluation) add(to []fr.Element, lc r1cs.LC, l *fr.Element) {
	for i := range lc {
		at, limit := lc[i].V.Index(), e.inputs
		if lc[i].V.IsAux() {
			limit = e.aux
		}
		if at >= limit {
			e.fail()
			return
		}
		if lc[i].V.IsAux() {
			at += int(e.want.Inputs) // at most MaxInputs
		}
		if lc[i].C.IsOne() {
			to[at].Add(&to[at], l)
			continue
		}
		var t fr.Element
		to[at].Add(&to[at], t.Mul(l, &lc[i].C))
	}
}
