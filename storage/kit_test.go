package storage_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/storage"
	"quarry/storage/blobs"
	"quarry/storage/index"
	"quarry/storage/paths"
	"quarry/storage/sched"
	"quarry/storage/worker"
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
var fastTasks = sched.Config{
	Lease:      time.Second,
	ClaimWait:  200 * time.Millisecond,
	Affinity:   100 * time.Millisecond,
	RetryDelay: 10 * time.Millisecond,
	TaskWait:   5 * time.Second,
}

func newManager(t *testing.T, store datastore.Batching, dirs ...string) (*storage.Manager, *paths.Local) {
	t.Helper()
	idx := index.New(index.Config{})
	local := openLocal(t, idx, "", dirs...)
	m, err := storage.New(storage.Config{Hostname: "test", Tasks: fastTasks}, storage.Deps{
		Store: store,
		Index: idx,
		Local: local,
		Blobs: bulk(t),
		Log:   testLog(t),
	})
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
	w, err := worker.New(context.Background(), worker.Config{
		Place:     "test",
		TaskTypes: types,
		Progress:  20 * time.Millisecond,
		Retry:     20 * time.Millisecond,
		RoomWait:  time.Millisecond,
		PullPause: 2 * time.Millisecond,
	},
		worker.Deps{
			Storage: s,
			Local:   local,
			Store:   store,
			Blobs:   bulk(t),
			Log:     testLog(t),
		})
	require.NoError(t, err)
	return w
}
