package snarkpack

import (
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// encoder appends elements and keeps the first error.
type encoder struct {
	b   []byte
	err error
}

func (e *encoder) gt(xs ...*bls.GT) {
	for _, x := range xs {
		n := len(e.b)
		e.b = append(e.b, make([]byte, gtLength)...)
		if err := compressGT(e.b[n:], x); err != nil && e.err == nil {
			e.err = err
		}
	}
}

func (e *encoder) g1(ps ...*bls.G1Affine) {
	for _, p := range ps {
		b := p.Bytes()
		e.b = append(e.b, b[:]...)
	}
}

func (e *encoder) g2(ps ...*bls.G2Affine) {
	for _, p := range ps {
		b := p.Bytes()
		e.b = append(e.b, b[:]...)
	}
}

// decoder reads elements from b, which its user has measured, and does nothing
// more after the first error.
type decoder struct {
	b   []byte
	off int
	err error
}

func (d *decoder) take(n int) []byte {
	b := d.b[d.off : d.off+n : d.off+n]
	d.off += n
	return b
}

func (d *decoder) fail(name string, err error) {
	d.err = fmt.Errorf("%s at byte %d: %w", name, d.off, err)
}

func (d *decoder) gt(name string, xs ...*bls.GT) {
	for _, x := range xs {
		if d.err != nil {
			return
		}
		var err error
		if *x, err = decompressGT(d.b[d.off : d.off+gtLength]); err != nil {
			d.fail(name, err)
			return
		}
		d.off += gtLength
	}
}

func (d *decoder) g1(name string, ps ...*bls.G1Affine) {
	for _, p := range ps {
		if d.err != nil {
			return
		}
		if err := parseG1(p, d.b[d.off:]); err != nil {
			d.fail(name, err)
			return
		}
		d.off += g1Length
	}
}

func (d *decoder) g2(name string, ps ...*bls.G2Affine) {
	for _, p := range ps {
		if d.err != nil {
			return
		}
		if err := parseG2(p, d.b[d.off:]); err != nil {
			d.fail(name, err)
			return
		}
		d.off += g2Length
	}
}

// parseG1 reads a compressed point, canonical, on the curve and in the subgroup.
// The slice is cut to the compressed length, so that a point that claims to be
// uncompressed is refused as too short.
func parseG1(p *bls.G1Affine, b []byte) error {
	_, err := p.SetBytes(b[:g1Length:g1Length])
	return err
}

func parseG2(p *bls.G2Affine, b []byte) error {
	_, err := p.SetBytes(b[:g2Length:g2Length])
	return err
}
