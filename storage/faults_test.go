package storage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"quarry/api"
	"quarry/proofs/commp"
	"quarry/storage"
	"quarry/storage/paths"
	"quarry/storage/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// one is a private node and one worker over one path.
func one(t *testing.T) (*storage.Manager, *paths.Local) {
	t.Helper()
	m, local := newManager(t, memStore(), newDir(t, "both", true, true))
	background(t, m.Run)
	background(t, newWorker(t, m, local, memStore()).Run)
	return m, local
}

func TestPieceMismatch(t *testing.T) {
	m, local := one(t)
	_, add := piece(t, 1000, 1024)
	right := add.Piece.PieceCID
	add.Piece.PieceCID = commp.ZeroPiece(1024)
	st := submit(t, m, "wrong", api.TaskAddPiece, ref, add)
	require.Equal(t, api.TaskFailed, st.State)
	require.False(t, st.Failure.Retryable)
	require.Contains(t, st.Failure.Text, "commp mismatch")
	require.Equal(t, 1, st.Attempts)
	_, exists := local.Find(context.Background(), ref.ID, api.FileUnsealed)
	require.False(t, exists, "nothing is left behind")
	add.Piece.PieceCID = right
	do[abi.PieceInfo](t, m, "right", api.TaskAddPiece, ref, add)
	do[abi.PieceInfo](t, m, "right again", api.TaskAddPiece, ref, add)
}

func TestPieceRefusals(t *testing.T) {
	m, _ := one(t)
	_, good := piece(t, 1000, 1024)
	for name, spoil := range map[string]func(*api.AddPieceParams){
		"too large for the sector": func(a *api.AddPieceParams) { a.Piece.Size = 4096 },
		"odd size":                 func(a *api.AddPieceParams) { a.Piece.Size = 1000 },
		"payload above the piece":  func(a *api.AddPieceParams) { a.Data.Size = 1025 },
		"source is shorter":        func(a *api.AddPieceParams) { a.Data.Size = 1010 },
		"wrong token":              func(a *api.AddPieceParams) { a.Data.Token = "x" },
		"two sources":              func(a *api.AddPieceParams) { a.Data.StorageID = "both" },
		"file address":             func(a *api.AddPieceParams) { a.Data.URL = "file:///etc/passwd" },
	} {
		t.Run(name, func(t *testing.T) {
			a := good
			spoil(&a)
			st := submit(t, m, name, api.TaskAddPiece, ref, a)
			require.Equal(t, api.TaskFailed, st.State)
			require.False(t, st.Failure.Retryable, st.Failure)
		})
	}
	t.Run("unknown parameter", func(t *testing.T) {
		st := submit(t, m, "odd", api.TaskAddPiece, ref, map[string]any{"Pieces": 1})
		require.Contains(t, st.Failure.Text, "unknown field")
	})
}

func TestPieceFromSharedPath(t *testing.T) {
	m, local := one(t)
	dir, _ := local.Dir("both")
	data, add := piece(t, 1000, 1024)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "staging"), 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "staging", "p"), data, 0o600))
	add.Data = api.DataRef{StorageID: "both", Path: "staging/p", Size: 1000}
	do[abi.PieceInfo](t, m, "ok", api.TaskAddPiece, ref, add)
	readBack(t, m, local, ref, data)

	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "staging", "out")))
	for _, bad := range []string{"../p", "/etc/passwd", "staging/../../p", "staging/out"} {
		add.Data.Path = bad
		st := submit(t, m, bad, api.TaskAddPiece, ref, add)
		require.Equal(t, api.TaskFailed, st.State, bad)
	}
}

// TestPieceOverBadLine: the server cuts every answer short; the worker goes on
// where it was.
func TestPieceOverBadLine(t *testing.T) {
	m, _ := one(t)
	data, add := piece(t, 1000, 1024)
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		if n == 2 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		http.ServeContent(&cutter{w, 300}, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(srv.Close)
	add.Data.URL = srv.URL
	do[abi.PieceInfo](t, m, "k", api.TaskAddPiece, ref, add)
	require.Equal(t, int32(5), requests.Load())
}

// TestDeadSource: a broken connection is a retryable failure, never the end of
// the data.
func TestDeadSource(t *testing.T) {
	m, local := newManager(t, memStore(), newDir(t, "both", true, true))
	background(t, m.Run)
	background(t, newWorker(t, m, local, memStore()).Run)
	_, add := piece(t, 1000, 1024)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(srv.Close)
	add.Data.URL = srv.URL
	raw, err := json.Marshal(add)
	require.NoError(t, err)
	st, err := m.TaskSubmit(t.Context(), api.TaskSpec{Key: "k", Type: api.TaskAddPiece, Sector: ref, Params: raw})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		st, err = m.TaskGet(t.Context(), st.ID)
		return err == nil && st.Failure != nil
	}, time.Minute, 5*time.Millisecond)
	require.True(t, st.Failure.Retryable, st.Failure)
	require.Contains(t, st.Failure.Text, "transfer failed")
	add.Data.URL = piecesAgain(t, add.Piece.Size)
	st = submit(t, m, "k", api.TaskAddPiece, ref, add) // a fresh address for the same task
	require.Equal(t, api.TaskDone, st.State, st.Failure)
}

