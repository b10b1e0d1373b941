package update

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
)

// flipCID changes one bit of the commitment in a CID.
func flipCID(c cid.Cid, bit int) cid.Cid {
	b := bytes.Clone(c.Bytes())
	b[len(b)-32+bit/8] ^= 1 << (bit % 8)
	out, err := cid.Cast(b)
	if err != nil {
		panic("a CID with another digest of the same length must parse: " + err.Error())
	}
	return out
}

// flipped is info and blob with one random bit changed, mostly in the proof.
func flipped(rnd *rand.Rand, info proof.ReplicaUpdateInfo, blob []byte) (proof.ReplicaUpdateInfo, []byte, string) {
	bit := rnd.IntN(256)
	switch rnd.IntN(8) {
	case 0:
		info.OldSealedSectorCID = flipCID(info.OldSealedSectorCID, bit)
		return info, blob, "old CommR"
	case 1:
		info.NewSealedSectorCID = flipCID(info.NewSealedSectorCID, bit)
		return info, blob, "new CommR"
	case 2:
		info.NewUnsealedSectorCID = flipCID(info.NewUnsealedSectorCID, bit)
		return info, blob, "CommD"
	case 3:
		info.UpdateProofType ^= 1 << (bit % 63)
		return info, blob, "update proof"
	}
	blob = bytes.Clone(blob)
	at := rnd.IntN(len(blob) * 8)
	blob[at/8] ^= 1 << (at % 8)
	return info, blob, "proof"
}

// A thousand single-bit changes of proof or public input, drawn from a fixed
// seed, are all rejected.
func TestBitFlips(t *testing.T) {
	ctx, u := context.Background(), update(t, 0)
	info, blob, rnd := u.info(), u.prove(t), rand.New(rand.NewPCG(19, 1000))
	for i := range 1000 {
		badInfo, badBlob, what := flipped(rnd, info, blob)
		// An unknown update proof is an error; everything else is a no.
		if ok, err := Verify(ctx, badInfo, badBlob); ok || err != nil && what != "update proof" {
			t.Errorf("change %d, in the %s: %v, %v", i, what, ok, err)
		}
	}
	if ok, err := Verify(ctx, info, blob); !ok || err != nil {
		t.Errorf("unchanged: %v, %v", ok, err)
	}
}
