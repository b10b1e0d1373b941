package storage_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/storage"
	"quarry/storage/index"
	"quarry/storage/paths"
)

// line is the way from a worker to a private node that can be cut, and that leads
// to another process behind the same address after a restart.
type line struct {
	mu    sync.Mutex
	to    *storage.Manager
	calls int // that found nobody
}

func (l *line) connect(m *storage.Manager) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = m
}

func (l *line) lost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

func over[R any](l *line, call func(*storage.Manager) (R, error)) (R, error) {
	l.mu.Lock()
	m := l.to
	if m == nil {
		l.calls++
	}
	l.mu.Unlock()
	if m == nil {
		var none R
		return none, &api.ErrUnreachable{Peer: "the private node", Reason: "connection refused"}
	}
	return call(m)
}

func over0(l *line, call func(*storage.Manager) error) error {
	_, err := over(l, func(m *storage.Manager) (bool, error) { return true, call(m) })
	return err
}

func (l *line) WorkerClaim(ctx context.Context, w api.WorkerInfo, held []api.HeldTask) (*api.TaskStatus, error) {
	return over(l, func(m *storage.Manager) (*api.TaskStatus, error) { return m.WorkerClaim(ctx, w, held) })
}

func (l *line) WorkerProgress(ctx context.Context, p api.TaskProgress) (api.TaskClaim, error) {
	return over(l, func(m *storage.Manager) (api.TaskClaim, error) { return m.WorkerProgress(ctx, p) })
}

func (l *line) WorkerDone(ctx context.Context, r api.TaskReport) error {
	return over0(l, func(m *storage.Manager) error { return m.WorkerDone(ctx, r) })
}

func (l *line) StorageFindSector(ctx context.Context, s abi.SectorID, t api.FileType) ([]api.SectorLocationInfo, error) {
	return over(l, func(m *storage.Manager) ([]api.SectorLocationInfo, error) { return m.StorageFindSector(ctx, s, t) })
}

func (l *line) TaskGet(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	return over(l, func(m *storage.Manager) (api.TaskStatus, error) { return m.TaskGet(ctx, id) })
}

func (l *line) StorageAttach(ctx context.Context, p api.PathMeta, url string, stat api.FsStat) error {
	return over0(l, func(m *storage.Manager) error { return m.StorageAttach(ctx, p, url, stat) })
}

func (l *line) StorageFileBearer(ctx context.Context, use api.FileUse) (out api.FileBearer, err error) {
	err = over0(l, func(m *storage.Manager) (err error) {
		out, err = m.StorageFileBearer(ctx, use)
		return err
	})
	return out, err
}

func (l *line) StorageDetach(ctx context.Context, id api.StorageID, url string) error {
	return over0(l, func(m *storage.Manager) error { return m.StorageDetach(ctx, id, url) })
}

func (l *line) StorageReportHealth(ctx context.Context, h api.PathHealth) error {
	return over0(l, func(m *storage.Manager) error { return m.StorageReportHealth(ctx, h) })
}

func (l *line) StorageDeclareSectors(ctx context.Context, files []api.SectorFile) error {
	return over0(l, func(m *storage.Manager) error { return m.StorageDeclareSectors(ctx, files) })
}

func (l *line) StorageDropSectors(ctx context.Context, files []api.SectorFile) error {
	return over0(l, func(m *storage.Manager) error { return m.StorageDropSectors(ctx, files) })
}

