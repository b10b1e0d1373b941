package sched

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// TestSecondProcessWithAnIdentityIsRefused, with the name of the first, for as
// long as that one is heard of; a restart in the same place is no second process.
func TestSecondProcessWithAnIdentityIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		first := someone(api.TaskPreCommit1)
		first.Hostname, first.PID = "host-one", 4711
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, first))
		second := first
		second.Session, second.Hostname, second.Place = uuid.New(), "host-two", "m2 /repo"
		_, err := s.Claim(t.Context(), second, nil)
		var used *api.ErrInUse
		require.ErrorAs(t, err, &used)
		require.Contains(t, used.Holder, "host-one")
		require.Contains(t, used.Holder, "4711")
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskRunning, st.State, "the refused one took nothing away")
		first.Session = uuid.New()
		got := claim(t, s, first)
		require.NotNil(t, got, "a worker that was restarted need not wait")
		require.Equal(t, 2, got.Attempts)
		time.Sleep(90*time.Second + 1)
		got = claim(t, s, second)
		require.NotNil(t, got, "the first is silent for too long")
		require.Equal(t, 3, got.Attempts)
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
