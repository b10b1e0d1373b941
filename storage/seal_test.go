package storage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/proofs/porep"
	"quarry/proofs/post"
	"quarry/storage"
	"quarry/storage/fetch"
	"quarry/storage/paths"
)

const sealProof = abi.RegisteredSealProof_StackedDrg2KiBV1_1

var (
	ticket = abi.SealRandomness(bytes.Repeat([]byte{7}, 32))
	seed   = abi.InteractiveSealRandomness(bytes.Repeat([]byte{9}, 32))
	ref    = api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 7}, ProofType: sealProof}
)

// do submits a task and waits for a result.
func do[T any](t *testing.T, m *storage.Manager, key string, typ api.TaskType, s api.SectorRef, params any) T {
	t.Helper()
	st := submit(t, m, key, typ, s, params)
	require.Equal(t, api.TaskDone, st.State, "%s: %s", key, st.Failure)
	var out T
	require.NoError(t, json.Unmarshal(st.Result, &out))
	return out
}

func submit(t *testing.T, m *storage.Manager, key string, typ api.TaskType, s api.SectorRef, params any) api.TaskStatus {
	t.Helper()
	raw, err := json.Marshal(params)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := m.TaskSubmit(ctx, api.TaskSpec{Key: key, Type: typ, Sector: s, Params: raw})
	require.NoError(t, err)
	for st.State != api.TaskDone && st.State != api.TaskFailed {
		require.NoError(t, ctx.Err(), "task %s is %s (%v; %s)", key, st.State, st.Failure, st.Waiting)
		st, err = m.TaskWait(ctx, st.ID)
		require.NoError(t, err)
	}
	return st
}

// piece makes n payload bytes, serves them, and gives the parameters to add them.
func piece(t *testing.T, n int, padded abi.PaddedPieceSize) ([]byte, api.AddPieceParams) {
	t.Helper()
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i*31 + n)
	}
	got, err := commp.SumPadded(context.Background(), bytes.NewReader(data), padded)
	require.NoError(t, err)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer piece-token" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(srv.Close)
	return data, api.AddPieceParams{Piece: abi.PieceInfo{PieceCID: got.CID, Size: padded},
		Data: api.DataRef{URL: srv.URL + "/p", Token: "piece-token", Size: uint64(n)}}
}

type sealed struct {
	data   []byte
	pieces []abi.PieceInfo
	pc2    api.PreCommit2Result
}

func seal(t *testing.T, m *storage.Manager, s api.SectorRef) sealed {
	t.Helper()
	name := s.String()
	data, add := piece(t, 1000, 1024)
	do[abi.PieceInfo](t, m, name+"/AP/0", api.TaskAddPiece, s, add)
	filler := abi.PieceInfo{PieceCID: commp.ZeroPiece(1024), Size: 1024}
	do[abi.PieceInfo](t, m, name+"/AP/1", api.TaskAddPiece, s, api.AddPieceParams{Existing: []abi.PieceInfo{add.Piece}, Piece: filler})
	pieces := []abi.PieceInfo{add.Piece, filler}
	pc1 := do[api.PreCommit1Out](t, m, name+"/PC1", api.TaskPreCommit1, s, api.PreCommit1Params{Ticket: ticket, Pieces: pieces})
	pc2 := do[api.PreCommit2Result](t, m, name+"/PC2", api.TaskPreCommit2, s, api.PreCommit2Params{PreCommit1Out: pc1})
	return sealed{data, pieces, pc2}
}

// prove checks the vanilla proof of replication as the chain would.
func prove(t *testing.T, m *storage.Manager, s api.SectorRef, r sealed) cid.Cid {
	t.Helper()
	c1 := do[api.Commit1Result](t, m, s.String()+"/C1", api.TaskCommit1, s,
		api.Commit1Params{Ticket: ticket, Seed: seed, Commitments: r.pc2.Commitments})
	commR, err := cid.Parse(string(r.pc2.SealedCID))
	require.NoError(t, err)
	commD, err := cid.Parse(string(r.pc2.UnsealedCID))
	require.NoError(t, err)
	want, err := commp.CommD(s.ProofType, r.pieces)
	require.NoError(t, err)
	require.Equal(t, want, commD)
	ok, err := porep.Verify(context.Background(), proof.SealVerifyInfo{
		SealProof:             s.ProofType,
		SectorID:              s.ID,
		Randomness:            ticket,
		InteractiveRandomness: seed,
		SealedCID:             commR,
		UnsealedCID:           commD,
	}, read(t, m, c1.Vanilla))
	require.NoError(t, err)
	require.True(t, ok)
	return commR
}

func readBack(t *testing.T, m *storage.Manager, local *paths.Local, s api.SectorRef, want []byte) {
	t.Helper()
	r := fetch.NewReader(fetch.ReaderConfig{}, fetch.ReaderDeps{Local: local, Index: m})
	defer r.Close()
	u, err := r.OpenUnsealed(context.Background(), s.ID, 0, 1024)
	require.NoError(t, err)
	got := make([]byte, len(want))
	_, err = u.ReadAt(got, 0)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, u.Close())
}

