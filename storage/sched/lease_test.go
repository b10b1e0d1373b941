package sched

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// running starts the scheduler for the length of a test.
func running(t *testing.T, s *Scheduler) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

func report(w api.WorkerInfo, id api.UUID, attempt int, spent time.Duration) api.TaskProgress {
	return api.TaskProgress{
		Worker:  w.ID,
		Task:    id,
		Attempt: attempt,
		Stage:   "labels",
		Percent: 1,
		Spent:   spent,
	}
}

func requireLost(t *testing.T, err error) {
	t.Helper()
	var lost *api.ErrLeaseLost
	require.ErrorAs(t, err, &lost)
}

// TestClaimOutlivesAnOutage: ten minutes of silence change nothing, a whole lease
// does, and every report starts it anew.
func TestClaimOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		running(t, s)
		a, b := someone(api.TaskPreCommit1), someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.Equal(t, id, claim(t, s, a).ID)
		for range 3 {
			time.Sleep(14 * time.Minute)
			require.Nil(t, claim(t, s, b), "the task is not b's")
			c, err := s.Progress(t.Context(), report(a, id, 1, time.Minute))
			require.NoError(t, err)
			require.Equal(t, api.TaskClaim{Attempt: 1, Lease: 15 * time.Minute}, c)
		}
		time.Sleep(17 * time.Minute)
		got := claim(t, s, b)
		require.NotNil(t, got)
		require.Equal(t, 2, got.Attempts)
		require.ErrorContains(t, got.Failure, "was silent for 15m0s")
	})
}

// TestNothingIsGivenAwayAfterRestart: a node that comes back gives what ran one
// whole lease from then.
func TestNothingIsGivenAwayAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := store()
		s := open(t, ds, nil)
		a, b := someone(api.TaskPreCommit1), someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, a))
		time.Sleep(time.Hour) // the node is away
		s = open(t, ds, nil)
		running(t, s)
		for range 14 {
			require.Nil(t, claim(t, s, b))
			time.Sleep(time.Minute - 20*time.Second)
		}
		_, err := s.Progress(t.Context(), report(a, id, 1, time.Hour))
		require.NoError(t, err)
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: a.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}))
	})
}

// givenAway lets a's claim run out and gives the task to b.
func givenAway(t *testing.T, s *Scheduler, a, b api.WorkerInfo) api.UUID {
	t.Helper()
	id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
	require.Equal(t, id, claim(t, s, a).ID)
	time.Sleep(20 * time.Minute)
	got := claim(t, s, b)
	require.NotNil(t, got)
	require.Equal(t, 2, got.Attempts)
	return id
}

// TestTaskGoesBackToWhoIsFurther: contact decides nothing, what has been computed
// does.
func TestTaskGoesBackToWhoIsFurther(t *testing.T) {
	for name, c := range map[string]struct {
		a, b         time.Duration // spent
		aDone, bDone bool          // computed
		back         bool
	}{
		"a has spent more": {a: time.Hour, b: time.Minute, back: true},
		"b has spent more": {a: time.Minute, b: time.Hour},
		"as much":          {a: time.Minute, b: time.Minute},
		"a is done":        {a: time.Minute, b: time.Hour, aDone: true, back: true},
		"b is done":        {a: time.Hour, b: time.Minute, bDone: true},
		"both are done, a spent more": {
			a:     time.Hour,
			b:     time.Minute,
			aDone: true,
			bDone: true,
			back:  true,
		},
		"both are done, a spent less": {a: time.Minute, b: time.Hour, aDone: true, bDone: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, store(), nil)
				running(t, s)
				a, b := someone(api.TaskPreCommit1), someone(api.TaskPreCommit1)
				id := givenAway(t, s, a, b)
				ofB := report(b, id, 2, c.b)
				ofB.Computed = c.bDone
				_, err := s.Progress(t.Context(), ofB)
				require.NoError(t, err)
				ofA := report(a, id, 1, c.a)
				ofA.Computed = c.aDone
				got, err := s.Progress(t.Context(), ofA)
				if !c.back {
					requireLost(t, err)
					_, err = s.Progress(t.Context(), ofB)
					require.NoError(t, err, "b still has it")
					return
				}
				require.NoError(t, err)
				require.Equal(t, 3, got.Attempt)
				_, err = s.Progress(t.Context(), ofB)
				requireLost(t, err)
				for _, attempt := range []int{1, 3} { // the answer with the new number may be lost
					got, err = s.Progress(t.Context(), report(a, id, attempt, c.a))
					require.NoError(t, err)
					require.Equal(t, 3, got.Attempt)
				}
				require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: a.ID, Task: id, Attempt: 3, Result: json.RawMessage(`1`)}))
			})
		})
	}
}

