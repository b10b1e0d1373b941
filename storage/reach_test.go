package storage

import (
	"testing"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/storage/blobs"
	"quarry/storage/index"
	"quarry/storage/paths"
)

// A worker gets a task only where it has a path of the kind that the task ends
// on: one that seals and does not keep cannot finalize.
func TestCanWrite(t *testing.T) {
	idx := index.New(index.Config{})
	local, err := paths.Open(paths.Config{}, paths.Deps{Index: idx})
	require.NoError(t, err)
	bulk, err := blobs.Open(blobs.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	m, err := New(Config{}, Deps{Store: dssync.MutexWrap(datastore.NewMapDatastore()), Index: idx, Local: local, Blobs: bulk})
	require.NoError(t, err)
	for id, meta := range map[api.StorageID]api.PathMeta{"seals": {CanSeal: true}, "keeps": {CanStore: true}, "both": {CanSeal: true, CanStore: true}} {
		meta.ID, meta.Weight = id, 10
		require.NoError(t, m.StorageAttach(t.Context(), meta, "", api.FsStat{Capacity: 1 << 30, Available: 1 << 30}))
	}
	for _, c := range []struct {
		paths           []api.StorageID
		seals, finishes bool
	}{
		{nil, false, false},
		{[]api.StorageID{"unknown"}, false, false},
		{[]api.StorageID{"seals"}, true, false},
		{[]api.StorageID{"keeps"}, false, true},
		{[]api.StorageID{"both"}, true, true},
		{[]api.StorageID{"seals", "keeps"}, true, true},
	} {
		w := api.WorkerInfo{Paths: c.paths}
		for typ, want := range map[api.TaskType]bool{api.TaskAddPiece: c.seals, api.TaskPreCommit1: c.seals, api.TaskPreCommit2: c.seals,
			api.TaskUnseal: c.seals, api.TaskUpdate: c.seals, api.TaskFinalize: c.finishes, api.TaskFinalizeUpdate: c.finishes} {
			require.Equal(t, want, m.canWrite(t.Context(), w, typ), "%v on %v", typ, c.paths)
		}
	}
}
