package tasks

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// proverOf gives proofs of so many bytes.
type proverOf int

func (p proverOf) Seal(_ context.Context, _ proof.SealVerifyInfo, vanilla []byte, _ func(string, int64, int64)) ([]byte, error) {
	return bytes.Repeat(vanilla[:1], int(p)), nil
}

func (p proverOf) Update(_ context.Context, _ proof.ReplicaUpdateInfo, vanilla []byte, _ func(string, int64, int64)) ([]byte, error) {
	return bytes.Repeat(vanilla[:1], int(p)), nil
}

// TestGroth16 reads the vanilla proof by its name and gives a proof of the right
// length; everything else is refused.
func TestGroth16(t *testing.T) {
	s := newSession(t, plain, newPathDir(t))
	ref, err := s.claim.Keep(t.Context(), strings.NewReader("vanilla"))
	require.NoError(t, err)
	c2 := api.Commit2Params{Vanilla: ref, Info: proof.SealVerifyInfo{SealProof: plain.ProofType, SectorID: plain.ID}}
	typ, err := updateProof(plain)
	require.NoError(t, err)
	pr2 := api.ProveUpdate2Params{Vanilla: ref, Info: proof.ReplicaUpdateInfo{UpdateProofType: typ}}

	_, err = s.commit2(t.Context(), c2)
	require.ErrorAs(t, err, new(*api.ErrUnsupportedProof))
	_, err = s.proveUpdate2(t.Context(), pr2)
	require.ErrorAs(t, err, new(*api.ErrUnsupportedProof))
	for _, n := range []int{191, 193} {
		s.snark = proverOf(n)
		_, err = s.commit2(t.Context(), c2)
		require.ErrorContains(t, err, "bytes instead of 192")
		_, err = s.proveUpdate2(t.Context(), pr2)
		require.ErrorContains(t, err, "bytes instead of 192")
	}
	s.snark = proverOf(192)
	got, err := s.commit2(t.Context(), c2)
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat([]byte("v"), 192), got.Proof)
	got2, err := s.proveUpdate2(t.Context(), pr2)
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat([]byte("v"), 192), got2.Proof)

	for name, bad := range map[string]api.Commit2Params{
		"other sector": {Vanilla: ref, Info: proof.SealVerifyInfo{SealProof: plain.ProofType,
			SectorID: abi.SectorID{Miner: 1000, Number: 4}}},
		"other proof": {Vanilla: ref, Info: proof.SealVerifyInfo{SealProof: synth.ProofType, SectorID: plain.ID}},
	} {
		_, err = s.commit2(t.Context(), bad)
		require.ErrorAs(t, err, new(*api.ErrInvalid), name)
	}
	pr2.Info.UpdateProofType++
	_, err = s.proveUpdate2(t.Context(), pr2)
	require.ErrorAs(t, err, new(*api.ErrInvalid))
	c2.Vanilla.CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
	_, err = s.commit2(t.Context(), c2)
	require.ErrorAs(t, err, new(*api.ErrNotFound))
}

// TestSizesOfProofs are those of the chain's parameters.
func TestSizesOfProofs(t *testing.T) {
	for typ, want := range map[abi.RegisteredSealProof]int{
		abi.RegisteredSealProof_StackedDrg2KiBV1_1:   192,
		abi.RegisteredSealProof_StackedDrg512MiBV1_1: 192,
		abi.RegisteredSealProof_StackedDrg32GiBV1_1:  1920,
		abi.RegisteredSealProof_StackedDrg64GiBV1_1:  1920,
	} {
		got, err := sealProofSize(typ)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := sealProofSize(99)
	require.ErrorAs(t, err, new(*api.ErrInvalid))
	_, err = updateProof(api.SectorRef{ProofType: 99})
	require.ErrorAs(t, err, new(*api.ErrInvalid))
	for typ, want := range map[abi.RegisteredUpdateProof]int{
		abi.RegisteredUpdateProof_StackedDrg2KiBV1:   1,
		abi.RegisteredUpdateProof_StackedDrg8MiBV1:   4,
		abi.RegisteredUpdateProof_StackedDrg512MiBV1: 16,
		abi.RegisteredUpdateProof_StackedDrg32GiBV1:  16,
	} {
		require.Equal(t, want, updatePartitions(typ))
	}
}
