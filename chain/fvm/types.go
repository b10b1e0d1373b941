package fvm

import (
	"context"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/state"
)

// Blockstore is the content-addressed store below a machine.
type Blockstore = state.Blockstore

// ConsensusFault is what VerifyConsensusFault reports to the miner actor.
type ConsensusFault struct {
	Epoch  abi.ChainEpoch // height of the second header
	Target abi.ActorID    // miner at fault
	Kind   uint32         // 1 double fork, 2 parent grinding, 3 time offset
}

// Externs answers from the chain. Randomness is the 32-byte digest only; the
// actor mixes in tag, epoch and entropy. An error becomes a failed system call
// of the actor, as for an epoch in the future.
type Externs interface {
	// ChainRandomness is blake2b-256 of the ticket at epoch (genesis ticket for
	// negative epochs).
	ChainRandomness(ctx context.Context, epoch abi.ChainEpoch) ([32]byte, error)
	// BeaconRandomness is blake2b-256 of the beacon entry for epoch.
	BeaconRandomness(ctx context.Context, epoch abi.ChainEpoch) ([32]byte, error)
	// TipsetCID is the CID of the tipset key at an earlier epoch.
	TipsetCID(ctx context.Context, epoch abi.ChainEpoch) (cid.Cid, error)
	// ConsensusFault examines two block headers (and an optional third); nil
	// means that they prove no fault.
	ConsensusFault(ctx context.Context, h1, h2, extra []byte) (*ConsensusFault, error)
}

// ProofVerifier checks storage proofs; false without error is a wrong proof,
// an error is an input that cannot be checked. Methods may be called from
// several goroutines.
type ProofVerifier interface {
	Seal(ctx context.Context, info proof.SealVerifyInfo) (bool, error)
	Aggregate(ctx context.Context, info proof.AggregateSealVerifyProofAndInfos) (bool, error)
	WindowPoSt(ctx context.Context, info proof.WindowPoStVerifyInfo) (bool, error)
	ReplicaUpdate(ctx context.Context, info proof.ReplicaUpdateInfo) (bool, error)
}

// MachineConfig fixes everything a tipset execution sees as constant.
type MachineConfig struct {
	Epoch          abi.ChainEpoch
	Timestamp      uint64          // seconds; read by EVM actors only
	BaseFee        abi.TokenAmount // attoFIL per gas unit
	CircSupply     abi.TokenAmount // attoFIL
	NetworkVersion network.Version // 25..29, or 18 for the published vectors
	ChainID        uint64          // EIP-155 id; read by EVM actors only
	StateRoot      cid.Cid         // cid.Undef starts an empty tree (genesis)
	Trace          bool            // record every call; costs no gas
}

// Deps are the machine's collaborators; all are needed.
type Deps struct {
	Store   Blockstore
	Externs Externs
	Proofs  ProofVerifier
}

// GasOutputs says who pays and gets what for gas, in attoFIL.
type GasOutputs = gas.Outputs

// EventEntry is one key and value of an actor event.
type EventEntry struct {
	Flags uint64 // bit 0: key indexed, bit 1: value indexed
	Key   string
	Codec uint64 // 0x51 CBOR or 0x55 raw
	Value []byte
}

// Event is an event with the actor that emitted it.
type Event struct {
	Emitter abi.ActorID
	Entries []EventEntry
}

// Result is the outcome of one message.
type Result struct {
	ExitCode   exitcode.ExitCode
	Return     []byte // nil when there is none
	GasUsed    int64
	EventsRoot *cid.Cid // nil when there are no events; the AMT itself is in the machine buffer
	Events     []Event
	Outputs    GasOutputs // zero for implicit messages
	Backtrace  string     // failing frames, deepest first; empty on success
	Trace      *Trace     // with MachineConfig.Trace only
	Duration   time.Duration
}
