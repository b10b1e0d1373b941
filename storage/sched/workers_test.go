package sched

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// TestSecondProcessWithAnIdentityIsRefused, with the name of the first, for as
// long as that one is there.
func TestSecondProcessWithAnIdentityIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		first := someone(api.TaskPreCommit1)
		first.Hostname = "host-one"
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, first))
		second := first
		second.Session, second.Hostname = uuid.New(), "host-two"
		refused := func() {
			t.Helper()
			_, err := s.Claim(t.Context(), second, nil)
			var busy *api.ErrBusy
			require.ErrorAs(t, err, &busy)
			require.ErrorContains(t, err, "host-one")
		}
		refused()
		time.Sleep(signOfLife - time.Second)
		_, err := s.Progress(t.Context(), report(first, id, 1, 0))
		require.NoError(t, err)
		time.Sleep(signOfLife - time.Nanosecond)
		refused()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = s.Claim(ctx, first, []api.HeldTask{{Task: id, Attempt: 1}})
		}()
		synctest.Wait()
		refused() // the first one waits for a task at this moment
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskRunning, st.State, "the refused one took nothing away")
		stop() // its connection breaks: the process is gone
		<-ended
		got := claim(t, s, second)
		require.NotNil(t, got, "a worker that was restarted need not wait")
		require.Equal(t, 2, got.Attempts)
	})
}

// TestListOfWorkers: who is silent for long and has nothing is left out.
func TestListOfWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		running(t, s)
		a, b := someone(api.TaskPreCommit1), someone(api.TaskPreCommit2)
		a.Hostname, b.Hostname = "a", "b"
		submit(t, s, spec("k", api.TaskPreCommit1, 1))
		require.Nil(t, claim(t, s, b))
		require.NotNil(t, claim(t, s, a))
		list, err := s.Workers(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 2)
		require.Equal(t, "a", list[0].Hostname)
		require.Len(t, list[0].Running, 1)
		require.Equal(t, "k", list[0].Running[0].Spec.Key)
		require.Empty(t, list[1].Running)
		time.Sleep(keepWorker * 15 * time.Minute)
		list, err = s.Workers(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 2)
		time.Sleep(2 * time.Minute)
		list, err = s.Workers(t.Context())
		require.NoError(t, err)
		require.Empty(t, list, "the task of a was queued again, and both are silent")
	})
}
