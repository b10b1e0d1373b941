package sched

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// scores is a Reach by worker.
func scores(m map[api.UUID]int) Reach {
	return func(_ context.Context, w api.WorkerInfo, _ api.TaskStatus) (int, string) { return m[w.ID], "" }
}

// TestNearerWorkerIsWaitedFor, while it is there: not one that is as near, not one
// that takes no such tasks, and not for longer than agreed.
func TestNearerWorkerIsWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		score   int
		kind    api.TaskType
		unheard time.Duration // since the other was heard of
		wait    time.Duration
	}{
		"nearer":                     {2, api.TaskPreCommit2, time.Second, 10*time.Second + time.Millisecond},
		"as near":                    {1, api.TaskPreCommit2, time.Second, 0},
		"farther":                    {0, api.TaskPreCommit2, time.Second, 0},
		"does something else":        {2, api.TaskPreCommit1, time.Second, 0},
		"just heard of":              {2, api.TaskPreCommit2, 90 * time.Second, time.Nanosecond},
		"not heard of for too long":  {2, api.TaskPreCommit2, 90*time.Second + 1, 0},
		"not heard of for very long": {2, api.TaskPreCommit2, time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				me, other := someone(api.TaskPreCommit2), someone(c.kind)
				s := open(t, store(), scores(map[api.UUID]int{me.ID: 1, other.ID: c.score}))
				require.Nil(t, claim(t, s, other))
				time.Sleep(c.unheard)
				submit(t, s, spec("k", api.TaskPreCommit2, 1))
				start := time.Now()
				require.NotNil(t, claim(t, s, me))
				if c.wait == time.Nanosecond { // it falls silent while it is waited for
					require.Greater(t, time.Since(start), time.Duration(0))
					return
				}
				require.Equal(t, c.wait, time.Since(start))
			})
		})
	}
}

// TestAffinityBeginsAnewAfterADelay: a task that could not start before did not
// use up the time in which the nearer worker may take it.
func TestAffinityBeginsAnewAfterADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		me, near := someone(api.TaskPreCommit2), someone(api.TaskPreCommit2)
		s := open(t, store(), scores(map[api.UUID]int{near.ID: 1}))
		id := submit(t, s, spec("k", api.TaskPreCommit2, 1)).ID
		due := time.Now().Add(time.Minute)
		require.NoError(t, s.change(t.Context(), s.tasks[id], func(r *record) error { r.NotBefore = due; return nil }))
		require.Nil(t, claim(t, s, near))
		time.Sleep(39 * time.Second)
		require.NotNil(t, claim(t, s, me))
		require.Equal(t, due.Add(10*time.Second+time.Millisecond), time.Now())
	})
}

// TestSilentWorkersAreNotCounted among those that are connected.
func TestSilentWorkersAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		for range 2 {
			require.Nil(t, claim(t, s, someone(api.TaskCommit1)))
		}
		for _, c := range []struct {
			wait time.Duration
			want string
		}{
			{70 * time.Second, "none of the 2 connected workers takes PC1 tasks"},
			{1, "none of the 1 connected workers takes PC1 tasks"},
			{20*time.Second - 1, "none of the 1 connected workers takes PC1 tasks"},
			{1, "no worker is connected"},
		} {
			time.Sleep(c.wait)
			st, err := s.Get(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, c.want, st.Waiting)
		}
	})
}

// TestThreeReasonsAreShown, and how many there are besides.
func TestThreeReasonsAreShown(t *testing.T) {
	for n, want := range map[int]string{
		1: "worker h0: far", 3: "worker h0: far; worker h1: far; worker h2: far",
		4: "worker h0: far; worker h1: far; worker h2: far; and 1 more",
	} {
		s := open(t, store(), func(context.Context, api.WorkerInfo, api.TaskStatus) (int, string) { return 0, "far" })
		var offers []*worker
		for i := range n {
			w := someone(api.TaskPreCommit1)
			w.ID, w.Hostname = uuid.Nil, fmt.Sprint("h", n-1-i)
			offers = append(offers, &worker{WorkerInfo: w}, &worker{WorkerInfo: w})
		}
		got := s.reasons(t.Context(), &task{record: record{TaskStatus: api.TaskStatus{Spec: spec("k", api.TaskPreCommit1, 1)}}}, offers)
		require.Equal(t, want, stripIDs(got))
	}
	s := open(t, store(), nil)
	odd := &task{record: record{TaskStatus: api.TaskStatus{Spec: spec("k", "PC3", 1)}}}
	require.Contains(t, s.reasons(t.Context(), odd, nil), "task type PC3")
}

func stripIDs(s string) string {
	const id = " 00000000"
	out := ""
	for i := 0; i < len(s); i++ {
		if len(s) >= i+len(id) && s[i:i+len(id)] == id {
			i += len(id)
		}
		out += string(s[i])
	}
	return out
}

