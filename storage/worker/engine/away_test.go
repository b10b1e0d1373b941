package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// ways are all the ways in which a node says nothing definite.
var ways = map[string]error{
	"unreachable":    &api.ErrUnreachable{Peer: "node", Reason: "connection refused"},
	"busy":           &api.ErrBusy{What: "node", Reason: "it starts"},
	"not served yet": &api.ErrNotServedHere{Subsystem: api.SubsystemSectorStorage, Method: "WorkerProgress"},
	"full disk":      &api.ErrNoSpace{What: "task record"},
	"token unknown":  &api.ErrPermission{Method: "WorkerProgress", Need: api.PermWorker},
	"locked":         &api.ErrLocked{Sector: "s-t01000-1"},
	"no type":        errors.New("502 Bad Gateway"),
	"timed out":      context.DeadlineExceeded,
}

// TestWorkGoesOnWhileTheNodeIsAway, however long and in whatever way; only
// publishing waits, the work is done once and its result arrives.
func TestWorkGoesOnWhileTheNodeIsAway(t *testing.T) {
	for way, err := range ways {
		for _, length := range []time.Duration{20 * time.Second, 10 * time.Minute, 14 * time.Minute} {
			for _, typ := range []api.TaskType{api.TaskPreCommit1, api.TaskPreCommit2, api.TaskCommit1} {
				t.Run(fmt.Sprintf("%s for %s in %s", way, length, typ), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { awayDuring(t, err, length, typ) })
				})
			}
		}
	}
	t.Run("hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { awayDuring(t, nil, 10*time.Minute, api.TaskPreCommit1) })
	})
}

func awayDuring(t *testing.T, away error, length time.Duration, typ api.TaskType) {
	n := newNode(15*time.Minute, task("t", typ))
	begun, published := 0, time.Time{}
	w := run(t, Config{}, n, memStore(), newBulk(), func(ctx context.Context, _ api.TaskStatus, c *Claim) (json.RawMessage, error) {
		begun++
		c.Set("compute", 1, 2)
		sleep(ctx, 5*time.Minute)
		if err := c.Confirm(ctx); err != nil {
			return nil, err
		}
		published = time.Now()
		return someResult, ctx.Err()
	})
	start := time.Now()
	time.Sleep(4*time.Minute + 50*time.Second) // the outage begins shortly before the work ends
	n.mu.Lock()
	n.away, n.hang = away, away == nil
	n.mu.Unlock()
	time.Sleep(length)
	synctest.Wait()
	require.True(t, published.IsZero() == (length > 10*time.Second))
	require.Equal(t, WaitsForNode, w.Tasks()[0].Stage)
	require.Empty(t, n.snapshot().reports)
	n.mu.Lock()
	n.away, n.hang = nil, false
	n.mu.Unlock()
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	require.False(t, published.Before(start.Add(4*time.Minute+50*time.Second+length)))
	require.NoError(t, w.halt())
	got := n.snapshot()
	require.Equal(t, 1, begun)
	require.Equal(t, []int{1}, got.granted)
	require.Len(t, got.reports, 1)
	require.Equal(t, someResult, got.reports[0].Result)
	require.Nil(t, got.reports[0].Failure)
	require.Equal(t, w.Info().ID, got.reports[0].Worker)
	require.Empty(t, outcomes(t, w.store))
	require.Equal(t, 1, w.log.count("WARN waits for the private node: the claim of task t is confirmed"), "told once")
	require.Equal(t, 1, w.log.count("INFO the private node answers again: the claim of task t is confirmed"))
}

