package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

var tooBig = &api.ErrInvalid{What: "request to node", Reason: "request bigger than maximum 10485760 allowed"}

var refusals = map[string]struct {
	upload    error
	report    error
	result    json.RawMessage
	retryable bool
	reason    string
}{
	"the bulk is too large":    {upload: &api.ErrInvalid{What: "bulk", Reason: "refused with 413"}, reason: "refused with 413"},
	"the bulk changed":         {upload: &api.ErrInvalid{What: "bulk", Reason: "refused with 422"}, reason: "refused with 422"},
	"our bulk is gone":         {upload: &api.ErrNotFound{What: "bulk result x"}, retryable: true, reason: "bulk result x not found"},
	"the report is too large":  {report: tooBig, reason: "bigger than maximum"},
	"the report is unreadable": {report: &api.ErrInvalid{What: "result", Reason: "no JSON"}, reason: "no JSON"},
	"it is no result": {result: json.RawMessage(`"` + strings.Repeat("x", api.MaxResult-1) + `"`),
		reason: fmt.Sprintf("it has %d bytes", api.MaxResult+1)},
}

// TestRefusals: a refusal for good fails the task with its reason, once, whether
// it is said of the bulk or of the report.
func TestRefusals(t *testing.T) {
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, b := newNode(15*time.Minute, task("t", api.TaskCommit1)), newBulk()
				b.err = c.upload
				tries := 0
				n.refuse = func(r api.TaskReport) error {
					tries++
					if r.Failure == nil {
						return c.report
					}
					return nil
				}
				w := run(t, Config{}, n, memStore(), b, func(ctx context.Context, st api.TaskStatus, cl *Claim) (json.RawMessage, error) {
					if c.result != nil {
						return c.result, nil
					}
					return proving(ctx, st, cl)
				})
				time.Sleep(time.Minute)
				require.NoError(t, w.halt())
				got := n.snapshot()
				require.Len(t, got.reports, 1)
				require.Contains(t, got.reports[0].Failure.Text, c.reason)
				require.Equal(t, c.retryable, got.reports[0].Failure.Retryable)
				require.Nil(t, got.reports[0].Result)
				require.LessOrEqual(t, tries, 2, "it is not tried for ever")
				require.Empty(t, outcomes(t, w.store))
				require.Empty(t, w.Tasks())
			})
		})
	}
}

// TestLargestResultIsTaken: the bound itself is allowed.
func TestLargestResultIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(15*time.Minute, task("t", api.TaskCommit1))
		w := run(t, Config{}, n, memStore(), newBulk(), func(context.Context, api.TaskStatus, *Claim) (json.RawMessage, error) {
			return json.RawMessage(`"` + strings.Repeat("x", api.MaxResult-2) + `"`), nil
		})
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		require.Nil(t, n.snapshot().reports[0].Failure)
	})
}

// TestReportRefusedTwiceIsDropped, loudly.
func TestReportRefusedTwiceIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(15*time.Minute, task("t", api.TaskCommit1))
		tries := 0
		n.refuse = func(api.TaskReport) error { tries++; return &api.ErrInvalid{What: "report", Reason: "no"} }
		w := run(t, Config{}, n, memStore(), newBulk(), proving)
		time.Sleep(time.Hour)
		require.NoError(t, w.halt())
		require.Equal(t, 2, tries)
		require.Empty(t, outcomes(t, w.store))
		require.Equal(t, 1, w.log.count("ERROR the private node refuses a result and the report of that too"))
	})
}

// TestRefusalOutlivesTheWorker: what is reported after a restart is the refusal,
// not the result that was refused.
func TestRefusalOutlivesTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, store, b := newNode(15*time.Minute, task("t", api.TaskCommit1)), memStore(), newBulk()
		b.err = &api.ErrInvalid{What: "bulk", Reason: "refused with 413"}
		n.refuse = func(api.TaskReport) error { return ways["busy"] }
		w := run(t, Config{}, n, store, b, proving)
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		kept := outcomes(t, store)
		require.Len(t, kept, 1)
		require.True(t, kept[0].Refused)
		n.mu.Lock()
		n.refuse = nil
		n.mu.Unlock()
		w = run(t, Config{}, n, store, b, nobody(t))
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		require.Len(t, n.snapshot().reports, 1)
		require.Contains(t, n.snapshot().reports[0].Failure.Text, "413")
	})
}
