package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
)

// TipSetKey names a tipset by the CIDs of its blocks in ticket order. Empty
// (also JSON null) means the current head.
type TipSetKey []cid.Cid

// Bytes is the concatenation of the binary CIDs, the form used in keys.
func (k TipSetKey) Bytes() []byte {
	var b []byte
	for _, c := range k {
		b = append(b, c.Bytes()...)
	}
	return b
}

// String prints the CIDs between braces, for logs.
func (k TipSetKey) String() string { return fmt.Sprintf("%v", []cid.Cid(k)) }

// Equal compares block by block.
func (k TipSetKey) Equal(o TipSetKey) bool { return slices.Equal(k, o) }

// MarshalJSON prints an empty key as [], as Lotus does.
func (k TipSetKey) MarshalJSON() ([]byte, error) {
	if len(k) == 0 {
		return []byte("[]"), nil
	}
	return json.Marshal([]cid.Cid(k))
}

// Ticket is one link of the ticket chain: a BLS signature used as VRF output.
type Ticket struct{ VRFProof []byte }

// ElectionProof carries how many times the block's miner won the epoch.
type ElectionProof struct {
	WinCount int64
	VRFProof []byte
}

// BeaconEntry is one round of the randomness beacon.
type BeaconEntry struct {
	Round uint64
	Data  []byte
}

// BlockHeader has the field order of its CBOR tuple (array of sixteen, lotus
// chain/types/blockheader.go).
type BlockHeader struct {
	Miner                 address.Address
	Ticket                *Ticket
	ElectionProof         *ElectionProof
	BeaconEntries         []BeaconEntry
	WinPoStProof          []proof.PoStProof
	Parents               []cid.Cid
	ParentWeight          abi.TokenAmount
	Height                abi.ChainEpoch
	ParentStateRoot       cid.Cid
	ParentMessageReceipts cid.Cid
	Messages              cid.Cid
	BLSAggregate          *crypto.Signature
	Timestamp             uint64 // seconds since 1970, chain time
	BlockSig              *crypto.Signature
	ForkSignaling         uint64
	ParentBaseFee         abi.TokenAmount
}

// BlockMsg is a block as it travels: header and message CIDs.
type BlockMsg struct {
	Header        *BlockHeader
	BlsMessages   []cid.Cid
	SecpkMessages []cid.Cid
}

// BlockTemplate is what a miner gives to MinerCreateBlock.
type BlockTemplate struct {
	Miner            address.Address
	Parents          TipSetKey
	Ticket           *Ticket
	Eproof           *ElectionProof
	BeaconValues     []BeaconEntry
	Messages         []*SignedMessage
	Epoch            abi.ChainEpoch
	Timestamp        uint64
	WinningPoStProof []proof.PoStProof
}

// TipSet is a set of blocks with one height and one set of parents.
type TipSet struct {
	Cids   []cid.Cid
	Blocks []*BlockHeader
	Height abi.ChainEpoch
}

// Key names the tipset.
func (t *TipSet) Key() TipSetKey { return TipSetKey(t.Cids) }

// Parents names the parent tipset.
func (t *TipSet) Parents() TipSetKey { return TipSetKey(t.Blocks[0].Parents) }

// ParentState is the state every State* call at this tipset reads: the one
// before the tipset's own messages.
func (t *TipSet) ParentState() cid.Cid { return t.Blocks[0].ParentStateRoot }

// MinTicket is the ticket of the first block in ticket order.
func (t *TipSet) MinTicket() *Ticket { return t.Blocks[0].Ticket }

// MinTimestamp is the smallest timestamp of the blocks, in seconds.
func (t *TipSet) MinTimestamp() uint64 {
	m := t.Blocks[0].Timestamp
	for _, b := range t.Blocks[1:] {
		m = min(m, b.Timestamp)
	}
	return m
}

