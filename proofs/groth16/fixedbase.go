package groth16

import (
	"context"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
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

// baseBatch is how many multiples are computed side by side.
const baseBatch = 1024

// fixedBase multiplies one point by many scalars, with a table of its multiples:
// j·2^(width·k) times the base for every window k and j up to half of 2^width.
type fixedBase[F any, P field[F]] struct {
	width int
	table [][]point[F]
}

// newFixedBase chooses the width for about n multiplications; the tables have at
// most 150 thousand points (14 MiB in G1, 28 MiB in G2).
func newFixedBase[F any, P field[F]](base point[F], n int) *fixedBase[F, P] {
	width := 4
	for width < 14 && n>>width > 16 {
		width++
	}
	t := &fixedBase[F, P]{width: width, table: make([][]point[F], fr.Bits/width+1)}
	half := 1 << (width - 1)
	add := newBatchAdd[F, P](half)
	for k := range t.table {
		row := make([]point[F], half)
		row[0] = base
		for have := 1; have < half; have *= 2 {
			top := make([]point[F], have)
			for i := range top {
				top[i] = row[have-1]
			}
			copy(row[have:2*have], row[:have])
			add.add(row[have:2*have], top)
		}
		t.table[k] = row
		base = row[half-1]
		add.equalX(&base, &row[half-1])
	}
	return t
}

// baseScratch is one worker's memory for a fixedBase.
type baseScratch[F any, P field[F]] struct {
	digits []int16
	q      []point[F]
	add    *batchAdd[F, P]
}

func (t *fixedBase[F, P]) scratch() *baseScratch[F, P] {
	return &baseScratch[F, P]{digits: make([]int16, baseBatch*len(t.table)), q: make([]point[F], baseBatch), add: newBatchAdd[F, P](baseBatch)}
}

// multiply sets out[i] to k[i] times the base, using up to workers goroutines.
func (t *fixedBase[F, P]) multiply(ctx context.Context, out []point[F], k []fr.Element, workers int) error {
	parallel(len(k), workers, func(from, to int) {
		s := t.scratch()
		for ; from < to && ctx.Err() == nil; from += baseBatch {
			end := min(from+baseBatch, to)
			t.batch(out[from:end], k[from:end], s)
		}
	})
	return ctx.Err()
}

func (t *fixedBase[F, P]) batch(out []point[F], k []fr.Element, s *baseScratch[F, P]) {
	clear(out)
	n := len(t.table)
	for i := range k {
		t.digits(&k[i], s.digits[i*n:(i+1)*n])
	}
	q := s.q[:len(k)]
	for w, row := range t.table {
		for i := range q {
			switch d := int(s.digits[i*n+w]); {
			case d > 0:
				q[i] = row[d-1]
			case d < 0:
				q[i] = row[-d-1]
				P(&q[i].Y).Neg(&q[i].Y)
			default:
				q[i] = point[F]{}
			}
		}
		s.add.add(out, q)
	}
}

// digits writes k in signed digits of the table's width, lowest first. The last
// window has room for the carry: the table has more than fr.Bits bits.
func (t *fixedBase[F, P]) digits(k *fr.Element, out []int16) {
	limbs := k.Bits()
	carry, half := 0, 1<<(t.width-1)
	for w := range out {
		bit := w * t.width
		d := 0
		if i := bit / 64; i < len(limbs) {
			x := limbs[i] >> (bit % 64)
			if bit%64+t.width > 64 && i+1 < len(limbs) {
				x |= limbs[i+1] << (64 - bit%64)
			}
			d = int(x & (1<<t.width - 1)) //nolint:gosec // at most 14 bits
		}
		d += carry
		carry = 0
		if d > half {
			d -= 2 * half
			carry = 1
		}
		out[w] = int16(d) //nolint:gosec // within ±2^13
	}
}

type (
	baseG1 = fixedBase[fp.Element, *fp.Element]
	baseG2 = fixedBase[bls.E2, *bls.E2]
)

func newBaseG1(p bls.G1Affine, n int) *baseG1 {
	return newFixedBase[fp.Element, *fp.Element](point[fp.Element](p), n)
}

func newBaseG2(p bls.G2Affine, n int) *baseG2 {
	return newFixedBase[bls.E2, *bls.E2](point[bls.E2](p), n)
}

type (
	pointG1 = point[fp.Element]
	pointG2 = point[bls.E2]
)
