package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

const proof2KiB = abi.RegisteredSealProof_StackedDrg2KiBV1_1

// task is work that needs no file: the second half of a proof.
func task(key string, number abi.SectorNumber) api.TaskSpec {
	return api.TaskSpec{
		Key:    key,
		Type:   api.TaskCommit2,
		Sector: api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: number}, ProofType: proof2KiB},
		Params: json.RawMessage(`{"A":18446744073709551615}`),
	}
}

func submit(t *testing.T, s api.Tasks, spec api.TaskSpec) api.TaskStatus {
	t.Helper()
	st, err := s.TaskSubmit(t.Context(), spec)
	require.NoError(t, err)
	return st
}

func taskNow(t *testing.T, s api.Tasks, id api.UUID) api.TaskStatus {
	t.Helper()
	st, err := s.TaskGet(t.Context(), id)
	require.NoError(t, err)
	return st
}

// CheckTasks is what [api.Tasks] promises. A claim of a fresh implementation
// waits for a short time only.
func CheckTasks[S api.Storage](t *testing.T, fresh func(t *testing.T) S) {
	for name, check := range map[string]func(*testing.T, api.Storage){
		"keys":                        checkKeys,
		"what is refused":             checkSubmitRefused,
		"unknown tasks":               checkUnknownTasks,
		"pages":                       checkTaskPages,
		"forgetting":                  checkForget,
		"waiting for the end":         checkTaskWait,
		"abort and retry":             checkAbortRetry,
		"cancelling":                  checkCancel,
		"what is picked":              checkTaskQuery,
		"removing a sector":           checkRemove,
		"every kind of work":          checkKinds,
		"failures keep their type":    checkFailures,
		"the hopeless and the hoping": checkRetryable,
	} {
		t.Run(name, func(t *testing.T) { check(t, fresh(t)) })
	}
}

func checkKeys(t *testing.T, s api.Storage) {
	before := time.Now()
	first := submit(t, s, task("k", 1))
	require.NotEqual(t, uuid.Nil, first.ID)
	require.Equal(t, task("k", 1), first.Spec)
	require.Equal(t, api.TaskQueued, first.State)
	require.Zero(t, first.Attempts)
	require.NotEmpty(t, first.Waiting, "it says what it waits for")
	require.WithinRange(t, first.Submitted, before.Add(-time.Microsecond), time.Now())
	require.Equal(t, first.ID, submit(t, s, task("k", 1)).ID)
	for name, change := range map[string]func(*api.TaskSpec){
		"parameters": func(s *api.TaskSpec) { s.Params = json.RawMessage(`{"A":18446744073709551614}`) },
		"sector":     func(s *api.TaskSpec) { s.Sector.ID.Number = 2 },
		"kind":       func(s *api.TaskSpec) { s.Type = api.TaskProveUpdate2 },
	} {
		other := task("k", 1)
		change(&other)
		_, err := s.TaskSubmit(t.Context(), other)
		require.Equal(t, "task k", typed[*api.ErrInvalid](t, err).What, name)
	}
	require.Equal(t, task("k", 1), taskNow(t, s, first.ID).Spec, "what is refused changes nothing")
}

func checkSubmitRefused(t *testing.T, s api.Storage) {
	long := strings.Repeat("k", 512)
	for name, change := range map[string]func(*api.TaskSpec){
		"no key":       func(s *api.TaskSpec) { s.Key = "" },
		"a long key":   func(s *api.TaskSpec) { s.Key = long + "k" },
		"no kind":      func(s *api.TaskSpec) { s.Type = "" },
		"strange kind": func(s *api.TaskSpec) { s.Type = "PC3" },
		"strange size": func(s *api.TaskSpec) { s.Sector.ProofType = 99 },
	} {
		bad := task("bad", 1)
		change(&bad)
		_, err := s.TaskSubmit(t.Context(), bad)
		require.NotEmpty(t, typed[*api.ErrInvalid](t, err).Reason, name)
	}
	list, _, err := s.TaskList(t.Context(), "", 0)
	require.NoError(t, err)
	require.Empty(t, list)
	submit(t, s, task(long, 1))
}

