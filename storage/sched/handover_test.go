package sched

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// TestTakingBackIsRemembered: who had the task meanwhile is a former run, and what
// counts from then on is what the present one has computed.
func TestTakingBackIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		running(t, s)
		a, b := someone(api.TaskPreCommit1), someone(api.TaskPreCommit1)
		id := givenAway(t, s, a, b)
		_, err := s.Progress(t.Context(), report(b, id, 2, time.Hour))
		require.NoError(t, err)
		finished := report(a, id, 1, time.Minute)
		finished.Computed = true
		_, err = s.Progress(t.Context(), finished)
		require.NoError(t, err)
		require.Equal(t, []run{{a.ID, 1, 1}, {b.ID, 2, 2}}, s.tasks[id].Past)
		require.Equal(t, time.Minute, s.tasks[id].spent)
		require.True(t, s.tasks[id].computed)
		require.Nil(t, s.tasks[id].Failure)
	})
}

// TestTakingBackWhatNobodyHas makes nobody a former run.
func TestTakingBackWhatNobodyHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		running(t, s)
		a := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, a))
		time.Sleep(20 * time.Minute)
		c, err := s.Progress(t.Context(), report(a, id, 1, 0))
		require.NoError(t, err)
		require.Equal(t, 2, c.Attempt)
		require.Equal(t, []run{{a.ID, 1, 1}}, s.tasks[id].Past)
		require.Equal(t, 1, s.tasks[id].Since)
	})
}

// TestTakingBackWaitsForTheSector: while another task of the sector runs, the
// worker goes on and asks again.
func TestTakingBackWaitsForTheSector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		running(t, s)
		a, b := someone(api.TaskPreCommit1), someone(api.TaskPreCommit2)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, a))
		time.Sleep(20 * time.Minute)
		other := submit(t, s, spec("same sector", api.TaskPreCommit2, 1)).ID
		require.Equal(t, other, claim(t, s, b).ID)
		_, err := s.Progress(t.Context(), report(a, id, 1, time.Hour))
		var busy *api.ErrBusy
		require.ErrorAs(t, err, &busy)
		require.Equal(t, "task k", busy.What)
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: b.ID, Task: other, Attempt: 1, Result: json.RawMessage(`1`)}))
		_, err = s.Progress(t.Context(), report(a, id, 1, time.Hour))
		require.NoError(t, err)
	})
}

// TestProgressGoesOnDuringAWrite: what a worker says while a change of its task is
// written is not undone by that change.
func TestProgressGoesOnDuringAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := &stuck{Batching: store(), gate: make(chan struct{})}
		s := open(t, ds, nil)
		w := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, w))
		say := func(stage string, percent float64) {
			r := report(w, id, 1, 0)
			r.Stage, r.Percent = stage, percent
			_, err := s.Progress(t.Context(), r)
			require.NoError(t, err)
		}
		say("labels", 40)
		key := "k"
		ds.key.Store(&key)
		written := make(chan struct{})
		go func() {
			defer close(written)
			again := spec("k", api.TaskPreCommit1, 1)
			again.Params = json.RawMessage(`{"A":1,"Data":{"Token":"new"}}`)
			submit(t, s, again)
		}()
		synctest.Wait()
		say("trees", 60)
		close(ds.gate)
		<-written
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "trees", st.Stage)
		require.InDelta(t, 60, st.Percent, 0)
		require.Contains(t, string(st.Spec.Params), "new")
	})
}

// TestWorkersTasksAreKnownAfterARestart, each with its own.
func TestWorkersTasksAreKnownAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := store()
		s := open(t, ds, nil)
		a, b := someone(api.TaskPreCommit1), someone(api.TaskPreCommit2)
		a.Hostname, b.Hostname = "a", "b"
		mine := submit(t, s, spec("of a", api.TaskPreCommit1, 1)).ID
		submit(t, s, spec("of b", api.TaskPreCommit2, 2))
		require.NotNil(t, claim(t, s, a))
		require.NotNil(t, claim(t, s, b))
		s = open(t, ds, nil)
		require.Nil(t, claim(t, s, a, mine))
		require.NotNil(t, s.workers[a.ID].running[mine])
		require.Len(t, s.workers[a.ID].running, 1)
		got := claim(t, s, b)
		require.Equal(t, "of b", got.Spec.Key, "it came back without it")
		require.Equal(t, 2, got.Attempts)
	})
}

// TestReleaseThatCannotBeStored is an error, and nothing is given away.
func TestReleaseThatCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := &failing{Batching: store()}
		s := open(t, ds, nil)
		w := someone(api.TaskPreCommit1)
		w.CPUs = 8
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, w))
		ds.broken = true
		_, err := s.Claim(t.Context(), w, nil)
		require.ErrorContains(t, err, "disk is gone")
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskRunning, st.State)
		require.Equal(t, 1, st.Attempts)
	})
}

// TestLightWorkPassesAWideTask also when it is less urgent: it takes no core.
func TestLightWorkPassesAWideTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1, api.TaskCommit1, api.TaskCommit2)
		submit(t, s, spec("narrow", api.TaskPreCommit1, 1))
		submit(t, s, spec("narrow too", api.TaskPreCommit1, 2))
		first := claim(t, s, w).ID
		second := claim(t, s, w, first).ID
		submit(t, s, spec("wide", api.TaskCommit2, 3))
		for _, sp := range []api.TaskSpec{spec("late", api.TaskPreCommit1, 4), spec("light", api.TaskCommit1, 5)} {
			sp.Priority = -1
			submit(t, s, sp)
		}
		got := claim(t, s, w, first, second)
		require.NotNil(t, got)
		require.Equal(t, "light", got.Spec.Key)
	})
}
