package sealing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// Config are the operator's choices and the miner's fixed facts. Durations in
// chain time are epochs.
type Config struct {
	Miner     address.Address         // ID address
	ProofType abi.RegisteredSealProof // see SealProofType

	// VanillaAccepted says that the network takes the envelope form of proof.
	// Without it and without Groth16 nothing is started.
	VanillaAccepted bool
	// Groth16 has every vanilla proof turned into the form that every network
	// takes, by workers that can (C2 and PR2 tasks), instead of sending an
	// envelope.
	Groth16 bool

	WaitDealsDelay          abi.ChainEpoch // how long an open sector waits for more pieces after its first
	StartEpochSealingBuffer abi.ChainEpoch // sealing starts this long before the earliest deal start; 0 = 480
	MinDealLead             abi.ChainEpoch // a deal that starts sooner than this is refused; 0 = 60
	CCLifetime              abi.ChainEpoch // life of sectors without deals; 0 = 540 days
	UpdateConfidence        abi.ChainEpoch // a replica is kept this long after an update landed; 0 = 900, as far back as winning PoSt draws
	SeedConfidence          abi.ChainEpoch // epochs to wait beyond the seed epoch; 0 = 6, as Lotus InteractivePoRepConfidence
	AlwaysKeepUnsealed      bool           // keep the readable copy whatever the deal says
	MarkCC                  bool           // new sectors without deals may take deals later, as by SectorMarkForUpgrade
	MaxWaitDealsSectors     int            // open sectors at once, 0 = no limit
	MaxSealing              int            // sectors between start and Proving at once, 0 = no limit
	MaxPreCommitBatch       int            // pre-commitments in one message, at most 256; up to 1: each sector sends its own
	MaxCommitBatch          int            // the same for proofs
	// PreCommitBatchWait and CommitBatchWait are how long a sector waits for others to
	// send its pre-commitment, or its proof, with. They are asked while it waits: epochs
	// may become longer or shorter. nil, and 0 from them: 5 min.
	PreCommitBatchWait, CommitBatchWait func() time.Duration
	// LostAfter is how long files that no path has are waited for before they are taken
	// for lost: a disk may be mounted again. 0 = 12 h.
	LostAfter                time.Duration
	RetryMin, RetryMax       time.Duration // bounds of the back-off after failures; 0 = 2 s and 5 min
	MaxDealsPerSector        int           // 0 = the protocol's max(256, size/2^27)
	CollateralMarginPercents int           // added to the pledge the node computes; 0 = 10
}

// Chain is what sealing asks of a full node.
type Chain interface {
	ChainHead(ctx context.Context) (*api.TipSet, error)
	ChainPutObj(ctx context.Context, block api.ObjBlock) error
	StateGetNetworkParams(ctx context.Context) (*api.NetworkParams, error)
	StateMinerInfo(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MinerInfo, error)
	StateMinerSectorAllocated(ctx context.Context, a address.Address, n abi.SectorNumber, tsk api.TipSetKey) (bool, error)
	StateMinerPreCommitDepositForPower(ctx context.Context, a address.Address, pci miner.SectorPreCommitInfo,
		tsk api.TipSetKey) (abi.TokenAmount, error)
	StateMinerInitialPledgeForSector(ctx context.Context, duration abi.ChainEpoch, size abi.SectorSize, verified uint64,
		tsk api.TipSetKey) (abi.TokenAmount, error)
	StateSectorPreCommitInfo(ctx context.Context, a address.Address, n abi.SectorNumber,
		tsk api.TipSetKey) (*miner.SectorPreCommitOnChainInfo, error)
	StateSectorGetInfo(ctx context.Context, a address.Address, n abi.SectorNumber, tsk api.TipSetKey) (*miner.SectorOnChainInfo, error)
	StateSectorPartition(ctx context.Context, a address.Address, n abi.SectorNumber, tsk api.TipSetKey) (*api.SectorLocation, error)
	StateMinerPartitions(ctx context.Context, a address.Address, deadline uint64, tsk api.TipSetKey) ([]api.Partition, error)
	StateMinerProvingDeadline(ctx context.Context, a address.Address, tsk api.TipSetKey) (*dline.Info, error)
	StateMarketStorageDeal(ctx context.Context, id abi.DealID, tsk api.TipSetKey) (*api.MarketDeal, error)
	StateGetRandomnessFromTickets(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch,
		entropy []byte, tsk api.TipSetKey) (abi.Randomness, error)
	StateGetRandomnessFromBeacon(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch,
		entropy []byte, tsk api.TipSetKey) (abi.Randomness, error)
}

// Storage is what sealing asks of the sector storage subsystem.
type Storage interface {
	TaskSubmit(ctx context.Context, spec api.TaskSpec) (api.TaskStatus, error)
	TaskGet(ctx context.Context, id api.UUID) (api.TaskStatus, error)
	TaskWait(ctx context.Context, id api.UUID) (api.TaskStatus, error)
	TaskForget(ctx context.Context, id api.UUID) error
	TaskRetry(ctx context.Context, id api.UUID) error
	TaskCancel(ctx context.Context, id api.UUID) error
	StorageFindSector(ctx context.Context, s abi.SectorID, t api.FileType) ([]api.SectorLocationInfo, error)
	BlobOpen(ctx context.Context, ref api.BlobRef) (io.ReadCloser, error)
	RemoveSector(ctx context.Context, s abi.SectorID) error
}

// Heads follows the chain.
type Heads interface {
	Head() *api.TipSet // nil before the first
	WaitHeight(ctx context.Context, epoch abi.ChainEpoch) (*api.TipSet, error)
}

