package post

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"golang.org/x/sync/errgroup"

	"quarry/proofs/merkle"
)

// VerifyWinning decides whether blob, as ProveWinning makes it, proves the
// challenged sector of info. Proof bytes inside info are ignored; a proof type
// there must be a winning one of the sector's size.
//
// false, nil means that blob or info is wrong; an error means that nothing was
// decided: an unknown proof type, or ctx ended. It never panics, whatever the
// bytes.
func VerifyWinning(ctx context.Context, info proof.WinningPoStVerifyInfo, blob []byte) (bool, error) {
	if len(info.ChallengedSectors) != winningSectors {
		return false, nil
	}
	types := make([]abi.RegisteredPoStProof, 0, 1)
	for _, p := range info.Proofs {
		types = append(types, p.PoStProof)
	}
	want, err := info.ChallengedSectors[0].SealProof.RegisteredWinningPoStProof()
	if err != nil {
		return false, fmt.Errorf("post: seal proof %d: %w", info.ChallengedSectors[0].SealProof, err)
	}
	for _, t := range types {
		if t != want {
			return false, nil
		}
	}
	return verify(ctx, winning, info.Randomness, info.ChallengedSectors, blob)
}

// VerifyWindow decides whether blob, as ProveWindow makes it, proves all
// challenged sectors of info, in any order; one that is listed several times, as
// the miner actor does in place of faulty ones, counts once. Proof bytes inside
// info are ignored, the proof type decides how leaves are challenged; without
// one it is that of api version 1.1. Results are as for VerifyWinning.
func VerifyWindow(ctx context.Context, info proof.WindowPoStVerifyInfo, blob []byte) (bool, error) {
	if len(info.ChallengedSectors) == 0 {
		return false, nil
	}
	k, ok, err := windowKind(info)
	if err != nil || !ok {
		return false, err
	}
	return verify(ctx, k, info.Randomness, info.ChallengedSectors, blob)
}

// windowKind is how the leaves of info are challenged. Not ok means that its proof
// types contradict each other or the sectors; there must be a sector.
func windowKind(info proof.WindowPoStVerifyInfo) (k kind, ok bool, err error) {
	k = windowV11
	for i, p := range info.Proofs {
		got, err := kindOf(p.PoStProof)
		if err != nil {
			return k, false, err
		}
		size, err := p.PoStProof.SectorSize()
		if err != nil {
			return k, false, fmt.Errorf("post: PoSt proof %d: %w", p.PoStProof, err)
		}
		sealed, err := info.ChallengedSectors[0].SealProof.SectorSize()
		if err != nil {
			return k, false, fmt.Errorf("post: seal proof %d: %w", info.ChallengedSectors[0].SealProof, err)
		}
		if got == winning || i > 0 && got != k || size != sealed {
			return k, false, nil
		}
		k = got
	}
	return k, true, nil
}

// verify checks a vector of sector proofs against the sectors it must be about.
func verify(ctx context.Context, k kind, rand abi.PoStRandomness, sectors []proof.SectorInfo, blob []byte) (bool, error) {
	r, err := randomness(rand)
	if err != nil {
		return false, nil
	}
	shape, err := shapeOf(sectors[0].SealProof)
	if err != nil {
		return false, err
	}
	sectors, ok := distinct(sectors)
	if !ok {
		return false, nil
	}
	f := shape.PoseidonForm()
	proofs, err := unmarshal(blob, len(sectors), k, f)
	if err != nil {
		return false, nil
	}
	for i := range proofs {
		if err := ctx.Err(); err != nil {
			return false, fmt.Errorf("post: verification stopped: %w", err)
		}
		own, err := shapeOf(sectors[i].SealProof)
		if err != nil {
			return false, err
		}
		commR, err := commcid.CIDToReplicaCommitmentV1(sectors[i].SealedCID)
		if err != nil || len(commR) != 32 || own != shape {
			return false, nil
		}
		leaves := k.leaves(r, sectors[i].SectorNumber, i, shape.Nodes)
		if proofs[i].Sector != sectors[i].SectorNumber || !proofs[i].check([32]byte(commR), leaves, f) {
			return false, nil
		}
	}
	return true, nil
}

// distinct puts sectors in ascending order, each once. Two different sectors of
// one number make it fail.
func distinct(in []proof.SectorInfo) ([]proof.SectorInfo, bool) {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b proof.SectorInfo) int { return cmp.Compare(a.SectorNumber, b.SectorNumber) })
	for i := 1; i < len(out); i++ {
		if out[i].SectorNumber == out[i-1].SectorNumber && out[i] != out[i-1] {
			return nil, false
		}
	}
	return slices.Compact(out), true
}

// check verifies the openings of one sector completely.
func (p *sectorProof) check(commR [32]byte, leaves []uint64, f merkle.Form) bool {
	if p.CommR != commR || len(p.Openings) != len(leaves) {
		return false
	}
	if got, err := merkle.HashNodes(p.CommC, p.CommRLast); err != nil || got != commR {
		return false
	}
	paths := make([]*merkle.Proof, len(p.Openings))
	for i := range p.Openings {
		if paths[i] = &p.Openings[i]; paths[i].Root != p.CommRLast {
			return false
		}
	}
	// Openings do not depend on each other and are most of the work.
	f = f.Remembering()
	per := (len(paths)-1)/runtime.GOMAXPROCS(0) + 1
	g := new(errgroup.Group)
	for i := 0; i < len(paths); i += per {
		end := min(i+per, len(paths))
		g.Go(func() error { return f.CheckAll(paths[i:end], leaves[i:end]) })
	}
	return g.Wait() == nil
}
