package sched

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// TestETA is what is left at the speed so far, once there is a speed to speak of.
func TestETA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1)
		id := submit(t, s, spec("k", api.TaskPreCommit1, 1)).ID
		require.NotNil(t, claim(t, s, w))
		time.Sleep(30 * time.Second)
		for percent, want := range map[float64]time.Duration{
			0:    0,
			0.99: 0,
			1:    30 * 99 * time.Second,
			25:   90 * time.Second,
			60:   20 * time.Second,
			100:  0,
		} {
			s.tasks[id].ETA = 0
			r := report(w, id, 1, 0)
			r.Percent, r.Stage = percent, strings.Repeat("s", maxStage+1)
			_, err := s.Progress(t.Context(), r)
			require.NoError(t, err)
			st, err := s.Get(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, want, st.ETA, percent)
			require.Len(t, st.Stage, maxStage)
		}
	})
}

// TestRunsThatRanOut: the last eight are remembered, each with its own numbers.
func TestRunsThatRanOut(t *testing.T) {
	var r record
	a, b := uuid.New(), uuid.New()
	for n := 1; n <= maxPast+2; n++ {
		r.WorkerID, r.Since, r.Attempts = a, 10*n, 10*n+5
		r.ranOutNow()
		require.Len(t, r.Past, min(n, maxPast))
	}
	require.Equal(t, run{Worker: a, Since: 30, Last: 35}, r.Past[0])
	require.Equal(t, run{Worker: a, Since: 100, Last: 105}, r.Past[maxPast-1])
	for attempt, want := range map[int]bool{25: false, 29: false, 30: true, 33: true, 35: true, 36: false, 39: false, 40: true,
		105: true, 106: false} {
		got, ok := r.ranOut(a, attempt)
		require.Equal(t, want, ok, attempt)
		require.Equal(t, want, got.Since == attempt/10*10 && got.Worker == a, attempt)
		_, ok = r.ranOut(b, attempt)
		require.False(t, ok)
	}
}

// TestWhoseReportCounts: the run that has the task says how it ended, and its
// numbers are those of one run.
func TestWhoseReportCounts(t *testing.T) {
	s := open(t, store(), nil)
	a, b := uuid.New(), uuid.New()
	now := record{WorkerID: a, Since: 3, Past: []run{{Worker: b, Since: 1, Last: 2}}}
	now.State, now.Attempts = api.TaskRunning, 5
	for name, c := range map[string]struct {
		worker  api.UUID
		attempt int
		fails   bool
		want    api.TaskState // empty: lost
	}{
		"before the run":             {a, 2, false, ""},
		"first number":               {a, 3, false, api.TaskDone},
		"last number":                {a, 5, false, api.TaskDone},
		"after the run":              {a, 6, false, ""},
		"its failure":                {a, 5, true, api.TaskFailed},
		"a former run's result":      {b, 2, false, api.TaskDone},
		"a former run's failure":     {b, 2, true, ""},
		"another's number":           {b, 3, false, ""},
		"the number of a former run": {a, 1, false, ""},
	} {
		r := now
		report := api.TaskReport{Worker: c.worker, Attempt: c.attempt, Result: json.RawMessage(`1`)}
		if c.fails {
			report.Failure = &api.Failure{Text: "no"}
		}
		err := s.end(&r, report)
		if c.want == "" {
			requireLost(t, err)
			require.Equal(t, now, r, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.want, r.State, name)
		require.Nil(t, r.Past, name)
	}
}

func TestSizesOfReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store(), nil)
		w := someone(api.TaskPreCommit1)
		end := func(key string, number abi.SectorNumber, r api.TaskReport) (api.TaskStatus, error) {
			r.Task, r.Worker, r.Attempt = submit(t, s, spec(key, api.TaskPreCommit1, number)).ID, w.ID, 1
			require.Equal(t, r.Task, claim(t, s, w).ID)
			err := s.Done(t.Context(), r)
			st, missing := s.Get(t.Context(), r.Task)
			require.NoError(t, missing)
			return st, err
		}
		most := json.RawMessage(`"` + strings.Repeat("r", api.MaxResult-2) + `"`)
		st, err := end("most", 1, api.TaskReport{Result: most})
		require.NoError(t, err)
		require.Len(t, st.Result, api.MaxResult)
		text := strings.Repeat("f", maxFailure+1)
		st, err = end("long", 2, api.TaskReport{Failure: &api.Failure{Text: text}})
		require.NoError(t, err)
		require.Equal(t, text[:maxFailure], st.Failure.Text)
		for i, n := range []int{maxFailure, maxFailure + 1} {
			detail := json.RawMessage(`"` + strings.Repeat("d", n-2) + `"`)
			key, number := fmt.Sprint("detail", n), abi.SectorNumber(10+i)
			st, err = end(key, number, api.TaskReport{Failure: &api.Failure{Text: "t", Code: 102, Detail: detail}})
			require.NoError(t, err)
			require.Equal(t, "t", st.Failure.Text)
			if n > maxFailure {
				require.Equal(t, &api.Failure{Text: "t"}, st.Failure)
			} else {
				require.Equal(t, detail, st.Failure.Detail)
			}
		}
		st, err = end("over", 3, api.TaskReport{Result: append(most, ' ')})
		var invalid *api.ErrInvalid
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, "result of task "+st.ID.String(), invalid.What)
		require.Equal(t, "it has 65537 bytes, more than 65536", invalid.Reason)
		require.Equal(t, api.TaskRunning, st.State)
	})
}
