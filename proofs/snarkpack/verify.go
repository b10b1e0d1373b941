package snarkpack

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/groth16"
)

// Statement is what an aggregate is checked against.
type Statement struct {
	Key     VerifierKey           // of the SRS
	Circuit *groth16.VerifyingKey // of the circuit all proofs are for
	Version Version
	Include []byte // what the prover bound

	// Inputs holds the public inputs of every proof in order, without the one
	// that stands for the constant, before padding: 1 to MaxProofs sets, each as
	// long as the circuit demands.
	Inputs [][]fr.Element

	Workers int // goroutines; one per processor if below 1
}

// VerifyBytes is Verify on an encoded aggregate; one that ParseProof refuses is
// false.
func VerifyBytes(ctx context.Context, st Statement, proof []byte) (bool, error) {
	if len(st.Inputs) > 0 && len(proof) != ProofLength(PaddedCount(len(st.Inputs))) {
		return false, nil // without the price of decoding
	}
	p, err := ParseProof(proof)
	if err != nil {
		return false, nil
	}
	return Verify(ctx, st, p)
}

// Verify says whether the aggregate proves that there are valid Groth16 proofs
// for all public inputs. It is false for a wrong aggregate, a wrong number of
// inputs, and an unknown version. An error means that it could not decide: the
// context ended, there was no randomness, or a key was not given.
func Verify(ctx context.Context, st Statement, p *Proof) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := st.usable(); err != nil {
		return false, err
	}
	if !st.fits(p) {
		return false, nil
	}
	hcom := p.commitmentChallenge()
	r := combinationChallenge(hcom, st.Include)
	ch := startChallenges(st.Version, hcom, r, p)
	for i := range p.round {
		ch.next(&p.round[i])
	}
	if ok, err := p.sumFolds(ch); !ok || err != nil {
		return false, err
	}
	acc := newAccumulator(newPool(ctx, st.Workers), rand.Reader)
	p.checkCommitments(acc, ch)
	p.checkKeys(acc, ch, &st.Key)
	if err := st.checkGroth16(acc, p, r); err != nil {
		return false, err
	}
	return acc.holds()
}

// usable refuses keys that were never filled in: with points at infinity equations
// hold by themselves.
func (st *Statement) usable() error {
	k := &st.Key
	for _, p := range []*bls.G1Affine{&k.G, &k.GAlpha, &k.GBeta} {
		if p.IsInfinity() {
			return errors.New("verify aggregate: SRS key is empty; take it from SRSFile.VerifierKey")
		}
	}
	for _, p := range []*bls.G2Affine{&k.H, &k.HAlpha, &k.HBeta} {
		if p.IsInfinity() {
			return errors.New("verify aggregate: SRS key is empty; take it from SRSFile.VerifierKey")
		}
	}
	if c := st.Circuit; c == nil || c.BetaG2.IsInfinity() || c.GammaG2.IsInfinity() || c.DeltaG2.IsInfinity() {
		return errors.New("verify aggregate: verifying key of the circuit is missing or empty")
	}
	return nil
}

// fits checks everything that needs no arithmetic.
func (st *Statement) fits(p *Proof) bool {
	if p == nil || !st.Version.valid() || p.n < 2 || p.n != PaddedCount(len(st.Inputs)) {
		return false
	}
	for _, in := range st.Inputs {
		if len(in)+1 != len(st.Circuit.IC) {
			return false
		}
	}
	return true
}

// sumFolds checks that Σ r^i·C_i folds to the last C times the folded powers of r.
func (p *Proof) sumFolds(ch *challenges) (bool, error) {
	folded := foldValue(ch.cInv, fr.One(), ch.r)
	points, scalars := []bls.G1Affine{p.aggC}, []fr.Element{fr.One()}
	for i := range p.round {
		points = append(points, p.round[i].zcL, p.round[i].zcR)
		scalars = append(scalars, ch.c[i], ch.cInv[i])
	}
	var minus fr.Element
	points, scalars = append(points, p.finalC), append(scalars, *minus.Neg(&folded))
	var sum bls.G1Affine
	_, err := sum.MultiExp(points, scalars, ecc.MultiExpConfig{NbTasks: 1})
	return err == nil && sum.IsInfinity(), err
}

