package groth16

import (
	"context"
	"encoding/binary"
	"errors"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/kernel"
)

// group is what the prover needs of G1 and of G2: affine points A, sums J.
type group[A, J any] struct {
	decode   func(*A, []byte) error
	multi    func(ctx context.Context, on kernel.Points, points []A, scalars []fr.Element, workers int) (J, error)
	sum      func(acc *J, points []A)
	add      func(acc, other *J)
	check    func(*A) error
	infinity J
}

var errFlags = errors.New("it is compressed, at infinity or not reduced")

// decodeG1 reads an uncompressed point and checks that it is one, with reduced
// coordinates and without the flag of infinity. Whether it is on the curve, which
// (0, 0) is not, is not checked.
func decodeG1(p *bls.G1Affine, b []byte) error {
	var err error
	if p.X, err = fp.BigEndian.Element((*[fp.Bytes]byte)(b)); err != nil {
		return errFlags // the flags are the top bits of x, which no reduced coordinate has
	}
	if p.Y, err = fp.BigEndian.Element((*[fp.Bytes]byte)(b[fp.Bytes:])); err != nil {
		return errFlags
	}
	return nil
}

// decodeG2 is decodeG1 for G2: x1, x0, y1, y0.
func decodeG2(p *bls.G2Affine, b []byte) error {
	for i, c := range []*fp.Element{&p.X.A1, &p.X.A0, &p.Y.A1, &p.Y.A0} {
		var err error
		if *c, err = fp.BigEndian.Element((*[fp.Bytes]byte)(b[i*fp.Bytes:])); err != nil {
			return errFlags
		}
	}
	return nil
}

// Generators are the standard generators of G1 and G2.
func Generators() (bls.G1Affine, bls.G2Affine) { return affineOf(bls.Generators()) }

func affineOf(_ bls.G1Jac, _ bls.G2Jac, g1 bls.G1Affine, g2 bls.G2Affine) (bls.G1Affine, bls.G2Affine) {
	return g1, g2
}

func encodeG1(b []byte, p *bls.G1Affine) {
	fp.BigEndian.PutElement((*[fp.Bytes]byte)(b), p.X)
	fp.BigEndian.PutElement((*[fp.Bytes]byte)(b[fp.Bytes:]), p.Y)
}

func encodeG2(b []byte, p *bls.G2Affine) {
	for i, c := range []*fp.Element{&p.X.A1, &p.X.A0, &p.Y.A1, &p.Y.A0} {
		fp.BigEndian.PutElement((*[fp.Bytes]byte)(b[i*fp.Bytes:]), *c)
	}
}

var inG1 = group[bls.G1Affine, bls.G1Jac]{
	decode: decodeG1,
	check:  checkG1,
	multi: func(ctx context.Context, on kernel.Points, points []bls.G1Affine, scalars []fr.Element, workers int) (bls.G1Jac, error) {
		return on.SumG1(ctx, points, scalars, workers)
	},
	sum: func(acc *bls.G1Jac, points []bls.G1Affine) {
		sumBatch[fp.Element, *fp.Element](points, func(p bls.G1Affine) pointG1 { return pointG1(p) },
			func(p *pointG1) { q := bls.G1Affine(*p); acc.AddMixed(&q) })
	},
	add:      func(acc, other *bls.G1Jac) { acc.AddAssign(other) },
	infinity: *new(bls.G1Jac).FromAffine(new(bls.G1Affine)),
}

var inG2 = group[bls.G2Affine, bls.G2Jac]{
	decode: decodeG2,
	check:  checkG2,
	multi: func(ctx context.Context, on kernel.Points, points []bls.G2Affine, scalars []fr.Element, workers int) (bls.G2Jac, error) {
		return on.SumG2(ctx, points, scalars, workers)
	},
	sum: func(acc *bls.G2Jac, points []bls.G2Affine) {
		sumBatch[bls.E2, *bls.E2](points, func(p bls.G2Affine) pointG2 { return pointG2(p) },
			func(p *pointG2) { q := bls.G2Affine(*p); acc.AddMixed(&q) })
	},
	add:      func(acc, other *bls.G2Jac) { acc.AddAssign(other) },
	infinity: *new(bls.G2Jac).FromAffine(new(bls.G2Affine)),
}

// putCount is the big-endian u32 before a vector of points.
func putCount(n int) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(n)) // the domain has at most 2^32 elements
}
