package snark

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/circuit"
	"quarry/proofs/r1cs"
)

func sealed(info proof.SealVerifyInfo) (statement, error) {
	name, err := circuit.PoRepName(info.SealProof)
	return statement{
		what:     fmt.Sprintf("groth16 seal proof of sector %d of miner %d", info.Number, info.Miner),
		name:     name,
		inputs:   func() ([][]r1cs.Element, error) { return circuit.PoRepInputs(info) },
		circuits: func(vanilla []byte) ([]r1cs.Circuit, error) { return circuit.PoRep(info, vanilla) },
	}, err
}

// ProveSeal makes the proof of replication for the chain from the vanilla proof
// of the same challenges (C2): 192 bytes per partition. info.Proof is ignored.
func ProveSeal(ctx context.Context, keys Keys, info proof.SealVerifyInfo, vanilla []byte, o Options) ([]byte, error) {
	s, err := sealed(info)
	if err != nil {
		return nil, err
	}
	return s.prove(ctx, keys, vanilla, o)
}

// VerifySeal checks info.Proof.
func VerifySeal(ctx context.Context, keys Keys, info proof.SealVerifyInfo) (bool, error) {
	s, err := sealed(info)
	if err != nil {
		return false, err
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
