package snark_test

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/groth16"
	"quarry/proofs/snark"
)

// claimOf is a statement about a sector with the given first bytes of its
// commitments.
func claimOf(t *testing.T, p abi.RegisteredSealProof, commR, commD byte) proof.SealVerifyInfo {
	t.Helper()
	r, d := [32]byte{commR}, [32]byte{commD}
	sealed, err := commcid.ReplicaCommitmentV1ToCID(r[:])
	if err != nil {
		t.Fatal(err)
	}
	unsealed, err := commcid.DataCommitmentV1ToCID(d[:])
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 32)
	return proof.SealVerifyInfo{
		SealProof:             p,
		SectorID:              abi.SectorID{Miner: miner, Number: 1},
		Randomness:            random,
		InteractiveRandomness: random,
		SealedCID:             sealed,
		UnsealedCID:           unsealed,
	}
}

// points is a proof whose points are good; whether a key is asked for shows that
// nothing before it refuses the statement.
func points(t *testing.T, partitions int) (p []byte) {
	t.Helper()
	w := worldOf(t)
	raw, err := snark.ProveWindow(t.Context(), w.keys, w.info, w.vanilla, snark.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range partitions {
		p = append(p, raw[:groth16.ProofSize]...)
	}
	return p
}

func TestCommitmentsOfZerosAreNoStatement(t *testing.T) {
	one := points(t, 1)
	for _, c := range []struct {
		commR, commD byte
		err          error
	}{{1, 1, errAbsent}, {0, 1, nil}, {1, 0, nil}} {
		info := claimOf(t, seal, c.commR, c.commD)
		info.Proof = one
		if ok, err := snark.VerifySeal(t.Context(), &keys{}, info); ok || !errors.Is(err, c.err) {
			t.Errorf("commitments that begin with %d and %d: %v, %v", c.commR, c.commD, ok, err)
		}
	}
}

// TestNonInteractiveSealIsAnAggregate: the proofs of the partitions one by one,
// which are good for other types, are not what the chain takes.
func TestNonInteractiveSealIsAnAggregate(t *testing.T) {
	raw, err := os.ReadFile("../snarkpack/testdata/network.json") // of the network, 13 partitions
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Records []struct {
			Proof []byte `json:"proof_base64"`
		}
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	info := claimOf(t, abi.RegisteredSealProof_StackedDrg8MiBV1_2_Feat_NiPoRep, 1, 1)
	for name, c := range map[string]struct {
		proof []byte
		err   error
	}{
		"aggregate":               {f.Records[0].Proof, errAbsent},
		"aggregate of 126":        {f.Records[2].Proof, nil},
		"proofs of 13 partitions": {points(t, 13), nil},
		"none":                    {nil, nil},
	} {
		info.Proof = c.proof
		if ok, err := snark.VerifySeal(t.Context(), &keys{}, info); ok || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}
