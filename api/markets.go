package api

import (
	"context"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/ipfs/go-cid"
)

// DealCheckpoint is how far a deal has come; Boost's words.
type DealCheckpoint string

// Checkpoints in order.
const (
	DealAccepted         DealCheckpoint = "Accepted"
	DealTransferred      DealCheckpoint = "Transferred"
	DealPublished        DealCheckpoint = "Published"
	DealPublishConfirmed DealCheckpoint = "PublishConfirmed"
	DealAddedPiece       DealCheckpoint = "AddedPiece"
	DealIndexed          DealCheckpoint = "IndexedAndAnnounced"
	DealComplete         DealCheckpoint = "Complete"
)

// DealRetry is what happens to a deal with an error.
type DealRetry string

// Retry classes.
const (
	DealRetryAuto   DealRetry = "auto"
	DealRetryManual DealRetry = "manual"
	DealRetryFatal  DealRetry = "fatal"
)

// DealLogEntry is one line of a deal's history.
type DealLogEntry struct {
	Time    time.Time
	Message string
}

// DealInfo is a storage deal as the provider keeps it.
type DealInfo struct {
	UUID              UUID
	SignedProposalCid cid.Cid
	Proposal          market.DealProposal
	ClientPeer        string
	PayloadRoot       cid.Cid
	TransferURL       string // without headers, user and query
	TransferSize      uint64 // bytes expected
	Received          uint64 // bytes on disk
	Checkpoint        DealCheckpoint
	Retry             DealRetry
	Err               string
	Fault             Fault `json:",omitempty"` // whose trouble Err is
	PublishCid        *cid.Cid
	OnChain           bool // ChainDealID is that of the published deal
	ChainDealID       abi.DealID
	Attempt           int `json:",omitempty"` // how many placements were given up before this one
	Placement         *PiecePlacement
	SealingState      SectorState
	OnChainActive     bool
	SectorStartEpoch  abi.ChainEpoch // -1 until active
	FastRetrieval     bool
	IndexNote         string `json:",omitempty"` // what of the payload cannot be retrieved by CID, and why
	Created           time.Time
	Updated           time.Time
	Log               []DealLogEntry `json:",omitempty"`
}

// DealPage is one page of deals, newest first. It may hold fewer than were asked
// for, or none, before the end: one page looks at a bounded number of deals.
type DealPage struct {
	Deals []DealInfo
	Next  string // cursor, empty at the end
}

// DealQuery picks deals. The zero value asks for the first page of all.
type DealQuery struct {
	Cursor      string           // DealPage.Next of the page before; empty: from the newest on
	Limit       int              // deals at most; 0: 1000, which is the most
	Checkpoints []DealCheckpoint `json:",omitempty"` // any of these; empty: all
	Retry       DealRetry        `json:",omitempty"` // this one; empty: all
	Failed      bool             `json:",omitempty"` // only those with an error
}

// StorageAskInfo is the provider's current offer; prices in attoFIL per GiB
// per epoch, sizes padded bytes.
type StorageAskInfo struct {
	Price         abi.TokenAmount
	VerifiedPrice abi.TokenAmount
	MinPieceSize  abi.PaddedPieceSize
	MaxPieceSize  abi.PaddedPieceSize
	Timestamp     abi.ChainEpoch
	Expiry        abi.ChainEpoch
	SeqNo         uint64
}

// PieceRecord is a piece the provider can serve.
type PieceRecord struct {
	PieceCID cid.Cid
	Size     abi.PaddedPieceSize
	Payload  uint64 // bytes, 0 when unknown
	Deals    []UUID
	Sectors  []PiecePlacement
	Blocks   int    // indexed blocks, -1 when not indexed
	IndexErr string // what of the payload is not as it should be
	Wrong    int    `json:",omitempty"` // blocks found wrong when they were read, since the last indexing
}

// Markets is the deal making and retrieval subsystem.
type Markets interface {
	DealsList(ctx context.Context, cursor string, limit int) (DealPage, error) //perm:read
	DealsQuery(ctx context.Context, q DealQuery) (DealPage, error)             //perm:read
	DealsSummary(ctx context.Context) (map[DealCheckpoint]int, error)          //perm:read
	DealsGet(ctx context.Context, id UUID, log bool) (DealInfo, error)         //perm:read
	DealsRetry(ctx context.Context, id UUID) error                             //perm:write
	MarketGetAsk(ctx context.Context) (StorageAskInfo, error)                  //perm:read
	MarketSetAsk(ctx context.Context, price, verified abi.TokenAmount, duration abi.ChainEpoch, min,
		max abi.PaddedPieceSize) error //perm:admin
	MarketPendingDeals(ctx context.Context) ([]UUID, error)                                  //perm:read
	MarketPublishPendingDeals(ctx context.Context) error                                     //perm:admin
	PiecesList(ctx context.Context, cursor string, limit int) ([]PieceRecord, string, error) //perm:read
	PiecesGet(ctx context.Context, piece cid.Cid) (PieceRecord, error)                       //perm:read
}
