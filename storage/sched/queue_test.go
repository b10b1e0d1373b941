package sched

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

func TestKeysHaveABound(t *testing.T) {
	s := open(t, store(), nil)
	for n, ok := range map[int]bool{0: false, 1: true, maxKey: true, maxKey + 1: false} {
		_, err := s.Submit(t.Context(), spec(strings.Repeat("k", n), api.TaskPreCommit1, 1))
		require.Equal(t, ok, err == nil, n)
	}
}

// TestSameWorkInAnotherForm: white space and where the data is read from do not
// make another task, whatever the parameters are.
func TestSameWorkInAnotherForm(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`{"A":1}`, ` { "A" : 1 } `, true},
		{`{"A":1}`, `{"A":2}`, false},
		{`{"A":1,"Data":1}`, `{"Data":2,"A":1}`, true},
		{`{"A":1,"Data":1}`, `{"A":1}`, true},
		{`[1, 2]`, `[1,2]`, true},
		{`[1,2]`, `[2,1]`, false},
		{`{`, `{`, true},
		{`{`, `{ `, false},
		{``, ``, true},
	} {
		require.Equal(t, c.same, sameJSON(json.RawMessage(c.a), json.RawMessage(c.b)), "%s and %s", c.a, c.b)
	}
}

// TestOrderGoesOnAfterRestart: what is submitted later comes later in the list.
func TestOrderGoesOnAfterRestart(t *testing.T) {
	ds := store()
	var keys string
	for n := range 6 {
		s := open(t, ds, nil)
		require.Equal(t, uint64(n), s.seq)
		submit(t, s, spec(string(rune('f'-n)), api.TaskPreCommit1, 1))
		list, next, err := s.List(t.Context(), "", n+1)
		require.NoError(t, err)
		require.Empty(t, next)
		keys = ""
		for _, st := range list {
			keys += st.Spec.Key
		}
	}
	require.Equal(t, "fedcba", keys)
}

func TestCursors(t *testing.T) {
	for cursor, want := range map[string]uint64{"": 0, "t0": 1, "t41": 42, "t18446744073709551614": 1<<64 - 1} {
		got, err := parseCursor(cursor)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, cursor := range []string{"t", "0", "t-1", "t01", "t1x", " t1", "tt1", "t18446744073709551615", "t18446744073709551616"} {
		_, err := parseCursor(cursor)
		var invalid *api.ErrInvalid
		require.ErrorAs(t, err, &invalid, cursor)
	}
	s := open(t, store(), nil)
	for n := range maxPage + 1 {
		submit(t, s, spec(fmt.Sprint(n), api.TaskPreCommit1, abi.SectorNumber(n)))
	}
	for _, limit := range []int{-1, 0, maxPage, maxPage + 1} {
		page, next, err := s.List(t.Context(), "", limit)
		require.NoError(t, err)
		require.Len(t, page, maxPage, limit)
		page, next, err = s.List(t.Context(), next, limit)
		require.NoError(t, err)
		require.Len(t, page, 1, limit)
		require.Empty(t, next)
	}
	page, next, err := s.List(t.Context(), "t0", maxPage)
	require.NoError(t, err)
	require.Len(t, page, maxPage, "just as many as fit")
	require.Empty(t, next)
}

// TestReadyTasksAreInOrder, whatever comes and goes, and those of a class that
// nobody wants are passed over.
func TestReadyTasksAreInOrder(t *testing.T) {
	s := open(t, store(), nil)
	kinds := []api.TaskType{api.TaskPreCommit1, api.TaskCommit1, api.TaskFinalize, api.TaskAddPiece}
	var all []*task
	for n := range 60 {
		sp := spec(fmt.Sprint(n), kinds[n*7%len(kinds)], abi.SectorNumber(n))
		sp.Priority = n * 13 % 5
		all = append(all, s.tasks[submit(t, s, sp).ID])
	}
	in := func(want func(class) bool, most int) (got []*task) {
		s.inOrder(want, func(p *task) bool {
			got = append(got, p)
			return len(got) < most
		})
		return got
	}
	any := func(class) bool { return true }
	for len(all) > 0 {
		slices.SortFunc(all, order)
		require.Equal(t, all, in(any, len(all)))
		require.Equal(t, all[:1], in(any, 1))
		fins := in(func(c class) bool { return c.kind == api.TaskFinalize }, len(all)+1)
		require.Equal(t, slices.DeleteFunc(slices.Clone(all), func(p *task) bool { return p.Spec.Type != api.TaskFinalize }),
			append([]*task{}, fins...))
		gone := all[len(all)/2]
		all = slices.Delete(all, len(all)/2, len(all)/2+1)
		s.ready.remove(gone)
		s.ready.remove(gone)
	}
	require.Empty(t, s.ready)
}

// TestRetryTakesATaskOutOfTheDelayedOnes, the first and any other.
func TestRetryTakesATaskOutOfTheDelayedOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1)
		var ids []api.UUID
		for n := range abi.SectorNumber(5) {
			id := submit(t, s, spec(fmt.Sprint(n), api.TaskPreCommit1, n)).ID
			ids = append(ids, id)
			later := time.Now().Add(time.Duration(n+1) * time.Hour)
			require.NoError(t, s.change(t.Context(), s.tasks[id], func(r *record) error { r.NotBefore = later; return nil }))
		}
		require.Len(t, s.delayed, 5)
		require.Equal(t, time.Now().Add(time.Hour), s.due(time.Now()))
		require.Nil(t, claim(t, s, w))
		for i, n := range []int{0, 3, 1} {
			require.NoError(t, s.Retry(t.Context(), ids[n]))
			require.Len(t, s.delayed, 4-i)
			require.Equal(t, ids[n], claim(t, s, w).ID)
			require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: ids[n], Attempt: 1, Result: json.RawMessage(`1`)}))
		}
		time.Sleep(3*time.Hour - 30*time.Second)
		require.Equal(t, ids[2], claim(t, s, w).ID, "the earliest of the rest")
		require.Len(t, s.delayed, 1)
	})
}

