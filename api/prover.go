package api

import (
	"context"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
)

// FaultReason says why a sector cannot be proved.
type FaultReason string

// Why a sector cannot be proved. The first three are of the sector: its files, or
// where they should be, were seen. The others may be a trouble of ours that passes.
const (
	FaultMissing   FaultReason = "missing"    // a file is not where it should be
	FaultDamaged   FaultReason = "damaged"    // the files were read and do not fit together
	FaultOtherSeal FaultReason = "other seal" // the files are sound, but of another CommR than the chain's

	FaultUnreadable FaultReason = "unreadable" // the system gave an error for a file that is there
	FaultHung       FaultReason = "hung"       // the path or host does not answer
	FaultSlow       FaultReason = "slow"       // not read within its limit
	FaultAway       FaultReason = "away"       // the path is not mounted or not opened yet, or its host not reached
)

// Certain tells whether the reason is one of the sector's own.
func (r FaultReason) Certain() bool {
	return r == FaultMissing || r == FaultDamaged || r == FaultOtherSeal
}

// SectorFault is a sector that cannot be proved.
type SectorFault struct {
	Sector abi.SectorNumber
	Reason FaultReason
	Path   string    `json:",omitempty"` // ID of the storage path, or its directory or host, where one is to blame
	Since  time.Time `json:",omitzero"`  // since when it does not answer
	Detail string
}

// String is the reason with its place and detail.
func (f SectorFault) String() string {
	s := string(f.Reason)
	if f.Path != "" {
		s += " at " + f.Path
	}
	if f.Detail != "" {
		s += ": " + f.Detail
	}
	return s
}

// WindowPoStRequest asks for the vanilla proof of all sectors of one message.
type WindowPoStRequest struct {
	Miner      abi.ActorID
	Randomness abi.PoStRandomness
	Sectors    []proof.SectorInfo
	// Limit is how long to read, on the wall clock: what was not read by then is
	// skipped, and there is a proof of the rest. 0 = each sector has its own limit.
	Limit time.Duration
}

// WindowPoStResult is one vanilla blob over all sectors that could be read, and
// why the others could not, ascending.
type WindowPoStResult struct {
	Vanilla []byte
	Skipped []SectorFault
}

// WinningPoStRequest asks for the vanilla winning proof.
type WinningPoStRequest struct {
	Miner      abi.ActorID
	Randomness abi.PoStRandomness
	Sectors    []proof.ExtendedSectorInfo
}

// ProvableSector is a sector to check.
type ProvableSector struct {
	Number    abi.SectorNumber
	SealProof abi.RegisteredSealProof
	SealedCID cid.Cid // the CommR that the chain has; must be given
	// Thorough opens as many leaves as a deadline asks for and every file of the
	// cache, and gives a print; else it is one random leaf.
	Thorough bool
}

// ProvableRequest asks whether sectors could be proved now.
type ProvableRequest struct {
	Miner   abi.ActorID
	Sectors []ProvableSector
	Limit   time.Duration // on the wall clock, for all of it; 0 = none
}

// ProvableResult says which could not.
type ProvableResult struct {
	Faults []SectorFault // ascending
	// Prints has for each sector that was checked thoroughly and is well what its
	// files look like: another print means that something was changed.
	Prints map[abi.SectorNumber]string
}

// ProverState says how far the prover can be believed.
type ProverState struct {
	// Opened says that every configured storage path was opened at least once
	// since this process started; Unopened names those that were not.
	Opened   bool
	Unopened []string
	// Paths lists what is attached now, by the storage paths' IDs.
	Paths []StorageID
	// Hung names what does not answer.
	Hung []HungPath
	// Readable is how many sectors could be read at their last try, of those tried
	// since this process started.
	Readable int
}

// HungPath is a directory or host that does not answer.
type HungPath struct {
	Path  string
	Since time.Time
}

// String names it and since when.
func (h HungPath) String() string {
	return fmt.Sprintf("%s (since %s)", h.Path, h.Since.UTC().Format(time.RFC3339))
}

// Prover makes proofs over the sectors that are stored.
type Prover interface {
	// ProveWindow proves what can be read within the limits and says why the rest
	// could not.
	ProveWindow(ctx context.Context, r WindowPoStRequest) (WindowPoStResult, error) //perm:prove
	ProveWinning(ctx context.Context, r WinningPoStRequest) ([]byte, error)         //perm:prove
	// CheckProvable names sectors that could not be proved now, with the reason.
	CheckProvable(ctx context.Context, r ProvableRequest) (ProvableResult, error) //perm:prove
	// ProverState tells how far the prover can be believed.
	ProverState(ctx context.Context) (ProverState, error) //perm:prove
}
