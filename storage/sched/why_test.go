package sched

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// TestWaitingTaskSaysWhy goes through everything that can be missing.
func TestWaitingTaskSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		missing := ""
		s := open(t, store(), func(context.Context, api.WorkerInfo, api.TaskStatus) (int, string) { return 0, missing })
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		why := func() string {
			st, err := s.Get(t.Context(), id)
			require.NoError(t, err)
			return st.Waiting
		}
		require.Equal(t, "no worker is connected", why())
		other := someone(api.TaskCommit1)
		other.Hostname = "o"
		require.Nil(t, claim(t, s, other))
		require.Equal(t, "none of the 1 connected workers takes PC1 tasks", why())
		missing = "no path with room"
		w := someone(api.TaskPreCommit1)
		w.MemBytes = 1 << 20
		require.Nil(t, claim(t, s, w))
		require.Equal(t, "worker "+name(w)+": no path with room", why())
		missing = ""
		require.Nil(t, claim(t, s, w))
		require.Contains(t, why(), "of memory, the worker offers 1.0 MiB")
		w.MemBytes = 0
		w.CPUs = 1
		busy := submit(t, s, spec("first", api.TaskPreCommit1, 2))
		require.NoError(t, s.change(t.Context(), s.tasks[id],
			func(r *record) error { r.NotBefore = time.Now().Add(time.Second); return nil }))
		require.Equal(t, busy.ID, claim(t, s, w).ID)
		require.Contains(t, why(), "is tried again at")
		time.Sleep(2 * time.Second)
		require.Nil(t, claim(t, s, w, busy.ID))
		require.Equal(t, "worker "+name(w)+": busy with 1 tasks", why())
		sibling := submit(t, s, spec("sibling", api.TaskPreCommit2, 2))
		st, err := s.Get(t.Context(), sibling.ID)
		require.NoError(t, err)
		require.Equal(t, "PC1 of the same sector runs", st.Waiting)
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: busy.ID, Attempt: 1, Result: json.RawMessage(`1`)}))
		require.Equal(t, "a worker will take it next", why())
		require.Equal(t, id, claim(t, s, w).ID)
		require.Empty(t, why())
		time.Sleep(2 * time.Minute)
		st, err = s.Get(t.Context(), sibling.ID)
		require.NoError(t, err)
		require.Equal(t, "no worker is connected", st.Waiting)
	})
}

// TestReasonsAreCut: a list of many workers stays a line.
func TestReasonsAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := func(context.Context, api.WorkerInfo, api.TaskStatus) (int, string) { return 0, "far" }
		s, err := New(t.Context(), Config{ClaimWait: time.Second}, Deps{Store: store(), Reach: far})
		require.NoError(t, err)
		for i := range 5 {
			w := someone(api.TaskPreCommit1)
			w.Hostname = fmt.Sprint("host", i)
			require.Nil(t, claim(t, s, w))
		}
		st := submit(t, s, spec("k", api.TaskPreCommit1, 1))
		require.Contains(t, st.Waiting, "host2")
		require.NotContains(t, st.Waiting, "host3")
		require.Contains(t, st.Waiting, "; and 2 more")
	})
}

// TestFullDiskIsWaitedFor: an operator frees it, not another try; other failures
// end after their tries.
func TestFullDiskIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		full := api.NewFailure(fmt.Errorf("write layer 3: %w", &api.ErrNoSpace{What: "cache"}), true)
		for try := 1; try <= 20; try++ {
			var got *api.TaskStatus
			for got == nil {
				got = claim(t, s, w)
			}
			require.Equal(t, try, got.Attempts)
			require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: try, Failure: full}))
		}
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskQueued, st.State)
		require.Contains(t, st.Waiting, "it failed 20 times")
		require.Nil(t, claim(t, s, w), "the delay is minutes by now")
		require.NoError(t, s.Retry(t.Context(), id))
		start := time.Now()
		require.NotNil(t, claim(t, s, w))
		require.Zero(t, time.Since(start), "an operator need not wait for the delay")
		require.NoError(t, s.Retry(t.Context(), id), "a running task is left alone")
	})
}

// TestDelaysDouble, from one second to five minutes.
func TestDelaysDouble(t *testing.T) {
	s := open(t, store(), nil)
	for tries, want := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 5: 32 * time.Second, 6: 64 * time.Second} {
		r := record{Tries: tries}
		before := time.Now()
		s.again(&r, &api.Failure{Text: "x", Retryable: true})
		require.WithinRange(t, r.NotBefore, before.Add(want), time.Now().Add(want))
		require.Equal(t, api.TaskQueued, r.State)
	}
	r := record{Tries: 30}
	before := time.Now()
	s.again(&r, api.NewFailure(&api.ErrNoSpace{What: "x"}, true))
	require.WithinRange(t, r.NotBefore, before.Add(5*time.Minute), time.Now().Add(5*time.Minute))
	r = record{Tries: 7}
	s.again(&r, &api.Failure{Text: "x", Retryable: true})
	require.Equal(t, api.TaskFailed, r.State)
}
