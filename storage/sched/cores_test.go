package sched

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// TestAllCoresAreGathered: a task for all cores waits for the one that computes,
// nothing that computes overtakes it, and nothing that computes joins it.
func TestAllCoresAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1, api.TaskCommit1, api.TaskCommit2)
		submit(t, s, spec("a", api.TaskPreCommit1, 1))
		a := claim(t, s, w)
		require.Equal(t, "a", a.Spec.Key)
		submit(t, s, spec("b", api.TaskPreCommit1, 2))
		submit(t, s, spec("all", api.TaskCommit2, 3))
		require.Nil(t, claim(t, s, w, a.ID), "b would keep the cores from C2 for ever")
		submit(t, s, spec("light", api.TaskCommit1, 4))
		light := claim(t, s, w, a.ID)
		require.Equal(t, "light", light.Spec.Key, "what takes no core may go on")
		require.NoError(t, s.Done(t.Context(), w.ID, a.ID, json.RawMessage(`1`), "", false))
		all := claim(t, s, w, light.ID)
		require.Equal(t, "all", all.Spec.Key)
		require.Nil(t, claim(t, s, w, light.ID, all.ID))
		require.NoError(t, s.Done(t.Context(), w.ID, all.ID, json.RawMessage(`1`), "", false))
		require.Equal(t, "b", claim(t, s, w, light.ID).Spec.Key)
	})
}

func TestGroth16NeedsItsMemory(t *testing.T) {
	for p, want := range map[abi.RegisteredSealProof]uint64{
		abi.RegisteredSealProof_StackedDrg2KiBV1_1: 2 * gib, abi.RegisteredSealProof_StackedDrg8MiBV1_1: 3 * gib,
		abi.RegisteredSealProof_StackedDrg512MiBV1_1: 11 * gib, abi.RegisteredSealProof_StackedDrg32GiBV1_1: 62 * gib,
		abi.RegisteredSealProof_StackedDrg64GiBV1_1: 124 * gib,
	} {
		need, err := Needs(api.TaskCommit2, p)
		require.NoError(t, err)
		require.Equal(t, want, need.MemBytes)
		require.False(t, need.fits(Resources{}, api.WorkerInfo{MemBytes: want - 1, CPUs: 64}))
		require.True(t, need.fits(Resources{}, api.WorkerInfo{MemBytes: want, CPUs: 1}))
	}
}
