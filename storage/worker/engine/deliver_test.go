package engine

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// proving is work that keeps a bulk result.
func proving(ctx context.Context, _ api.TaskStatus, c *Claim) (json.RawMessage, error) {
	ref, err := c.Keep(ctx, strings.NewReader("vanilla"))
	if err != nil {
		return nil, err
	}
	return json.Marshal(api.Commit1Result{Vanilla: ref})
}

// TestResultOfTheLastMomentIsKept: the worker is stopped in the moment in which
// the task ends. The next run delivers, before anything is claimed again.
func TestResultOfTheLastMomentIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, store, b := newNode(15*time.Minute, task("t", api.TaskPreCommit1)), memStore(), newBulk()
		id := n.queue[0].ID
		var w *bench
		begun := 0
		ready := make(chan struct{})
		w = run(t, Config{}, n, store, b, func(ctx context.Context, st api.TaskStatus, c *Claim) (json.RawMessage, error) {
			begun++
			<-ready
			sleep(ctx, time.Minute)
			w.stop()
			<-ctx.Done()
			return proving(ctx, st, c)
		})
		close(ready)
		time.Sleep(2 * time.Minute)
		require.NoError(t, w.halt())
		require.Empty(t, n.snapshot().reports)
		kept := outcomes(t, store)
		require.Len(t, kept, 1)
		require.Equal(t, id, kept[0].Task)
		require.Equal(t, 1, kept[0].Attempt)
		require.Len(t, kept[0].Bulk, 1)

		n.set(ways["unreachable"])
		w = run(t, Config{}, n, store, b, nobody(t))
		time.Sleep(time.Minute)
		require.Equal(t, WaitsForNode, w.Tasks()[0].Stage)
		n.set(nil)
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		got := n.snapshot()
		require.Equal(t, 1, begun)
		require.Len(t, got.reports, 1)
		require.Equal(t, kept[0].Result, got.reports[0].Result)
		require.Equal(t, 1, got.reports[0].Attempt)
		require.True(t, b.node[kept[0].Bulk[0].CID])
		require.Empty(t, outcomes(t, store))
	})
}

func nobody(t *testing.T) Work {
	return func(context.Context, api.TaskStatus, *Claim) (json.RawMessage, error) {
		t.Error("work is done again")
		return nil, errors.New("not again")
	}
}

// TestUndeliveredResultsCountAsHeld, with their number, also after a restart.
func TestUndeliveredResultsCountAsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, store := newNode(15*time.Minute, task("t", api.TaskPreCommit1)), memStore()
		id := n.queue[0].ID
		n.queue[0].Attempts = 4
		n.refuse = func(api.TaskReport) error { return ways["busy"] }
		w := run(t, Config{}, n, store, newBulk(), func(context.Context, api.TaskStatus, *Claim) (json.RawMessage,
			error) {
			return someResult, nil
		})
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		want := []api.HeldTask{{Task: id, Attempt: 5}}
		require.Equal(t, want, n.snapshot().held[len(n.snapshot().held)-1])
		before := len(n.snapshot().held)
		w = run(t, Config{}, n, store, newBulk(), nobody(t))
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		for _, held := range n.snapshot().held[before:] {
			require.Equal(t, want, held)
		}
		require.Equal(t, 1, w.log.count("WARN waits for the private node: the result of task t is delivered"))
	})
}

// TestStoppedWorkKeepsNothing: what was stopped half-way is no result.
func TestStoppedWorkKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, store := newNode(15*time.Minute, task("t", api.TaskPreCommit1)), memStore()
		w := run(t, Config{}, n, store, newBulk(), func(ctx context.Context, _ api.TaskStatus, _ *Claim) (json.RawMessage, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		require.Empty(t, outcomes(t, store))
		require.Empty(t, n.snapshot().reports)
		require.Empty(t, w.Tasks())
	})
}

// TestBulkGoesFirst, and again until it is there; then the report that names it.
func TestBulkGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, b := newNode(15*time.Minute, task("t", api.TaskCommit1)), newBulk()
		tries := 0
		var claim *Claim
		stage := func() string {
			claim.mu.Lock()
			defer claim.mu.Unlock()
			return claim.task.Stage
		}
		b.before = func() {
			require.Empty(t, n.snapshot().reports)
			require.Equal(t, "deliver", stage())
			if tries++; tries < 3 {
				b.err = ways["unreachable"]
			} else {
				b.err = nil
			}
		}
		w := run(t, Config{}, n, memStore(), b, func(ctx context.Context, st api.TaskStatus, c *Claim) (json.RawMessage, error) {
			claim = c
			return proving(ctx, st, c)
		})
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		require.Equal(t, 3, tries)
		require.Len(t, n.snapshot().reports, 1)
		require.Len(t, b.node, 1)
	})
}

// TestUnwantedResultIsDropped: the task is another's.
func TestUnwantedResultIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(15*time.Minute, task("t", api.TaskCommit1))
		n.refuse = func(r api.TaskReport) error { return lost(r.Task) }
		w := run(t, Config{}, n, memStore(), newBulk(), proving)
		time.Sleep(time.Hour)
		require.NoError(t, w.halt())
		require.Empty(t, outcomes(t, w.store))
		require.Empty(t, w.Tasks())
		require.Equal(t, 1, w.log.count("WARN a result is not wanted any more"))
	})
}

// TestFailuresAreReported with their type, and a panic is one.
func TestFailuresAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(15*time.Minute, task("full", api.TaskCommit1), task("panic", api.TaskCommit1), task("good", api.TaskCommit1))
		w := run(t, Config{}, n, memStore(), newBulk(), func(_ context.Context, st api.TaskStatus, _ *Claim) (json.RawMessage, error) {
			switch st.Spec.Key {
			case "full":
				return nil, &api.ErrNoSpace{What: "cache", NeedBytes: 7}
			case "panic":
				panic("index out of range")
			}
			return someResult, nil
		})
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		got := map[string]api.TaskReport{}
		for _, r := range n.snapshot().reports {
			got[n.claims[r.Task].task.Spec.Key] = r
		}
		require.Len(t, got, 3)
		var full *api.ErrNoSpace
		require.ErrorAs(t, got["full"].Failure, &full)
		require.Equal(t, uint64(7), full.NeedBytes)
		require.True(t, got["full"].Failure.Retryable)
		require.Contains(t, got["panic"].Failure.Text, "index out of range")
		require.False(t, got["panic"].Failure.Retryable)
		require.Nil(t, got["good"].Failure)
	})
}

// TestDeliveredAtTheLastMoment: the worker is stopped while the node takes the
// result, which is not delivered again.
func TestDeliveredAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(15*time.Minute, task("t", api.TaskCommit1))
		var w *bench
		ready := make(chan struct{})
		n.refuse = func(api.TaskReport) error { w.stop(); return nil }
		w = run(t, Config{}, n, memStore(), newBulk(), func(ctx context.Context, st api.TaskStatus, c *Claim) (json.RawMessage, error) {
			<-ready
			return proving(ctx, st, c)
		})
		close(ready)
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		require.Len(t, n.snapshot().reports, 1)
		require.Empty(t, outcomes(t, w.store))
		require.Zero(t, w.log.count("WARN"))
	})
}