// TestNodeRestartsWhileATaskEnds: the private node goes when a task is about to
// end and comes back with an index that knows no path. The work is done once, its
// files are declared when their path is known again, and the result arrives.
func TestNodeRestartsWhileATaskEnds(t *testing.T) {
	store, l := memStore(), &line{}
	newNode := func() *storage.Manager {
		idx := index.New(index.Config{})
		cfg := fastTasks
		cfg.Lease = time.Hour
		m, err := storage.New(storage.Config{Hostname: "test", Tasks: cfg},
			storage.Deps{
				Store: store,
				Index: idx,
				Local: openLocal(t, idx, ""),
				Blobs: bulk(t),
				Log:   testLog(t),
			})
		require.NoError(t, err)
		return m
	}
	m := newNode()
	stopNode := background(t, m.Run)
	l.connect(m)
	scratch := newDir(t, "scratch", true, true)
	local := openLocal(t, l, "", scratch)
	background(t, local.Run)
	background(t, newWorker(t, l, local, memStore()).Run)

	pieces := []abi.PieceInfo{{PieceCID: commp.ZeroPiece(2048), Size: 2048}}
	made := filepath.Join(scratch, "cache", "fetching", "s-t01000-7.made")
	spec, err := api.PreCommit1.Spec("PC1", ref, api.PreCommit1Params{Ticket: ticket, Pieces: pieces})
	require.NoError(t, err)
	_, err = m.TaskSubmit(t.Context(), spec)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return exists(made) || exists(filepath.Join(scratch, "cache", "s-t01000-7")) }, time.Minute,
		100*time.Microsecond)
	l.connect(nil) // shortly before the work ends
	stopNode()
	lost := l.lost()
	require.Eventually(t, func() bool { return l.lost() > lost+3 }, time.Minute, time.Millisecond)
	m = newNode()
	background(t, m.Run)
	l.connect(m)
	st := submit(t, m, "PC1", api.TaskPreCommit1, ref, api.PreCommit1Params{Ticket: ticket, Pieces: pieces})
	require.Equal(t, api.TaskDone, st.State, "%v", st.Failure)
	require.Equal(t, 1, st.Attempts, "it is not done twice")
	require.Eventually(t, func() bool { // the path is attached again by the next heartbeat
		locs, err := m.StorageFindSector(t.Context(), ref.ID, api.FileCache)
		return err == nil && len(locs) == 1
	}, time.Minute, time.Millisecond)
	out, err := api.PreCommit1.Result(st)
	require.NoError(t, err)
	do[api.PreCommit2Result](t, m, "PC2", api.TaskPreCommit2, ref, api.PreCommit2Params{PreCommit1Out: out})
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// TestNodeIsAwayAtEveryStep of a sector: the line is cut as soon as a task has been
// claimed and mended later. Every task is done at its first attempt.
func TestNodeIsAwayAtEveryStep(t *testing.T) {
	l := &line{}
	idx := index.New(index.Config{})
	cfg := fastTasks
	cfg.Lease = time.Hour
	m, err := storage.New(storage.Config{Hostname: "test", Tasks: cfg},
		storage.Deps{Store: memStore(), Index: idx, Local: openLocal(t, idx, ""), Blobs: bulk(t)})
	require.NoError(t, err)
	background(t, m.Run)
	l.connect(m)
	local := openLocal(t, l, "", newDir(t, "scratch", true, false), newDir(t, "keep", false, true))
	background(t, local.Run)
	background(t, newWorker(t, l, local, memStore()).Run)

	step := func(spec api.TaskSpec, err error) api.TaskStatus {
		require.NoError(t, err)
		return l.cutDuring(t, m, spec)
	}
	_, add := piece(t, 1000, 1024)
	pieces := []abi.PieceInfo{add.Piece, {PieceCID: commp.ZeroPiece(1024), Size: 1024}}
	step(api.AddPiece.Spec("AP0", ref, add))
	step(api.AddPiece.Spec("AP1", ref, api.AddPieceParams{Existing: pieces[:1], Piece: pieces[1]}))
	out, err := api.PreCommit1.Result(step(api.PreCommit1.Spec("PC1", ref, api.PreCommit1Params{Ticket: ticket, Pieces: pieces})))
	require.NoError(t, err)
	pc2, err := api.PreCommit2.Result(step(api.PreCommit2.Spec("PC2", ref, api.PreCommit2Params{PreCommit1Out: out})))
	require.NoError(t, err)
	c1, err := api.Commit1.Result(step(api.Commit1.Spec("C1", ref,
		api.Commit1Params{Ticket: ticket, Seed: seed, Commitments: pc2.Commitments})))
	require.NoError(t, err)
	require.NotEmpty(t, read(t, m, c1.Vanilla))
	step(api.Finalize.Spec("FIN", ref, api.FinalizeParams{}))
	step(api.Unseal.Spec("UNS", ref, api.UnsealParams{Ticket: ticket, UnsealedCID: pc2.UnsealedCID, Size: 1024}))
}

// cutDuring submits a task, cuts the line when it has been claimed, mends it later,
// and waits for the end.
func (l *line) cutDuring(t *testing.T, m *storage.Manager, spec api.TaskSpec) api.TaskStatus {
	t.Helper()
	st, err := m.TaskSubmit(t.Context(), spec)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		st, err = m.TaskGet(t.Context(), st.ID)
		return err == nil && st.State != api.TaskQueued
	}, time.Minute, 100*time.Microsecond)
	l.connect(nil)
	lost := l.lost()
	require.Eventually(t, func() bool { return l.lost() > lost+3 }, time.Minute, time.Millisecond)
	l.connect(m)
	for !st.Final() {
		st, err = m.TaskWait(t.Context(), st.ID)
		require.NoError(t, err)
	}
	require.Equal(t, api.TaskDone, st.State, "%s: %v", spec.Key, st.Failure)
	require.Equal(t, 1, st.Attempts, spec.Key)
	return st
}

var _ paths.Index = (*line)(nil)
