package snark

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/proofs/circuit"
	"quarry/proofs/r1cs"
)

func sealed(info proof.SealVerifyInfo) (statement, error) {
	name, err := circuit.PoRepName(info.SealProof)
	return statement{
		what:     fmt.Sprintf("groth16 seal proof of sector %d of miner %d", info.Number, info.Miner),
		name:     name,
		inputs:   func() ([][]r1cs.Element, error) { return sealInputs(info) },
		circuits: func(vanilla []byte) ([]r1cs.Circuit, error) { return circuit.PoRep(info, vanilla) },
	}, err
}

// sealInputs are the public inputs of all partitions. Commitments of zeros make no
// statement (filecoin-proofs src/api/seal.rs, verify_seal and get_seal_inputs).
func sealInputs(info proof.SealVerifyInfo) ([][]r1cs.Element, error) {
	in, err := circuit.PoRepInputs(info)
	if err == nil && (zeros(info.SealedCID) || zeros(info.UnsealedCID)) {
		err = errors.New("a commitment is all zeros")
	}
	return in, err
}

// zeros tells whether the 32 bytes of a commitment are zero.
func zeros(commitment cid.Cid) bool {
	hash := commitment.Hash()
	return [32]byte(hash[len(hash)-32:]) == [32]byte{}
}

// ProveSeal makes the proof of replication for the chain from the vanilla proof
// of the same challenges (C2): 192 bytes per partition, for non-interactive types
// an aggregate of them (filecoin-proofs src/api/seal.rs, seal_commit_phase2).
// info.Proof is ignored.
func ProveSeal(ctx context.Context, keys Keys, info proof.SealVerifyInfo, vanilla []byte, o Options) ([]byte, error) {
	parts, err := ProveSealPartitions(ctx, keys, info, vanilla, o)
	if err != nil || !abi.NonInteractive[info.SealProof] {
		return parts, err
	}
	return Aggregate(ctx, keys, alone(info), [][]byte{parts}, o)
}

// ProveSealPartitions is ProveSeal without the aggregation of non-interactive
// types: what Aggregate takes of each sector.
func ProveSealPartitions(ctx context.Context, keys Keys, info proof.SealVerifyInfo, vanilla []byte, o Options) ([]byte, error) {
	s, err := sealed(info)
	if err != nil {
		return nil, err
	}
	return s.prove(ctx, keys, vanilla, o)
}

// alone is the aggregate that stands for one non-interactive sector.
func alone(info proof.SealVerifyInfo) proof.AggregateSealVerifyProofAndInfos {
	return proof.AggregateSealVerifyProofAndInfos{
		Miner:          info.Miner,
		SealProof:      info.SealProof,
		AggregateProof: abi.RegisteredAggregationProof_SnarkPackV2,
		Proof:          info.Proof,
		Infos: []proof.AggregateSealVerifyInfo{{
			Number:                info.Number,
			Randomness:            info.Randomness,
			InteractiveRandomness: info.InteractiveRandomness,
			SealedCID:             info.SealedCID,
			UnsealedCID:           info.UnsealedCID,
		}},
	}
}

// VerifySeal checks info.Proof, in the form that ProveSeal gives it.
func VerifySeal(ctx context.Context, keys Keys, info proof.SealVerifyInfo) (bool, error) {
	s, err := sealed(info)
	if err != nil {
		return false, err
	}
	if abi.NonInteractive[info.SealProof] {
		return VerifyAggregate(ctx, keys, alone(info))
	}
	return s.verify(ctx, keys, info.Proof)
}

func updated(info proof.ReplicaUpdateInfo) (statement, error) {
	name, err := circuit.UpdateName(info.UpdateProofType)
	return statement{
		what:     fmt.Sprintf("groth16 update proof of replica %s", info.NewSealedSectorCID),
		name:     name,
		inputs:   func() ([][]r1cs.Element, error) { return circuit.UpdateInputs(info) },
		circuits: func(vanilla []byte) ([]r1cs.Circuit, error) { return circuit.Update(info, vanilla) },
	}, err
}

// ProveUpdate makes the proof for the chain that a sector took data: 192 bytes
// per partition. info.Proof is ignored.
func ProveUpdate(ctx context.Context, keys Keys, info proof.ReplicaUpdateInfo, vanilla []byte, o Options) ([]byte, error) {
	s, err := updated(info)
	if err != nil {
		return nil, err
	}
	return s.prove(ctx, keys, vanilla, o)
}

// VerifyUpdate checks info.Proof.
func VerifyUpdate(ctx context.Context, keys Keys, info proof.ReplicaUpdateInfo) (bool, error) {
	s, err := updated(info)
	if err != nil {
		return false, err
	}
	return s.verify(ctx, keys, info.Proof)
}