// Equal compares keys.
func (t *TipSet) Equal(o *TipSet) bool {
	if t == nil || o == nil {
		return t == o
	}
	return bytes.Equal(t.Key().Bytes(), o.Key().Bytes())
}

// Kinds of head change, in the words of the wire.
const (
	HeadCurrent = "current"
	HeadApply   = "apply"
	HeadRevert  = "revert"
)

// HeadChange is one step of the head.
type HeadChange struct {
	Type string
	Val  *TipSet
}

// BlockMessages are the messages of one block; Cids lists BLS first.
type BlockMessages struct {
	BlsMessages   []*Message
	SecpkMessages []*SignedMessage
	Cids          []cid.Cid
}

// CidMessage is api.Message of Lotus: a message with its CID.
type CidMessage struct {
	Cid     cid.Cid
	Message *Message
}

// Actor is an entry of the state tree.
type Actor struct {
	Code             cid.Cid
	Head             cid.Cid
	Nonce            uint64
	Balance          abi.TokenAmount
	DelegatedAddress *address.Address
}

// ActorState is an actor with its decoded state.
type ActorState struct {
	Balance abi.TokenAmount
	Code    cid.Cid
	State   json.RawMessage
}

// MessageReceipt is what executing a message left behind.
type MessageReceipt struct {
	ExitCode   exitcode.ExitCode
	Return     []byte
	GasUsed    int64
	EventsRoot *cid.Cid
}

// MsgLookup says where a message was executed. TipSet and Height are those of
// the child tipset that carries the receipt.
type MsgLookup struct {
	Message   cid.Cid
	Receipt   MessageReceipt
	ReturnDec json.RawMessage
	TipSet    TipSetKey
	Height    abi.ChainEpoch
}

// MsgGasCost itemises what a message paid, in attoFIL except GasUsed.
type MsgGasCost struct {
	Message            *cid.Cid
	GasUsed            abi.TokenAmount
	BaseFeeBurn        abi.TokenAmount
	OverEstimationBurn abi.TokenAmount
	MinerPenalty       abi.TokenAmount
	MinerTip           abi.TokenAmount
	Refund             abi.TokenAmount
	TotalCost          abi.TokenAmount
}

// InvocResult is the outcome of a call that is not on chain.
type InvocResult struct {
	MsgCid         cid.Cid
	Msg            *Message
	MsgRct         *MessageReceipt
	GasCost        MsgGasCost
	ExecutionTrace ExecutionTrace
	Error          string
	Duration       int64 // nanoseconds
}

// MessageSendSpec bounds what a pushed message may cost. MsgUuid makes the
// push repeatable: the same id returns the first message.
type MessageSendSpec struct {
	MaxFee         abi.TokenAmount
	MsgUuid        UUID
	MaximizeFeeCap bool
}

// BeneficiaryTerm limits what a beneficiary may take.
type BeneficiaryTerm struct {
	Quota      abi.TokenAmount
	UsedQuota  abi.TokenAmount
	Expiration abi.ChainEpoch
}

// PendingBeneficiaryChange waits for approvals.
type PendingBeneficiaryChange struct {
	NewBeneficiary        address.Address
	NewQuota              abi.TokenAmount
	NewExpiration         abi.ChainEpoch
	ApprovedByBeneficiary bool
	ApprovedByNominee     bool
}

// MinerInfo is the miner actor's information in Lotus form. PeerId is the
// base58 string, so that reading it needs no libp2p.
type MinerInfo struct {
	Owner                      address.Address
	Worker                     address.Address
	NewWorker                  address.Address
	ControlAddresses           []address.Address
	WorkerChangeEpoch          abi.ChainEpoch
	PeerId                     *string
	Multiaddrs                 []abi.Multiaddrs
	WindowPoStProofType        abi.RegisteredPoStProof
	SectorSize                 abi.SectorSize
	WindowPoStPartitionSectors uint64
	ConsensusFaultElapsed      abi.ChainEpoch
	PendingOwnerAddress        *address.Address
	Beneficiary                address.Address
	BeneficiaryTerm            *BeneficiaryTerm
	PendingBeneficiaryTerm     *PendingBeneficiaryChange
}

