package porep

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/internal/bitflip"
)

// flipped is info and blob with one random bit changed, mostly in the proof.
func flipped(rnd *rand.Rand, info proof.SealVerifyInfo, blob []byte) (proof.SealVerifyInfo, []byte, string) {
	bit := rnd.IntN(256)
	switch rnd.IntN(14) {
	case 0:
		info.Randomness = bitflip.Bytes(info.Randomness, bit)
		return info, blob, "ticket"
	case 1:
		info.InteractiveRandomness = bitflip.Bytes(info.InteractiveRandomness, bit)
		return info, blob, "seed"
	case 2:
		info.SealedCID = bitflip.CID(info.SealedCID, bit)
		return info, blob, "CommR"
	case 3:
		info.UnsealedCID = bitflip.CID(info.UnsealedCID, bit)
		return info, blob, "CommD"
	case 4:
		info.Miner ^= 1 << (bit % 64)
		return info, blob, "miner"
	case 5:
		info.Number ^= 1 << (bit % 64)
		return info, blob, "sector number"
	case 6:
		info.SealProof ^= 1 << (bit % 63)
		return info, blob, "seal proof"
	}
	blob = bitflip.Bytes(blob, rnd.IntN(len(blob)*8))
	return info, blob, "proof"
}

// A thousand single-bit changes of proof or public input, drawn from a fixed
// seed, are all rejected, for every way of drawing challenges.
func TestBitFlips(t *testing.T) {
	ctx := context.Background()
	for _, p := range []abi.RegisteredSealProof{test2KiB, synth2KiB, ni2KiB} {
		s, info, blob := proved(t, p)
		if p == synth2KiB {
			s, blob = synthesized(t)
			if err := ClearCache(s.cache, p); err != nil {
				t.Fatal(err)
			}
			fromFile, err := Prove(ctx, s.s, s.req, s.sealed, s.cache)
			if err != nil || !bytes.Equal(fromFile, blob) {
				t.Fatal("the proof from the file differs", err)
			}
		}
		rnd := rand.New(rand.NewPCG(uint64(p), 1000))
		for i := range 1000 {
			badInfo, badBlob, what := flipped(rnd, info, blob)
			// An unknown seal proof is an error; everything else is a no.
			if ok, err := Verify(ctx, badInfo, badBlob); ok || err != nil && what != "seal proof" {
				t.Errorf("seal proof %d, change %d, in the %s: %v, %v", p, i, what, ok, err)
			}
		}
		if ok, err := Verify(ctx, info, blob); !ok || err != nil {
			t.Errorf("seal proof %d, unchanged: %v, %v", p, ok, err)
		}
	}
}

// A bit changed in the file of synthetic proofs is found out wherever it matters:
// Prove fails, or gives the right proof because the seed did not select it.
func TestSyntheticBitFlips(t *testing.T) {
	ctx := context.Background()
	s, blob := synthesized(t)
	if err := ClearCache(s.cache, synth2KiB); err != nil {
		t.Fatal(err)
	}
	file, size := s.cache.m[synthName].b, s.par.synthSize()
	picked := synthIndexes(s.par.synthTotal, s.pc1.ReplicaID, [32]byte(s.req.Seed), 0, s.par.perPartition)
	rnd := rand.New(rand.NewPCG(1, 1000))
	for i := range 300 {
		at, selected := rnd.IntN(len(file)*8), false
		if i%2 == 0 { // half of them in what is selected, or in the header
			at, selected = (synthHeader+int(picked[rnd.IntN(len(picked))])*size)*8+rnd.IntN(size*8), true
			if i%8 == 0 {
				at = rnd.IntN(synthHeader * 8)
			}
		}
		file[at/8] ^= 1 << (at % 8)
		got, err := Prove(ctx, s.s, s.req, s.sealed, s.cache)
		if err == nil && (selected || !bytes.Equal(got, blob)) {
			t.Errorf("bit %d changed: proved", at)
		}
		file[at/8] ^= 1 << (at % 8)
	}
}
