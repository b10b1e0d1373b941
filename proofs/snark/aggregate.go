package snark

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/circuit"
	"quarry/proofs/groth16"
	"quarry/proofs/r1cs"
	"quarry/proofs/snarkpack"
)

// maxAggregated bounds the Groth16 proofs in one aggregate: 819 sectors of ten
// partitions need 8,190 (builtin-actors runtime/src/runtime/policy.rs,
// max_aggregated_sectors). It keeps the work on a message from outside bounded.
const maxAggregated = 8192

// Aggregate makes one proof of the seal proofs of several sectors: proofs holds
// what ProveSealPartitions returned for each entry of info.Infos, in the same order.
// info.Proof is ignored. The sectors must be of one seal proof type. It does not
// check the proofs, but the aggregate that came out.
func Aggregate(ctx context.Context, keys Keys, info proof.AggregateSealVerifyProofAndInfos, proofs [][]byte, o Options) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("aggregate the seal proofs of %d sectors of miner %d: %w", len(info.Infos), info.Miner, err)
	}
	st, name, err := aggregateStatement(info)
	if err != nil {
		return fail(err)
	}
	var all []groth16.Proof
	for i, raw := range proofs {
		if len(raw) == 0 || len(raw)%groth16.ProofSize != 0 {
			return fail(fmt.Errorf("proof %d has %d bytes, which is no number of partitions", i, len(raw)))
		}
		for ; len(raw) > 0; raw = raw[groth16.ProofSize:] {
			p, err := groth16.ParseProof(raw[:groth16.ProofSize])
			if err != nil {
				return fail(fmt.Errorf("proof %d: %w", i, err))
			}
			all = append(all, p)
		}
	}
	if len(proofs) != len(info.Infos) || len(all) != len(st.Inputs) {
		return fail(fmt.Errorf("%d proofs with %d partitions do not fit %d sectors with %d", len(proofs), len(all), len(info.Infos),
			len(st.Inputs)))
	}
	file, err := keys.SRS(ctx)
	if err != nil {
		return fail(err)
	}
	srs, err := file.Read(ctx, snarkpack.PaddedCount(len(all)), o.Workers)
	if err != nil {
		return fail(err)
	}
	agg, err := snarkpack.Aggregate(ctx, srs, all, snarkpack.Options{Version: st.Version, Include: st.Include, Workers: o.Workers})
	if err != nil {
		return fail(err)
	}
	out, err := agg.MarshalBinary()
	if err != nil {
		return fail(err)
	}
	if st.Key, err = srs.VerifierKey(); err != nil {
		return fail(err)
	}
	return out, selfCheck(ctx, keys, name, st, out)
}

func selfCheck(ctx context.Context, keys Keys, name string, st snarkpack.Statement, out []byte) error {
	vk, err := keys.VerifyingKey(ctx, name)
	if err != nil {
		return err
	}
	st.Circuit = vk.Key()
	switch ok, err := snarkpack.VerifyBytes(ctx, st, out); {
	case err != nil:
		return err
	case !ok:
		return ErrSelfCheck
	}
	return nil
}

// VerifyAggregate checks info.Proof as the chain does: bytes after the aggregate
// are ignored (filecoin-proofs src/api/seal.rs).
func VerifyAggregate(ctx context.Context, keys Keys, info proof.AggregateSealVerifyProofAndInfos) (bool, error) {
	st, name, err := aggregateStatement(info)
	if err != nil {
		return false, nil // public information that makes no statement is wrong, not undecided
	}
	agg, _, err := snarkpack.ParseProofPrefix(info.Proof)
	if err != nil || agg.Count() != snarkpack.PaddedCount(len(st.Inputs)) {
		return false, nil // likewise wrong
	}
	file, err := keys.SRS(ctx)
	if err != nil {
		return false, err
	}
	if st.Key, err = file.VerifierKey(ctx); err != nil {
		return false, err
	}
	vk, err := keys.VerifyingKey(ctx, name)
	if err != nil {
		return false, err
	}
	st.Circuit = vk.Key()
	return snarkpack.Verify(ctx, st, agg)
}

// aggregateStatement is what an aggregate claims, without the keys.
func aggregateStatement(info proof.AggregateSealVerifyProofAndInfos) (st snarkpack.Statement, name string, err error) {
	switch info.AggregateProof {
	case abi.RegisteredAggregationProof_SnarkPackV1:
		st.Version = snarkpack.V1
	case abi.RegisteredAggregationProof_SnarkPackV2:
		st.Version = snarkpack.V2
	default:
		return st, "", fmt.Errorf("aggregation proof type %d is not known", info.AggregateProof)
	}
	if name, err = circuit.PoRepName(info.SealProof); err != nil {
		return st, "", err
	}
	if len(info.Infos) == 0 {
		return st, "", errors.New("an aggregate of no sectors")
	}
	var inputs [][]r1cs.Element
	include := sha256.New()
	for _, s := range info.Infos {
		commR, err := commcid.CIDToReplicaCommitmentV1(s.SealedCID)
		if err != nil {
			return st, "", fmt.Errorf("sector %d: %w", s.Number, err)
		}
		if !abi.NonInteractive[info.SealProof] { // whose challenges need no seed
			include.Write(s.InteractiveRandomness)
		}
		include.Write(commR)
		of, err := sealInputs(proof.SealVerifyInfo{
			SealProof:             info.SealProof,
			SectorID:              abi.SectorID{Miner: info.Miner, Number: s.Number},
			Randomness:            s.Randomness,
			InteractiveRandomness: s.InteractiveRandomness,
			SealedCID:             s.SealedCID,
			UnsealedCID:           s.UnsealedCID,
		})
		if err != nil {
			return st, "", fmt.Errorf("sector %d: %w", s.Number, err)
		}
		if inputs = append(inputs, of...); len(inputs) > maxAggregated {
			return st, "", fmt.Errorf("more than %d proofs in one aggregate", maxAggregated)
		}
	}
	st.Include, st.Inputs = include.Sum(nil), inputs
	return st, name, nil
}
