package api

import (
	"bytes"
	"fmt"

	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
	"golang.org/x/crypto/blake2b"
)

func ticketHash(t *Ticket) [32]byte { return blake2b.Sum256(t.VRFProof) }

func compareTickets(a, b [32]byte, ca, cb cid.Cid) int {
	if d := bytes.Compare(a[:], b[:]); d != 0 {
		return d
	}
	return bytes.Compare(ca.Bytes(), cb.Bytes())
}

func writeCids(cw *cbg.CborWriter, cs []cid.Cid) error {
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, uint64(len(cs))); err != nil {
		return err
	}
	for _, c := range cs {
		if err := cbg.WriteCid(cw, c); err != nil {
			return err
		}
	}
	return nil
}

func readCids(cr *cbg.CborReader, limit uint64) ([]cid.Cid, error) {
	n, err := readLen(cr, limit, "CIDs")
	if err != nil {
		return nil, err
	}
	out := make([]cid.Cid, n)
	for i := range out {
		if out[i], err = cbg.ReadCid(cr); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func readLen(cr *cbg.CborReader, limit uint64, what string) (uint64, error) {
	maj, n, err := cr.ReadHeader()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	if maj != cbg.MajArray || n > limit {
		return 0, fmt.Errorf("%s: expected an array of at most %d", what, limit)
	}
	return n, nil
}

func readBytes(cr *cbg.CborReader, what string) ([]byte, error) {
	b, err := cbg.ReadByteArray(cr, maxHeaderBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return b, nil
}

// readNull consumes a null and says so, or leaves the reader untouched.
func readNull(cr *cbg.CborReader) (bool, error) {
	b, err := cr.ReadByte()
	if err != nil {
		return false, err
	}
	if b == cbg.CborNull[0] {
		return true, nil
	}
	return false, cr.UnreadByte()
}

func readSignature(cr *cbg.CborReader) (*crypto.Signature, error) {
	null, err := readNull(cr)
	if err != nil || null {
		return nil, err
	}
	var s crypto.Signature
	if err := s.UnmarshalCBOR(cr); err != nil {
		return nil, err
	}
	return &s, nil
}
