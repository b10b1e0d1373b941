package sched

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// TestWideTaskIsNotOvertaken: with a task for every core in the queue, nothing
// that computes starts before it, though what takes no core may; and it leaves
// the other half of the cores to others, but not to another of its kind.
func TestWideTaskIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1, api.TaskCommit1, api.TaskCommit2)
		w.CPUs = 4
		var running []api.UUID
		for n := range abi.SectorNumber(3) {
			submit(t, s, spec(fmt.Sprint("narrow", n), api.TaskPreCommit1, n))
			running = append(running, claim(t, s, w, running...).ID)
		}
		end := func(i int) {
			require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: running[i], Attempt: 1,
				Result: json.RawMessage(`1`)}))
			running = slices.Delete(running, i, i+1)
		}
		submit(t, s, spec("wide", api.TaskCommit2, 13))
		submit(t, s, spec("late", api.TaskPreCommit1, 12))
		require.Nil(t, claim(t, s, w, running...), "it would keep the cores from C2 for ever")
		submit(t, s, spec("light", api.TaskCommit1, 14))
		light := claim(t, s, w, running...)
		require.Equal(t, "light", light.Spec.Key)
		running = append(running, light.ID)
		end(0)
		wide := claim(t, s, w, running...)
		require.Equal(t, "wide", wide.Spec.Key)
		running = append(running, wide.ID)
		submit(t, s, spec("wide too", api.TaskCommit2, 15))
		require.Nil(t, claim(t, s, w, running...), "two and two cores are taken")
		end(0)
		require.Equal(t, "late", claim(t, s, w, running...).Spec.Key, "another wide task must not hold up others while one runs")
	})
}

// TestTwoCoresComputeTwoThings: half of two cores is one.
func TestTwoCoresComputeTwoThings(t *testing.T) {
	wide, narrow := Resources{Wide: 1, Count: 1}, Resources{Threads: 1, Count: 1}
	for cpus, want := range map[int]bool{0: false, 1: false, 2: true, 3: true, 64: true} {
		w := api.WorkerInfo{CPUs: cpus}
		require.Equal(t, want, wide.fits(narrow, w), "%d cores", cpus)
		require.Equal(t, want, narrow.fits(wide, w), "%d cores", cpus)
		require.False(t, wide.fits(wide, w), "%d cores", cpus)
		require.True(t, wide.fits(Resources{}, w), "%d cores", cpus)
	}
}

func TestGroth16NeedsItsMemory(t *testing.T) {
	for p, want := range map[abi.RegisteredSealProof]uint64{
		abi.RegisteredSealProof_StackedDrg2KiBV1_1: 2 << 30, abi.RegisteredSealProof_StackedDrg8MiBV1_1: 4 << 30,
		abi.RegisteredSealProof_StackedDrg512MiBV1_1: 17 << 30, abi.RegisteredSealProof_StackedDrg32GiBV1_1: 34 << 30,
		abi.RegisteredSealProof_StackedDrg64GiBV1_1: 34 << 30,
	} {
		need, err := Needs(api.TaskCommit2, p)
		require.NoError(t, err)
		require.Equal(t, want, need.MemBytes)
		require.False(t, need.fits(Resources{}, api.WorkerInfo{MemBytes: want - 1, CPUs: 64}))
		require.True(t, need.fits(Resources{}, api.WorkerInfo{MemBytes: want, CPUs: 1}))
	}
}
