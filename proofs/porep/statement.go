package porep

import (
	"fmt"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// What follows is for circuits, which prove the same statement from the same
// vanilla proof.

// Dimensions are the sizes that a registered seal proof fixes.
type Dimensions struct {
	Shape      merkle.Shape
	Layers     int
	Partitions int
	Challenges int // of one partition
}

// DimensionsOf are the sizes of p.
func DimensionsOf(p abi.RegisteredSealProof) (Dimensions, error) {
	par, err := paramsFor(p)
	if err != nil {
		return Dimensions{}, err
	}
	return Dimensions{Shape: par.shape, Layers: par.layers, Partitions: par.partitions, Challenges: par.perPartition}, nil
}

// Statement is what a seal proof proves, all of it public.
type Statement struct {
	Dimensions
	ReplicaID, CommD, CommR [32]byte
	Graph                   *sdr.Graph
	Nodes                   [][]uint64 // challenged, by partition
}

// StatementOf derives the statement of info; info.Proof is ignored. Commitments
// or randomness of another form are an error.
func StatementOf(info proof.SealVerifyInfo) (Statement, error) {
	par, err := paramsFor(info.SealProof)
	if err != nil {
		return Statement{}, err
	}
	commR, err := commcid.CIDToReplicaCommitmentV1(info.SealedCID)
	if err != nil || len(commR) != 32 {
		return Statement{}, fmt.Errorf("porep: %s is no CommR (%v)", info.SealedCID, err)
	}
	commD, err := commcid.CIDToDataCommitmentV1(info.UnsealedCID)
	if err != nil || len(commD) != 32 {
		return Statement{}, fmt.Errorf("porep: %s is no CommD (%v)", info.UnsealedCID, err)
	}
	if len(info.Randomness) != 32 || len(info.InteractiveRandomness) != 32 {
		return Statement{}, fmt.Errorf("porep: ticket of %d and seed of %d bytes, not 32", len(info.Randomness),
			len(info.InteractiveRandomness))
	}
	s := Statement{CommD: [32]byte(commD), CommR: [32]byte(commR)}
	s.Dimensions = Dimensions{Shape: par.shape, Layers: par.layers, Partitions: par.partitions, Challenges: par.perPartition}
	s.ReplicaID = sdr.ReplicaID(sdr.ProverID(uint64(info.Miner)), uint64(info.Number), [32]byte(info.Randomness), s.CommD, par.porepID)
	if s.Graph, err = par.graph(); err != nil {
		return Statement{}, err
	}
	for k := range par.partitions {
		s.Nodes = append(s.Nodes, par.challenges(s.ReplicaID, s.CommR, [32]byte(info.InteractiveRandomness), k))
	}
	return s, nil
}

// Challenge is the opening of one challenged node: its leaves in tree-d (D) and
// tree-r-last (R), its column (Self) and those of its parents (Base, Exp) in
// tree-c, and the parent labels that its own are hashed from.
type Challenge = challengeProof

// Column is all labels of one node with their path in tree-c.
type Column = columnProof

// DecodeProof reads a vanilla proof of p, as Prove makes it, by partition. It checks
// the form only.
func DecodeProof(p abi.RegisteredSealProof, blob []byte) ([][]Challenge, error) {
	par, err := paramsFor(p)
	if err != nil {
		return nil, err
	}
	v, err := par.unmarshal(blob)
	if err != nil {
		return nil, fmt.Errorf("porep: decoding a vanilla proof: %w", err)
	}
	return v.Partitions, nil
}
