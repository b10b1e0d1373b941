package update

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/internal/bitflip"
)

// flipped is info and blob with one random bit changed, mostly in the proof.
func flipped(rnd *rand.Rand, info proof.ReplicaUpdateInfo, blob []byte) (proof.ReplicaUpdateInfo, []byte, string) {
	bit := rnd.IntN(256)
	switch rnd.IntN(8) {
	case 0:
		info.OldSealedSectorCID = bitflip.CID(info.OldSealedSectorCID, bit)
		return info, blob, "old CommR"
	case 1:
		info.NewSealedSectorCID = bitflip.CID(info.NewSealedSectorCID, bit)
		return info, blob, "new CommR"
	case 2:
		info.NewUnsealedSectorCID = bitflip.CID(info.NewUnsealedSectorCID, bit)
		return info, blob, "CommD"
	case 3:
		info.UpdateProofType ^= 1 << (bit % 63)
		return info, blob, "update proof"
	}
	blob = bitflip.Bytes(blob, rnd.IntN(len(blob)*8))
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
