package snarkpack

import (
	"context"
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/groth16"
)

// Options say how to aggregate.
type Options struct {
	Version Version // V2 for everything new
	Include []byte  // bound by the challenges; the verifier must use the same
	Workers int     // goroutines; one per processor if below 1
}

// Aggregate makes one proof of 1 to MaxProofs proofs of the same circuit, in
// their order; the last is repeated up to PaddedCount. It does not check them:
// an aggregate with one invalid proof verifies as little as that proof. The SRS
// must suffice for the padded count. The result is determined by the arguments.
func Aggregate(ctx context.Context, srs *SRS, proofs []groth16.Proof, opts Options) (*Proof, error) {
	n := PaddedCount(len(proofs))
	switch {
	case n == 0:
		return nil, fmt.Errorf("aggregate %d proofs: must be 1 to %d", len(proofs), MaxProofs)
	case !opts.Version.valid():
		return nil, fmt.Errorf("aggregate %d proofs: no version %d; use V2", len(proofs), opts.Version)
	case n > srs.MaxProofs():
		return nil, fmt.Errorf("aggregate %d proofs: the SRS at hand suffices for %d, need %d; read more of it", len(proofs),
			srs.MaxProofs(), n)
	}
	p, err := newProver(ctx, srs, proofs, n, opts).run(opts)
	if err != nil {
		return nil, fmt.Errorf("aggregate %d proofs: %w", len(proofs), err)
	}
	return p, nil
}

// prover holds the vectors that the rounds fold.
type prover struct {
	pool
	srs  *SRS
	n    int
	a, c []bls.G1Affine
	b    []bls.G2Affine
	r    []fr.Element
	v    [2][]bls.G2Affine // commitment keys
	w    [2][]bls.G1Affine
}

func newProver(ctx context.Context, srs *SRS, proofs []groth16.Proof, n int, opts Options) *prover {
	p := &prover{
		pool: newPool(ctx, opts.Workers),
		srs:  srs,
		n:    n,
		a:    make([]bls.G1Affine, n),
		b:    make([]bls.G2Affine, n),
		c:    make([]bls.G1Affine, n),
	}
	for i := range n {
		q := &proofs[min(i, len(proofs)-1)]
		p.a[i], p.b[i], p.c[i] = q.A, q.B, q.C
	}
	p.v = [2][]bls.G2Affine{srs.HAlpha[:n], srs.HBeta[:n]}
	p.w = [2][]bls.G1Affine{srs.GAlpha[n : 2*n], srs.GBeta[n : 2*n]}
	return p
}

func (p *prover) run(opts Options) (*Proof, error) {
	out := &Proof{n: p.n}
	gts, err := p.pairings(
		product{{p.a, p.v[0]}, {p.w[0], p.b}}, product{{p.a, p.v[1]}, {p.w[1], p.b}},
		product{{p.c, p.v[0]}}, product{{p.c, p.v[1]}},
	)
	if err != nil {
		return nil, err
	}
	out.comAB, out.comC = pair{gts[0], gts[1]}, pair{gts[2], gts[3]}

	hcom := out.commitmentChallenge()
	r := combinationChallenge(hcom, opts.Include)
	if err := p.combine(out, r); err != nil {
		return nil, err
	}
	ch := startChallenges(opts.Version, hcom, r, out)
	for len(p.a) > 1 {
		if err := p.halve(out, ch); err != nil {
			return nil, err
		}
	}
	out.finalA, out.finalB, out.finalC = p.a[0], p.b[0], p.c[0]
	out.v = [2]bls.G2Affine{p.v[0][0], p.v[1][0]}
	out.w = [2]bls.G1Affine{p.w[0][0], p.w[1][0]}
	return out, p.open(out, ch)
}

// combine scales B by the powers of r and w by those of 1/r, which leaves the
// commitments as they are, and takes the inner products.
func (p *prover) combine(out *Proof, r fr.Element) error {
	var rInv fr.Element
	rInv.Inverse(&r)
	p.r = powers(r, p.n)
	inv := powers(rInv, p.n)
	b := make([]bls.G2Affine, p.n)
	w := [2][]bls.G1Affine{make([]bls.G1Affine, p.n), make([]bls.G1Affine, p.n)}
	err := p.ranges(p.n, foldChunk, func(lo, hi int) error {
		var s big.Int
		for i := lo; i < hi; i++ {
			b[i].ScalarMultiplication(&p.b[i], p.r[i].BigInt(&s))
			inv[i].BigInt(&s)
			w[0][i].ScalarMultiplication(&p.w[0][i], &s)
			w[1][i].ScalarMultiplication(&p.w[1][i], &s)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.b, p.w = b, w
	gts, err := p.pairings(product{{p.a, p.b}})
	if err != nil {
		return err
	}
	out.ipAB = gts[0]
	out.aggC, err = p.sum(p.c, p.r)
	return err
}

// sum is Σ scalar_i·point_i.
func (p *prover) sum(points []bls.G1Affine, scalars []fr.Element) (out bls.G1Affine, err error) {
	if err := p.ctx.Err(); err != nil {
		return out, err
	}
	_, err = out.MultiExp(points, scalars, ecc.MultiExpConfig{NbTasks: p.workers})
	return out, err
}

// open adds the openings of the folded keys.
func (p *prover) open(out *Proof, ch *challenges) (err error) {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	z := ch.openingPoint(out)
	cfg := ecc.MultiExpConfig{NbTasks: p.workers}
	if out.openV, err = openV(p.srs, ch.cInv, z, cfg); err != nil {
		return err
	}
	if err := p.ctx.Err(); err != nil {
		return err
	}
	var rInv fr.Element
	rInv.Inverse(&ch.r)
	out.openW, err = openW(p.srs, p.n, ch.c, rInv, z, cfg)
	return err
}
