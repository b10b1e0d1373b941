package groth16

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/r1cs"
)

// synthetic is a random circuit: a walk decided by its seed alone, with bits,
// products of combinations, variables that are only in C, combinations that name
// a variable twice, and public inputs between them. blank gives it no values.
type synthetic struct {
	seed        uint64
	constraints int
	blank       bool
	wrong       int // this constraint's result is off by one; -1: none
}

func (c synthetic) Synthesize(ctx context.Context, cs r1cs.ConstraintSystem) error {
	w := &walk{
		cs:   cs,
		rng:  rand.New(rand.NewPCG(c.seed, 1)),
		c:    c,
		vars: []r1cs.Variable{r1cs.One},
		vals: []fr.Element{fr.One()},
	}
	for w.n < c.constraints {
		if w.n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch w.rng.IntN(8) {
		case 0, 1, 2, 3:
			w.bit()
		case 4:
			w.input()
		default:
			w.product()
		}
	}
	return nil
}

type walk struct {
	cs   r1cs.ConstraintSystem
	rng  *rand.Rand
	c    synthetic
	n    int
	vars []r1cs.Variable
	vals []fr.Element
	pub  []fr.Element
}

func (w *walk) alloc(v fr.Element, public bool) r1cs.Variable {
	w.vals = append(w.vals, v)
	if public {
		w.pub = append(w.pub, v)
	}
	if w.c.blank {
		v = fr.Element{}
	}
	var x r1cs.Variable
	if public {
		x = w.cs.Input(v)
	} else {
		x = w.cs.Aux(v)
	}
	w.vars = append(w.vars, x)
	return x
}

// enforce counts; the constraint that is to be wrong gets one too much in C.
func (w *walk) enforce(a, b, c r1cs.LC) {
	if w.n == w.c.wrong && !w.c.blank {
		c = append(c, r1cs.Term{V: r1cs.One, C: fr.One()})
	}
	w.cs.Enforce(a, b, c)
	w.n++
}

func single(v r1cs.Variable) r1cs.LC { return r1cs.LC{{V: v, C: fr.One()}} }

// bit allocates a bit: (1 - x)·x = 0.
func (w *walk) bit() {
	x := w.alloc(elem(w.rng.Uint64()%2), false)
	var minus fr.Element
	minus.SetOne().Neg(&minus)
	w.enforce(r1cs.LC{{V: r1cs.One, C: fr.One()}, {V: x, C: minus}}, single(x), nil)
}

// input makes a public copy of a variable.
func (w *walk) input() {
	i := w.rng.IntN(len(w.vars))
	x := w.alloc(w.vals[i], true)
	w.enforce(single(x), single(r1cs.One), single(w.vars[i]))
}

// product constrains the product of two combinations.
func (w *walk) product() {
	a, av := w.combination()
	b, bv := w.combination()
	av.Mul(&av, &bv)
	w.enforce(a, b, single(w.alloc(av, false)))
}

// combination is up to six random terms, some of which cancel.
func (w *walk) combination() (lc r1cs.LC, v fr.Element) {
	for range 1 + w.rng.IntN(6) {
		i := w.rng.IntN(len(w.vars))
		var k, t fr.Element
		switch w.rng.IntN(4) {
		case 0:
			k.SetOne()
		case 1:
			k.SetUint64(w.rng.Uint64())
		default:
			k.SetInt64(int64(w.rng.IntN(16)) - 8)
		}
		lc = append(lc, r1cs.Term{V: w.vars[i], C: k})
		v.Add(&v, t.Mul(&k, &w.vals[i]))
		if w.rng.IntN(8) == 0 {
			k.Neg(&k)
			lc = append(lc, r1cs.Term{V: w.vars[i], C: k})
			v.Add(&v, t.Mul(&k, &w.vals[i]))
		}
	}
	return lc, v
}

// public are the public inputs.
func (c synthetic) public() []fr.Element {
	c.blank = false
	w := &recorder{}
	if err := c.Synthesize(context.Background(), w); err != nil {
		panic(fmt.Sprint("synthetic circuit: ", err))
	}
	return w.in
}

type recorder struct {
	in  []fr.Element
	aux int
}

func (r *recorder) Input(v r1cs.Element) r1cs.Variable {
	r.in = append(r.in, v)
	return r1cs.Input(len(r.in))
}
func (r *recorder) Aux(r1cs.Element) r1cs.Variable { r.aux++; return r1cs.Aux(r.aux - 1) }
func (r *recorder) Enforce(_, _, _ r1cs.LC)        {}
