package snarkpack

import (
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// foldChunk is how many points one piece of work scales: some milliseconds.
const foldChunk = 16

// halve does one round: cross terms into the proof, then every vector folded to
// half its length.
func (p *prover) halve(out *Proof, ch *challenges) error {
	x, err := p.crossTerms()
	if err != nil {
		return err
	}
	c, cInv := ch.next(&x)
	out.round = append(out.round, x)
	return p.fold(c, cInv)
}

func (p *prover) crossTerms() (x round, err error) {
	h := len(p.a) / 2
	aL, aR := p.a[:h], p.a[h:]
	bL, bR := p.b[:h], p.b[h:]
	cL, cR := p.c[:h], p.c[h:]
	rL, rR := p.r[:h], p.r[h:]
	var left, right [2]product // commitments to A and B
	var cLeft, cRight [2]product
	for k := range 2 {
		vL, vR := p.v[k][:h], p.v[k][h:]
		wL, wR := p.w[k][:h], p.w[k][h:]
		left[k] = product{{aR, vL}, {wR, bL}}
		right[k] = product{{aL, vR}, {wL, bR}}
		cLeft[k] = product{{cR, vL}}
		cRight[k] = product{{cL, vR}}
	}
	gts, err := p.pairings(left[0], left[1], right[0], right[1],
		cLeft[0], cLeft[1], cRight[0], cRight[1],
		product{{aR, bL}}, product{{aL, bR}})
	if err != nil {
		return x, err
	}
	x.abL, x.abR = pair{gts[0], gts[1]}, pair{gts[2], gts[3]}
	x.cL, x.cR = pair{gts[4], gts[5]}, pair{gts[6], gts[7]}
	x.zabL, x.zabR = gts[8], gts[9]
	if x.zcL, err = p.sum(cR, rL); err != nil {
		return x, err
	}
	x.zcR, err = p.sum(cL, rR)
	return x, err
}

// fold replaces every vector by its left half plus a multiple of its right half:
// A, C and w with c, B, v and r with 1/c.
func (p *prover) fold(c, cInv fr.Element) error {
	h := len(p.a) / 2
	var s, sInv big.Int
	c.BigInt(&s)
	cInv.BigInt(&sInv)

	inG1 := []*[]bls.G1Affine{&p.a, &p.c, &p.w[0], &p.w[1]}
	inG2 := []*[]bls.G2Affine{&p.b, &p.v[0], &p.v[1]}
	outG1 := make([][]bls.G1Affine, len(inG1))
	outG2 := make([][]bls.G2Affine, len(inG2))
	for i := range outG1 {
		outG1[i] = make([]bls.G1Affine, h)
	}
	for i := range outG2 {
		outG2[i] = make([]bls.G2Affine, h)
	}
	err := p.ranges(h, foldChunk, func(lo, hi int) error {
		for i := range inG1 {
			foldG1(outG1[i], *inG1[i], &s, lo, hi)
		}
		for i := range inG2 {
			foldG2(outG2[i], *inG2[i], &sInv, lo, hi)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range inG1 {
		*inG1[i] = outG1[i]
	}
	for i := range inG2 {
		*inG2[i] = outG2[i]
	}
	for i := range h {
		var t fr.Element
		t.Mul(&p.r[h+i], &cInv)
		p.r[i].Add(&p.r[i], &t)
	}
	p.r = p.r[:h]
	return nil
}

func foldG1(out, in []bls.G1Affine, s *big.Int, lo, hi int) {
	for i := lo; i < hi; i++ {
		var t bls.G1Jac
		t.FromAffine(&in[len(out)+i])
		t.ScalarMultiplication(&t, s)
		t.AddMixed(&in[i])
		out[i].FromJacobian(&t)
	}
}

func foldG2(out, in []bls.G2Affine, s *big.Int, lo, hi int) {
	for i := lo; i < hi; i++ {
		var t bls.G2Jac
		t.FromAffine(&in[len(out)+i])
		t.ScalarMultiplication(&t, s)
		t.AddMixed(&in[i])
		out[i].FromJacobian(&t)
	}
}
