package api

import (
	"context"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
)

// WindowPoStRequest asks for vanilla proofs of all sectors of one message.
type WindowPoStRequest struct {
	Miner      abi.ActorID
	Randomness abi.PoStRandomness
	Sectors    []proof.SectorInfo
}

// WindowPoStResult is one vanilla blob for the partition, and what could not
// be read.
type WindowPoStResult struct {
	Vanilla []byte
	Skipped []abi.SectorNumber
}

// WinningPoStRequest asks for the vanilla winning proof.
type WinningPoStRequest struct {
	Miner      abi.ActorID
	Randomness abi.PoStRandomness
	Sectors    []proof.ExtendedSectorInfo
}

// Prover makes proofs over the sectors that are stored.
type Prover interface {
	ProveWindow(ctx context.Context, r WindowPoStRequest) (WindowPoStResult, error) //perm:prove
	ProveWinning(ctx context.Context, r WinningPoStRequest) ([]byte, error)         //perm:prove
	// CheckProvable names sectors whose files are missing or wrong, with reason.
	CheckProvable(ctx context.Context, sectors []SectorRef) (map[abi.SectorNumber]string, error) //perm:prove
}
