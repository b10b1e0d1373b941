package api

import (
	"context"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/ipfs/go-cid"
)

// PieceDealInfo ties a piece to a published deal.
type PieceDealInfo struct {
	DealID       abi.DealID
	PublishCid   *cid.Cid
	DealProposal *market.DealProposal
	StartEpoch   abi.ChainEpoch
	EndEpoch     abi.ChainEpoch
	KeepUnsealed bool
	Attempt      int `json:",omitempty"` // how many earlier places of the piece were given up
}

// AddPieceRequest hands a piece to sealing by reference. Key makes it
// repeatable: the second call with the same key returns the first answer.
type AddPieceRequest struct {
	Key   string
	Piece abi.PieceInfo // padded size, CommP
	Deal  PieceDealInfo
	Data  DataRef
}

// PiecePlacement says where a piece is. Offset and Size are padded bytes.
type PiecePlacement struct {
	Sector abi.SectorID
	Offset abi.PaddedPieceSize
	Size   abi.PaddedPieceSize
}

// SectorPiece is a piece in a sector; DealInfo is nil for filler.
type SectorPiece struct {
	Piece    abi.PieceInfo
	Offset   abi.PaddedPieceSize
	DealInfo *PieceDealInfo
}

// SectorState is a state of the sealing machine, in Lotus's words.
type SectorState string

// Sector states.
const (
	SectorWaitDeals       SectorState = "WaitDeals"
	SectorAddPiece        SectorState = "AddPiece"
	SectorPacking         SectorState = "Packing"
	SectorGetTicket       SectorState = "GetTicket"
	SectorPreCommit1      SectorState = "PreCommit1"
	SectorPreCommit2      SectorState = "PreCommit2"
	SectorPreCommitting   SectorState = "PreCommitting"
	SectorPreCommitWait   SectorState = "PreCommitWait"
	SectorWaitSeed        SectorState = "WaitSeed"
	SectorCommitting      SectorState = "Committing"
	SectorSubmitCommit    SectorState = "SubmitCommit"
	SectorCommitWait      SectorState = "CommitWait"
	SectorFinalizeSector  SectorState = "FinalizeSector"
	SectorProving         SectorState = "Proving"
	SectorAddPieceFailed  SectorState = "AddPieceFailed"
	SectorSealFailed      SectorState = "SealPreCommit1Failed"
	SectorSeal2Failed     SectorState = "SealPreCommit2Failed"
	SectorPreCommitFailed SectorState = "PreCommitFailed"
	SectorComputeFailed   SectorState = "ComputeProofFailed"
	SectorCommitFailed    SectorState = "CommitFailed"
	SectorFinalizeFailed  SectorState = "FinalizeFailed"
	SectorFailedForGood   SectorState = "FailedUnrecoverable"
	SectorRemoving        SectorState = "Removing"
	SectorRemoved         SectorState = "Removed"
)

// States of a sector of zeros that takes data without being sealed again.
const (
	SectorAvailable          SectorState = "Available" // marked: it may take deals
	SectorSnapWaitDeals      SectorState = "SnapDealsWaitDeals"
	SectorSnapAddPiece       SectorState = "SnapDealsAddPiece"
	SectorSnapPacking        SectorState = "SnapDealsPacking"
	SectorUpdateReplica      SectorState = "UpdateReplica"
	SectorProveUpdate        SectorState = "ProveReplicaUpdate"
	SectorSubmitUpdate       SectorState = "SubmitReplicaUpdate"
	SectorWaitMutable        SectorState = "WaitMutable"
	SectorUpdateWait         SectorState = "ReplicaUpdateWait"
	SectorFinalizeUpdate     SectorState = "FinalizeReplicaUpdate"
	SectorUpdateActivating   SectorState = "UpdateActivating"
	SectorReleaseKey         SectorState = "ReleaseSectorKey"
	SectorAbortUpgrade       SectorState = "AbortUpgrade"
	SectorSnapAddPieceFailed SectorState = "SnapDealsAddPieceFailed"
	SectorUpdateFailed       SectorState = "ReplicaUpdateFailed"
	SectorFinalUpdateFailed  SectorState = "FinalizeReplicaUpdateFailed"
	SectorReleaseKeyFailed   SectorState = "ReleaseSectorKeyFailed"
)

// SectorLogEntry is one line of a sector's history.
type SectorLogEntry struct {
	Time    time.Time
	State   SectorState
	Message string
}

