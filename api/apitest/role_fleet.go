package apitest

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// someWorker takes every kind of work, and has the path of [reachable].
func someWorker() api.WorkerInfo {
	return api.WorkerInfo{
		ID:       uuid.New(),
		Session:  uuid.New(),
		Hostname: "host",
		PID:      4711,
		Place:    "machine /repo",
		TaskTypes: []api.TaskType{
			api.TaskAddPiece, api.TaskPreCommit1, api.TaskPreCommit2, api.TaskCommit1, api.TaskCommit2, api.TaskFinalize,
			api.TaskUnseal, api.TaskUpdate, api.TaskProveUpdate1, api.TaskProveUpdate2, api.TaskFinalizeUpdate,
		},
		MemBytes: 1 << 40,
		CPUs:     64,
		GPUs:     []string{"none"},
		Paths:    []api.StorageID{"p"},
		URL:      "http://h:1/remote",
	}
}

// claim asks until there is a task, on behalf of a worker that works on held.
func claim(t *testing.T, s api.Fleet, w api.WorkerInfo, held ...api.HeldTask) api.TaskStatus {
	t.Helper()
	var got *api.TaskStatus
	until(t, func() bool {
		var err error
		got, err = s.WorkerClaim(t.Context(), w, held)
		require.NoError(t, err)
		return got != nil
	})
	return *got
}

// noClaim asks once, and there must be none.
func noClaim(t *testing.T, s api.Fleet, w api.WorkerInfo, held ...api.HeldTask) {
	t.Helper()
	got, err := s.WorkerClaim(t.Context(), w, held)
	require.NoError(t, err)
	require.Nil(t, got)
}

// CheckFleet is what [api.Fleet] promises. A claim of a fresh implementation
// waits for a short time only, and holds for lease without a report.
func CheckFleet[S api.Storage](t *testing.T, lease time.Duration, fresh func(t *testing.T) S) {
	for name, check := range map[string]func(*testing.T, api.Storage){
		"claims":                       checkClaims,
		"who claims":                   checkClaimRefused,
		"a claim waits for a task":     checkClaimWaits,
		"fencing numbers":              checkFencing,
		"progress":                     func(t *testing.T, s api.Storage) { checkProgress(t, s, lease) },
		"reports may be repeated":      checkDoneRepeats,
		"the size of a result":         checkResultSize,
		"one task of a sector at once": checkOneOfSector,
	} {
		t.Run(name, func(t *testing.T) { check(t, fresh(t)) })
	}
}

