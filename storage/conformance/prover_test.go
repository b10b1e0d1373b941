package conformance

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/proofs/commp"
	"quarry/storage"
	"quarry/storage/worker"
)

// done waits for the result of a task.
func done[P, R any](t *testing.T, m *storage.Manager, k api.Task[P, R], s api.SectorRef, p P) R {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	spec, err := k.Spec(string(k.Type), s, p)
	require.NoError(t, err)
	st, err := m.TaskSubmit(ctx, spec)
	for err == nil && !st.Final() && ctx.Err() == nil {
		st, err = m.TaskWait(ctx, st.ID)
	}
	require.NoError(t, err)
	r, err := k.Result(st)
	require.NoError(t, err, "it waits for: %s", st.Waiting)
	return r
}

// TestProver seals a sector of zeros and has it proved over every way.
func TestProver(t *testing.T) {
	m, local := build(t, lease, newDir(t, "p"))
	background(t, m.Run)
	store := dssync.MutexWrap(datastore.NewMapDatastore())
	w, err := worker.New(t.Context(), worker.Config{}, worker.Deps{Storage: m, Local: local, Store: store, Blobs: bulk(t)})
	require.NoError(t, err)
	background(t, w.Run)
	s := api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 7}, ProofType: abi.RegisteredSealProof_StackedDrg2KiBV1_1}
	zeros := []abi.PieceInfo{{PieceCID: commp.ZeroPiece(2048), Size: 2048}}
	ticket := abi.SealRandomness(bytes.Repeat([]byte{7}, 32))
	pc1 := done(t, m, api.PreCommit1, s, api.PreCommit1Params{Ticket: ticket, Pieces: zeros})
	pc2 := done(t, m, api.PreCommit2, s, api.PreCommit2Params{PreCommit1Out: pc1})
	commR, err := cid.Parse(string(pc2.SealedCID))
	require.NoError(t, err)
	p := apitest.Proving{
		Miner: 1000,
		Good:  proof.SectorInfo{SealProof: s.ProofType, SectorNumber: 7, SealedCID: commR},
		Path:  "p",
	}
	for _, way := range apitest.Ways() {
		t.Run(way.Name, func(t *testing.T) { apitest.CheckProver(t, p, way.Reach(t, m)) })
	}
}
