package main

import (
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/storage/blobs"
	"quarry/storage/index"
	"quarry/storage/paths"
	"quarry/storage/worker"
)

// freshSelf is what a worker without paths and tasks says of itself.
func freshSelf(t *testing.T) api.Storage {
	t.Helper()
	local, err := paths.Open(paths.Config{}, paths.Deps{Index: index.New(index.Config{})})
	require.NoError(t, err)
	bulk, err := blobs.Open(blobs.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	store := dssync.MutexWrap(datastore.NewMapDatastore())
	w, err := worker.New(t.Context(), worker.Config{Hostname: "host", TaskTypes: []api.TaskType{api.TaskPreCommit1}},
		worker.Deps{Storage: &ownStorage{}, Local: local, Store: store, Blobs: bulk})
	require.NoError(t, err)
	return &ownStorage{self: &self{worker: w, local: local}}
}

// TestWorkerKeepsThePromisesOfLocalPaths, as a private node does.
func TestWorkerKeepsThePromisesOfLocalPaths(t *testing.T) {
	newDir := func(t *testing.T, id string) string {
		t.Helper()
		dir := filepath.Join(t.TempDir(), id)
		require.NoError(t, paths.InitDir(dir, api.PathMeta{ID: api.StorageID(id), Weight: 10, CanStore: true}))
		return dir
	}
	apitest.EachWay(t, freshSelf, func(t *testing.T, fresh func(t *testing.T) api.Storage) { apitest.CheckLocalPaths(t, fresh, newDir) })
}

// TestWorkerTellsOfItself: its own entry in the fleet, its own tasks, and for the
// rest an error that says that it is not asked in the right place.
func TestWorkerTellsOfItself(t *testing.T) {
	apitest.EachWay(t, freshSelf, func(t *testing.T, fresh func(t *testing.T) api.Storage) {
		s := fresh(t)
		list, err := s.WorkerList(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, "host", list[0].Hostname)
		require.Equal(t, []api.TaskType{api.TaskPreCommit1}, list[0].TaskTypes)
		require.NotEqual(t, uuid.Nil, list[0].ID)
		require.NotEqual(t, uuid.Nil, list[0].Session)
		require.Empty(t, list[0].Running)
		tasks, next, err := s.TaskList(t.Context(), "", 0)
		require.NoError(t, err)
		require.Empty(t, tasks)
		require.Empty(t, next)
		_, err = s.TaskGet(t.Context(), uuid.New())
		var elsewhere *api.ErrUnreachable
		require.ErrorAs(t, err, &elsewhere)
		require.Equal(t, "the peer serving TaskGet", elsewhere.Peer)
	})
}
