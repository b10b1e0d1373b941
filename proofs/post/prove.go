package post

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	if len(sectors) == 0 {
		return nil, fmt.Errorf("post: winning proof of miner t0%d: %w", miner, ErrNoSectors)
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
// in the proof; FindFaults also says why. When nothing is left the blob is nil. A
// sector listed twice is proved once; if the two differ it is ErrTwice. An empty
// list is ErrNoSectors. Every opening is checked before it is returned.
func ProveWindow(ctx context.Context, miner abi.ActorID, rand abi.PoStRandomness, sectors []SectorAccess) (blob []byte,
	skipped []abi.SectorNumber, err error) {
	blob, faults, err := FindFaults(ctx, miner, rand, sectors)
	for _, f := range faults {
		skipped = append(skipped, f.Sector)
	}
	return blob, skipped, err
}

// FindFaults is ProveWindow with the reason for every sector left out.
func FindFaults(ctx context.Context, miner abi.ActorID, rand abi.PoStRandomness, sectors []SectorAccess) (blob []byte,
	faults []Fault, err error) {
	r, err := randomness(rand)
	if err != nil {
		return nil, nil, err
	}
	sectors, shape, err := sortSectors(sectors)
	if err != nil {
		return nil, nil, fmt.Errorf("post: window proof of miner t0%d: %w", miner, err)
	}
	proofs, errs := make([]sectorProof, len(sectors)), make([]error, len(sectors))
	g := new(errgroup.Group)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, s := range sectors {
		g.Go(func() error {
			// Places do not matter to the challenges of this version.
			proofs[i], errs[i] = openSector(ctx, windowV11, r, 0, s)
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, fmt.Errorf("post: window proof of miner t0%d stopped: %w", miner, err)
	}
	var good []sectorProof
	for i := range proofs {
		if errs[i] != nil {
			faults = append(faults, Fault{Sector: sectors[i].Info.SectorNumber, Err: errs[i]})
		} else {
			good = append(good, proofs[i])
		}
	}
	if len(good) == 0 {
		return nil, faults, nil
	}
	return marshal(good, shape.PoseidonForm()), faults, nil
}

// sortSectors puts sectors in ascending order, each once, and gives their shape.
func sortSectors(in []SectorAccess) ([]SectorAccess, merkle.Shape, error) {
	if len(in) == 0 {
		return nil, merkle.Shape{}, ErrNoSectors
	}
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
			return nil, shape, fmt.Errorf("sectors %d and %d: %w", in[0].Info.SectorNumber, s.Info.SectorNumber, ErrSizes)
		}
	}
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b SectorAccess) int { return cmp.Compare(a.Info.SectorNumber, b.Info.SectorNumber) })
	for i := 1; i < len(out); i++ {
		if a, b := out[i-1].Info, out[i].Info; a.SectorNumber == b.SectorNumber && a != b {
			return nil, shape, fmt.Errorf("sector %d: %w: as %s and as %s", a.SectorNumber, ErrTwice, a.SealedCID, b.SealedCID)
		}
	}
	return slices.CompactFunc(out, func(a, b SectorAccess) bool { return a.Info.SectorNumber == b.Info.SectorNumber }), shape, nil
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
	n := s.Info.SectorNumber
	if s.Sealed == nil || s.Cache == nil {
		return sectorProof{}, sectorError(n, ErrMissing, "its replica or cache is not at hand; fetch it or declare where it is")
	}
	commR, err := commcid.CIDToReplicaCommitmentV1(s.Info.SealedCID)
	if err != nil || len(commR) != 32 {
		return sectorProof{}, sectorError(n, ErrSealedCID, "%s", s.Info.SealedCID)
	}
	p := sectorProof{Sector: n, CommR: [32]byte(commR)}
	if p.CommC, p.CommRLast, err = porep.ReadAux(s.Cache); err != nil {
		return sectorProof{}, sectorError(n, causeOf(err), "%w", err)
	}
	got, err := merkle.HashNodes(p.CommC, p.CommRLast)
	if err != nil {
		return sectorProof{}, sectorError(n, ErrDamaged, "p_aux: %w", err)
	}
	if got != p.CommR {
		return sectorProof{}, sectorError(n, ErrOtherSeal, "p_aux does not give %s; if the sector was updated, its update's "+
			"replica and cache are needed, else p_aux is damaged", s.Info.SealedCID)
	}
	tree, closeTree, err := porep.OpenReplica(s.Info.SealProof, s.Sealed, s.Cache)
	if err != nil {
		return sectorProof{}, sectorError(n, causeOf(err), "%w", err)
	}
	defer closeTree()
	if p.Openings, err = tree.ProveAll(ctx, leaves); err != nil {
		return sectorProof{}, sectorError(n, causeOf(err), "%w", err)
	}
	for i := range p.Openings {
		if p.Openings[i].Root != p.CommRLast {
			return sectorProof{}, sectorError(n, ErrDamaged, "tree-r-last has another root than p_aux says")
		}
	}
	return p, nil
}

// causeOf tells missing files from damaged ones. A stopped context is neither.
func causeOf(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrMissing
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return ErrDamaged
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