// Claim is power, raw bytes and quality adjusted.
type Claim struct {
	RawBytePower    abi.StoragePower
	QualityAdjPower abi.StoragePower
}

// MinerPower compares a miner with the network.
type MinerPower struct {
	MinerPower  Claim
	TotalPower  Claim
	HasMinPower bool
}

// Deadline is one of the 48 window PoSt deadlines.
type Deadline struct {
	PostSubmissions      bitfield.BitField
	DisputableProofCount uint64
	DailyFee             abi.TokenAmount
}

// Partition is a set of sectors proven together.
type Partition struct {
	AllSectors        bitfield.BitField
	FaultySectors     bitfield.BitField
	RecoveringSectors bitfield.BitField
	LiveSectors       bitfield.BitField
	ActiveSectors     bitfield.BitField
}

// SectorLocation is where a sector is proven.
type SectorLocation struct {
	Deadline  uint64
	Partition uint64
}

// SectorExpiration is zero where no such expiration is scheduled.
type SectorExpiration struct {
	OnTime abi.ChainEpoch
	Early  abi.ChainEpoch
}

// MinerSectors counts sectors.
type MinerSectors struct {
	Live   uint64
	Active uint64
	Faulty uint64
}

// MiningBaseInfo is all a miner needs to try an epoch.
type MiningBaseInfo struct {
	MinerPower        abi.StoragePower
	NetworkPower      abi.StoragePower
	Sectors           []proof.ExtendedSectorInfo
	WorkerKey         address.Address
	SectorSize        abi.SectorSize
	PrevBeaconEntry   BeaconEntry
	BeaconEntries     []BeaconEntry
	EligibleForMining bool
}

// MarketBalance is an account's escrow at the market actor.
type MarketBalance struct {
	Escrow abi.TokenAmount
	Locked abi.TokenAmount
}

// DealCollateralBounds are attoFIL.
type DealCollateralBounds struct {
	Min abi.TokenAmount
	Max abi.TokenAmount
}

// NetworkParams is the part of StateGetNetworkParams this suite relies on.
type NetworkParams struct {
	NetworkName             string
	BlockDelaySecs          uint64
	ConsensusMinerMinPower  abi.StoragePower
	PreCommitChallengeDelay abi.ChainEpoch
	ForkUpgradeParams       map[string]abi.ChainEpoch // heights of the network's upgrades by Lotus's names
	Eip155ChainID           int64
	GenesisTimestamp        uint64
}

// CirculatingSupply itemises attoFIL.
type CirculatingSupply struct {
	FilVested           abi.TokenAmount
	FilMined            abi.TokenAmount
	FilBurnt            abi.TokenAmount
	FilLocked           abi.TokenAmount
	FilCirculating      abi.TokenAmount
	FilReserveDisbursed abi.TokenAmount
}

// KeyType names a signature scheme of the wallet.
type KeyType string

// Wallet key types.
const (
	KeyBLS       KeyType = "bls"
	KeySecp256k1 KeyType = "secp256k1"
)

// KeyInfo is a private key; it is never logged.
type KeyInfo struct {
	Type       KeyType
	PrivateKey []byte
}

// LogValue hides the key from structured logs.
func (k KeyInfo) String() string { return "KeyInfo{" + string(k.Type) + ", ...}" }

// NodeStatusDevnet is what the embedded devnet says of itself.
type NodeStatusDevnet struct {
	NetworkName string
	Height      abi.ChainEpoch
	PaceMillis  int64    // wall-clock milliseconds per epoch
	ProofKinds  []string // accepted forms: "vanilla", later "groth16"
	Warping     bool
	Miners      int
}
