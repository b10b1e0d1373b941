package post

import (
	"errors"
	"fmt"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/merkle"
)

// What follows is for circuits, which prove the same statement from the same
// vanilla proof.

// Statement is what a proof of spacetime proves, all of it public.
type Statement struct {
	Shape   merkle.Shape
	Sectors []Claim // each once, ascending by number
	kind    kind
}

// Claim is what is proven of one sector: that its replica has these leaves.
type Claim struct {
	CommR  [32]byte
	Leaves []uint64 // numbers of the challenged leaves
}

// ErrStatement is the cause when sectors cannot be proven together.
var ErrStatement = errors.New("no statement that can be proven")

// WinningStatement derives the statement of info; proof bytes are ignored.
func WinningStatement(info proof.WinningPoStVerifyInfo) (Statement, error) {
	if len(info.ChallengedSectors) != winningSectors {
		return Statement{}, fmt.Errorf("post: %w: %d winning sectors, not %d", ErrStatement, len(info.ChallengedSectors), winningSectors)
	}
	return newStatement(winning, info.Randomness, info.ChallengedSectors)
}

// WindowStatement derives the statement of info; proof bytes are ignored, proof
// types count as for VerifyWindow.
func WindowStatement(info proof.WindowPoStVerifyInfo) (Statement, error) {
	if len(info.ChallengedSectors) == 0 {
		return Statement{}, fmt.Errorf("post: %w: no sectors", ErrStatement)
	}
	k, ok, err := windowKind(info)
	if err != nil {
		return Statement{}, err
	}
	if !ok {
		return Statement{}, fmt.Errorf("post: %w: proof types do not fit the sectors", ErrStatement)
	}
	return newStatement(k, info.Randomness, info.ChallengedSectors)
}

func newStatement(k kind, rand []byte, sectors []proof.SectorInfo) (Statement, error) {
	r, err := randomness(rand)
	if err != nil {
		return Statement{}, err
	}
	sectors, ok := distinct(sectors)
	if !ok {
		return Statement{}, fmt.Errorf("post: %w: two different sectors of one number", ErrStatement)
	}
	shape, err := shapeOf(sectors[0].SealProof)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{Shape: shape, kind: k}
	for i, sector := range sectors {
		own, err := shapeOf(sector.SealProof)
		if err != nil {
			return Statement{}, err
		}
		if own != shape {
			return Statement{}, fmt.Errorf("post: %w: sector %d is of another size than sector %d", ErrStatement,
				sector.SectorNumber, sectors[0].SectorNumber)
		}
		commR, err := commcid.CIDToReplicaCommitmentV1(sector.SealedCID)
		if err != nil || len(commR) != 32 {
			return Statement{}, fmt.Errorf("post: %w: CommR of sector %d is %s (%v)", ErrStatement, sector.SectorNumber,
				sector.SealedCID, err)
		}
		s.Sectors = append(s.Sectors, Claim{CommR: [32]byte(commR), Leaves: k.leaves(r, sector.SectorNumber, i, shape.Nodes)})
	}
	return s, nil
}

// Opened is the vanilla proof of one sector: one opening for each challenged
// leaf.
type Opened = sectorProof

// DecodeProof reads a vanilla proof of s, as ProveWinning and ProveWindow make it. It
// checks the form only.
func (s *Statement) DecodeProof(blob []byte) ([]Opened, error) {
	proofs, err := unmarshal(blob, len(s.Sectors), s.kind, s.Shape.PoseidonForm())
	if err != nil {
		return nil, fmt.Errorf("post: decoding a vanilla proof: %w", err)
	}
	return proofs, nil
}