func piecesAgain(t *testing.T, size abi.PaddedPieceSize) string {
	t.Helper()
	_, add := piece(t, 1000, size)
	return add.Data.URL
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	if len(b) > c.left {
		_, _ = c.ResponseWriter.Write(b[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

// TestWorkerDiesMidTask: a worker is stopped while it pulls a piece that never
// ends; the next session, with the same store, does the task again.
func TestWorkerDiesMidTask(t *testing.T) {
	m, local := newManager(t, memStore(), newDir(t, "both", true, true))
	background(t, m.Run)
	data, add := piece(t, 1000, 1024)
	pulling, hang := make(chan struct{}), atomic.Bool{}
	hang.Store(true)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hang.Load() {
			_, _ = w.Write(data[:10])
			_ = http.NewResponseController(w).Flush()
			close(pulling)
			<-r.Context().Done()
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(srv.Close)
	add.Data.URL = srv.URL
	store := memStore()
	stop := background(t, newWorker(t, m, local, store).Run)
	raw, err := json.Marshal(add)
	require.NoError(t, err)
	st, err := m.TaskSubmit(t.Context(), api.TaskSpec{Key: "k", Type: api.TaskAddPiece, Sector: ref, Params: raw})
	require.NoError(t, err)
	<-pulling
	stop()
	hang.Store(false)
	st, err = m.TaskGet(t.Context(), st.ID)
	require.NoError(t, err)
	require.Equal(t, api.TaskRunning, st.State)
	background(t, newWorker(t, m, local, store).Run)
	st = submit(t, m, "k", api.TaskAddPiece, ref, add)
	require.Equal(t, api.TaskDone, st.State, st.Failure)
	require.Equal(t, 2, st.Attempts)
	readBack(t, m, local, ref, data)
}

// deaf is a private node that cannot be reached with results.
type deaf struct {
	worker.Storage
	tried chan struct{}
}

func (d *deaf) WorkerDone(context.Context, api.TaskReport) error {
	select {
	case d.tried <- struct{}{}:
	default:
	}
	return &api.ErrUnreachable{Peer: "private node", Reason: "test"}
}

// TestResultSurvivesWorker: a result that could not be delivered is delivered by
// the next session, and the work is not done twice.
func TestResultSurvivesWorker(t *testing.T) {
	m, local := newManager(t, memStore(), newDir(t, "both", true, true))
	background(t, m.Run)
	_, add := piece(t, 1000, 1024)
	raw, err := json.Marshal(add)
	require.NoError(t, err)
	_, err = m.TaskSubmit(t.Context(), api.TaskSpec{Key: "k", Type: api.TaskAddPiece, Sector: ref, Params: raw})
	require.NoError(t, err)
	store := memStore()
	d := &deaf{m, make(chan struct{}, 1)}
	stop := background(t, newWorker(t, d, local, store).Run)
	<-d.tried
	stop()
	background(t, newWorker(t, m, local, store).Run)
	st := submit(t, m, "k", api.TaskAddPiece, ref, add)
	require.Equal(t, api.TaskDone, st.State, st.Failure)
	require.Equal(t, 1, st.Attempts)
}

// TestManagerRestarts between every two tasks of a sector.
func TestManagerRestarts(t *testing.T) {
	store, wstore := memStore(), memStore()
	scratch, keep := newDir(t, "scratch", true, false), newDir(t, "keep", false, true)
	var m *storage.Manager
	step := func(f func()) {
		next, local := newManager(t, store, scratch, keep)
		m = next
		stop := background(t, m.Run)
		stopWorker := background(t, newWorker(t, m, local, wstore).Run)
		f()
		stopWorker()
		stop()
	}
	var r sealed
	var commR cid.Cid
	step(func() { r = seal(t, m, ref) })
	step(func() { require.Equal(t, r, seal(t, m, ref)) }) // same keys: same results, nothing done again
	step(func() { commR = prove(t, m, ref, r) })
	step(func() { do[any](t, m, "fin", api.TaskFinalize, ref, api.FinalizeParams{KeepUnsealed: true}) })
	step(func() { require.Empty(t, unprovable(t, m, commR, ref)) })
}

// TestNoSpace: a path with a limit refuses before work starts; the task waits,
// says for what, and goes on by itself when there is room.
func TestNoSpace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	require.NoError(t, paths.InitDir(dir, api.PathMeta{
		ID:         "small",
		Weight:     1,
		CanSeal:    true,
		CanStore:   true,
		MaxStorage: 64 << 10,
	}))
	m, local := newManager(t, memStore(), dir)
	background(t, m.Run)
	background(t, newWorker(t, m, local, memStore()).Run)
	big := make([]byte, 64<<10)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "filler"), big, 0o600))
	_, add := piece(t, 1000, 1024)
	spec, err := api.AddPiece.Spec("full", ref, add)
	require.NoError(t, err)
	st, err := m.TaskSubmit(t.Context(), spec)
	require.NoError(t, err)
	get := func(ok func(api.TaskStatus) bool) func() bool {
		return func() bool {
			st, err = m.TaskGet(t.Context(), st.ID)
			return err == nil && ok(st)
		}
	}
	require.Eventually(t, get(noRoom), time.Minute, 10*time.Millisecond)
	_, exists := local.Find(context.Background(), ref.ID, api.FileUnsealed)
	require.False(t, exists)
	require.NoError(t, os.Remove(filepath.Join(dir, "filler")))
	require.Eventually(t, get(api.TaskStatus.Final), time.Minute, 10*time.Millisecond)
	require.Equal(t, api.TaskDone, st.State, "%v", st.Failure)
}
