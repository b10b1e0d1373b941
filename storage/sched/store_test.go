package sched

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// stuck is a store whose writes of one task hang until they are let go.
type stuck struct {
	datastore.Batching
	key  atomic.Pointer[string]
	gate chan struct{}
}

func (f *stuck) Put(ctx context.Context, k datastore.Key, v []byte) error {
	if key := f.key.Load(); key != nil && jsonKey(v) == *key {
		<-f.gate
	}
	return f.Batching.Put(ctx, k, v)
}

func jsonKey(v []byte) string {
	var r record
	_ = json.Unmarshal(v, &r)
	return r.Spec.Key
}

// TestWriteHoldsUpNobodyElse: while the store hangs with one task, all others are
// submitted, claimed, reported and listed.
func TestWriteHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := &stuck{Batching: store(), gate: make(chan struct{})}
		s := open(t, ds, nil)
		w := someone(api.TaskPreCommit1)
		w.CPUs = 64
		slow := submit(t, s, spec("slow", api.TaskPreCommit1, 1))
		key := "slow"
		ds.key.Store(&key)
		got := make(chan *api.TaskStatus)
		go func() { got <- claim(t, s, w) }()
		synctest.Wait()
		other := someone(api.TaskPreCommit1)
		for n := range abi.SectorNumber(3) {
			id := submit(t, s, spec(fmt.Sprint("k", n), api.TaskPreCommit1, n+2)).ID
			require.Equal(t, id, claim(t, s, other).ID, "the slow one is spoken for")
			require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: other.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}))
		}
		list, _, err := s.List(t.Context(), "", 0)
		require.NoError(t, err)
		require.Len(t, list, 4)
		require.Equal(t, api.TaskQueued, list[0].State)
		close(ds.gate)
		require.Equal(t, slow.ID, (<-got).ID)
	})
}

// TestFailedGrantLeavesTheTask: what could not be stored is nobody's and is given
// to the next who asks.
func TestFailedGrantLeavesTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := &failing{Batching: store()}
		s := open(t, ds, nil)
		w := someone(api.TaskPreCommit1, api.TaskPreCommit2)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		submit(t, s, spec("sibling", api.TaskPreCommit2, 1))
		ds.broken = true
		_, err := s.Claim(t.Context(), w, nil)
		require.ErrorContains(t, err, "disk is gone")
		ds.broken = false
		first := claim(t, s, w)
		require.NotNil(t, first)
		require.Equal(t, 1, first.Attempts)
		require.Nil(t, claim(t, s, w, first.ID), "one task of a sector at a time")
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: first.ID, Attempt: 1, Result: json.RawMessage(`1`)}))
		second := claim(t, s, w)
		require.NotNil(t, second)
		require.ElementsMatch(t, []string{"k", "sibling"}, []string{first.Spec.Key, second.Spec.Key})
		require.Contains(t, []api.UUID{first.ID, second.ID}, id)
	})
}

// TestDamagedRecordStopsItselfOnly.
func TestDamagedRecordStopsItselfOnly(t *testing.T) {
	ds := store()
	s := open(t, ds, nil)
	id := submit(t, s, spec("good", api.TaskPreCommit1, 1)).ID
	require.NoError(t, ds.Put(t.Context(), prefix.ChildString(uuid.NewString()), []byte("{")))
	s = open(t, ds, nil)
	list, _, err := s.List(t.Context(), "", 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, id, list[0].ID)
}