// Messages sends messages: keyed, durable, and waited for to the operator's
// confidence. An exit code other than zero is not an error of Wait.
type Messages interface {
	Send(ctx context.Context, key string, m *api.Message) (cid.Cid, error)
	Wait(ctx context.Context, c cid.Cid) (*api.MsgLookup, error)
}

// Verifier checks Groth16 proofs as the chain will. An error means that nothing
// was decided.
type Verifier interface {
	Seal(ctx context.Context, info proof.SealVerifyInfo) (bool, error)
	Update(ctx context.Context, info proof.ReplicaUpdateInfo) (bool, error)
}

// Faults knows which sectors the chain counts as faulty.
type Faults interface {
	List() []api.ChainFault
	Fault(n abi.SectorNumber) *api.ChainFault // nil when it is not faulty
}

// Deps are the parts sealing works with; all but Log, CommitMsgs, BatchMsgs,
// CommitBatchMsgs, Verify and Faults are needed.
type Deps struct {
	Store      datastore.Batching // sealing's own prefix
	Chain      Chain
	Storage    Storage
	Heads      Heads
	Msgs       Messages // pre-commitments, and commitments too when CommitMsgs is nil
	CommitMsgs Messages // sender with the fee limit for commitments
	// BatchMsgs and CommitBatchMsgs give the senders of messages of so many sectors,
	// with fee limits that grow with them; nil: those of single sectors.
	BatchMsgs       func(sectors int) Messages
	CommitBatchMsgs func(sectors int) Messages
	Verify          Verifier // of proofs that workers made, before they are sent; nil: unchecked
	Faults          Faults   // shown with the sectors; nil: none are known
	Log             *slog.Logger
}

// SealProofType is the seal proof of a miner with this window PoSt proof: the
// V1_1 kind of the same size, what every network from version 16 on takes
// (lotus chain/actors/builtin/miner/utils.go).
func SealProofType(info api.MinerInfo) (abi.RegisteredSealProof, error) {
	table := map[abi.SectorSize]abi.RegisteredSealProof{
		2 << 10:   abi.RegisteredSealProof_StackedDrg2KiBV1_1,
		8 << 20:   abi.RegisteredSealProof_StackedDrg8MiBV1_1,
		512 << 20: abi.RegisteredSealProof_StackedDrg512MiBV1_1,
		32 << 30:  abi.RegisteredSealProof_StackedDrg32GiBV1_1,
		64 << 30:  abi.RegisteredSealProof_StackedDrg64GiBV1_1,
	}
	p, ok := table[info.SectorSize]
	if !ok {
		return 0, fmt.Errorf("sealing: no seal proof for sectors of %d bytes", info.SectorSize)
	}
	return p, nil
}

// SyntheticProofType is the seal proof with synthetic PoRep (FIP-0059) of the
// sectors of p, which must be of the V1_1 kind.
func SyntheticProofType(p abi.RegisteredSealProof) (abi.RegisteredSealProof, error) {
	table := map[abi.RegisteredSealProof]abi.RegisteredSealProof{
		abi.RegisteredSealProof_StackedDrg2KiBV1_1:   abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep,
		abi.RegisteredSealProof_StackedDrg8MiBV1_1:   abi.RegisteredSealProof_StackedDrg8MiBV1_1_Feat_SyntheticPoRep,
		abi.RegisteredSealProof_StackedDrg512MiBV1_1: abi.RegisteredSealProof_StackedDrg512MiBV1_1_Feat_SyntheticPoRep,
		abi.RegisteredSealProof_StackedDrg32GiBV1_1:  abi.RegisteredSealProof_StackedDrg32GiBV1_1_Feat_SyntheticPoRep,
		abi.RegisteredSealProof_StackedDrg64GiBV1_1:  abi.RegisteredSealProof_StackedDrg64GiBV1_1_Feat_SyntheticPoRep,
	}
	out, ok := table[p]
	if !ok {
		return 0, fmt.Errorf("sealing: seal proof %d has no synthetic form", p)
	}
	return out, nil
}

func (c Config) withDefaults(size abi.SectorSize) Config {
	orEpoch(&c.StartEpochSealingBuffer, 480)
	orEpoch(&c.MinDealLead, 60)
	orEpoch(&c.CCLifetime, 540*epochsInDay)
	orEpoch(&c.SeedConfidence, 6)
	orEpoch(&c.UpdateConfidence, miner.ChainFinality)
	if c.RetryMin <= 0 {
		c.RetryMin = 2 * time.Second
	}
	if c.RetryMax < c.RetryMin {
		c.RetryMax = max(5*time.Minute, c.RetryMin)
	}
	if c.LostAfter <= 0 {
		c.LostAfter = 12 * time.Hour
	}
	c.MaxPreCommitBatch = min(c.MaxPreCommitBatch, maxBatch)
	c.MaxCommitBatch = min(c.MaxCommitBatch, maxBatch)
	if c.MaxDealsPerSector <= 0 {
		c.MaxDealsPerSector = max(256, int(size>>27))
	}
	if c.CollateralMarginPercents <= 0 {
		c.CollateralMarginPercents = 10
	}
	return c
}

func orEpoch(v *abi.ChainEpoch, def abi.ChainEpoch) {
	if *v <= 0 {
		*v = def
	}
}

func (d Deps) check() error {
	switch {
	case d.Store == nil:
		return errors.New("sealing: Deps.Store is missing")
	case d.Chain == nil:
		return errors.New("sealing: Deps.Chain is missing")
	case d.Storage == nil:
		return errors.New("sealing: Deps.Storage is missing")
	case d.Heads == nil:
		return errors.New("sealing: Deps.Heads is missing")
	case d.Msgs == nil:
		return errors.New("sealing: Deps.Msgs is missing")
	}
	return nil
}
