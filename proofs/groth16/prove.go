package groth16

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/kernel"
	"quarry/proofs/r1cs"
)

// ProveOptions are how to prove; the zero value is fine.
type ProveOptions struct {
	// Rand gives the blinding factors r and s; nil is crypto/rand.
	Rand io.Reader
	// Workers is how many processors to use; 0 is all.
	Workers int
	// Share, if not nil, is asked before every piece of the work how many of the
	// workers that piece may have; below 1 counts as 1. With it a long proof makes
	// room for an urgent one. A piece takes seconds, of a circuit of 130 million
	// constraints a minute on few processors.
	Share func(workers int) int
	// Kernel makes the transforms and multiplies the points; what it lacks or
	// refuses, CPU does. MemoryEstimate is for the CPU: a kernel that wants larger
	// chunks of points (kernel.Points.Chunks) takes more.
	Kernel kernel.Set
	// Progress, if not nil, is told how far a stage is: "synthesize" (1 when
	// done), "transform" (4 transforms), "multiply" (points). It is called from
	// one goroutine at a time and must be quick.
	Progress func(stage string, done, total int64)
}

// Prove makes a proof of a circuit whose variables have values. The parameters
// must be of the same circuit. A false statement is an UnsatisfiedError; only a
// bad circuit or bad parameters are other errors. Cancellation is honoured
// between chunks of the work, seconds apart.
func Prove(ctx context.Context, p *Params, c r1cs.Circuit, opts ProveOptions) (Proof, error) {
	src := opts.Rand
	if src == nil {
		src = rand.Reader
	}
	r, err := randomScalar(src)
	if err != nil {
		return Proof{}, fmt.Errorf("groth16: drawing r: %w", err)
	}
	s, err := randomScalar(src)
	if err != nil {
		return Proof{}, fmt.Errorf("groth16: drawing s: %w", err)
	}
	return ProveWith(ctx, p, c, r, s, opts)
}

// ProveWith is Prove with given blinding factors; the proof is a function of its
// arguments, equal to bellperson's create_proof. A proof whose r and s are known
// or used twice hides nothing.
func ProveWith(ctx context.Context, p *Params, c r1cs.Circuit, r, s fr.Element, opts ProveOptions) (Proof, error) {
	return newProver(p, opts).prove(ctx, c, r, s)
}

// randomScalar reduces 64 random bytes, so that no scalar is noticeably likelier.
func randomScalar(src io.Reader) (x fr.Element, err error) {
	var b [64]byte
	if _, err = io.ReadFull(src, b[:]); err != nil {
		return x, err
	}
	x.SetBytes(b[:])
	return x, nil
}

// prover is one proof being made.
type prover struct {
	params      *Params
	on          kernel.Points
	transforms  kernel.Transforms
	workers     func() int // for the next piece of work
	progress    func(stage string, done, total int64)
	done, total int // points

	block, chunk1, chunk2 int // see msm; chunks in G1 and G2

	// memory that the multiplications in G1 use one after the other
	points1 []bls.G1Affine
	scalars []fr.Element
}

func newProver(p *Params, opts ProveOptions) *prover {
	pr := &prover{
		params:     p,
		on:         kernel.PointsOr(opts.Kernel.Points, CPU{}),
		transforms: kernel.TransformsOr(opts.Kernel.Transforms, CPU{}),
		workers:    opts.workers(),
		progress:   opts.Progress,
	}
	g1, g2 := pr.on.Chunks()
	pr.chunk1, pr.chunk2 = chunkOr(g1, chunkG1, kernel.MaxChunkG1), chunkOr(g2, chunkG2, kernel.MaxChunkG2)
	pr.block = min(blockPoints, pr.chunk1, pr.chunk2)
	for _, s := range p.sections() {
		pr.total += s.count
	}
	return pr
}

// chunkOr is what a kernel wants, within what is allowed, or the usual number.
func chunkOr(want, usual, most int) int {
	if want <= 0 {
		return usual
	}
	return min(want, most)
}

func (o *ProveOptions) workers() func() int {
	n, share := workersOr(o.Workers), o.Share
	if share == nil {
		return func() int { return n }
	}
	return func() int { return max(1, min(n, share(n))) }
}

func (p *prover) report(stage string, done, total int) {
	if p.progress != nil {
		p.progress(stage, int64(done), int64(total))
	}
}

func (p *prover) points(n int) {
	p.done += n
	p.report("multiply", p.done, p.total)
}

