// Package conformance holds the storage subsystem as a whole to what the roles of
// package api promise, over every way in which others reach it.
package conformance

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/storage"
	"quarry/storage/blobs"
	"quarry/storage/index"
	"quarry/storage/paths"
	"quarry/storage/sched"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, apitest.LibraryLeaks()...)
}

// background runs f until the test ends, and waits for it.
func background(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}))
}

func bulk(t *testing.T) *blobs.Store {
	t.Helper()
	s, err := blobs.Open(blobs.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	return s
}

// build is a private node's storage with the paths that are given. Claims wait
// for a moment only, and hold for lease.
func build(t *testing.T, lease time.Duration, dirs ...string) (*storage.Manager, *paths.Local) {
	t.Helper()
	idx := index.New(index.Config{})
	local, err := paths.Open(paths.Config{}, paths.Deps{Index: idx})
	require.NoError(t, err)
	for _, d := range dirs {
		require.NoError(t, local.Add(t.Context(), d))
	}
	tasks := sched.Config{Lease: lease, ClaimWait: 50 * time.Millisecond, RetryDelay: time.Millisecond}
	m, err := storage.New(storage.Config{Hostname: "test", Tasks: tasks}, storage.Deps{
		Store: dssync.MutexWrap(datastore.NewMapDatastore()),
		Index: idx,
		Local: local,
		Blobs: bulk(t),
	})
	require.NoError(t, err)
	return m, local
}

// lease is longer than any test.
const lease = 10 * time.Minute

func fresh(t *testing.T) api.Storage {
	m, _ := build(t, lease)
	return m
}

func newDir(t *testing.T, id string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), id)
	require.NoError(t, paths.InitDir(dir, api.PathMeta{ID: api.StorageID(id), Weight: 10, CanSeal: true, CanStore: true}))
	return dir
}

func TestIndex(t *testing.T) { apitest.EachWay(t, fresh, apitest.CheckIndex) }

func TestLocalPaths(t *testing.T) {
	apitest.EachWay(t, fresh, func(t *testing.T, fresh func(t *testing.T) api.Storage) { apitest.CheckLocalPaths(t, fresh, newDir) })
}

func TestLeases(t *testing.T) { apitest.EachWay(t, fresh, apitest.CheckLeases) }

func TestTasks(t *testing.T) { apitest.EachWay(t, fresh, apitest.CheckTasks) }

func TestFleet(t *testing.T) {
	apitest.EachWay(t, fresh, func(t *testing.T, fresh func(t *testing.T) api.Storage) { apitest.CheckFleet(t, lease, fresh) })
}

func TestLeaseEnds(t *testing.T) {
	short := func(t *testing.T) api.Storage {
		m, _ := build(t, 200*time.Millisecond)
		background(t, m.Run)
		return m
	}
	apitest.EachWay(t, short, apitest.CheckLeaseEnds)
}
