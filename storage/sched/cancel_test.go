package sched

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// A task that nobody wants any more ends, whether it waits or runs: its worker is
// told, cannot have it back, and the files and the sector are free for others.
func TestCancelledTaskEnds(t *testing.T) {
	for _, state := range []api.TaskState{api.TaskQueued, api.TaskRunning} {
		synctest.Test(t, func(t *testing.T) {
			ds := store()
			files := &heldFiles{held: map[api.UUID]string{}}
			s, err := New(t.Context(), Config{}, Deps{Store: ds, Files: files})
			require.NoError(t, err)
			w := someone(api.TaskPreCommit1)
			id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
			if state == api.TaskRunning {
				require.Equal(t, id, claim(t, s, w).ID)
				require.NoError(t, keeps(s.Progress(t.Context(), report(w, id, 1, time.Minute))))
			}
			next := submit(t, s, spec("next", api.TaskPreCommit1, 1)).ID
			waited := make(chan api.TaskStatus, 1)
			go func() {
				st, _ := s.Wait(t.Context(), id)
				waited <- st
			}()
			synctest.Wait()
			for range 2 {
				require.NoError(t, s.Cancel(t.Context(), id))
			}
			st := <-waited
			require.Equal(t, api.TaskFailed, st.State)
			require.Contains(t, st.Failure.Text, "cancelled")
			require.False(t, st.Failure.Retryable)
			_, err = s.Progress(t.Context(), report(w, id, 1, time.Hour))
			requireLost(t, err)
			require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}))
			require.Empty(t, files.held)
			require.Equal(t, next, claim(t, s, w).ID, "another task of the sector")
			s, err = New(t.Context(), Config{}, Deps{Store: ds})
			require.NoError(t, err)
			st, err = s.Get(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, api.TaskFailed, st.State, "after a restart too")
			require.NoError(t, s.Forget(t.Context(), id))
			require.NoError(t, s.Cancel(t.Context(), id))
			require.NoError(t, s.Cancel(t.Context(), uuid.New()))
		})
	}
}

// What has ended stays as it has.
func TestCancelOfWhatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, w))
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}))
		require.NoError(t, s.Cancel(t.Context(), id))
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskDone, st.State)
	})
}

// A task that is cancelled, or brought by its former worker, in the moment in
// which another worker was chosen for it leaves its sector free.
func TestCancelWhileItIsGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := &heldFiles{held: map[api.UUID]string{}}
		s, err := New(t.Context(), Config{}, Deps{Store: store(), Files: files})
		require.NoError(t, err)
		w := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		next := submit(t, s, spec("next", api.TaskPreCommit1, 1)).ID
		me, _, err := s.register(w, nil, func() {})
		require.NoError(t, err)
		chosen, _, _ := s.choose(t.Context(), me, nil)
		require.Equal(t, id, chosen.ID)
		require.NoError(t, s.Cancel(t.Context(), id))
		got, err := s.grant(t.Context(), chosen, w)
		require.NoError(t, err)
		require.Nil(t, got)
		require.Empty(t, files.held)
		require.Equal(t, next, claim(t, s, w).ID)
	})
}
