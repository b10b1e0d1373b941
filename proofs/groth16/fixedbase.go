package groth16

import (
	"context"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

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
	return &baseScratch[F, P]{digits: make([]int16, baseBatch*len(t.table)), q: make([]point[F], baseBatch),
		add: newBatchAdd[F, P](baseBatch)}
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
			d = int(x & (1<<t.width - 1)) // at most 14 bits
		}
		d += carry
		carry = 0
		if d > half {
			d -= 2 * half
			carry = 1
		}
		out[w] = int16(d) // within ±2^13
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
