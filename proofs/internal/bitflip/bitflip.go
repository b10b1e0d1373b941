package bitflip

import (
	"bytes"

	"github.com/ipfs/go-cid"
)

// Bytes is b with bit number bit changed, counted from the lowest bit of the
// first byte; b stays as it is.
func Bytes(b []byte, bit int) []byte {
	out := bytes.Clone(b)
	out[bit/8] ^= 1 << (bit % 8)
	return out
}

// CID changes bit number bit, of 256, of the commitment in a CID.
func CID(c cid.Cid, bit int) cid.Cid {
	b := c.Bytes()
	out, err := cid.Cast(Bytes(b, (len(b)-32)*8+bit))
	if err != nil {
		panic("a CID with another digest of the same length must parse: " + err.Error())
	}
	return out
}