// TestTaskGoesBackBeforeAnybodyHasIt: the claim ran out, but nobody asked.
func TestTaskGoesBackBeforeAnybodyHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		running(t, s)
		a, b := someone(api.TaskPreCommit1, api.TaskPreCommit2), someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, a))
		submit(t, s, spec("same sector", api.TaskPreCommit2, 1))
		time.Sleep(20 * time.Minute)
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskQueued, st.State)
		c, err := s.Progress(t.Context(), report(a, id, 1, 0))
		require.NoError(t, err)
		require.Equal(t, 2, c.Attempt)
		require.Nil(t, claim(t, s, b))
		require.Nil(t, claim(t, s, a, id), "one task of a sector at a time")
		_, err = s.Progress(t.Context(), report(b, id, 1, time.Hour))
		requireLost(t, err)
	})
}

// TestResultOfWhoLostTheTaskCounts: what is computed is not computed again; a
// failure of such a worker says nothing about the task.
func TestResultOfWhoLostTheTaskCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		running(t, s)
		a, b := someone(api.TaskPreCommit1), someone(api.TaskPreCommit1)
		id := givenAway(t, s, a, b)
		requireLost(t, s.Done(t.Context(), api.TaskReport{Worker: a.ID, Task: id, Attempt: 1, Failure: &api.Failure{Text: "no"}}))
		requireLost(t, s.Done(t.Context(), api.TaskReport{Worker: b.ID, Task: id, Attempt: 1, Result: json.RawMessage(`0`)}))
		requireLost(t, s.Done(t.Context(), api.TaskReport{Worker: uuid.New(), Task: id, Attempt: 1, Result: json.RawMessage(`0`)}))
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: a.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}))
		_, err := s.Progress(t.Context(), report(b, id, 2, time.Hour))
		requireLost(t, err)
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, `1`, string(st.Result))
		require.Nil(t, st.Failure)
	})
}

// TestAbortIsForGood: the run that an operator ended does not get the task back.
func TestAbortIsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		running(t, s)
		a := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NoError(t, s.Abort(t.Context(), id), "a task that does not run is left alone")
		require.NotNil(t, claim(t, s, a))
		require.NoError(t, s.Abort(t.Context(), id))
		_, err := s.Progress(t.Context(), report(a, id, 1, time.Hour))
		requireLost(t, err)
		requireLost(t, s.Done(t.Context(), api.TaskReport{Worker: a.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}))
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskQueued, st.State)
		require.ErrorContains(t, st.Failure, "on request")
		require.Equal(t, 2, claim(t, s, a).Attempts, "at once")
		var missing *api.ErrNotFound
		require.ErrorAs(t, s.Abort(t.Context(), uuid.New()), &missing)
	})
}

// TestClaimedFilesAreHeld: the files of a task are its own from the claim to the
// end, also across a restart, and a holder outside of tasks is waited for.
func TestClaimedFilesAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds, files := store(), &heldFiles{held: map[api.UUID]string{}}
		s, err := New(t.Context(), Config{}, Deps{Store: ds, Files: files})
		require.NoError(t, err)
		a := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		start := time.Now()
		files.block("a removal", start.Add(5*time.Second))
		go func() {
			time.Sleep(4 * time.Second)
			files.block("", time.Time{})
		}()
		require.NotNil(t, claim(t, s, a))
		require.Equal(t, 5*time.Second, time.Since(start), "it was asked again when the other's lease ended")
		require.Contains(t, files.held, id)
		files.held = map[api.UUID]string{}
		s, err = New(t.Context(), Config{}, Deps{Store: ds, Files: files})
		require.NoError(t, err)
		require.Contains(t, files.held, id)
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: a.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}))
		require.Empty(t, files.held)
	})
}

// heldFiles remembers who holds what.
type heldFiles struct {
	mu      sync.Mutex
	held    map[api.UUID]string
	blocker string
	until   time.Time
}

func (f *heldFiles) block(by string, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blocker, f.until = by, until
}

func (f *heldFiles) HoldFor(id api.UUID, _ api.TaskSpec, holder string) (string, time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blocker != "" {
		return f.blocker, f.until
	}
	f.held[id] = holder
	return "", time.Time{}
}

func (f *heldFiles) Release(id api.UUID) { delete(f.held, id) }
