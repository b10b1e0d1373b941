package groth16

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// field is what the addition of points needs of their coordinates: fp.Element
// for G1, bls.E2 for G2.
type field[F any] interface {
	*F
	Add(x, y *F) *F
	Sub(x, y *F) *F
	Neg(x *F) *F
	Double(x *F) *F
	Mul(x, y *F) *F
	Square(x *F) *F
	Inverse(x *F) *F
	IsZero() bool
	SetOne() *F
}

// point is an affine point; (0, 0) is infinity, as in gnark-crypto.
type point[F any] struct{ X, Y F }

type (
	pointG1 = point[fp.Element]
	pointG2 = point[bls.E2]
)

// batchAdd adds pairs of affine points with one inversion for all of them
// (Montgomery's trick): six multiplications an addition.
type batchAdd[F any, P field[F]] struct {
	d, prefix    []F
	one, u, v, w F
}

func newBatchAdd[F any, P field[F]](n int) *batchAdd[F, P] {
	b := &batchAdd[F, P]{d: make([]F, n), prefix: make([]F, n)}
	P(&b.one).SetOne()
	return b
}

func (b *batchAdd[F, P]) isInfinity(p *point[F]) bool {
	return P(&p.X).IsZero() && P(&p.Y).IsZero()
}

// add sets acc[i] to acc[i] + q[i], for at most the n of newBatchAdd pairs.
func (b *batchAdd[F, P]) add(acc, q []point[F]) {
	prod := &b.u
	*prod = b.one
	for i := range acc {
		d := &b.d[i]
		if P(d).Sub(&q[i].X, &acc[i].X); b.special(d, &acc[i], &q[i]) {
			*d = b.one
		}
		b.prefix[i] = *prod
		P(prod).Mul(prod, d)
	}
	inv, lambda, x := &b.v, &b.w, &b.u
	P(inv).Inverse(prod)
	for i := len(acc) - 1; i >= 0; i-- {
		p, s := &acc[i], &q[i]
		P(lambda).Mul(inv, &b.prefix[i])
		P(inv).Mul(inv, &b.d[i])
		if b.isInfinity(s) {
			continue // nothing to add, or already done
		}
		P(x).Sub(&s.Y, &p.Y)
		P(lambda).Mul(lambda, x)
		P(x).Square(lambda)
		P(x).Sub(x, &p.X)
		P(x).Sub(x, &s.X)
		P(&s.X).Sub(&p.X, x) // q is spent
		P(&s.X).Mul(&s.X, lambda)
		P(&p.Y).Sub(&s.X, &p.Y)
		p.X = *x
	}
}

// special does the additions for which the formula does not hold, and marks them
// done by making the second point infinity.
func (b *batchAdd[F, P]) special(d *F, p, q *point[F]) bool {
	switch {
	case b.isInfinity(q):
		return true
	case b.isInfinity(p):
		*p = *q
	case !P(d).IsZero():
		return false
	default:
		b.equalX(p, q)
	}
	*q = point[F]{}
	return true
}

// equalX adds points with the same x: p becomes 2p, or infinity.
func (b *batchAdd[F, P]) equalX(p, q *point[F]) {
	var sum, lambda, t, x F
	if P(&sum).Add(&p.Y, &q.Y); P(&sum).IsZero() {
		*p = point[F]{}
		return
	}
	P(&lambda).Square(&p.X) // 3x²/2y
	P(&t).Double(&lambda)
	P(&lambda).Add(&lambda, &t)
	P(&t).Inverse(&sum)
	P(&lambda).Mul(&lambda, &t)
	P(&x).Square(&lambda)
	P(&x).Sub(&x, &p.X)
	P(&x).Sub(&x, &p.X)
	P(&t).Sub(&p.X, &x)
	P(&t).Mul(&t, &lambda)
	P(&p.Y).Sub(&t, &p.Y)
	p.X = x
}

// sumBatch adds up many points side by side and gives the partial sums to add.
func sumBatch[F any, P field[F], A any](points []A, from func(A) point[F], add func(*point[F])) {
	width := min(baseBatch, len(points)/8)
	acc, q := make([]point[F], width), make([]point[F], width)
	b := newBatchAdd[F, P](width)
	for width > 0 && len(points) >= width {
		for i := range q {
			q[i] = from(points[i])
		}
		b.add(acc, q)
		points = points[width:]
	}
	for i := range acc {
		add(&acc[i])
	}
	for i := range points {
		p := from(points[i])
		add(&p)
	}
}