// checkCommitments folds the commitments and the inner product as the vectors
// were folded and compares them with those of the last values.
func (p *Proof) checkCommitments(acc *accumulator, ch *challenges) {
	folded := func(first *bls.GT, l, r func(*round) *bls.GT) (gts []*bls.GT, exps []fr.Element) {
		gts, exps = append(gts, first), append(exps, fr.One())
		for i := range p.round {
			gts = append(gts, l(&p.round[i]), r(&p.round[i]))
			exps = append(exps, ch.c[i], ch.cInv[i])
		}
		return gts, exps
	}
	gts, exps := folded(&p.ipAB,
		func(x *round) *bls.GT { return &x.zabL }, func(x *round) *bls.GT { return &x.zabR })
	acc.equation(gts, exps, term{p.finalA, p.finalB})

	gts, exps = folded(&p.comAB.t,
		func(x *round) *bls.GT { return &x.abL.t }, func(x *round) *bls.GT { return &x.abR.t })
	acc.equation(gts, exps, term{p.finalA, p.v[0]}, term{p.w[0], p.finalB})

	gts, exps = folded(&p.comAB.u,
		func(x *round) *bls.GT { return &x.abL.u }, func(x *round) *bls.GT { return &x.abR.u })
	acc.equation(gts, exps, term{p.finalA, p.v[1]}, term{p.w[1], p.finalB})

	gts, exps = folded(&p.comC.t,
		func(x *round) *bls.GT { return &x.cL.t }, func(x *round) *bls.GT { return &x.cR.t })
	acc.equation(gts, exps, term{p.finalC, p.v[0]})

	gts, exps = folded(&p.comC.u,
		func(x *round) *bls.GT { return &x.cL.u }, func(x *round) *bls.GT { return &x.cR.u })
	acc.equation(gts, exps, term{p.finalC, p.v[1]})
}

// checkKeys checks the KZG openings of the folded keys: with y the value at z,
// e(g, v − y·h) = e(α·g − z·g, opening) and e(w − y·g, h) = e(opening, α·h − z·h),
// and the same for β. The terms are arranged so that few points of G2 occur.
func (p *Proof) checkKeys(acc *accumulator, ch *challenges, key *VerifierKey) {
	z := ch.openingPoint(p)
	var rInv fr.Element
	rInv.Inverse(&ch.r)

	yv := foldValue(ch.cInv, fr.One(), z)
	for i, secret := range []bls.G1Affine{key.GAlpha, key.GBeta} {
		minusG := mulG1(key.G, neg(fr.One()))
		shifted := addG1(secret, mulG1(key.G, neg(z)))
		acc.equation(nil, nil,
			term{minusG, p.v[i]}, term{mulG1(key.G, yv), key.H}, term{shifted, p.openV[i]})
	}

	zn := z
	for n := p.n; n > 1; n /= 2 { // z^n; n is a power of two
		zn.Square(&zn)
	}
	yw := foldValue(ch.c, rInv, z)
	yw.Mul(&yw, &zn)
	for i, secret := range []bls.G2Affine{key.HAlpha, key.HBeta} {
		left := addG1(mulG1(key.G, yw), mulG1(p.w[i], neg(fr.One())))
		acc.equation(nil, nil,
			term{left, key.H}, term{p.openW[i], secret}, term{mulG1(p.openW[i], neg(z)), key.H})
	}
}

// checkGroth16 checks the sum of all verification equations with the powers of r:
// Z = e(Σr^i·α, β)·e(Σr^i·(ic_0 + Σ_j x_ij·ic_j), γ)·e(Σr^i·C_i, δ).
func (st *Statement) checkGroth16(acc *accumulator, p *Proof, r fr.Element) error {
	weights := st.weights(r, p.n)
	scalars := make([]fr.Element, len(st.Circuit.IC))
	for i := range weights {
		scalars[0].Add(&scalars[0], &weights[i])
	}
	err := acc.ranges(len(scalars)-1, 64, func(lo, hi int) error {
		var t fr.Element
		for j := lo; j < hi; j++ {
			for i := range st.Inputs {
				t.Mul(&st.Inputs[i][j], &weights[i])
				scalars[j+1].Add(&scalars[j+1], &t)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var inputs bls.G1Affine
	if _, err := inputs.MultiExp(st.Circuit.IC, scalars, ecc.MultiExpConfig{NbTasks: acc.workers}); err != nil {
		return err
	}
	acc.equation([]*bls.GT{&p.ipAB}, []fr.Element{fr.One()},
		term{mulG1(st.Circuit.AlphaG1, scalars[0]), st.Circuit.BetaG2},
		term{inputs, st.Circuit.GammaG2},
		term{p.aggC, st.Circuit.DeltaG2})
	return nil
}

// weights are the powers of r by which each set of inputs counts; the last set
// stands for the padding too.
func (st *Statement) weights(r fr.Element, n int) []fr.Element {
	all := powers(r, n)
	last := len(st.Inputs) - 1
	for i := last + 1; i < n; i++ {
		all[last].Add(&all[last], &all[i])
	}
	return all[:last+1]
}
