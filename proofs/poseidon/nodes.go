package poseidon

import (
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// rSquare and rawOne convert into and out of Montgomery form when multiplied
// with: their limbs are R^2 mod r and 1.
var (
	rSquare = func() (e fr.Element) {
		e.SetBigInt(new(big.Int).Lsh(big.NewInt(1), 256))
		return e
	}()
	rawOne = fr.Element{1}
)

// DecodeRow converts little-endian nodes to elements. A src that is not
// 32*len(dst) bytes and a node that is not below the field order are errors,
// the latter naming the node's place in the row; dst is then undefined.
func DecodeRow(dst []Element, src []byte) error {
	if len(src) != 32*len(dst) {
		return fmt.Errorf("poseidon: %d bytes are not %d nodes of 32", len(src), len(dst))
	}
	for i := range dst {
		b := src[i*32 : i*32+32]
		for w := range 4 {
			dst[i][w] = binary.LittleEndian.Uint64(b[w*8:])
		}
		if !belowOrder(&dst[i]) {
			return fmt.Errorf("poseidon: node %d (%x) is not below the field order", i, b)
		}
	}
	v := fr.Vector(dst)
	v.ScalarMul(v, &rSquare)
	return nil
}

// EncodeRow converts elements to little-endian nodes. len(dst) must be
// 32*len(src), otherwise it panics.
func EncodeRow(dst []byte, src []Element) {
	if len(dst) != 32*len(src) {
		panic(fmt.Sprintf("poseidon: %d elements do not fill %d bytes", len(src), len(dst)))
	}
	var room [64]fr.Element
	for len(src) > 0 {
		v := fr.Vector(room[:min(len(src), len(room))])
		v.ScalarMul(fr.Vector(src[:len(v)]), &rawOne)
		for i := range v {
			for w := range 4 {
				binary.LittleEndian.PutUint64(dst[i*32+w*8:], v[i][w])
			}
		}
		dst, src = dst[len(v)*32:], src[len(v):]
	}
}

// Decode is DecodeRow for one node.
func Decode(node *[32]byte) (Element, error) { return fr.LittleEndian.Element(node) }

// Encode is EncodeRow for one element.
func Encode(e Element) (node [32]byte) {
	fr.LittleEndian.PutElement(&node, e)
	return node
}

func belowOrder(e *fr.Element) bool {
	for w := 3; w >= 0; w-- {
		if e[w] != order[w] {
			return e[w] < order[w]
		}
	}
	return false
}
