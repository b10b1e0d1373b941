package post

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/internal/bitflip"
)

// public is what winning and window proofs are verified against.
type public struct {
	rand    abi.PoStRandomness
	sectors []proof.SectorInfo
	kind    abi.RegisteredPoStProof
}

// flip changes one random bit, mostly in the proof. Two things are not changed:
// the top two bits of the randomness, which are no part of it, and the prover,
// whom these proofs do not name (the sectors are his by their commitments).
func (p public) flip(rnd *rand.Rand, blob []byte) (public, []byte, string) {
	bit := rnd.IntN(256)
	p.sectors = append([]proof.SectorInfo{}, p.sectors...)
	s := &p.sectors[rnd.IntN(len(p.sectors))]
	switch rnd.IntN(10) {
	case 0:
		bit %= 254
		p.rand = bitflip.Bytes(p.rand, bit)
		return p, blob, "randomness"
	case 1:
		s.SealedCID = bitflip.CID(s.SealedCID, bit)
		return p, blob, "SealedCID"
	case 2:
		s.SectorNumber ^= 1 << (bit % 64)
		return p, blob, "sector number"
	case 3:
		p.kind ^= 1 << (bit % 63)
		return p, blob, "type"
	}
	blob = bitflip.Bytes(blob, rnd.IntN(len(blob)*8))
	return p, blob, "proof"
}

// A thousand single-bit changes of proof or public input, drawn from a fixed
// seed, are all rejected, for both kinds of proof.
func TestBitFlips(t *testing.T) {
	ctx := context.Background()
	_, a := sealed(t, 1)
	_, b := sealed(t, 2)
	window, _, err := ProveWindow(ctx, miner, draw, []SectorAccess{a, b})
	if err != nil {
		t.Fatal(err)
	}
	win, err := ProveWinning(ctx, miner, draw, []SectorAccess{a})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		what   string
		public public
		blob   []byte
		verify func(public, []byte) (bool, error)
	}{
		{"window", public{draw, []proof.SectorInfo{a.Info, b.Info}, window2KiB}, window, func(p public, blob []byte) (bool, error) {
			return VerifyWindow(ctx, proof.WindowPoStVerifyInfo{Randomness: p.rand, Prover: miner,
				Proofs: []proof.PoStProof{{PoStProof: p.kind}}, ChallengedSectors: p.sectors}, blob)
		}},
		{"winning", public{draw, []proof.SectorInfo{a.Info}, winning2KiB}, win, func(p public, blob []byte) (bool, error) {
			return VerifyWinning(ctx, proof.WinningPoStVerifyInfo{Randomness: p.rand, Prover: miner,
				Proofs: []proof.PoStProof{{PoStProof: p.kind}}, ChallengedSectors: p.sectors}, blob)
		}},
	} {
		rnd := rand.New(rand.NewPCG(uint64(len(x.what)), 1000))
		for i := range 1000 {
			public, blob, what := x.public.flip(rnd, x.blob)
			// An unknown type is an error; everything else is a no.
			if ok, err := x.verify(public, blob); ok || err != nil && what != "type" {
				t.Errorf("%s proof, change %d, in the %s: %v, %v", x.what, i, what, ok, err)
			}
		}
		if ok, err := x.verify(x.public, x.blob); !ok || err != nil {
			t.Errorf("%s proof, unchanged: %v, %v", x.what, ok, err)
		}
	}
}