func checkUnknownTasks(t *testing.T, s api.Storage) {
	ctx, id := t.Context(), uuid.New()
	for name, call := range map[string]func() error{
		"get":   func() error { _, err := s.TaskGet(ctx, id); return err },
		"wait":  func() error { _, err := s.TaskWait(ctx, id); return err },
		"retry": func() error { return s.TaskRetry(ctx, id) },
		"abort": func() error { return s.TaskAbort(ctx, id) },
	} {
		require.Equal(t, "task "+id.String(), typed[*api.ErrNotFound](t, call()).What, name)
	}
	require.NoError(t, s.TaskForget(ctx, id))
}

func checkTaskPages(t *testing.T, s api.Storage) {
	const n = 5
	for i := range n {
		submit(t, s, task(fmt.Sprint("k", i), abi.SectorNumber(i))) // small
	}
	for _, limit := range []int{1, 2, 4, 5, 6, 0, -1, 1 << 40} {
		keys, cursor, pages := "", "", 0
		for ; pages == 0 || cursor != ""; pages++ {
			page, next, err := s.TaskList(t.Context(), cursor, limit)
			require.NoError(t, err)
			for _, st := range page {
				keys += st.Spec.Key
			}
			cursor = next
		}
		require.Equal(t, "k0k1k2k3k4", keys, "limit %d", limit)
		if limit >= 1 {
			require.Equal(t, max(1, (n+limit-1)/limit), pages, "limit %d", limit)
		}
	}
	for _, cursor := range []string{"t", "1", "x1", "t-1", "t1x", "t1 2", " t1", "t01", "t18446744073709551615", "t18446744073709551616"} {
		_, _, err := s.TaskList(t.Context(), cursor, 1)
		require.Equal(t, "cursor", typed[*api.ErrInvalid](t, err).What, cursor)
	}
}

func checkForget(t *testing.T, s api.Storage) {
	id := submit(t, s, task("k", 1)).ID
	require.Equal(t, &api.ErrBusy{What: "task k", Reason: "it is queued"}, typed[*api.ErrBusy](t, s.TaskForget(t.Context(), id)))
	w := someWorker()
	require.Equal(t, id, claim(t, s, w).ID)
	require.Equal(t, &api.ErrBusy{What: "task k", Reason: "it is running"}, typed[*api.ErrBusy](t, s.TaskForget(t.Context(), id)))
	require.NoError(t, s.WorkerDone(t.Context(), api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`{}`)}))
	require.Equal(t, api.TaskDone, submit(t, s, task("k", 1)).State, "the result is kept until it is forgotten")
	for range 2 {
		require.NoError(t, s.TaskForget(t.Context(), id))
	}
	_, err := s.TaskGet(t.Context(), id)
	typed[*api.ErrNotFound](t, err)
	require.NotEqual(t, id, submit(t, s, task("k", 1)).ID, "its key is free again")
}

func checkTaskWait(t *testing.T, s api.Storage) {
	id := submit(t, s, task("k", 1)).ID
	w := someWorker()
	require.Equal(t, id, claim(t, s, w).ID)
	got := make(chan api.TaskStatus, 1)
	go func() {
		for {
			st, err := s.TaskWait(t.Context(), id)
			if err != nil || st.Final() {
				got <- st
				return
			}
		}
	}()
	done := api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`{"Proof":"AQI="}`)}
	require.NoError(t, s.WorkerDone(t.Context(), done))
	r, err := api.Commit2.Result(<-got)
	require.NoError(t, err)
	require.Equal(t, api.Commit2Result{Proof: []byte{1, 2}}, r)
	st, err := s.TaskWait(t.Context(), id)
	require.NoError(t, err, "what has ended is not waited for")
	require.Equal(t, api.TaskDone, st.State)
	require.InDelta(t, 100, st.Percent, 0)
}