func TestSealProveUnseal(t *testing.T) {
	ctx := context.Background()
	m, local := newManager(t, memStore(), newDir(t, "scratch", true, false), newDir(t, "keep", false, true))
	background(t, m.Run)
	w := newWorker(t, m, local, memStore())
	background(t, w.Run)

	r := seal(t, m, ref)
	readBack(t, m, local, ref, r.data)
	commR := prove(t, m, ref, r)
	do[any](t, m, "fin", api.TaskFinalize, ref, api.FinalizeParams{})

	locs, err := m.StorageFindSector(ctx, ref.ID, api.FileSealed)
	require.NoError(t, err)
	require.Len(t, locs, 1)
	require.Equal(t, api.StorageID("keep"), locs[0].Storage)
	locs, err = m.StorageFindSector(ctx, ref.ID, api.FileUnsealed)
	require.NoError(t, err)
	require.Empty(t, locs)

	bad := unprovable(t, m, commR, ref, api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 8}, ProofType: sealProof})
	require.Len(t, bad, 1)
	require.Equal(t, abi.SectorNumber(8), bad[0].Sector)
	require.Equal(t, api.FaultMissing, bad[0].Reason)
	proveSpacetime(t, m, commR)

	do[any](t, m, "uns", api.TaskUnseal, ref, api.UnsealParams{Ticket: ticket, UnsealedCID: r.pc2.UnsealedCID, Size: 1024})
	readBack(t, m, local, ref, r.data)

	require.NoError(t, m.RemoveSector(ctx, ref.ID))
	require.NoError(t, m.RemoveSector(ctx, ref.ID))
	for _, k := range api.AllFileTypes {
		_, ok := local.Find(context.Background(), ref.ID, k)
		require.False(t, ok, k.String())
	}
}

func proveSpacetime(t *testing.T, m *storage.Manager, commR cid.Cid) {
	t.Helper()
	ctx := context.Background()
	rand := abi.PoStRandomness(bytes.Repeat([]byte{0xff}, 32))
	info := proof.SectorInfo{SealProof: sealProof, SectorNumber: 7, SealedCID: commR}
	missing := proof.SectorInfo{SealProof: sealProof, SectorNumber: 8, SealedCID: commR}
	win, err := m.ProveWindow(ctx, api.WindowPoStRequest{Miner: 1000, Randomness: rand, Sectors: []proof.SectorInfo{info, missing}})
	require.NoError(t, err)
	require.Len(t, win.Skipped, 1)
	require.Equal(t, abi.SectorNumber(8), win.Skipped[0].Sector)
	ok, err := post.VerifyWindow(ctx, proof.WindowPoStVerifyInfo{Randomness: rand, Prover: 1000,
		ChallengedSectors: []proof.SectorInfo{info}}, win.Vanilla)
	require.NoError(t, err)
	require.True(t, ok)
	blob, err := m.ProveWinning(ctx, api.WinningPoStRequest{Miner: 1000, Randomness: rand,
		Sectors: []proof.ExtendedSectorInfo{{SealProof: sealProof, SectorNumber: 7, SealedCID: commR}}})
	require.NoError(t, err)
	ok, err = post.VerifyWinning(ctx, proof.WinningPoStVerifyInfo{Randomness: rand, Prover: 1000,
		ChallengedSectors: []proof.SectorInfo{info}}, blob)
	require.NoError(t, err)
	require.True(t, ok)
}

// TestSeal8MiB seals a sector of the size that deals on a development network
// use, with a filler piece of zeros behind the data.
func TestSeal8MiB(t *testing.T) {
	if testing.Short() {
		t.Skip("seals 8 MiB")
	}
	m, local := newManager(t, memStore(), newDir(t, "both", true, true))
	background(t, m.Run)
	background(t, newWorker(t, m, local, memStore()).Run)
	s := api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 8}, ProofType: abi.RegisteredSealProof_StackedDrg8MiBV1_1}
	data, add := piece(t, 4<<20-4<<18, 4<<20)
	began := time.Now()
	do[abi.PieceInfo](t, m, "ap0", api.TaskAddPiece, s, add)
	pieces := []abi.PieceInfo{add.Piece, {PieceCID: commp.ZeroPiece(4 << 20), Size: 4 << 20}}
	pc1 := do[api.PreCommit1Out](t, m, "pc1", api.TaskPreCommit1, s, api.PreCommit1Params{Ticket: ticket, Pieces: pieces})
	pc2 := do[api.PreCommit2Result](t, m, "pc2", api.TaskPreCommit2, s, api.PreCommit2Params{PreCommit1Out: pc1})
	prove(t, m, s, sealed{data, pieces, pc2})
	do[any](t, m, "fin", api.TaskFinalize, s, api.FinalizeParams{})
	t.Logf("sealed and proved in %s", time.Since(began))
	do[any](t, m, "uns", api.TaskUnseal, s, api.UnsealParams{Ticket: ticket, UnsealedCID: pc2.UnsealedCID, Size: 4 << 20})
	readBack(t, m, local, s, data[:1000])
}