// TestMemoryThatIsJustEnough is no reason to wait.
func TestMemoryThatIsJustEnough(t *testing.T) {
	s := open(t, store(), nil)
	need, err := Needs(api.TaskCommit2, proof2K)
	require.NoError(t, err)
	waits := &task{record: record{TaskStatus: api.TaskStatus{Spec: spec("k", api.TaskCommit2, 1)}}}
	for mem, want := range map[uint64]string{
		0:                 "",
		need.MemBytes:     "",
		need.MemBytes - 1: "it needs 2.0 GiB of memory, the worker offers 2.0 GiB",
	} {
		w := &worker{WorkerInfo: api.WorkerInfo{MemBytes: mem, CPUs: 2}}
		require.Equal(t, want, s.reason(t.Context(), waits, need, w), mem)
	}
	busy := &worker{WorkerInfo: api.WorkerInfo{CPUs: 2}, running: map[api.UUID]*task{uuid.New(): waits}}
	require.Equal(t, "busy with 1 tasks", s.reason(t.Context(), waits, need, busy))
}

// TestSilentWorkersAreForgotten four leases after the last word, to the moment,
// unless they wait or work.
func TestSilentWorkersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx := open(t, store(), nil), t.Context()
		require.Nil(t, claim(t, s, someone(api.TaskPreCommit1)))
		time.Sleep(time.Hour)
		require.NoError(t, s.reap(ctx))
		require.Len(t, s.workers, 1)
		time.Sleep(1)
		require.NoError(t, s.reap(ctx))
		require.Empty(t, s.workers)

		w := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, w))
		for range 10 {
			time.Sleep(15 * time.Minute)
			require.NoError(t, s.reap(ctx), "the lease holds to its last moment")
			require.Equal(t, api.TaskRunning, s.tasks[id].State)
			_, err := s.Progress(ctx, report(w, id, 1, 0))
			require.NoError(t, err)
		}
		time.Sleep(15*time.Minute + 1)
		require.NoError(t, s.reap(ctx))
		require.Equal(t, api.TaskQueued, s.tasks[id].State)
		require.Equal(t, []run{{Worker: w.ID, Since: 1, Last: 1}}, s.tasks[id].Past)
	})
}

// TestShortLeasesAreLookedAfterOften: four times each.
func TestShortLeasesAreLookedAfterOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(t.Context(), Config{Lease: 40 * time.Second}, Deps{Store: store()})
		require.NoError(t, err)
		running(t, s)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, someone(api.TaskPreCommit1)))
		time.Sleep(40 * time.Second)
		synctest.Wait()
		state := func() api.TaskState {
			st, err := s.Get(t.Context(), id)
			require.NoError(t, err)
			return st.State
		}
		require.Equal(t, api.TaskRunning, state())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, api.TaskQueued, state())
	})
}

// TestCopyOfAWorkerIsTold which process it is a copy of and what to do.
func TestCopyOfAWorkerIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1)
		require.Nil(t, claim(t, s, w))
		require.Equal(t, 0, s.workers[w.ID].claims)
		twin := w
		twin.Session, twin.Place = uuid.New(), "m2 /repo"
		_, err := s.Claim(t.Context(), twin, nil)
		var used *api.ErrInUse
		require.ErrorAs(t, err, &used)
		require.Equal(t, "the identity of worker "+w.ID.String(), used.What)
		require.Contains(t, used.Hint, "silent for 1m30s")
		require.Equal(t, w.Session, s.workers[w.ID].Session)
	})
}

// TestNewPathsWakeOthers: who waited for the files of another looks again when
// that one says that it has other paths.
func TestNewPathsWakeOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1)
		woken := func() bool {
			before := s.changed
			require.Nil(t, claim(t, s, w))
			return s.changed != before
		}
		w.Paths = []api.StorageID{"a"}
		require.True(t, woken())
		require.False(t, woken())
		w.Paths = []api.StorageID{"b"}
		require.True(t, woken())
	})
}

// TestWorkersAreListedInOrder, with their tasks by key and without results.
func TestWorkersAreListedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		low, high, last := someone(api.TaskCommit1), someone(api.TaskCommit1), someone(api.TaskCommit1)
		low.ID, high.ID, last.Hostname = uuid.UUID{1}, uuid.UUID{2}, "z"
		for _, w := range []api.WorkerInfo{last, high, low} {
			require.Nil(t, claim(t, s, w))
		}
		var held []api.UUID
		for i, key := range []string{"c", "a", "b"} {
			submit(t, s, spec(key, api.TaskCommit1, 1+abi.SectorNumber(i)))
			held = append(held, claim(t, s, high, held...).ID)
		}
		list, err := s.Workers(t.Context())
		require.NoError(t, err)
		var ids []api.UUID
		for _, w := range list {
			ids = append(ids, w.ID)
		}
		require.Equal(t, []api.UUID{low.ID, high.ID, last.ID}, ids)
		keys := ""
		for _, st := range list[1].Running {
			keys += st.Spec.Key
		}
		require.Equal(t, "abc", keys)
	})
}