func checkClaims(t *testing.T, s api.Storage) {
	w := someWorker()
	noClaim(t, s, w)
	id := submit(t, s, task("k", 1)).ID
	got := claim(t, s, w)
	require.Equal(t, id, got.ID)
	require.Equal(t, task("k", 1), got.Spec)
	require.Equal(t, api.TaskRunning, got.State)
	require.Equal(t, 1, got.Attempts)
	require.Equal(t, "host "+w.ID.String()[:8], got.Worker)
	require.Empty(t, got.Waiting)
	noClaim(t, s, w, api.HeldTask{Task: id, Attempt: 1})
	noClaim(t, s, someWorker())
	require.Equal(t, api.TaskRunning, taskNow(t, s, id).State)
	list, err := s.WorkerList(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	for _, st := range list {
		if st.ID == w.ID {
			require.Equal(t, w, st.WorkerInfo)
			require.Len(t, st.Running, 1)
			require.Equal(t, id, st.Running[0].ID)
		} else {
			require.Empty(t, st.Running)
		}
		require.False(t, st.LastSeen.IsZero())
	}
}

func checkClaimRefused(t *testing.T, s api.Storage) {
	w := someWorker()
	for _, bad := range []api.WorkerInfo{{Hostname: "x"}, {ID: w.ID, Hostname: "x"}, {Session: w.Session, Hostname: "x"}} {
		_, err := s.WorkerClaim(t.Context(), bad, nil)
		require.Equal(t, "worker x", typed[*api.ErrInvalid](t, err).What)
	}
	list, err := s.WorkerList(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	noClaim(t, s, w)
	twin := w
	twin.Session, twin.Place = uuid.New(), "other machine /repo"
	_, err = s.WorkerClaim(t.Context(), twin, nil)
	used := typed[*api.ErrInUse](t, err)
	require.Equal(t, "the identity of worker "+w.ID.String(), used.What)
	require.Contains(t, used.Holder, "4711")
	require.Contains(t, used.Holder, "host")
}

func checkClaimWaits(t *testing.T, s api.Storage) {
	got := make(chan *api.TaskStatus, 1)
	w := someWorker()
	go func() {
		for {
			st, err := s.WorkerClaim(t.Context(), w, nil)
			if st != nil || err != nil {
				got <- st
				return
			}
		}
	}()
	until(t, func() bool {
		list, err := s.WorkerList(t.Context())
		require.NoError(t, err)
		return len(list) == 1
	})
	id := submit(t, s, task("k", 1)).ID
	st := <-got
	require.NotNil(t, st)
	require.Equal(t, id, st.ID)
}

// checkFencing: a worker that comes back without a task has lost it at once, and
// its old number opens nothing any more.
func checkFencing(t *testing.T, s api.Storage) {
	ctx, w := t.Context(), someWorker()
	id := submit(t, s, task("k", 1)).ID
	require.Equal(t, 1, claim(t, s, w).Attempts)
	require.Equal(t, 2, claim(t, s, w).Attempts, "it came back without it")
	old := api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`{"Proof":"AQ=="}`)}
	_, err := s.WorkerProgress(ctx, api.TaskProgress{Worker: w.ID, Task: id, Attempt: 1})
	require.Equal(t, "task "+id.String(), typed[*api.ErrLeaseLost](t, err).What)
	require.Equal(t, "task "+id.String(), typed[*api.ErrLeaseLost](t, s.WorkerDone(ctx, old)).What)
	for _, attempt := range []int{0, 3, -1} {
		_, err := s.WorkerProgress(ctx, api.TaskProgress{Worker: w.ID, Task: id, Attempt: attempt})
		typed[*api.ErrLeaseLost](t, err)
	}
	c, err := s.WorkerProgress(ctx, api.TaskProgress{Worker: w.ID, Task: id, Attempt: 2})
	require.NoError(t, err)
	require.Equal(t, 2, c.Attempt)
	stranger := old
	stranger.Worker, stranger.Attempt = uuid.New(), 2
	typed[*api.ErrLeaseLost](t, s.WorkerDone(ctx, stranger))
	require.Equal(t, api.TaskRunning, taskNow(t, s, id).State)
}

func checkProgress(t *testing.T, s api.Storage, lease time.Duration) {
	ctx, w := t.Context(), someWorker()
	id := submit(t, s, task("k", 1)).ID
	claim(t, s, w)
	report := api.TaskProgress{
		Worker:  w.ID,
		Task:    id,
		Attempt: 1,
		Stage:   "proof of partition 3",
		Percent: 37.5,
	}
	c, err := s.WorkerProgress(ctx, report)
	require.NoError(t, err)
	require.Equal(t, api.TaskClaim{Attempt: 1, Lease: lease}, c)
	st := taskNow(t, s, id)
	require.Equal(t, "proof of partition 3", st.Stage)
	require.InDelta(t, 37.5, st.Percent, 0)
	for say, show := range map[float64]float64{-1: 0, 101: 100} {
		report.Percent = say
		_, err = s.WorkerProgress(ctx, report)
		require.NoError(t, err)
		require.InDelta(t, show, taskNow(t, s, id).Percent, 0)
	}
	report.Task = uuid.New()
	_, err = s.WorkerProgress(ctx, report)
	require.Equal(t, "task "+report.Task.String(), typed[*api.ErrLeaseLost](t, err).What)
	require.NoError(t, s.WorkerDone(ctx, api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`{}`)}))
	report.Task = id
	_, err = s.WorkerProgress(ctx, report)
	typed[*api.ErrLeaseLost](t, err)
}

