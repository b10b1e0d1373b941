package storage

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/storage/index"
)

const reachProof = abi.RegisteredSealProof_StackedDrg2KiBV1_1

// reachable is a manager that knows of two paths: one for sealing, one for
// keeping, each with room for n sectors of 2 KiB.
func reachable(t *testing.T, n int64) (*Manager, abi.SectorID) {
	t.Helper()
	idx := index.New(index.Config{})
	stat := api.FsStat{Available: n * 2048}
	require.NoError(t, idx.StorageAttach(t.Context(), api.PathMeta{ID: "seal", CanSeal: true, Weight: 1}, "", stat))
	require.NoError(t, idx.StorageAttach(t.Context(), api.PathMeta{ID: "store", CanStore: true, Weight: 1}, "http://h:1/remote", stat))
	return &Manager{Index: idx}, abi.SectorID{Miner: 1000, Number: 1}
}

func aTask(kind api.TaskType, s abi.SectorID, attempts int) api.TaskStatus {
	return api.TaskStatus{Attempts: attempts, Spec: api.TaskSpec{Type: kind, Sector: api.SectorRef{ID: s, ProofType: reachProof}}}
}

// TestTasksNeedTheRightPath: work goes to who has a path of the right use with
// room, and who has none is told what is missing.
func TestTasksNeedTheRightPath(t *testing.T) {
	for name, c := range map[string]struct {
		kind     api.TaskType
		room     int64 // in sectors
		attempts int
		paths    []api.StorageID
		why      string
	}{
		"PC1 with room": {api.TaskPreCommit1, 15, 0, []api.StorageID{"seal"}, ""},
		"PC1 without room": {api.TaskPreCommit1, 14, 0, []api.StorageID{"seal"},
			"none of its paths for sealing has 28 KiB free, the largest has 28 KiB"},
		"PC1 that was begun": {api.TaskPreCommit1, 1, 1, []api.StorageID{"seal"}, ""},
		"PC1 without a path": {api.TaskPreCommit1, 15, 0, nil, "it has no storage path for sealing that works"},
		"PC1 on a path for keeping": {api.TaskPreCommit1, 15, 0, []api.StorageID{"store"},
			"it has no storage path for sealing that works"},
		"PC1 on an unknown path":     {api.TaskPreCommit1, 15, 0, []api.StorageID{"gone"}, "it has no storage path for sealing that works"},
		"FIN without a path to keep": {api.TaskFinalize, 15, 0, []api.StorageID{"seal"}, "it has no storage path for keeping that works"},
		"FIN without its files": {api.TaskFinalize, 15, 0, []api.StorageID{"store"},
			"the cache file is on no path that can be read now"},
		"C2 needs nothing":     {api.TaskCommit2, 0, 0, nil, ""},
		"PR2 needs nothing":    {api.TaskProveUpdate2, 0, 0, nil, ""},
		"RU without its files": {api.TaskUpdate, 40, 0, []api.StorageID{"seal"}, "the cache file is on no path that can be read now"},
	} {
		t.Run(name, func(t *testing.T) {
			m, s := reachable(t, c.room)
			score, why := m.reach(t.Context(), api.WorkerInfo{Paths: c.paths}, aTask(c.kind, s, c.attempts))
			require.Equal(t, c.why, why)
			require.Zero(t, score)
		})
	}
}

// TestNearFilesCount: a file on a path of the worker is worth two points, one
// that can be fetched none, and one that nobody serves is missing.
func TestNearFilesCount(t *testing.T) {
	m, s := reachable(t, 100)
	declare := func(p api.StorageID, kinds ...api.FileType) {
		for _, k := range kinds {
			require.NoError(t, m.StorageDeclareSectors(t.Context(), []api.SectorFile{{Sector: s, Type: k, Storage: p}}))
		}
	}
	w := api.WorkerInfo{Paths: []api.StorageID{"seal"}}
	declare("store", api.FileCache, api.FileSealed)
	score, why := m.reach(t.Context(), w, aTask(api.TaskCommit1, s, 0))
	require.Empty(t, why)
	require.Zero(t, score)
	declare("seal", api.FileCache)
	score, why = m.reach(t.Context(), w, aTask(api.TaskCommit1, s, 0))
	require.Empty(t, why)
	require.Equal(t, 2, score)
	s.Number++
	declare("seal", api.FileCache, api.FileSealed)
	away := api.WorkerInfo{Paths: []api.StorageID{"other"}}
	require.NoError(t, m.StorageAttach(t.Context(), api.PathMeta{ID: "other", CanSeal: true}, "", api.FsStat{Available: 1 << 20}))
	_, why = m.reach(t.Context(), away, aTask(api.TaskCommit1, s, 0))
	require.Equal(t, "the cache file is on storage path seal, which nobody serves to it", why)
}

// TestPieceOnASharedPath goes to who shares the path.
func TestPieceOnASharedPath(t *testing.T) {
	m, s := reachable(t, 100)
	st := aTask(api.TaskAddPiece, s, 0)
	var err error
	st.Spec, err = api.AddPiece.Spec("k", st.Spec.Sector, api.AddPieceParams{Data: api.DataRef{StorageID: "store"}})
	require.NoError(t, err)
	_, why := m.reach(t.Context(), api.WorkerInfo{Paths: []api.StorageID{"seal"}}, st)
	require.Equal(t, "it does not share storage path store", why)
	_, why = m.reach(t.Context(), api.WorkerInfo{Paths: []api.StorageID{"seal", "store"}}, st)
	require.Empty(t, why)
}
