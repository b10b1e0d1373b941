package sched

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

const proof2K = abi.RegisteredSealProof_StackedDrg2KiBV1_1

func store() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

func open(t *testing.T, ds datastore.Batching, reach Reach) *Scheduler {
	t.Helper()
	s, err := New(t.Context(), Config{}, Deps{Store: ds, Reach: reach})
	require.NoError(t, err)
	return s
}

func spec(key string, typ api.TaskType, number abi.SectorNumber) api.TaskSpec {
	return api.TaskSpec{Key: key, Type: typ, Sector: api.SectorRef{ID: abi.SectorID{Miner: 1, Number: number}, ProofType: proof2K},
		Params: json.RawMessage(`{"A":1}`)}
}

func someone(types ...api.TaskType) api.WorkerInfo {
	return api.WorkerInfo{
		ID:        uuid.New(),
		Session:   uuid.New(),
		Hostname:  "w",
		Place:     "m1 /repo",
		TaskTypes: types,
		CPUs:      2,
	}
}

func submit(t *testing.T, s *Scheduler, sp api.TaskSpec) api.TaskStatus {
	t.Helper()
	st, err := s.Submit(t.Context(), sp)
	require.NoError(t, err)
	return st
}

// claim asks for a task on behalf of a worker that works on running.
func claim(t *testing.T, s *Scheduler, w api.WorkerInfo, running ...api.UUID) *api.TaskStatus {
	t.Helper()
	var held []api.HeldTask
	for _, id := range running {
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		held = append(held, api.HeldTask{Task: id, Attempt: st.Attempts})
	}
	got, err := s.Claim(t.Context(), w, held)
	require.NoError(t, err)
	return got
}

func TestKeysAreForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := store()
		s := open(t, ds, nil)
		first := submit(t, s, spec("k", api.TaskPreCommit1, 1))
		require.Equal(t, first.ID, submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID)
		other := spec("k", api.TaskPreCommit1, 1)
		other.Params = json.RawMessage(`{"A":2}`)
		_, err := s.Submit(t.Context(), other)
		var invalid *api.ErrInvalid
		require.ErrorAs(t, err, &invalid)
		fresh := spec("k", api.TaskPreCommit1, 1)
		fresh.Params = json.RawMessage(`{"A": 1, "Data":{"Token":"new"}}`) // the same work under a new address
		require.Equal(t, first.ID, submit(t, s, fresh).ID)

		w := someone(api.TaskPreCommit1)
		got := claim(t, s, w)
		require.Equal(t, first.ID, got.ID)
		require.Contains(t, string(got.Spec.Params), "new")
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: got.ID, Attempt: 1, Result: json.RawMessage(`"r"`)}))
		s = open(t, ds, nil)
		again := submit(t, s, spec("k", api.TaskPreCommit1, 1))
		require.Equal(t, api.TaskDone, again.State)
		require.Equal(t, `"r"`, string(again.Result))
		require.NoError(t, s.Forget(t.Context(), again.ID))
		require.NoError(t, s.Forget(t.Context(), again.ID))
		require.NotEqual(t, first.ID, submit(t, open(t, ds, nil), spec("k", api.TaskPreCommit1, 1)).ID)
	})
}

// TestRestart reopens the store at every step of a task's life.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := store()
		w := someone(api.TaskPreCommit1)
		id := submit(t, open(t, ds, nil), spec("k", api.TaskPreCommit1, 1)).ID
		require.Equal(t, id, claim(t, open(t, ds, nil), w).ID)

		s := open(t, ds, nil) // running; the worker outlived us and goes on
		require.Nil(t, claim(t, s, w, id))
		require.NoError(t, keeps(s.Progress(t.Context(), api.TaskProgress{
			Worker:  w.ID,
			Task:    id,
			Attempt: 1,
			Stage:   "labels",
			Percent: 40,
		})))
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskRunning, st.State)
		require.Equal(t, "labels", st.Stage)
		require.InDelta(t, 40, st.Percent, 0)

		s = open(t, ds, nil)
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}))
		s = open(t, ds, nil)
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}),
			"a repeated report is accepted")
		st, err = s.Wait(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskDone, st.State)
		require.Equal(t, 1, st.Attempts)
	})
}

func TestWorkerComesBackWithoutTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		w := someone(api.TaskPreCommit1)
		require.Equal(t, id, claim(t, s, w).ID)
		w.Session = uuid.New() // it was restarted and knows of nothing
		got := claim(t, s, w)
		require.Equal(t, id, got.ID)
		require.Equal(t, 2, got.Attempts)
	})
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		for try := 1; try <= 8; try++ {
			var got *api.TaskStatus
			for got == nil {
				got = claim(t, s, w)
			}
			require.Equal(t, try, got.Attempts)
			require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: try,
				Failure: &api.Failure{Text: "no power", Retryable: true}}))
		}
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskFailed, st.State)
		require.True(t, st.Failure.Retryable)
		require.Equal(t, "no power", st.Failure.Text)

		id = submit(t, s, spec("k2", api.TaskPreCommit1, 2)).ID
		require.Equal(t, id, claim(t, s, w).ID)
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1,
			Failure: &api.Failure{Text: "wrong data", Retryable: false}}))
		st, err = s.Wait(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskFailed, st.State)
		require.False(t, st.Failure.Retryable)
	})
}

func TestOrderAndFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		submit(t, s, spec("ap", api.TaskAddPiece, 1))
		submit(t, s, spec("pc1", api.TaskPreCommit1, 2))
		submit(t, s, spec("c1", api.TaskCommit1, 3))
		urgent := spec("urgent", api.TaskAddPiece, 4)
		urgent.Priority = 1024
		submit(t, s, urgent)
		submit(t, s, spec("same sector", api.TaskPreCommit2, 4))
		w := someone(api.TaskAddPiece, api.TaskPreCommit1, api.TaskPreCommit2, api.TaskCommit1)
		w.CPUs = 2
		var running []api.UUID
		for _, want := range []string{"urgent", "c1", "pc1"} { // then both cores are busy
			got := claim(t, s, w, running...)
			require.NotNil(t, got, want)
			require.Equal(t, want, got.Spec.Key)
			running = append(running, got.ID)
		}
		require.Nil(t, claim(t, s, w, running...))
		w.CPUs = 8
		require.Equal(t, "ap", claim(t, s, w, running...).Spec.Key)
		big := spec("big", api.TaskPreCommit1, 9)
		big.Sector.ProofType = abi.RegisteredSealProof_StackedDrg32GiBV1_1
		submit(t, s, big)
		small := someone(api.TaskPreCommit1)
		small.MemBytes = 64 << 30 // two layers alone
		require.Nil(t, claim(t, s, small))
		small.MemBytes = 66 << 30
		require.Equal(t, "big", claim(t, s, small).Spec.Key)
	})
}

func TestAffinity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far, blind := someone(api.TaskPreCommit2), someone(api.TaskPreCommit2), someone(api.TaskPreCommit2)
		s := open(t, store(), func(_ context.Context, w api.WorkerInfo, _ api.TaskStatus) (int, string) {
			if w.ID == blind.ID {
				return 0, "it sees nothing"
			}
			return map[api.UUID]int{near.ID: 2}[w.ID], ""
		})
		require.Nil(t, claim(t, s, near)) // known, and busy with something
		submit(t, s, spec("k", api.TaskPreCommit2, 1))
		start := time.Now()
		require.NotNil(t, claim(t, s, far))
		require.GreaterOrEqual(t, time.Since(start), 10*time.Second, "the near worker had its chance")
		submit(t, s, spec("k2", api.TaskPreCommit2, 2))
		require.Nil(t, claim(t, s, blind))
		require.NotNil(t, claim(t, s, near))
	})
}

func TestNewerClaimEndsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1)
		first := make(chan *api.TaskStatus, 1)
		go func() {
			got, _ := s.Claim(t.Context(), w, nil)
			first <- got
		}()
		synctest.Wait()
		second := make(chan *api.TaskStatus, 1)
		go func() {
			got, _ := s.Claim(t.Context(), w, nil)
			second <- got
		}()
		synctest.Wait()
		require.Nil(t, <-first)
		submit(t, s, spec("k", api.TaskPreCommit1, 1))
		require.NotNil(t, <-second)
	})
}

// failing refuses writes while it is told to.
type failing struct {
	datastore.Batching
	broken bool
}

func (f *failing) Put(ctx context.Context, k datastore.Key, v []byte) error {
	if f.broken {
		return errors.New("disk is gone")
	}
	return f.Batching.Put(ctx, k, v)
}

func TestNothingIsShownThatIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := &failing{Batching: store()}
		s := open(t, ds, nil)
		w := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, w))
		ds.broken = true
		require.Error(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}))
		_, err := s.Submit(t.Context(), spec("k2", api.TaskPreCommit1, 2))
		require.Error(t, err)
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskRunning, st.State)
		ds.broken = false
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}))
		list, _, err := s.List(t.Context(), "", 0)
		require.NoError(t, err)
		require.Len(t, list, 1)
	})
}

func TestRefusals(t *testing.T) {
	s := open(t, store(), nil)
	bad := spec("k", "XX", 1)
	_, err := s.Submit(t.Context(), bad)
	require.Error(t, err)
	_, err = s.Submit(t.Context(), spec("", api.TaskPreCommit1, 1))
	require.Error(t, err)
	_, err = s.Claim(t.Context(), api.WorkerInfo{}, nil)
	require.Error(t, err)
	id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
	var busy *api.ErrBusy
	require.ErrorAs(t, s.Forget(t.Context(), id), &busy)
	_, err = s.Wait(t.Context(), uuid.New())
	var missing *api.ErrNotFound
	require.ErrorAs(t, err, &missing)
}

func keeps(_ api.TaskClaim, err error) error { return err }
