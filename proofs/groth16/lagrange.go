package groth16

import (
	"errors"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr/fft"
)

// lagrange gives the Lagrange polynomials of a domain of m elements at tau, one
// after the other:
//
//	L_j(tau) = (tau^m - 1)/m · w^j/(tau - w^j)
//
// in pieces that share an inversion, so that no vector of the domain's size is
// kept.
type lagrange struct {
	tau, omega, power, factor fr.Element
	z                         fr.Element // tau^m - 1
	piece                     []fr.Element
	at                        int
}

const lagrangePiece = 1024

func newLagrange(m int, tau fr.Element) (*lagrange, error) {
	omega, err := fft.Generator(uint64(m))
	if err != nil {
		return nil, err
	}
	l := &lagrange{tau: tau, omega: omega, power: fr.One()}
	one := fr.One()
	l.z.Exp(tau, big.NewInt(int64(m)))
	if l.z.Sub(&l.z, &one); l.z.IsZero() {
		return nil, errors.New("groth16: tau is in the evaluation domain: draw another")
	}
	l.factor.SetInt64(int64(m))
	l.factor.Inverse(&l.factor).Mul(&l.factor, &l.z)
	return l, nil
}

// next is the next value. It is valid until the next call.
func (l *lagrange) next() *fr.Element {
	if l.at == len(l.piece) {
		l.fill()
	}
	l.at++
	return &l.piece[l.at-1]
}

func (l *lagrange) fill() {
	diff, top := make([]fr.Element, lagrangePiece), make([]fr.Element, lagrangePiece)
	for i := range diff {
		diff[i].Sub(&l.tau, &l.power)
		top[i].Mul(&l.power, &l.factor)
		l.power.Mul(&l.power, &l.omega)
	}
	l.piece = fr.BatchInvert(diff)
	for i := range top {
		l.piece[i].Mul(&l.piece[i], &top[i])
	}
	l.at = 0
}
