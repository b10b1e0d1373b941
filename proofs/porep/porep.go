package porep

import (
	"bytes"
	"fmt"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// Sector names the sector being sealed and how.
type Sector struct {
	Proof  abi.RegisteredSealProof
	Miner  abi.ActorID
	Number abi.SectorNumber
	// Custom, where not nil, takes the place of Proof and of the prover id that
	// Miner gives.
	Custom *Custom
}

// String names the sector and how it is sealed, for errors.
func (s Sector) String() string {
	if s.Custom != nil {
		return fmt.Sprintf("sector %d of prover %x (%s)", s.Number, s.Custom.ProverID, s.Custom.describe())
	}
	return fmt.Sprintf("sector s-t0%d-%d (seal proof %d)", s.Miner, s.Number, s.Proof)
}

// Progress is told how much of a stage is done, in units of that stage. It is
// called from one goroutine at a time. It may be nil.
type Progress func(stage string, done, total int64)

func (p Progress) report(stage string, done, total int64) {
	if p != nil {
		p(stage, done, total)
	}
}

// Stages reported by PreCommit1 and PreCommit2.
const (
	StageTreeD  = "tree-d"      // nodes of the data row
	StageLabels = "labels"      // nodes over all layers
	StageTreeC  = "tree-c"      // leaves
	StageTreeR  = "tree-r-last" // leaves
)

// PreCommit1Out is what PreCommit2 must know of PreCommit1. It can be stored
// and sent as JSON.
type PreCommit1Out struct {
	CommD     [32]byte
	ReplicaID [32]byte
	Ticket    [32]byte
	Layers    int // layer files in the cache
}

// Commitments are the four roots of a sealed sector, as little-endian nodes.
type Commitments struct {
	CommR, CommD, CommC, CommRLast [32]byte
}

// SealedCID is CommR as a CID (bagb...).
func (c Commitments) SealedCID() cid.Cid {
	out, err := commcid.ReplicaCommitmentV1ToCID(c.CommR[:])
	if err != nil {
		panic("porep: a 32-byte commitment must encode: " + err.Error())
	}
	return out
}

// UnsealedCID is CommD as a CID (baga...).
func (c Commitments) UnsealedCID() cid.Cid {
	out, err := commcid.DataCommitmentV1ToCID(c.CommD[:])
	if err != nil {
		panic("porep: a 32-byte commitment must encode: " + err.Error())
	}
	return out
}

// ProveRequest is what Prove needs beside the files: the ticket the sector was
// sealed with, the seed the chain drew after its pre-commitment, and its roots.
// Non-interactive proofs carry the seed but their challenges do not depend on it:
// any that is not zero will do, if the verifier is given the same one. The miner
// actor gives NonInteractiveSeed.
type ProveRequest struct {
	Ticket abi.SealRandomness
	Seed   abi.InteractiveSealRandomness
	Commitments
}

// NonInteractiveSeed is what the miner actor puts in place of the seed of
// non-interactive sectors: 32 bytes of 1 (FIP-0092; builtin-actors
// actors/miner/src/lib.rs, prove_commit_sectors_ni).
func NonInteractiveSeed() abi.InteractiveSealRandomness {
	return bytes.Repeat([]byte{1}, 32)
}