func (p *prover) prove(ctx context.Context, c r1cs.Circuit, r, s fr.Element) (Proof, error) {
	_, aux, domain := p.params.Shape()
	p.report("synthesize", 0, 1)
	w, err := assign(ctx, c, aux, domain)
	if err != nil {
		return Proof{}, err
	}
	if err := p.fits(w); err != nil {
		return Proof{}, err
	}
	if err := w.satisfied(); err != nil {
		return Proof{}, err
	}
	p.report("synthesize", 1, 1)
	sum, err := p.multiply(ctx, w)
	if err != nil {
		return Proof{}, fmt.Errorf("groth16: proving: %w", err)
	}
	return sum.proof(p.params.vk, r, s), nil
}

// fits checks that the circuit has the shape that the parameters were made for.
func (p *prover) fits(w *assignment) error {
	inputs, aux, domain := p.params.Shape()
	for _, x := range []struct {
		what      string
		have, par int
	}{
		{"public inputs, ONE included", len(w.inputs), inputs},
		{"private variables", len(w.aux), aux},
		{"size of the evaluation domain", domainSize(len(w.a)), domain},
		{"variables in A", len(w.inputs) + w.aAux.count(), p.params.a.count},
		{"variables in B", w.bInputs.count() + w.bAux.count(), p.params.b1.count},
	} {
		if x.have != x.par {
			return fmt.Errorf("groth16: these are parameters of another circuit: %s: the circuit has %d, the parameters %d", x.what,
				x.have, x.par)
		}
	}
	return nil
}

// sums are the results of the multiplications.
type sums struct {
	h, l, a, b1 bls.G1Jac
	b2          bls.G2Jac
}

// multiply transforms the rows to the quotient and does all multiplications. It
// lets go of what it no longer needs on the way.
func (p *prover) multiply(ctx context.Context, w *assignment) (*sums, error) {
	_, _, domain := p.params.Shape()
	r := rows{w.a[:domain], w.b[:domain], w.c[:domain]} // room was made for them, zero
	w.a, w.b, w.c = nil, nil, nil
	if err := r.quotient(ctx, p.transforms, p.workers, func(n int) { p.report("transform", n, 4) }); err != nil {
		return nil, err
	}
	h := r.a
	r = rows{} // lets go of two thirds of them
	var out sums
	for _, m := range []struct {
		to  *bls.G1Jac
		sec section
		of  []query
	}{
		{&out.h, p.params.h, []query{{scalars: h[:domain-1]}}},
		{&out.l, p.params.l, []query{{scalars: w.aux}}},
		{&out.a, p.params.a, []query{{scalars: w.inputs}, {scalars: w.aux, only: notNil(w.aAux)}}},
		{&out.b1, p.params.b1, []query{{scalars: w.inputs, only: notNil(w.bInputs)}, {scalars: w.aux, only: notNil(w.bAux)}}},
	} {
		sum, err := p.g1(ctx, m.sec, m.of...)
		if err != nil {
			return nil, err
		}
		*m.to = *sum
	}
	b2, err := p.g2(ctx, p.params.b2, query{scalars: w.inputs, only: notNil(w.bInputs)}, query{scalars: w.aux, only: notNil(w.bAux)})
	if err != nil {
		return nil, err
	}
	out.b2 = *b2
	return &out, nil
}

func notNil(d density) density {
	if d == nil {
		return density{}
	}
	return d
}

// proof adds the blinding (bellperson src/groth16/prover: A = alpha + a + r·delta,
// B = beta + b + s·delta, C = s·a + r·b + rs·delta + s·alpha + r·beta + h + l).
func (m *sums) proof(vk *VerifyingKey, r, s fr.Element) Proof {
	var rs fr.Element
	rs.Mul(&r, &s)
	var a, b1, c bls.G1Jac
	a.FromAffine(&vk.AlphaG1)
	a.AddAssign(&m.a)
	addScaled(&a, &vk.DeltaG1, r)

	var b, d2 bls.G2Jac
	b.FromAffine(&vk.BetaG2)
	b.AddAssign(&m.b2)
	d2.FromAffine(&vk.DeltaG2)
	b.AddAssign(d2.ScalarMultiplication(&d2, bigOf(s)))

	c.AddAssign(b1.ScalarMultiplication(&m.a, bigOf(s)))
	c.AddAssign(b1.ScalarMultiplication(&m.b1, bigOf(r)))
	addScaled(&c, &vk.DeltaG1, rs)
	addScaled(&c, &vk.AlphaG1, s)
	addScaled(&c, &vk.BetaG1, r)
	c.AddAssign(&m.h)
	c.AddAssign(&m.l)

	var p Proof
	p.A.FromJacobian(&a)
	p.B.FromJacobian(&b)
	p.C.FromJacobian(&c)
	return p
}

func addScaled(acc *bls.G1Jac, p *bls.G1Affine, k fr.Element) {
	var t bls.G1Jac
	t.FromAffine(p)
	acc.AddAssign(t.ScalarMultiplication(&t, bigOf(k)))
}

func bigOf(x fr.Element) *big.Int { return x.BigInt(new(big.Int)) }
