package groth16

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// MaxBatch is the largest number of proofs that one call of Verify takes. A
// window PoSt has one per partition, an aggregated message at most 819 seals of
// ten (FIP-0013); those are verified otherwise.
const MaxBatch = 1 << 13

// Prepared is a verifying key with what is computed once per key. It is not
// changed by use and may be shared.
type Prepared struct {
	vk    *VerifyingKey
	lines [3]lines // of beta, gamma and delta in G2
}

// lines are those of the Miller loop over a fixed point.
type lines = [2][len(bls.LoopCounter) - 1]bls.LineEvaluationAff

// Prepare checks the points of G2 and precomputes their pairing lines. The key
// must not be changed afterwards.
func Prepare(vk *VerifyingKey) (*Prepared, error) {
	if n := len(vk.IC); n == 0 || n > MaxInputs {
		return nil, fmt.Errorf("groth16: verifying key: %d points in IC, must be 1 to %d", n, MaxInputs)
	}
	p := &Prepared{vk: vk}
	for i, q := range []*bls.G2Affine{&vk.BetaG2, &vk.GammaG2, &vk.DeltaG2} {
		if err := checkG2(q); err != nil {
			return nil, fmt.Errorf("groth16: verifying key: %s in G2: %w", []string{"beta", "gamma", "delta"}[i], err)
		}
		p.lines[i] = bls.PrecomputeLines(*q)
	}
	return p, nil
}

// Key is the key that was prepared.
func (p *Prepared) Key() *VerifyingKey { return p.vk }

// Inputs is the number of public inputs that a proof under this key has, without
// ONE.
func (p *Prepared) Inputs() int { return len(p.vk.IC) - 1 }

// Verify says whether every proof holds for the public inputs (without ONE) at
// the same place. Proofs are joined with random coefficients of 128 bits, so that
// a false one passes with probability 2^-128, and checked in one product of
// pairings. The answer is false for no proofs, too many (MaxBatch), not as many
// proofs as input sets, a wrong number of inputs, points outside the subgroup.
// An error means that the system gave no random numbers.
func Verify(key *Prepared, proofs []Proof, inputs [][]fr.Element) (bool, error) {
	if len(proofs) == 0 || len(proofs) > MaxBatch || len(inputs) != len(proofs) {
		return false, nil
	}
	for i := range proofs {
		if len(inputs[i]) != key.Inputs() || proofs[i].check() != nil {
			return false, nil
		}
	}
	z, err := coefficients(len(proofs))
	if err != nil {
		return false, err
	}
	return key.product(proofs, inputs, z)
}

// coefficients are n numbers below 2^128, not zero; the first is 1.
func coefficients(n int) ([]fr.Element, error) {
	z := make([]fr.Element, n)
	z[0].SetOne()
	for i := 1; i < n; {
		var b [16]byte
		if _, err := rand.Read(b[:]); err != nil {
			return nil, fmt.Errorf("groth16: drawing coefficients: %w", err)
		}
		if z[i].SetBytes(b[:]); !z[i].IsZero() {
			i++
		}
	}
	return z, nil
}

// product is whether
//
//	Π e(z_i·A_i, B_i) = e(Σz_i·alpha, beta)·e(Σ z_i·ic(x_i), gamma)·e(Σ z_i·C_i, delta)
func (p *Prepared) product(proofs []Proof, inputs [][]fr.Element, z []fr.Element) (bool, error) {
	n := len(proofs)
	as, bs, cs := make([]bls.G1Affine, n), make([]bls.G2Affine, n), make([]bls.G1Affine, n)
	for i := range proofs {
		as[i], bs[i], cs[i] = proofs[i].A, proofs[i].B, proofs[i].C
		if i > 0 {
			as[i].ScalarMultiplication(&as[i], bigOf(z[i]))
		}
	}
	sum, k := combine(inputs, z)
	var fixed [3]bls.G1Affine
	fixed[0].ScalarMultiplication(&p.vk.AlphaG1, bigOf(sum))
	_, err1 := fixed[1].MultiExp(p.vk.IC, k, ecc.MultiExpConfig{})
	_, err2 := fixed[2].MultiExp(cs, z, ecc.MultiExpConfig{})
	for i := range fixed {
		fixed[i].Neg(&fixed[i])
	}
	left, err3 := bls.MillerLoop(as, bs)
	spent := p.lines // the loop evaluates the lines in place
	right, err4 := bls.MillerLoopFixedQ(fixed[:], spent[:])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return false, fmt.Errorf("groth16: verifying %d proofs: %w", n, err)
	}
	left = bls.FinalExponentiation(&left, &right)
	return left.IsOne(), nil
}

// combine is the sum of z, and the scalars of IC: that sum and Σ z_i·x_i.
func combine(inputs [][]fr.Element, z []fr.Element) (fr.Element, []fr.Element) {
	var sum fr.Element
	for i := range z {
		sum.Add(&sum, &z[i])
	}
	k := slices.Concat([]fr.Element{sum}, inputs[0])
	for i := 1; i < len(z); i++ {
		for j := range inputs[i] {
			var t fr.Element
			k[j+1].Add(&k[j+1], t.Mul(&z[i], &inputs[i][j]))
		}
	}
	return sum, k
}
