package snarkpack

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// transcriptTag begins every transcript, in both versions.
const transcriptTag = "snarkpack-v1"

// transcript derives a challenge from everything written to it: SHA-256 over the
// tag, a label and the elements as bincode writes them
// (bellperson src/groth16/aggregate/transcript.rs). A transcript makes one
// challenge; chains are formed by writing a challenge into the next transcript.
type transcript struct{ h hash.Hash }

func newTranscript(label string) transcript {
	t := transcript{sha256.New()}
	t.h.Write([]byte(transcriptTag))
	t.h.Write([]byte(label))
	return t
}

func (t transcript) scalar(xs ...fr.Element) transcript {
	var b [fr.Bytes]byte
	for i := range xs {
		fr.LittleEndian.PutElement(&b, xs[i])
		t.h.Write(b[:])
	}
	return t
}

func (t transcript) g1(ps ...bls.G1Affine) transcript {
	for i := range ps {
		b := ps[i].Bytes()
		t.h.Write(b[:])
	}
	return t
}

func (t transcript) g2(ps ...bls.G2Affine) transcript {
	for i := range ps {
		b := ps[i].Bytes()
		t.h.Write(b[:])
	}
	return t
}

func (t transcript) gt(xs ...bls.GT) transcript {
	for i := range xs {
		b := gtBytes(&xs[i])
		t.h.Write(b[:])
	}
	return t
}

// bytes writes a byte slice with its length, 8 bytes little-endian.
func (t transcript) bytes(b []byte) transcript {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(b)))
	t.h.Write(n[:])
	t.h.Write(b)
	return t
}

// challenge hashes with a growing counter until the digest, its top bit cleared,
// is a scalar other than 0 and 1.
func (t transcript) challenge() fr.Element {
	var n [8]byte
	var digest [fr.Bytes]byte
	for i := uint64(1); ; i++ {
		binary.BigEndian.PutUint64(n[:], i)
		t.h.Write(n[:])
		t.h.Sum(digest[:0])
		digest[31] &= 0x7f
		c, err := fr.LittleEndian.Element(&digest)
		if err == nil && !c.IsZero() && !c.IsOne() {
			return c
		}
	}
}