// SectorInfo is a sector as sealing knows it.
type SectorInfo struct {
	Sector       SectorRef
	State        SectorState
	Pieces       []SectorPiece
	TicketEpoch  abi.ChainEpoch
	SeedEpoch    abi.ChainEpoch
	CommD        *cid.Cid
	CommR        *cid.Cid
	PreCommitMsg *cid.Cid
	CommitMsg    *cid.Cid

	UpdateSealed   *cid.Cid `json:",omitempty"` // CommR with the data, where there is an update
	UpdateUnsealed *cid.Cid `json:",omitempty"`
	UpdateMsg      *cid.Cid `json:",omitempty"`

	Fault *ChainFault `json:",omitempty"` // where the chain counts the sector as faulty

	Expiration abi.ChainEpoch // asked for, 0 until pre-commit
	Retries    int
	LastErr    string
	NextRetry  time.Time
	Task       *TaskStatus // what is running for it now
	Created    time.Time
	Updated    time.Time
	Log        []SectorLogEntry `json:",omitempty"` // only from SectorsStatus with log
}

// SectorQuery picks sectors. The zero value asks for the first page of all.
type SectorQuery struct {
	From   abi.SectorNumber // the lowest number that is wanted
	Limit  int              // sectors at most; 0: 1000, which is the most
	States []SectorState    `json:",omitempty"` // any of these; empty: all
	Faulty bool             `json:",omitempty"` // only those that the chain counts as faulty
}

// SectorPage is one page of sectors, by number. It may hold fewer than were asked
// for, or none, before the end: one page looks at a bounded number of sectors.
type SectorPage struct {
	Sectors []SectorInfo
	Next    *abi.SectorNumber // where the next page begins, nil at the end
}

// ChainFault is a sector that the chain counts as faulty: it has no power and
// costs a fee every day until it is proven again.
type ChainFault struct {
	Sector     abi.SectorNumber
	Deadline   uint64
	Partition  uint64
	Since      abi.ChainEpoch // first seen faulty by this node
	Time       time.Time      // of Since
	Earlier    bool           // it was so already when this node first looked
	Recovering bool           // declared recovered: the next window PoSt decides
	Why        string
	Do         string // what the operator can do
}

// UnsealTarget asks for readable bytes of a range, padded.
type UnsealTarget struct {
	Sector abi.SectorNumber
	Offset abi.PaddedPieceSize
	Size   abi.PaddedPieceSize
}

// Sealing is the sealing subsystem.
type Sealing interface {
	ActorAddress(ctx context.Context) (string, error)            //perm:peer
	ActorSectorSize(ctx context.Context) (abi.SectorSize, error) //perm:peer
	// SectorAddPiece makes sure the piece ends up in some sector and says where.
	// The placement is on disk before nil is returned. Errors: ErrGivenUp (offer
	// it under another key), ErrInvalid (the request is wrong), ErrPieceMismatch
	// (the bytes are), all others: repeat.
	SectorAddPiece(ctx context.Context, r AddPieceRequest) (PiecePlacement, error) //perm:sealing-peer
	// SectorPlacement answers for a key: ErrNotFound when it was never placed,
	// ErrGivenUp when it was and its sector will not bring it on chain.
	SectorPlacement(ctx context.Context, key string) (PiecePlacement, error)                   //perm:sealing-peer
	SectorsList(ctx context.Context, cursor abi.SectorNumber, limit int) ([]SectorInfo, error) //perm:read
	SectorsQuery(ctx context.Context, q SectorQuery) (SectorPage, error)                       //perm:read
	SectorsStatus(ctx context.Context, n abi.SectorNumber, log bool) (SectorInfo, error)       //perm:peer
	SectorsSummary(ctx context.Context) (map[SectorState]int, error)                           //perm:read
	// SectorsFaults lists what the chain counts as faulty, by number, as of the
	// last look; sectors that sealing does not know are among them.
	SectorsFaults(ctx context.Context) ([]ChainFault, error)          //perm:read
	PledgeSector(ctx context.Context) (abi.SectorID, error)           //perm:write
	SectorStartSealing(ctx context.Context, n abi.SectorNumber) error //perm:write
	// SectorRetry leaves a failed state at once instead of waiting.
	SectorRetry(ctx context.Context, n abi.SectorNumber) error  //perm:write
	SectorRemove(ctx context.Context, n abi.SectorNumber) error //perm:admin
	// SectorMarkForUpgrade lets a proven sector of zeros take the next deals that
	// it outlives, instead of a new sector. snap must be true.
	SectorMarkForUpgrade(ctx context.Context, n abi.SectorNumber, snap bool) error //perm:admin
	// SectorAbortUpgrade takes the mark away, or gives up an update that no
	// message was sent for; pieces already taken go back to their owners.
	SectorAbortUpgrade(ctx context.Context, n abi.SectorNumber) error //perm:admin
	// SectorUnseal makes the range readable in some unsealed file and returns
	// when it is; the caller finds the file through the index.
	SectorUnseal(ctx context.Context, t UnsealTarget) error //perm:sealing-peer
}
