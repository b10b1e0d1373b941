package snarkpack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/groth16"
)

// SRS is a structured reference string or the beginning of one: powers of two
// secrets α and β, from the zeroth, times the generators g of G1 and h of G2.
// Aggregating n proofs takes 2n points in G1 and n in G2.
type SRS struct {
	GAlpha, GBeta []bls.G1Affine
	HAlpha, HBeta []bls.G2Affine
}

// VerifierKey is what a verifier needs of an SRS, for any number of proofs.
type VerifierKey struct {
	G, GAlpha, GBeta bls.G1Affine
	H, HAlpha, HBeta bls.G2Affine
}

// NewSRS makes an SRS for aggregates of up to maxProofs proofs, a power of two,
// from the two secrets: 2·maxProofs points in each of the four vectors. Whoever
// knows α or β can forge aggregates, so this is for devnets and tests; the
// network's SRS comes from ceremonies in which nobody knew them.
func NewSRS(ctx context.Context, alpha, beta fr.Element, maxProofs int) (*SRS, error) {
	if err := checkCount(uint64(max(0, maxProofs))); err != nil {
		return nil, fmt.Errorf("make SRS: %w", err)
	}
	for _, x := range []fr.Element{alpha, beta} {
		if x.IsZero() || x.IsOne() {
			return nil, errors.New("make SRS: a secret is 0 or 1; draw it at random")
		}
	}
	if alpha.Equal(&beta) {
		return nil, errors.New("make SRS: both secrets are the same; draw them independently")
	}
	g, h := groth16.Generators()
	s := new(SRS)
	for _, v := range []struct {
		secret fr.Element
		g      *[]bls.G1Affine
		h      *[]bls.G2Affine
	}{{alpha, &s.GAlpha, &s.HAlpha}, {beta, &s.GBeta, &s.HBeta}} {
		for scalars := range slices.Chunk(powers(v.secret, 2*maxProofs), 4096) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			*v.g = append(*v.g, bls.BatchScalarMultiplicationG1(&g, scalars)...)
			*v.h = append(*v.h, bls.BatchScalarMultiplicationG2(&h, scalars)...)
		}
	}
	return s, nil
}

// MaxProofs is the largest number of proofs the points at hand can aggregate, a
// power of two, or 0 if they suffice for none.
func (s *SRS) MaxProofs() int {
	points := min(len(s.GAlpha)/2, len(s.GBeta)/2, len(s.HAlpha), len(s.HBeta))
	n := 1
	for 2*n <= points && 2*n <= MaxProofs {
		n *= 2
	}
	if n < 2 {
		return 0
	}
	return n
}

// VerifierKey takes the verifier's six points out of an SRS.
func (s *SRS) VerifierKey() (VerifierKey, error) {
	if s.MaxProofs() == 0 {
		return VerifierKey{}, errors.New("verifier key: the SRS has too few points")
	}
	return VerifierKey{
		G:      s.GAlpha[0],
		GAlpha: s.GAlpha[1],
		GBeta:  s.GBeta[1],
		H:      s.HAlpha[0],
		HAlpha: s.HAlpha[1],
		HBeta:  s.HBeta[1],
	}, nil
}

// Check says whether the four vectors are powers of two secrets over the same
// generators. It takes a random combination of the equations that neighbours must
// fulfil, so a wrong SRS passes with probability below 2^-250. Reading a file
// checks points one by one only; whoever has not compared the file's digest with
// the published one calls this. It cannot tell whether somebody knows the secrets.
func (s *SRS) Check(ctx context.Context) (bool, error) {
	key, err := s.VerifierKey()
	if err != nil {
		return false, nil
	}
	if key.G.IsInfinity() || key.H.IsInfinity() || !key.G.Equal(&s.GBeta[0]) || !key.H.Equal(&s.HBeta[0]) {
		return false, nil
	}
	for _, v := range []struct {
		g      []bls.G1Affine
		h      []bls.G2Affine
		ga     bls.G1Affine
		ha     bls.G2Affine
		secret string
	}{{s.GAlpha, s.HAlpha, key.GAlpha, key.HAlpha, "α"}, {s.GBeta, s.HBeta, key.GBeta, key.HBeta, "β"}} {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if v.ga.IsInfinity() || v.ha.IsInfinity() {
			return false, nil
		}
		ok, err := checkPowers(v.g, v.h, v.ga, v.ha)
		if err != nil {
			return false, fmt.Errorf("check powers of %s: %w", v.secret, err)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

// checkPowers tests e(Σρ_i·g_{i+1}, h_0) = e(Σρ_i·g_i, ha) and the same for h
// against ga.
func checkPowers(g []bls.G1Affine, h []bls.G2Affine, ga bls.G1Affine, ha bls.G2Affine) (bool, error) {
	rho := make([]fr.Element, max(len(g), len(h)))
	for i := range rho {
		r, err := randomScalar(rand.Reader)
		if err != nil {
			return false, err
		}
		rho[i] = r
	}
	var g0, g1 bls.G1Affine
	var h0, h1 bls.G2Affine
	n := len(g) - 1
	if _, err := g0.MultiExp(g[:n], rho[:n], ecc.MultiExpConfig{}); err != nil {
		return false, err
	}
	if _, err := g1.MultiExp(g[1:], rho[:n], ecc.MultiExpConfig{}); err != nil {
		return false, err
	}
	n = len(h) - 1
	if _, err := h0.MultiExp(h[:n], rho[:n], ecc.MultiExpConfig{}); err != nil {
		return false, err
	}
	if _, err := h1.MultiExp(h[1:], rho[:n], ecc.MultiExpConfig{}); err != nil {
		return false, err
	}
	g0.Neg(&g0)
	ok, err := bls.PairingCheck([]bls.G1Affine{g1, g0}, []bls.G2Affine{h[0], ha})
	if err != nil || !ok {
		return false, err
	}
	h0.Neg(&h0)
	return bls.PairingCheck([]bls.G1Affine{g[0], ga}, []bls.G2Affine{h1, h0})
}

// powers returns 1, x, x², … of length n.
func powers(x fr.Element, n int) []fr.Element {
	out := make([]fr.Element, n)
	out[0].SetOne()
	for i := 1; i < n; i++ {
		out[i].Mul(&out[i-1], &x)
	}
	return out
}

// randomScalar reads a scalar other than zero, uniform up to 2^-128.
func randomScalar(r io.Reader) (fr.Element, error) {
	var b [48]byte
	var x fr.Element
	for x.IsZero() {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return x, fmt.Errorf("read randomness: %w", err)
		}
		x.SetBytes(b[:])
	}
	return x, nil
}