func checkDoneRepeats(t *testing.T, s api.Storage) {
	ctx, w := t.Context(), someWorker()
	id := submit(t, s, task("k", 1)).ID
	claim(t, s, w)
	r := api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: json.RawMessage(`{"Proof":"AQ=="}`)}
	for range 2 {
		require.NoError(t, s.WorkerDone(ctx, r))
	}
	late := r
	late.Result, late.Failure = nil, &api.Failure{Text: "no"}
	require.NoError(t, s.WorkerDone(ctx, late), "it is finished already")
	late.Task = uuid.New()
	require.NoError(t, s.WorkerDone(ctx, late), "it was forgotten")
	st := taskNow(t, s, id)
	require.Equal(t, api.TaskDone, st.State)
	require.JSONEq(t, `{"Proof":"AQ=="}`, string(st.Result))
	require.Nil(t, st.Failure)
}

func checkResultSize(t *testing.T, s api.Storage) {
	ctx, w := t.Context(), someWorker()
	id := submit(t, s, task("k", 1)).ID
	claim(t, s, w)
	result := append(append([]byte{'"'}, bytes.Repeat([]byte{'a'}, api.MaxResult-1)...), '"')
	r := api.TaskReport{Worker: w.ID, Task: id, Attempt: 1, Result: result}
	require.Equal(t, "result of task "+id.String(), typed[*api.ErrInvalid](t, s.WorkerDone(ctx, r)).What)
	require.Equal(t, api.TaskRunning, taskNow(t, s, id).State)
	r.Result = append(result[:api.MaxResult-1:api.MaxResult-1], '"')
	require.Len(t, r.Result, api.MaxResult)
	require.NoError(t, s.WorkerDone(ctx, r))
	require.Equal(t, string(r.Result), string(taskNow(t, s, id).Result))
}

func checkOneOfSector(t *testing.T, s api.Storage) {
	ctx, w, other := t.Context(), someWorker(), someWorker()
	first := submit(t, s, task("first", 1)).ID
	submit(t, s, task("second", 1))
	third := submit(t, s, task("third", 2)).ID
	require.Equal(t, first, claim(t, s, w).ID)
	require.Equal(t, third, claim(t, s, other).ID)
	noClaim(t, s, someWorker())
	require.NoError(t, s.WorkerDone(ctx, api.TaskReport{Worker: w.ID, Task: first, Attempt: 1, Result: json.RawMessage(`{}`)}))
	require.Equal(t, "second", claim(t, s, w).Spec.Key)
}

// CheckLeaseEnds is what [api.Fleet] promises of a worker that is silent. A claim
// of a fresh implementation holds for so short a time that the test can wait for
// its end.
func CheckLeaseEnds[S api.Storage](t *testing.T, fresh func(t *testing.T) S) {
	s, ctx := fresh(t), t.Context()
	silent, next := someWorker(), someWorker()
	id := submit(t, s, task("k", 1)).ID
	require.Equal(t, 1, claim(t, s, silent).Attempts)
	got := claim(t, s, next)
	require.Equal(t, id, got.ID)
	require.Equal(t, 2, got.Attempts)
	require.Contains(t, typed[*api.ErrLeaseLost](t, got.Failure).What, "was silent for")
	lost := api.TaskReport{Worker: silent.ID, Task: id, Attempt: 1, Failure: &api.Failure{Text: "no"}}
	typed[*api.ErrLeaseLost](t, s.WorkerDone(ctx, lost))
	lost.Failure, lost.Result = nil, json.RawMessage(`{"Proof":"AQ=="}`)
	require.NoError(t, s.WorkerDone(ctx, lost), "what is computed counts")
	require.NoError(t, s.WorkerDone(ctx, api.TaskReport{Worker: next.ID, Task: id, Attempt: 2, Result: json.RawMessage(`{}`)}))
	require.JSONEq(t, `{"Proof":"AQ=="}`, string(taskNow(t, s, id).Result))
	_, err := s.WorkerProgress(ctx, api.TaskProgress{Worker: next.ID, Task: id, Attempt: 2})
	typed[*api.ErrLeaseLost](t, err)
}
