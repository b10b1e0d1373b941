package api

import (
	"context"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// MiningStatus is what block production has done since the process started,
// except where it says otherwise.
type MiningStatus struct {
	Running   bool
	LastEpoch abi.ChainEpoch
	Eligible  bool
	Reason    string // why not eligible
	BlocksWon uint64 // since the repo was made
	LastBlock *cid.Cid
	LastWin   time.Time
	LastErr   string
}

// PoStRecord is one window PoSt this process handled.
type PoStRecord struct {
	Deadline   uint64
	Open       abi.ChainEpoch
	Partitions []uint64
	Sectors    int
	Skipped    []abi.SectorNumber
	Message    *cid.Cid
	Accepted   bool // exit code 0 on chain
	Error      string
	Elapsed    time.Duration // proving time
	Time       time.Time
}

// ProvingStatus is the window PoSt side.
type ProvingStatus struct {
	CurrentDeadline uint64
	Accepted        uint64 // since the repo was made
	Failed          uint64
	Recent          []PoStRecord // newest first, at most 64
	// Alerts are troubles that put proofs in danger, each with what to do.
	Alerts []string
	// Unreadable are the sectors that could not be read at the last look at their
	// deadlines, ascending, at most 1024.
	Unreadable []SectorFault
}

// Mining is the block production and proving subsystem.
type Mining interface {
	MiningStatus(ctx context.Context) (MiningStatus, error)   //perm:read
	ProvingStatus(ctx context.Context) (ProvingStatus, error) //perm:read
	// ProvingRetryRecovery lets sectors be declared recovered once more that failed
	// after they were declared before and did not change since.
	ProvingRetryRecovery(ctx context.Context, sectors []abi.SectorNumber) error //perm:admin
}