func checkAbortRetry(t *testing.T, s api.Storage) {
	ctx := t.Context()
	id := submit(t, s, task("k", 1)).ID
	for _, leave := range []func(context.Context, api.UUID) error{s.TaskAbort, s.TaskRetry} {
		require.NoError(t, leave(ctx, id))
		require.Equal(t, api.TaskQueued, taskNow(t, s, id).State)
	}
	w := someWorker()
	require.Equal(t, 1, claim(t, s, w).Attempts)
	require.NoError(t, s.TaskRetry(ctx, id))
	require.Equal(t, api.TaskRunning, taskNow(t, s, id).State, "what runs is left alone")
	require.NoError(t, s.TaskAbort(ctx, id))
	st := taskNow(t, s, id)
	require.Equal(t, api.TaskQueued, st.State)
	require.Empty(t, st.Worker)
	require.Equal(t, 1, st.Attempts)
	typed[*api.ErrLeaseLost](t, st.Failure)
	_, err := s.WorkerProgress(ctx, api.TaskProgress{
		Worker:   w.ID,
		Task:     id,
		Attempt:  1,
		Spent:    time.Hour,
		Computed: true,
	})
	typed[*api.ErrLeaseLost](t, err)
	report := api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`{}`)}
	typed[*api.ErrLeaseLost](t, s.WorkerDone(ctx, report))
	require.Equal(t, 2, claim(t, s, w).Attempts)
	report.Attempt = 2
	require.NoError(t, s.WorkerDone(ctx, report))
	require.NoError(t, s.TaskAbort(ctx, id))
	require.NoError(t, s.TaskRetry(ctx, id))
	require.Equal(t, api.TaskDone, taskNow(t, s, id).State, "what has ended is left alone")
}

func checkCancel(t *testing.T, s api.Storage) {
	ctx := t.Context()
	require.NoError(t, s.TaskCancel(ctx, uuid.New()), "it is not there")
	w := someWorker()
	for number, running := range []bool{false, true} {
		id := submit(t, s, task(fmt.Sprint("k", number), abi.SectorNumber(number))).ID // small
		if running {
			require.Equal(t, id, claim(t, s, w).ID)
		}
		for range 2 {
			require.NoError(t, s.TaskCancel(ctx, id))
		}
		st := taskNow(t, s, id)
		require.Equal(t, api.TaskFailed, st.State)
		require.Contains(t, st.Failure.Text, "cancelled")
		_, err := s.WorkerProgress(ctx, api.TaskProgress{
			Worker:   w.ID,
			Task:     id,
			Attempt:  1,
			Spent:    time.Hour,
			Computed: true,
		})
		typed[*api.ErrLeaseLost](t, err)
		require.NoError(t, s.TaskForget(ctx, id))
	}
}

func checkTaskQuery(t *testing.T, s api.Storage) {
	for number := range 4 {
		submit(t, s, task(fmt.Sprint("k", number), abi.SectorNumber(number/2))) // small
	}
	one := abi.SectorID{Miner: 1000, Number: 1}
	for _, c := range []struct {
		q    api.TaskQuery
		want string
	}{
		{api.TaskQuery{}, "k0k1k2k3"},
		{api.TaskQuery{Sector: &one}, "k2k3"},
		{api.TaskQuery{States: []api.TaskState{api.TaskQueued}, Types: []api.TaskType{api.TaskCommit2}}, "k0k1k2k3"},
		{api.TaskQuery{States: []api.TaskState{api.TaskDone}}, ""},
		{api.TaskQuery{Types: []api.TaskType{api.TaskCommit1}}, ""},
	} {
		for c.q.Limit = range 4 {
			keys := ""
			for c.q.Cursor = ""; ; {
				page, err := s.TaskQuery(t.Context(), c.q)
				require.NoError(t, err)
				for _, st := range page.Tasks {
					keys += st.Spec.Key
				}
				if c.q.Cursor = page.Next; page.Next == "" {
					break
				}
			}
			require.Equal(t, c.want, keys, "%+v", c.q)
		}
	}
	_, err := s.TaskQuery(t.Context(), api.TaskQuery{Cursor: "x"})
	require.Equal(t, "cursor", typed[*api.ErrInvalid](t, err).What)
}

func checkRemove(t *testing.T, s api.Storage) {
	ctx := t.Context()
	require.NoError(t, s.RemoveSector(ctx, sectorOne), "it is nowhere")
	attach(t, s, api.PathMeta{ID: "a"}, "", 0)
	require.NoError(t, s.StorageDeclareSectors(ctx, []api.SectorFile{fileOf("a", api.FileSealed)}))
	require.Equal(t, "storage path a", typed[*api.ErrUnreachable](t, s.RemoveSector(ctx, sectorOne)).Peer)
	locs, err := s.StorageFindSector(ctx, sectorOne, api.FileSealed)
	require.NoError(t, err)
	require.Len(t, locs, 1, "it is not said to be gone while it is there")
}
