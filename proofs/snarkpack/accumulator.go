package snarkpack

import (
	"io"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// accumulator collects equations Π e(P, Q) = Π x^k and decides them all in one
// product: each is raised to a random power, and pairings with the same Q become
// one. A wrong equation gets through with probability 2^-255. That holds because
// all elements are in groups of prime order r.
type accumulator struct {
	pool
	random io.Reader
	err    error // of random

	slots []slot
	gts   []*bls.GT
	exps  []fr.Element
}

// slot is e(Σ scalar·point, q).
type slot struct {
	q       bls.G2Affine
	points  []bls.G1Affine
	scalars []fr.Element
}

// term is one pairing.
type term struct {
	p bls.G1Affine
	q bls.G2Affine
}

func newAccumulator(p pool, random io.Reader) *accumulator {
	return &accumulator{pool: p, random: random}
}

// equation adds Π terms = Π gts^exps. Without gts the terms must cancel.
func (a *accumulator) equation(gts []*bls.GT, exps []fr.Element, terms ...term) {
	rho, err := randomScalar(a.random)
	if err != nil {
		a.err = err
		return
	}
	for i := range gts {
		var e fr.Element
		e.Mul(&exps[i], &rho)
		a.gts, a.exps = append(a.gts, gts[i]), append(a.exps, e)
	}
	for _, t := range terms {
		s := a.slot(t.q)
		s.points, s.scalars = append(s.points, t.p), append(s.scalars, rho)
	}
}

func (a *accumulator) slot(q bls.G2Affine) *slot {
	for i := range a.slots {
		if a.slots[i].q.Equal(&q) {
			return &a.slots[i]
		}
	}
	a.slots = append(a.slots, slot{q: q})
	return &a.slots[len(a.slots)-1]
}

// holds decides. The error is that of the context or of the randomness.
func (a *accumulator) holds() (bool, error) {
	if a.err != nil {
		return false, a.err
	}
	loops := make([]bls.GT, len(a.slots))
	powers := make([]bls.GT, len(a.gts))
	err := a.each(len(a.slots)+len(a.gts), func(i int) (err error) {
		if i < len(a.slots) {
			loops[i], err = a.slots[i].miller()
			return err
		}
		i -= len(a.slots)
		var k big.Int
		powers[i].ExpGLV(*a.gts[i], a.exps[i].BigInt(&k))
		return nil
	})
	if err != nil {
		return false, err
	}
	var left, right bls.GT
	left.SetOne()
	right.SetOne()
	for i := range loops {
		left.Mul(&left, &loops[i])
	}
	for i := range powers {
		right.Mul(&right, &powers[i])
	}
	left = bls.FinalExponentiation(&left)
	return left.Equal(&right), nil
}

func (s *slot) miller() (bls.GT, error) {
	var p bls.G1Affine
	if _, err := p.MultiExp(s.points, s.scalars, ecc.MultiExpConfig{NbTasks: 1}); err != nil {
		return bls.GT{}, err
	}
	return bls.MillerLoop([]bls.G1Affine{p}, []bls.G2Affine{s.q})
}

func mulG1(p bls.G1Affine, x fr.Element) bls.G1Affine {
	var k big.Int
	p.ScalarMultiplication(&p, x.BigInt(&k))
	return p
}

func addG1(p, q bls.G1Affine) bls.G1Affine {
	p.Add(&p, &q)
	return p
}

func neg(x fr.Element) fr.Element {
	x.Neg(&x)
	return x
}
