package storage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/proofs/porep"
	"quarry/proofs/post"
	"quarry/storage"
	"quarry/storage/blobs"
	"quarry/storage/fetch"
	"quarry/storage/index"
	"quarry/storage/paths"
	"quarry/storage/sched"
	"quarry/storage/worker"
)

const sealProof = abi.RegisteredSealProof_StackedDrg2KiBV1_1

var (
	ticket = abi.SealRandomness(bytes.Repeat([]byte{7}, 32))
	seed   = abi.InteractiveSealRandomness(bytes.Repeat([]byte{9}, 32))
	ref    = api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 7}, ProofType: sealProof}
)

// place is one process: its paths, and the part of it that Run runs.
type place struct {
	local *paths.Local
	stop  func()
}

// background runs f until the test ends or stop is called, and waits for it.
func background(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func newDir(t *testing.T, id string, seal, store bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), id)
	require.NoError(t, paths.InitDir(dir, api.PathMeta{ID: api.StorageID(id), Weight: 10, CanSeal: seal, CanStore: store}))
	return dir
}

func openLocal(t *testing.T, idx paths.Index, url string, dirs ...string) *paths.Local {
	t.Helper()
	l, err := paths.Open(paths.Config{URL: url, Heartbeat: 50 * time.Millisecond}, paths.Deps{Index: idx})
	require.NoError(t, err)
	for _, d := range dirs {
		require.NoError(t, l.Add(context.Background(), d))
	}
	return l
}

// fastTasks are the scheduler's times, short enough for tests.
var fastTasks = sched.Config{Lease: time.Second, ClaimWait: 200 * time.Millisecond, Affinity: 100 * time.Millisecond, RetryDelay: 10 * time.Millisecond, TaskWait: 5 * time.Second}

func newManager(t *testing.T, store datastore.Batching, dirs ...string) (*storage.Manager, *paths.Local) {
	t.Helper()
	idx := index.New(index.Config{})
	local := openLocal(t, idx, "", dirs...)
	m, err := storage.New(storage.Config{Hostname: "test", Tasks: fastTasks}, storage.Deps{Store: store, Index: idx, Local: local, Blobs: bulk(t), Log: testLog(t)})
	require.NoError(t, err)
	return m, local
}

// bulks is the store of bulk results of each test that runs.
var bulks sync.Map

// bulk is the store of bulk results of a test; a manager that is made again has
// the same.
func bulk(t *testing.T) *blobs.Store {
	t.Helper()
	if s, ok := bulks.Load(t.Name()); ok {
		return s.(*blobs.Store) //nolint:forcetypeassert // nothing else is stored
	}
	s, err := blobs.Open(blobs.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	bulks.Store(t.Name(), s)
	t.Cleanup(func() { bulks.Delete(t.Name()) })
	return s
}

// read gives a bulk result.
func read(t *testing.T, m *storage.Manager, ref api.BlobRef) []byte {
	t.Helper()
	r, err := m.BlobOpen(t.Context(), ref)
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	return b
}

func testLog(t *testing.T) *slog.Logger {
	if os.Getenv("TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func memStore() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

func newWorker(t *testing.T, s worker.Storage, local *paths.Local, store datastore.Batching, types ...api.TaskType) *worker.Worker {
	t.Helper()
	w, err := worker.New(context.Background(), worker.Config{TaskTypes: types, Progress: 20 * time.Millisecond, Retry: 20 * time.Millisecond, PullPause: 2 * time.Millisecond},
		worker.Deps{Storage: s, Local: local, Store: store, Blobs: bulk(t), Log: testLog(t)})
	require.NoError(t, err)
	return w
}

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
		require.NoError(t, ctx.Err(), "task %s is %s (%s)", key, st.State, st.Failure)
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
	c1 := do[api.Commit1Result](t, m, s.String()+"/C1", api.TaskCommit1, s, api.Commit1Params{Ticket: ticket, Seed: seed, Commitments: r.pc2.Commitments})
	commR, err := cid.Parse(string(r.pc2.SealedCID))
	require.NoError(t, err)
	commD, err := cid.Parse(string(r.pc2.UnsealedCID))
	require.NoError(t, err)
	want, err := commp.CommD(s.ProofType, r.pieces)
	require.NoError(t, err)
	require.Equal(t, want, commD)
	ok, err := porep.Verify(context.Background(), proof.SealVerifyInfo{SealProof: s.ProofType, SectorID: s.ID, Randomness: ticket,
		InteractiveRandomness: seed, SealedCID: commR, UnsealedCID: commD}, read(t, m, c1.Vanilla))
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
		_, ok := local.Find(ref.ID, k)
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
	ok, err := post.VerifyWindow(ctx, proof.WindowPoStVerifyInfo{Randomness: rand, Prover: 1000, ChallengedSectors: []proof.SectorInfo{info}}, win.Vanilla)
	require.NoError(t, err)
	require.True(t, ok)
	blob, err := m.ProveWinning(ctx, api.WinningPoStRequest{Miner: 1000, Randomness: rand, Sectors: []proof.ExtendedSectorInfo{{SealProof: sealProof, SectorNumber: 7, SealedCID: commR}}})
	require.NoError(t, err)
	ok, err = post.VerifyWinning(ctx, proof.WinningPoStVerifyInfo{Randomness: rand, Prover: 1000, ChallengedSectors: []proof.SectorInfo{info}}, blob)
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
