package envelope

import (
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"golang.org/x/crypto/blake2b"
)

// Tag is the first eight bytes of an envelope.
const Tag = "QVANILA1"

// Size is the length of an envelope in bytes: the tag and a 32-byte digest.
const Size = len(Tag) + blake2b.Size256

// Wrap returns the proof field for a vanilla proof blob and the CID under which
// the blob must be stored: CIDv1, raw (0x55), BLAKE2b-256.
func Wrap(blob []byte) (field []byte, c cid.Cid) {
	digest := blake2b.Sum256(blob)
	field = append(make([]byte, 0, Size), Tag...)
	field = append(field, digest[:]...)
	return field, blobCID(digest[:])
}

// Parse returns the CID of the blob that field points at; ok is false when
// field is not an envelope.
func Parse(field []byte) (c cid.Cid, ok bool) {
	if len(field) != Size || string(field[:len(Tag)]) != Tag {
		return cid.Undef, false
	}
	return blobCID(field[len(Tag):]), true
}

func blobCID(digest []byte) cid.Cid {
	h, err := mh.Encode(digest, mh.BLAKE2B_MIN+31)
	if err != nil {
		panic("envelope: a 32-byte BLAKE2b digest must encode: " + err.Error())
	}
	return cid.NewCidV1(cid.Raw, h)
}