// TestTaskGivenAwayComesBack: the claim ran out, somebody else began, and the
// worker that was out of reach is further. It goes on under the new number.
func TestTaskGivenAwayComesBack(t *testing.T) {
	for _, typ := range []api.TaskType{api.TaskPreCommit1, api.TaskPreCommit2, api.TaskCommit1} {
		for name, back := range map[string]time.Duration{"while it computes": 20 * time.Minute, "when it has computed": 40 * time.Minute} {
			t.Run(string(typ)+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newNode(10*time.Minute, task("t", typ))
					id, begun := n.queue[0].ID, 0
					w := run(t, Config{}, n, memStore(), newBulk(),
						func(ctx context.Context, _ api.TaskStatus, c *Claim) (json.RawMessage, error) {
							begun++
							sleep(ctx, 30*time.Minute)
							return someResult, errors.Join(ctx.Err(), c.Confirm(ctx))
						})
					time.Sleep(time.Minute)
					n.set(ways["unreachable"])
					time.Sleep(14 * time.Minute)
					n.giveAway(t, id, time.Second)
					time.Sleep(back - 15*time.Minute)
					n.set(nil)
					time.Sleep(time.Hour)
					require.NoError(t, w.halt())
					got := n.snapshot()
					require.Equal(t, 1, begun)
					require.Len(t, got.reports, 1)
					require.Equal(t, 3, got.reports[0].Attempt)
					if name == "while it computes" {
						require.Equal(t, 3, got.progress[len(got.progress)-1].Attempt)
					}
				})
			})
		}
	}
}

// TestOnlyTheWordOfTheNodeStopsWork: *api.ErrLeaseLost ends the context of the
// task with that as the cause; nothing is reported, and the worker goes on.
func TestOnlyTheWordOfTheNodeStopsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(time.Minute, task("t", api.TaskPreCommit1))
		id := n.queue[0].ID
		var cause error
		w := run(t, Config{}, n, memStore(), newBulk(), func(ctx context.Context, _ api.TaskStatus, c *Claim) (json.RawMessage, error) {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return nil, fmt.Errorf("stopped: %w", ctx.Err())
		})
		time.Sleep(12 * time.Second)
		n.end(id)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.True(t, isLeaseLost(cause), cause)
		require.Empty(t, w.Tasks())
		require.Empty(t, outcomes(t, w.store))
		require.Equal(t, 1, w.log.count("WARN task abandoned"))
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		got := n.snapshot()
		require.Empty(t, got.reports)
		require.Empty(t, got.held[len(got.held)-1])
	})
}

// TestUnconfirmedWorkIsNotPublished: the claim went while the node was away, and
// the other one is further.
func TestUnconfirmedWorkIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(time.Minute, task("t", api.TaskPreCommit1))
		id := n.queue[0].ID
		var said error
		w := run(t, Config{}, n, memStore(), newBulk(), func(ctx context.Context, _ api.TaskStatus, c *Claim) (json.RawMessage, error) {
			sleep(ctx, 2*time.Minute)
			said = c.Confirm(ctx)
			return nil, said
		})
		time.Sleep(time.Second)
		n.set(ways["busy"])
		time.Sleep(5 * time.Minute)
		n.giveAway(t, id, time.Hour)
		n.set(nil)
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		require.True(t, isLeaseLost(said), said)
		require.Empty(t, n.snapshot().reports)
		require.Empty(t, outcomes(t, w.store))
	})
}

// TestCallsOfATaskWaitForTheNode, with growing pauses, and end with the task.
func TestCallsOfATaskWaitForTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(15*time.Minute, task("t", api.TaskPreCommit1))
		var calls []time.Duration
		var err error
		w := run(t, Config{}, n, memStore(), newBulk(), func(ctx context.Context, _ api.TaskStatus, c *Claim) (json.RawMessage, error) {
			start := time.Now()
			c.Set("look up", 0, 0)
			err = c.Ask(ctx, "a file is looked up", func(ctx context.Context) error {
				calls = append(calls, time.Since(start))
				if len(calls) < 8 {
					return ways["unreachable"]
				}
				return nil
			})
			c.Set("found", 0, 0)
			sleep(ctx, time.Minute)
			return someResult, err
		})
		time.Sleep(70 * time.Second)
		require.Equal(t, WaitsForNode, w.Tasks()[0].Stage)
		time.Sleep(55 * time.Second)
		require.Equal(t, "found", w.Tasks()[0].Stage)
		s := time.Second
		synctest.Wait()
		require.Equal(t, []time.Duration{0, 2 * s, 6 * s, 14 * s, 30 * s, 60 * s, 90 * s, 120 * s}, calls)
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		require.Len(t, n.snapshot().reports, 1)
	})
}
