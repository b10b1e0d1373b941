package storage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/storage/worker"
)

// prover answers with a proof of the size it is told.
type prover struct{ size int }

func (f prover) Seal(ctx context.Context, info proof.SealVerifyInfo, vanilla []byte, progress func(string, int64, int64)) ([]byte, error) {
	progress("multi-exponentiation", 1, 2)
	if string(vanilla) != "vanilla" || info.SectorID != ref.ID || !info.SealedCID.Defined() || info.Randomness == nil {
		return nil, errors.New("the task did not arrive whole")
	}
	return bytes.Repeat([]byte{7}, f.size), ctx.Err()
}

func (f prover) Update(_ context.Context, info proof.ReplicaUpdateInfo, vanilla []byte, _ func(string, int64, int64)) ([]byte, error) {
	if string(vanilla) != "vanilla" || !info.NewUnsealedSectorCID.Defined() {
		return nil, errors.New("the task did not arrive whole")
	}
	return bytes.Repeat([]byte{8}, f.size), nil
}

// vanilla is a bulk result that stands for a proof.
func vanilla(t *testing.T) api.BlobRef {
	t.Helper()
	ref, err := bulk(t).BlobPut(t.Context(), strings.NewReader("vanilla"))
	require.NoError(t, err)
	return ref
}

func commit2(t *testing.T, number abi.SectorNumber) api.Commit2Params {
	t.Helper()
	return api.Commit2Params{Vanilla: vanilla(t), Info: proof.SealVerifyInfo{
		SealProof:             sealProof,
		SectorID:              abi.SectorID{Miner: 1000, Number: number},
		Randomness:            abi.SealRandomness(ticket),
		InteractiveRandomness: abi.InteractiveSealRandomness(seed),
		SealedCID:             commp.ZeroPiece(2048),
		UnsealedCID:           commp.ZeroPiece(2048),
	}}
}

// TestCommit2GoesToWhoCan: a worker without proof parameters never gets a C2
// task, one with them does, even with no storage path at all.
func TestCommit2GoesToWhoCan(t *testing.T) {
	m, local := newManager(t, memStore(), newDir(t, "both", true, true))
	background(t, m.Run)
	plain := newWorker(t, m, local, memStore())
	require.NotContains(t, plain.Info().TaskTypes, api.TaskCommit2)
	background(t, plain.Run)
	raw, err := json.Marshal(commit2(t, ref.ID.Number))
	require.NoError(t, err)
	st, err := m.TaskSubmit(context.Background(), api.TaskSpec{Key: "C2", Type: api.TaskCommit2, Sector: ref, Params: raw})
	require.NoError(t, err)
	require.Eventually(t, func() bool { ws, err := m.WorkerList(context.Background()); return err == nil && len(ws) == 1 },
		10*time.Second, time.Millisecond)

	able, err := worker.New(context.Background(), worker.Config{Place: "test", TaskTypes: []api.TaskType{api.TaskCommit2},
		Retry: time.Millisecond},
		worker.Deps{
			Storage: m,
			Local:   openLocal(t, m, ""),
			Store:   memStore(),
			Blobs:   bulk(t),
			Snark:   prover{192},
			Log:     testLog(t),
		})
	require.NoError(t, err)
	background(t, able.Run)
	got := do[api.Commit2Result](t, m, "C2", api.TaskCommit2, ref, commit2(t, ref.ID.Number))
	require.Len(t, got.Proof, 192)
	again, err := m.TaskGet(context.Background(), st.ID)
	require.NoError(t, err)
	require.Equal(t, 1, again.Attempts)

	wrong := submit(t, m, "other sector", api.TaskCommit2, ref, commit2(t, 8))
	require.Equal(t, api.TaskFailed, wrong.State)
	require.Contains(t, wrong.Failure.Text, "s-t01000-8")
}

func TestCommit2OfTheWrongSizeIsAFailure(t *testing.T) {
	m, local := newManager(t, memStore())
	background(t, m.Run)
	w, err := worker.New(context.Background(), worker.Config{Place: "test"}, worker.Deps{
		Storage: m,
		Local:   local,
		Store:   memStore(),
		Blobs:   bulk(t),
		Snark:   prover{191},
		Log:     testLog(t),
	})
	require.NoError(t, err)
	background(t, w.Run)
	st := submit(t, m, "C2", api.TaskCommit2, ref, commit2(t, ref.ID.Number))
	require.Equal(t, api.TaskFailed, st.State)
	require.Contains(t, st.Failure.Text, "191 bytes instead of 192")
}

func TestProveUpdate2(t *testing.T) {
	m, local := newManager(t, memStore())
	background(t, m.Run)
	w, err := worker.New(context.Background(), worker.Config{Place: "test"}, worker.Deps{
		Storage: m,
		Local:   local,
		Store:   memStore(),
		Blobs:   bulk(t),
		Snark:   prover{192},
		Log:     testLog(t),
	})
	require.NoError(t, err)
	background(t, w.Run)
	p := api.ProveUpdate2Params{Vanilla: vanilla(t), Info: proof.ReplicaUpdateInfo{UpdateProofType: updateProof,
		OldSealedSectorCID: commp.ZeroPiece(128), NewSealedSectorCID: commp.ZeroPiece(256), NewUnsealedSectorCID: commp.ZeroPiece(512)}}
	got := do[api.ProveUpdate2Result](t, m, "PR2", api.TaskProveUpdate2, ref, p)
	require.Equal(t, bytes.Repeat([]byte{8}, 192), got.Proof)
	p.Info.UpdateProofType = abi.RegisteredUpdateProof_StackedDrg32GiBV1
	st := submit(t, m, "PR2 of another size", api.TaskProveUpdate2, ref, p)
	require.Equal(t, api.TaskFailed, st.State)
	big := ref
	big.ProofType = abi.RegisteredSealProof_StackedDrg8MiBV1_1
	p.Info.UpdateProofType = abi.RegisteredUpdateProof_StackedDrg8MiBV1
	st = submit(t, m, "PR2 of four partitions", api.TaskProveUpdate2, big, p)
	require.Contains(t, st.Failure.Text, "192 bytes instead of 768")
}
