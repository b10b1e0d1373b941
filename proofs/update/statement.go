package update

import (
	"fmt"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/merkle"
)

// What follows is for circuits, which prove the same statement from the same
// vanilla proof.

// Dimensions are the sizes that a registered update proof fixes.
type Dimensions struct {
	Shape      merkle.Shape
	Log2       int // of the number of nodes
	Partitions int
	Challenges int // of one partition
	H          int // log2 of the number of rhos
	Apex       int // apex leaves of one partition
	ApexRow    int // row of tree-d that they are in, leaves being row 0
}

// DimensionsOf are the sizes of p.
func DimensionsOf(p abi.RegisteredUpdateProof) (Dimensions, error) {
	par, err := paramsFor(p)
	if err != nil {
		return Dimensions{}, err
	}
	return Dimensions{
		Shape:      par.shape,
		Log2:       par.log2,
		Partitions: par.partitions,
		Challenges: par.challenges,
		H:          par.h,
		Apex:       par.apex,
		ApexRow:    par.apexRow(),
	}, nil
}

// Statement is what an update proof proves, all of it public.
type Statement struct {
	Dimensions
	CommROld, CommRNew, CommDNew [32]byte
}

// StatementOf derives the statement of info; info.Proof is ignored. Commitments
// of another form are an error.
func StatementOf(info proof.ReplicaUpdateInfo) (Statement, error) {
	d, err := DimensionsOf(info.UpdateProofType)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{Dimensions: d}
	if s.CommROld, s.CommDNew, err = commitments(info.OldSealedSectorCID, info.NewUnsealedSectorCID); err != nil {
		return Statement{}, fmt.Errorf("update: %w", err)
	}
	fresh, err := commcid.CIDToReplicaCommitmentV1(info.NewSealedSectorCID)
	if err != nil || len(fresh) != 32 {
		return Statement{}, fmt.Errorf("update: %s is no CommR (%v)", info.NewSealedSectorCID, err)
	}
	s.CommRNew = [32]byte(fresh)
	return s, nil
}

// Partition is the part of a vanilla proof that one circuit proves.
type Partition = partition

// Opening is one node of the old replica, the new data and the new replica.
type Opening = opening

// DecodeProof reads a vanilla proof of p, as Prove makes it. It checks the form only.
func DecodeProof(p abi.RegisteredUpdateProof, blob []byte) ([]Partition, error) {
	par, err := paramsFor(p)
	if err != nil {
		return nil, err
	}
	parts, err := par.unmarshal(blob)
	if err != nil {
		return nil, fmt.Errorf("update: decoding a vanilla proof: %w", err)
	}
	return parts, nil
}