// TestWaitersAreTold at the moment a task ends, all of them; else they get what
// there is when their time is up or their context ends.
func TestWaitersAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		start := time.Now()
		st, err := s.Wait(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskQueued, st.State)
		require.Equal(t, 30*time.Second, time.Since(start))
		require.NotNil(t, claim(t, s, w))
		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		st, err = s.Wait(ctx, id)
		require.NoError(t, err)
		require.Equal(t, api.TaskRunning, st.State)
		require.Equal(t, 4*time.Second, time.Since(start))
		ends := make(chan time.Time)
		for range 3 {
			go func() {
				st, err := s.Wait(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, api.TaskDone, st.State)
				ends <- time.Now()
			}()
		}
		time.Sleep(3 * time.Second)
		require.NoError(t, s.Done(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`1`)}))
		for range 3 {
			require.Equal(t, time.Now(), <-ends)
		}
		st, err = s.Wait(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, api.TaskDone, st.State)
	})
}

// TestBulkOfEveryTaskIsNamed.
func TestBulkOfEveryTaskIsNamed(t *testing.T) {
	s := open(t, store(), nil)
	want := api.BlobRef{CID: "c", Size: 3}
	sp, err := api.Commit2.Spec("k", spec("k", api.TaskCommit2, 1).Sector, api.Commit2Params{Vanilla: want})
	require.NoError(t, err)
	submit(t, s, sp)
	submit(t, s, spec("other", api.TaskPreCommit1, 2))
	var got []api.BlobRef
	s.EachBlob(func(r api.BlobRef) { got = append(got, r) })
	require.Equal(t, []api.BlobRef{want}, got)
}

// TestForgottenTaskIsGone for who waits for it, and leaves the others in order.
func TestForgottenTaskIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := &failing{Batching: store()}
		s, ctx := open(t, ds, nil), t.Context()
		w := someone(api.TaskPreCommit1)
		var ids []api.UUID
		for i, key := range []string{"a", "b", "c"} {
			ids = append(ids, submit(t, s, spec(key, api.TaskPreCommit1, abi.SectorNumber(i))).ID)
		}
		require.Equal(t, ids[0], claim(t, s, w).ID)
		require.NoError(t, s.Done(ctx, api.TaskReport{Worker: w.ID, Task: ids[0], Attempt: 1, Result: json.RawMessage(`1`)}))
		require.Equal(t, ids[1], claim(t, s, w).ID)
		require.NoError(t, s.Done(ctx, api.TaskReport{Worker: w.ID, Task: ids[1], Attempt: 1, Result: json.RawMessage(`1`)}))
		gone := s.tasks[ids[1]]
		require.NoError(t, s.Forget(ctx, ids[1]))
		require.Equal(t, []*task{s.tasks[ids[0]], s.tasks[ids[2]]}, s.bySeq)
		var missing *api.ErrNotFound
		require.ErrorAs(t, s.change(ctx, gone, func(*record) error { return nil }), &missing)
		require.Equal(t, "task "+ids[1].String(), missing.What)
		require.NoError(t, s.Done(ctx, api.TaskReport{Worker: w.ID, Task: ids[1], Attempt: 1}))
		s = open(t, ds, nil)
		require.Len(t, s.bySeq, 2)
	})
}
