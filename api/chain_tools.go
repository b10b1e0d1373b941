package api

import (
	"context"
	"encoding/json"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/ipfs/go-cid"
)

// ChainTools is the part of the Lotus full-node API v1 that the suite does not
// call itself but that explorers, clients and command lines of others expect of a
// full node. Names, encodings and permissions are those of Lotus. A tipset key
// parameter may be empty for the head.
//
// What lists everything there is refuses more than its limit with ErrInvalid
// instead of answering in part.
type ChainTools interface {
	ChainGetFinalizedTipSet(ctx context.Context) (*TipSet, error) //perm:read

	StateListActors(ctx context.Context, tsk TipSetKey) ([]address.Address, error)                         //perm:read
	StateActorCodeCIDs(ctx context.Context, nv network.Version) (map[string]cid.Cid, error)                //perm:read
	StateActorManifestCID(ctx context.Context, nv network.Version) (cid.Cid, error)                        //perm:read
	StateMinerAllocated(ctx context.Context, a address.Address, tsk TipSetKey) (*bitfield.BitField, error) //perm:read
	StateMinerInitialPledgeCollateral(ctx context.Context, a address.Address,
		pci miner.SectorPreCommitInfo, tsk TipSetKey) (abi.TokenAmount, error) //perm:read
	// StateDecodeParams gives CBOR parameters as the JSON of their type; ErrInvalid
	// where the actor has no such method or the bytes are not its parameters.
	StateDecodeParams(ctx context.Context, to address.Address, method abi.MethodNum, params []byte,
		tsk TipSetKey) (json.RawMessage, error) //perm:read
	// StateEncodeParams is the way back, for an actor by its code.
	StateEncodeParams(ctx context.Context, code cid.Cid, method abi.MethodNum,
		params json.RawMessage) ([]byte, error) //perm:read

	StateMarketDeals(ctx context.Context, tsk TipSetKey) (map[string]*MarketDeal, error)                  //perm:read
	StateMarketProposalPending(ctx context.Context, proposal cid.Cid, tsk TipSetKey) (bool, error)        //perm:read
	StateVerifierStatus(ctx context.Context, a address.Address, tsk TipSetKey) (*abi.StoragePower, error) //perm:read

	StateGetAllocation(ctx context.Context, client address.Address, id verifreg.AllocationId,
		tsk TipSetKey) (*verifreg.Allocation, error) //perm:read
	StateGetAllocations(ctx context.Context, client address.Address,
		tsk TipSetKey) (map[verifreg.AllocationId]verifreg.Allocation, error) //perm:read
	StateGetAllAllocations(ctx context.Context,
		tsk TipSetKey) (map[verifreg.AllocationId]verifreg.Allocation, error) //perm:read
	StateGetAllocationForPendingDeal(ctx context.Context, deal abi.DealID,
		tsk TipSetKey) (*verifreg.Allocation, error) //perm:read
	StateGetAllocationIdForPendingDeal(ctx context.Context, deal abi.DealID,
		tsk TipSetKey) (verifreg.AllocationId, error) //perm:read
	StateGetClaim(ctx context.Context, provider address.Address, id verifreg.ClaimId,
		tsk TipSetKey) (*verifreg.Claim, error) //perm:read
	StateGetClaims(ctx context.Context, provider address.Address,
		tsk TipSetKey) (map[verifreg.ClaimId]verifreg.Claim, error) //perm:read
	StateGetAllClaims(ctx context.Context, tsk TipSetKey) (map[verifreg.ClaimId]verifreg.Claim, error) //perm:read

	// MpoolBatchPush and MpoolBatchPushMessage stop at the first message that is
	// refused; those before it stay pushed.
	MpoolBatchPush(ctx context.Context, msgs []*SignedMessage) ([]cid.Cid, error)                                //perm:write
	MpoolBatchPushMessage(ctx context.Context, msgs []*Message, spec *MessageSendSpec) ([]*SignedMessage, error) //perm:sign
	// MpoolSub tells of every message that enters or leaves the pool from now on.
	// The channel closes when the connection ends or the reader falls behind.
	MpoolSub(ctx context.Context) (<-chan MpoolUpdate, error) //perm:read
	MpoolGetConfig(ctx context.Context) (*MpoolConfig, error) //perm:read

	WalletValidateAddress(ctx context.Context, text string) (address.Address, error) //perm:read

	// MarketReserveFunds keeps an amount of an address's escrow for the caller's
	// deals and adds to the escrow, from wallet, what it lacks. The answer names the
	// message, or nothing (JSON null) when the escrow was enough.
	MarketReserveFunds(ctx context.Context, wallet, addr address.Address, amt abi.TokenAmount) (cid.Cid, error) //perm:sign
	MarketReleaseFunds(ctx context.Context, addr address.Address, amt abi.TokenAmount) error                    //perm:sign
	MarketGetReserved(ctx context.Context, addr address.Address) (abi.TokenAmount, error)                       //perm:sign
	// MarketWithdraw takes back escrow that is neither locked nor reserved.
	MarketWithdraw(ctx context.Context, wallet, addr address.Address, amt abi.TokenAmount) (cid.Cid, error) //perm:sign

	// The embedded chain has no fast finality: all of these answer ErrF3Disabled.
	F3IsRunning(ctx context.Context) (bool, error)                       //perm:read
	F3GetLatestCertificate(ctx context.Context) (json.RawMessage, error) //perm:read
	F3GetManifest(ctx context.Context) (json.RawMessage, error)          //perm:read
	F3GetProgress(ctx context.Context) (json.RawMessage, error)          //perm:read
	F3GetOrRenewParticipationTicket(ctx context.Context, miner address.Address, previous []byte,
		instances uint64) ([]byte, error) //perm:sign
	F3Participate(ctx context.Context, ticket []byte) (json.RawMessage, error) //perm:sign

	// The embedded node talks to no other: its peer id is a name, it has no peers.
	ID(ctx context.Context) (string, error)                        //perm:read
	NetPeers(ctx context.Context) ([]PeerInfo, error)              //perm:read
	NetBandwidthStats(ctx context.Context) (NetBandwidth, error)   //perm:read
	NetAutoNatStatus(ctx context.Context) (NetReachability, error) //perm:read
}

// Types of MpoolUpdate.
const (
	MpoolAdd    = 0
	MpoolRemove = 1
)

// MpoolUpdate tells of a message entering (MpoolAdd) or leaving (MpoolRemove) the
// pool.
type MpoolUpdate struct {
	Type    int
	Message *SignedMessage
}

// MpoolConfig says by which rules the pool goes.
type MpoolConfig struct {
	PriorityAddrs          []address.Address // senders whose messages go first; null: none
	SizeLimitHigh          int               // messages that the pool holds at most
	SizeLimitLow           int               // messages that are left after the pool was made smaller
	ReplaceByFeeRatio      float64           // factor on the old premium to offer when a message is replaced
	PruneCooldown          int64             // nanoseconds between two such clearings; 0: the pool refuses instead
	GasLimitOverestimation float64           // factor on the gas that a trial used
}

// NetBandwidth counts bytes, and bytes a second, of libp2p traffic.
type NetBandwidth struct {
	TotalIn  int64
	TotalOut int64
	RateIn   float64
	RateOut  float64
}

// NetReachability says whether others can dial a node: 0 unknown, 1 public, 2
// private (libp2p network.Reachability).
type NetReachability struct {
	Reachability int
	PublicAddrs  []string
}
