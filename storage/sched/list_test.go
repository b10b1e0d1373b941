package sched

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

func TestListPages(t *testing.T) {
	s := open(t, store(), nil)
	for i := range 7 {
		submit(t, s, spec(string(rune('a'+i)), api.TaskPreCommit1, abi.SectorNumber(i)))
	}
	var keys, cursor string
	for {
		page, next, err := s.List(t.Context(), cursor, 3)
		require.NoError(t, err)
		for _, p := range page {
			keys += p.Spec.Key
		}
		if cursor = next; next == "" {
			break
		}
	}
	require.Equal(t, "abcdefg", keys)
}

// manyTasks is a scheduler with n queued tasks; change says how the i-th differs.
func manyTasks(tb testing.TB, n int, change func(i int, t *api.TaskStatus)) *Scheduler {
	tb.Helper()
	s, err := New(context.Background(), Config{}, Deps{Store: store()})
	require.NoError(tb, err)
	for i := range n {
		st := api.TaskStatus{ID: uuid.New(), Spec: spec(fmt.Sprint(i), api.TaskPreCommit1, abi.SectorNumber(i)), State: api.TaskQueued}
		if change != nil {
			change(i, &st)
		}
		s.add(&task{record: record{TaskStatus: st, Seq: uint64(i)}})
		s.seq++
	}
	return s
}

// A page looks at its own tasks only, however many there are and wherever it is.
func TestPageLooksAtItsOwnTasksOnly(t *testing.T) {
	for _, n := range []int{499, 500, 501, 10_000} {
		s := manyTasks(t, n, nil)
		tasks, pages := 0, 0
		for q := (api.TaskQuery{}); pages == 0 || q.Cursor != ""; pages++ {
			page, err := s.Query(t.Context(), q)
			require.NoError(t, err)
			tasks += len(page.Tasks)
			require.LessOrEqual(t, len(page.Tasks), maxPage)
			q.Cursor = page.Next
		}
		require.Equal(t, n, tasks)
		require.EqualValues(t, n, s.touched)
		require.Equal(t, (n+499)/500, pages)
	}
}

// Where few are wanted a page ends after a bounded number of tasks.
func TestTaskPageIsBounded(t *testing.T) {
	s := manyTasks(t, maxLook+1, func(i int, t *api.TaskStatus) {
		if i == maxLook {
			t.State = api.TaskFailed
		}
	})
	q := api.TaskQuery{States: []api.TaskState{api.TaskFailed}}
	page, err := s.Query(t.Context(), q)
	require.NoError(t, err)
	require.Empty(t, page.Tasks)
	require.NotNil(t, page.Tasks)
	require.Equal(t, formatCursor(maxLook-1), page.Next)
	q.Cursor = page.Next
	page, err = s.Query(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, page.Tasks, 1)
	require.Empty(t, page.Next)
}

// Tasks are picked by state, type and sector.
func TestTasksArePicked(t *testing.T) {
	types := []api.TaskType{api.TaskPreCommit1, api.TaskPreCommit2, api.TaskPreCommit1, api.TaskFinalize}
	states := []api.TaskState{api.TaskQueued, api.TaskRunning, api.TaskDone, api.TaskQueued}
	s := manyTasks(t, len(types), func(i int, t *api.TaskStatus) {
		t.Spec.Type, t.State = types[i], states[i]
		t.Spec.Sector.ID.Number = abi.SectorNumber(i / 2)
	})
	sector := abi.SectorID{Miner: 1, Number: 1}
	other := abi.SectorID{Miner: 2, Number: 1}
	for _, c := range []struct {
		q    api.TaskQuery
		want string
	}{
		{api.TaskQuery{}, "0123"},
		{api.TaskQuery{States: []api.TaskState{api.TaskQueued}}, "03"},
		{api.TaskQuery{States: []api.TaskState{api.TaskRunning, api.TaskDone}}, "12"},
		{api.TaskQuery{Types: []api.TaskType{api.TaskPreCommit1}}, "02"},
		{api.TaskQuery{Sector: &sector}, "23"},
		{api.TaskQuery{Sector: &other}, ""},
		{api.TaskQuery{Sector: &sector, Types: []api.TaskType{api.TaskFinalize}, States: []api.TaskState{api.TaskQueued}}, "3"},
	} {
		for limit := range 5 {
			got := ""
			for c.q.Limit, c.q.Cursor = limit, ""; ; {
				page, err := s.Query(t.Context(), c.q)
				require.NoError(t, err)
				for _, p := range page.Tasks {
					got += p.Spec.Key
				}
				if c.q.Cursor = page.Next; page.Next == "" {
					break
				}
			}
			require.Equal(t, c.want, got, "%+v", c.q)
		}
	}
}

// Lists show neither what goes into a task nor what came out: there are bearers
// and addresses in it, which who may only read is not to have.
func TestListsShowNoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		secret := spec("k", api.TaskAddPiece, 1)
		secret.Params = json.RawMessage(`{"Data":{"URL":"http://u:secret@host/x?token=secret","Token":"secret"}}`)
		w := someone(api.TaskAddPiece)
		id := submit(t, s, secret).ID
		shown := func() {
			t.Helper()
			list, _, err := s.List(t.Context(), "", 0)
			require.NoError(t, err)
			workers, err := s.Workers(t.Context())
			require.NoError(t, err)
			b, err := json.Marshal([]any{list, workers})
			require.NoError(t, err)
			require.Contains(t, string(b), `"k"`)
			require.NotContains(t, string(b), "secret")
		}
		shown()
		require.Contains(t, string(claim(t, s, w).Spec.Params), "secret", "who does it is told")
		shown()
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`"secret"`)}))
		shown()
		st, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.JSONEq(t, `"secret"`, string(st.Result), "who had it done gets the result")
	})
}

// A task that was forgotten after the page was begun is not on it.
func TestForgottenTaskIsNotListed(t *testing.T) {
	s := manyTasks(t, 2, nil)
	s.bySeq[0].gone = true
	page, err := s.Query(t.Context(), api.TaskQuery{})
	require.NoError(t, err)
	require.Len(t, page.Tasks, 1)
	require.Equal(t, "1", page.Tasks[0].Spec.Key)
}

func BenchmarkTaskPages(b *testing.B) {
	for _, n := range []int{10_000, 30_000} {
		s := manyTasks(b, n, nil)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				for q := (api.TaskQuery{}); ; {
					page, err := s.Query(b.Context(), q)
					if err != nil {
						b.Fatal(err)
					}
					if q.Cursor = page.Next; q.Cursor == "" {
						break
					}
				}
			}
		})
	}
}