// TestWaitersWakeAtOnce: a claim that waits gets a task in the moment it is
// submitted, becomes due, or files come.
func TestWaitersWakeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := false
		s := open(t, store(), func(context.Context, api.WorkerInfo, api.TaskStatus) (int, string) {
			if there {
				return 0, ""
			}
			return 0, "files are missing"
		})
		w := someone(api.TaskPreCommit1)
		got := make(chan time.Time)
		wait := func() {
			go func() {
				if claim(t, s, w) != nil {
					got <- time.Now()
				}
			}()
			synctest.Wait()
		}
		there = true
		wait()
		time.Sleep(time.Second)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.Equal(t, time.Now(), <-got)

		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Failure: &api.Failure{Retryable: true}}))
		due := time.Now().Add(time.Second)
		wait()
		require.Equal(t, due, (<-got).Truncate(0))

		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 2, Result: json.RawMessage(`1`)}))
		there = false
		submit(t, s, spec("k2", api.TaskPreCommit1, 2))
		wait()
		time.Sleep(3 * time.Second)
		there = true
		s.Wake()
		require.Equal(t, time.Now(), <-got)
	})
}

// TestManyWorkersManyTasks: each task is claimed once, sectors are never worked
// on twice at a time, and nothing is left.
func TestManyWorkersManyTasks(t *testing.T) {
	const workers, tasks, sectors = 16, 400, 60
	s := open(t, store(), nil)
	var mu sync.Mutex
	busy, claims := map[abi.SectorNumber]bool{}, map[api.UUID]int{}
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(tasks)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range workers {
		w := someone(api.TaskPreCommit1, api.TaskPreCommit2)
		w.CPUs = 1
		wg.Go(func() {
			for left.Load() > 0 {
				got, err := s.Claim(ctx, w, nil)
				if err != nil || got == nil {
					continue
				}
				n := got.Spec.Sector.ID.Number
				mu.Lock()
				if busy[n] {
					t.Errorf("sector %d is worked on twice", n)
				}
				busy[n] = true
				claims[got.ID]++
				mu.Unlock()
				if _, err := s.Progress(ctx, report(w, got.ID, got.Attempts, 1)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				delete(busy, n)
				mu.Unlock()
				if err := s.Done(ctx, api.TaskReport{Worker: w.ID, Task: got.ID, Attempt: got.Attempts,
					Result: json.RawMessage(`1`)}); err != nil {
					t.Error(err)
				}
				if left.Add(-1) == 0 {
					cancel()
				}
			}
		})
	}
	for i := range tasks {
		kind := api.TaskPreCommit1
		if i%3 == 0 {
			kind = api.TaskPreCommit2
		}
		submit(t, s, spec(fmt.Sprint("k", i), kind, abi.SectorNumber(i%sectors)))
	}
	wg.Wait()
	require.Len(t, claims, tasks)
	for id, n := range claims {
		require.Equal(t, 1, n, id)
	}
	require.Empty(t, s.ready)
	require.Empty(t, s.sectors)
	require.Empty(t, s.delayed)
}

// TestSameKeyAtTheSameTime gives everybody the same task.
func TestSameKeyAtTheSameTime(t *testing.T) {
	s := open(t, store(), nil)
	var wg sync.WaitGroup
	ids := make([]api.UUID, 32)
	for i := range ids {
		wg.Go(func() { ids[i] = submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID })
	}
	wg.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
	list, _, err := s.List(t.Context(), "", 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// BenchmarkSubmitAndClaim shows that neither slows down with the queue.
func BenchmarkSubmitAndClaim(b *testing.B) {
	for _, queued := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(queued), func(b *testing.B) {
			s, err := New(b.Context(), Config{}, Deps{Store: store()})
			require.NoError(b, err)
			for i := range queued {
				_, err := s.Submit(b.Context(), spec(fmt.Sprint("q", i), api.TaskPreCommit2, abi.SectorNumber(i)))
				require.NoError(b, err)
			}
			w := someone(api.TaskPreCommit2)
			for i := 0; b.Loop(); i++ {
				_, err := s.Submit(b.Context(), spec(fmt.Sprint("b", i), api.TaskPreCommit2, abi.SectorNumber(queued+i)))
				require.NoError(b, err)
				got, err := s.Claim(b.Context(), w, nil)
				require.NoError(b, err)
				require.NoError(b, s.Done(b.Context(), api.TaskReport{Worker: w.ID, Task: got.ID, Attempt: 1,
					Result: json.RawMessage(`1`)}))
			}
		})
	}
}
