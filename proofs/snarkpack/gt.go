package snarkpack

import (
	"errors"
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// gtLength is the length of a target-group element in a proof: the six base
// field coordinates of its torus representative (c0+1)/c1 (blstrs src/gt.rs).
const gtLength = 6 * fp.Bytes

// gtBytes is the whole element as a transcript hashes it: the twelve base field
// coordinates from c0.c0.c0 to c1.c2.c1, 48 bytes little-endian each.
func gtBytes(x *bls.GT) [2 * gtLength]byte {
	var out [2 * gtLength]byte
	putE6(out[:gtLength], &x.C0)
	putE6(out[gtLength:], &x.C1)
	return out
}

// compressGT fails for the neutral element alone, which has no representative.
func compressGT(out []byte, x *bls.GT) error {
	c, err := x.CompressTorus()
	if err != nil {
		return errors.New("target-group element is the neutral element, which has no encoding")
	}
	putE6(out, &c)
	return nil
}

// decompressGT reads gtLength bytes and checks that the element is in the
// subgroup of order r. Distinct encodings give distinct elements.
func decompressGT(b []byte) (bls.GT, error) {
	var t bls.E6
	for i, c := range coordinates(&t) {
		var le [fp.Bytes]byte
		copy(le[:], b[i*fp.Bytes:])
		e, err := fp.LittleEndian.Element(&le)
		if err != nil {
			return bls.GT{}, fmt.Errorf("coordinate %d is not below the field modulus", i)
		}
		*c = e
	}
	x := t.DecompressTorus()
	if !x.IsInSubGroup() {
		return bls.GT{}, errors.New("element is not in the target group of order r")
	}
	return x, nil
}

func putE6(out []byte, x *bls.E6) {
	for i, c := range coordinates(x) {
		fp.LittleEndian.PutElement((*[fp.Bytes]byte)(out[i*fp.Bytes:]), *c)
	}
}

func coordinates(x *bls.E6) [6]*fp.Element {
	return [6]*fp.Element{&x.B0.A0, &x.B0.A1, &x.B1.A0, &x.B1.A1, &x.B2.A0, &x.B2.A1}
}
