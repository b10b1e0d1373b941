package snarkpack

import (
	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// The folded keys are commitments to polynomials that the challenges determine:
//
//	f_v(X) = Π_j (1 + x_j·X^(2^j))            x_j inverse challenges
//	f_w(X) = X^n·Π_j (1 + x_j·(X/r)^(2^j))    x_j challenges
//
// with the last round's challenge for j = 0. The functions take the challenges in
// the order of the rounds.

// foldCoefficients expands Π_j (1 + x_j·(s·X)^(2^j)).
func foldCoefficients(challenges []fr.Element, s fr.Element) []fr.Element {
	out := make([]fr.Element, 1, 1<<len(challenges))
	out[0].SetOne()
	for j := len(challenges) - 1; j >= 0; j-- {
		var x fr.Element
		x.Mul(&challenges[j], &s)
		half := len(out)
		out = out[:2*half]
		for i := range half {
			out[half+i].Mul(&out[i], &x)
		}
		s.Square(&s)
	}
	return out
}

// foldValue is Π_j (1 + x_j·(s·z)^(2^j)), without expanding it.
func foldValue(challenges []fr.Element, s, z fr.Element) fr.Element {
	var out, power, one fr.Element
	one.SetOne()
	out.SetOne()
	power.Mul(&s, &z)
	for j := len(challenges) - 1; j >= 0; j-- {
		var f fr.Element
		f.Mul(&challenges[j], &power).Add(&f, &one)
		out.Mul(&out, &f)
		power.Square(&power)
	}
	return out
}

// quotient divides f by X−z and drops the remainder f(z).
func quotient(f []fr.Element, z fr.Element) []fr.Element {
	q := make([]fr.Element, len(f)-1)
	carry := f[len(f)-1]
	for i := len(q) - 1; i >= 0; i-- {
		q[i] = carry
		carry.Mul(&carry, &z).Add(&carry, &f[i])
	}
	return q
}

// openV and openW commit to the quotients: the KZG openings of the folded keys at
// z. rInv is 1/r, by whose powers w is scaled.
func openV(s *SRS, cInv []fr.Element, z fr.Element, cfg ecc.MultiExpConfig) (out [2]bls.G2Affine, err error) {
	q := quotient(foldCoefficients(cInv, fr.One()), z)
	if _, err = out[0].MultiExp(s.HAlpha[:len(q)], q, cfg); err != nil {
		return out, err
	}
	_, err = out[1].MultiExp(s.HBeta[:len(q)], q, cfg)
	return out, err
}

func openW(s *SRS, n int, c []fr.Element, rInv, z fr.Element, cfg ecc.MultiExpConfig) (out [2]bls.G1Affine, err error) {
	f := append(make([]fr.Element, n), foldCoefficients(c, rInv)...)
	q := quotient(f, z)
	if _, err = out[0].MultiExp(s.GAlpha[:len(q)], q, cfg); err != nil {
		return out, err
	}
	_, err = out[1].MultiExp(s.GBeta[:len(q)], q, cfg)
	return out, err
}
