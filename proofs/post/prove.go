package post

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"golang.org/x/sync/errgroup"

	"quarry/proofs/merkle"
	"quarry/proofs/porep"
)

// SectorAccess is a sector together with its replica and cache directory.
type SectorAccess struct {
	Info   proof.SectorInfo // SealProof, SectorNumber, SealedCID
	Sealed io.ReaderAt      // the replica; may be read from several goroutines
	Cache  porep.Files      // holds p_aux and tree-r-last
}

// ProveWinning makes a winning proof over the sector that WinningSector picked;
// it takes exactly one. Unlike a window proof it cannot leave a sector out, so
// an unreadable one is an error.
func ProveWinning(ctx context.Context, miner abi.ActorID, rand abi.PoStRandomness, sectors []SectorAccess) ([]byte, error) {
	r, err := randomness(rand)
	if err != nil {
		return nil, err
	}
	if len(sectors) != winningSectors {
		return nil, fmt.Errorf("post: a winning proof of miner t0%d is about %d sector, not %d", miner, winningSectors, len(sectors))
	}
	shape, err := shapeOf(sectors[0].Info.SealProof)
	if err != nil {
		return nil, err
	}
	p, err := openSector(ctx, winning, r, 0, sectors[0])
	if err != nil {
		return nil, fmt.Errorf("post: winning proof of miner t0%d: %w", miner, err)
	}
	return marshal([]sectorProof{p}, shape.PoseidonForm()), nil
}

// ProveWindow makes a window proof (of api version 1.1, proofs 10 to 14) over
// sectors of one size, given in any order. Sectors that cannot be read or whose
// files do not give their SealedCID come back in skipped, ascending, and are not
// in the proof. When nothing is left the blob is nil. A sector listed twice is
// proved once. Every opening is checked before it is returned.
func ProveWindow(ctx context.Context, miner abi.ActorID, rand abi.PoStRandomness, sectors []SectorAccess) (blob []byte, skipped []abi.SectorNumber, err error) {
	r, err := randomness(rand)
	if err != nil {
		return nil, nil, err
	}
	if len(sectors) == 0 {
		return nil, nil, fmt.Errorf("post: a window proof of miner t0%d needs at least one sector", miner)
	}
	sectors, shape, err := sortSectors(sectors)
	if err != nil {
		return nil, nil, fmt.Errorf("post: window proof of miner t0%d: %w", miner, err)
	}
	proofs, faults := make([]sectorProof, len(sectors)), make([]error, len(sectors))
	g := new(errgroup.Group)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, s := range sectors {
		g.Go(func() error {
			// Places do not matter to the challenges of this version.
			proofs[i], faults[i] = openSector(ctx, windowV11, r, 0, s)
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, fmt.Errorf("post: window proof of miner t0%d stopped: %w", miner, err)
	}
	var good []sectorProof
	for i := range proofs {
		if faults[i] != nil {
			skipped = append(skipped, sectors[i].Info.SectorNumber)
		} else {
			good = append(good, proofs[i])
		}
	}
	if len(good) == 0 {
		return nil, skipped, nil
	}
	return marshal(good, shape.PoseidonForm()), skipped, nil
}

// sortSectors puts sectors in ascending order, each once, and gives their shape.
func sortSectors(in []SectorAccess) ([]SectorAccess, merkle.Shape, error) {
	shape, err := shapeOf(in[0].Info.SealProof)
	if err != nil {
		return nil, shape, err
	}
	for _, s := range in {
		other, err := shapeOf(s.Info.SealProof)
		if err != nil {
			return nil, shape, err
		}
		if other != shape {
			return nil, shape, fmt.Errorf("sectors %d and %d differ in size; prove them apart", in[0].Info.SectorNumber, s.Info.SectorNumber)
		}
	}
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b SectorAccess) int { return cmp.Compare(a.Info.SectorNumber, b.Info.SectorNumber) })
	out = slices.CompactFunc(out, func(a, b SectorAccess) bool { return a.Info.SectorNumber == b.Info.SectorNumber })
	return out, shape, nil
}

// openSector opens all challenged leaves of one sector and checks them against
// its SealedCID.
func openSector(ctx context.Context, k kind, r [32]byte, place int, s SectorAccess) (sectorProof, error) {
	shape, err := shapeOf(s.Info.SealProof)
	if err != nil {
		return sectorProof{}, err
	}
	return openLeaves(ctx, k.leaves(r, s.Info.SectorNumber, place, shape.Nodes), s)
}

func openLeaves(ctx context.Context, leaves []uint64, s SectorAccess) (sectorProof, error) {
	fail := func(err error) (sectorProof, error) {
		return sectorProof{}, fmt.Errorf("sector %d: %w", s.Info.SectorNumber, err)
	}
	if s.Sealed == nil || s.Cache == nil {
		return fail(errors.New("its replica or cache is not at hand"))
	}
	commR, err := commcid.CIDToReplicaCommitmentV1(s.Info.SealedCID)
	if err != nil || len(commR) != 32 {
		return fail(fmt.Errorf("SealedCID %s is no replica commitment", s.Info.SealedCID))
	}
	p := sectorProof{Sector: s.Info.SectorNumber, CommR: [32]byte(commR)}
	if p.CommC, p.CommRLast, err = porep.ReadAux(s.Cache); err != nil {
		return fail(err)
	}
	if got, err := merkle.HashNodes(p.CommC, p.CommRLast); err != nil || got != p.CommR {
		return fail(fmt.Errorf("its p_aux does not give its SealedCID %s: it belongs to another seal or is damaged", s.Info.SealedCID))
	}
	tree, closeTree, err := porep.OpenReplica(s.Info.SealProof, s.Sealed, s.Cache)
	if err != nil {
		return fail(err)
	}
	defer closeTree()
	p.Openings = make([]merkle.Proof, len(leaves))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, leaf := range leaves {
		g.Go(func() (err error) {
			if err := gctx.Err(); err != nil {
				return err
			}
			if p.Openings[i], err = tree.Prove(leaf); err == nil && p.Openings[i].Root != p.CommRLast {
				err = errors.New("its tree-r-last has another root than p_aux says")
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fail(err)
	}
	return p, nil
}

// SelfCheck opens one random leaf of a sector: nil means that the replica and
// its cache can be read there and agree with the SealedCID.
func SelfCheck(ctx context.Context, miner abi.ActorID, s SectorAccess) error {
	shape, err := shapeOf(s.Info.SealProof)
	if err != nil {
		return err
	}
	var r [32]byte
	if _, err := rand.Read(r[:]); err != nil {
		return fmt.Errorf("post: drawing a random challenge: %w", err)
	}
	leaf := windowV11.leaves(r, s.Info.SectorNumber, 0, shape.Nodes)[0]
	if _, err := openLeaves(ctx, []uint64{leaf}, s); err != nil {
		return fmt.Errorf("post: self-check of miner t0%d: %w", miner, err)
	}
	return nil
}
