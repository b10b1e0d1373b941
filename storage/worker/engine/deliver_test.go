package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
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
		w := run(t, Config{}, n, store, newBulk(), func(context.Context, api.TaskStatus, *Claim) (json.RawMessage, error) { return someResult, nil })
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

// TestRefusals: a refusal for good fails the task with its reason, once, whether
// it is said of the bulk or of the report.
func TestRefusals(t *testing.T) {
	tooBig := &api.ErrInvalid{What: "request to node", Reason: "request bigger than maximum 10485760 allowed"}
	for name, c := range map[string]struct {
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
		"it is no result":          {result: json.RawMessage(`"` + strings.Repeat("x", api.MaxResult-1) + `"`), reason: fmt.Sprintf("it has %d bytes", api.MaxResult+1)},
	} {
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

// fragile is a store that fails at every write from the nth on: what the process
// wrote before is what is left of it.
type fragile struct {
	datastore.Batching
	mu   sync.Mutex
	left int
}

func (f *fragile) use() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left < 0 {
		return errors.New("no space left on device")
	}
	return nil
}

func (f *fragile) Put(ctx context.Context, k datastore.Key, v []byte) error {
	if err := f.use(); err != nil {
		return err
	}
	return f.Batching.Put(ctx, k, v)
}

func (f *fragile) Delete(ctx context.Context, k datastore.Key) error {
	if err := f.use(); err != nil {
		return err
	}
	return f.Batching.Delete(ctx, k)
}

func (f *fragile) Sync(ctx context.Context, k datastore.Key) error {
	if err := f.use(); err != nil {
		return err
	}
	return f.Batching.Sync(ctx, k)
}

// TestCrashAtEveryStep kills the worker behind every write of its store, with the
// node there and away. The result arrives once, and it is computed again only when
// it had not been kept.
func TestCrashAtEveryStep(t *testing.T) {
	for _, away := range []bool{false, true} {
		for writes := range 6 {
			t.Run(fmt.Sprintf("%d writes, away %t", writes, away), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { crashAfter(t, writes, away) })
			})
		}
	}
}

func crashAfter(t *testing.T, writes int, away bool) {
	n, inner, b := newNode(15*time.Minute, task("t", api.TaskCommit1)), memStore(), newBulk()
	begun := 0
	work := func(ctx context.Context, st api.TaskStatus, c *Claim) (json.RawMessage, error) {
		begun++
		sleep(ctx, time.Minute)
		return proving(ctx, st, c)
	}
	_, err := New(t.Context(), Config{}, Deps{Node: n, Work: work, Store: inner, Bulk: b}) // it has an identity
	require.NoError(t, err)
	w := run(t, Config{}, n, &fragile{Batching: inner, left: writes}, b, work)
	time.Sleep(30 * time.Second)
	if away {
		n.set(ways["unreachable"])
	}
	time.Sleep(5 * time.Minute)
	require.NoError(t, w.halt()) // what it has in memory is gone
	n.set(nil)
	kept := len(outcomes(t, inner)) == 1
	delivered := len(n.snapshot().reports) == 1
	require.True(t, kept || delivered || writes == 0 && away, "kept or delivered unless nothing could be written")
	if !kept && !delivered {
		n.queue = append(n.queue, n.claims[soleTask(n)].task) // the node gives it again
	}
	w = run(t, Config{}, n, inner, b, work)
	time.Sleep(5 * time.Minute)
	require.NoError(t, w.halt())
	got := n.snapshot().reports
	require.NotEmpty(t, got)
	require.Nil(t, got[0].Failure)
	require.Empty(t, outcomes(t, inner))
	want := 1
	if !kept && !delivered {
		want = 2
	}
	require.Equal(t, want, begun)
}

func soleTask(n *node) (id api.UUID) {
	for id = range n.claims {
		return id
	}
	return id
}

// TestStoreThatHeals: a result that could not be stored is stored when that works
// again, and the trouble is told once.
func TestStoreThatHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, inner := newNode(15*time.Minute, task("t", api.TaskCommit1)), memStore()
		_, err := identity(t.Context(), inner)
		require.NoError(t, err)
		n.refuse = func(api.TaskReport) error { return ways["busy"] }
		f := &fragile{Batching: inner}
		w := run(t, Config{}, n, f, newBulk(), proving)
		time.Sleep(time.Minute)
		require.Equal(t, 1, w.log.count("ERROR result cannot be stored"))
		require.Empty(t, outcomes(t, inner))
		f.mu.Lock()
		f.left = 2 // put and sync: storing it once is enough
		f.mu.Unlock()
		time.Sleep(5 * time.Minute)
		require.NoError(t, w.halt())
		require.Len(t, outcomes(t, inner), 1)
		require.Equal(t, 1, w.log.count("ERROR result cannot be stored"))
	})
}

// TestDeliveredAtTheLastMoment: the worker is stopped while the node takes the
// result, which is not delivered again.
func TestDeliveredAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(15*time.Minute, task("t", api.TaskCommit1))
		var w *bench
		n.refuse = func(api.TaskReport) error { w.stop(); return nil }
		w = run(t, Config{}, n, memStore(), newBulk(), func(ctx context.Context, st api.TaskStatus, c *Claim) (json.RawMessage, error) {
			sleep(ctx, time.Second)
			return proving(ctx, st, c)
		})
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		require.Len(t, n.snapshot().reports, 1)
		require.Empty(t, outcomes(t, w.store))
		require.Zero(t, w.log.count("WARN"))
	})
}

// TestDeliveredButNotDropped is told: it will be delivered again.
func TestDeliveredButNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := memStore()
		_, err := identity(t.Context(), inner)
		require.NoError(t, err)
		w := run(t, Config{}, newNode(15*time.Minute, task("t", api.TaskCommit1)), &fragile{Batching: inner, left: 2}, newBulk(), proving)
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		require.Len(t, outcomes(t, inner), 1)
		require.Equal(t, 1, w.log.count("WARN a delivered result could not be dropped"))
	})
}

// TestDamagedOutcomeIsDropped: its task is done again.
func TestDamagedOutcomeIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memStore()
		require.NoError(t, store.Put(t.Context(), outboxKey.ChildString("x"), []byte("{")))
		w := run(t, Config{}, newNode(time.Minute), store, newBulk(), nobody(t))
		time.Sleep(time.Second)
		require.NoError(t, w.halt())
		has, err := store.Has(t.Context(), outboxKey.ChildString("x"))
		require.NoError(t, err)
		require.False(t, has)
		require.Equal(t, 1, w.log.count("ERROR an undelivered result is damaged"))
	})
}

// unreadable is a store whose outbox cannot be listed, or whose damaged entries
// cannot be dropped.
type unreadable struct {
	datastore.Batching
	query, drop error
}

func (u unreadable) Query(ctx context.Context, q query.Query) (query.Results, error) {
	if u.query != nil {
		return nil, u.query
	}
	return u.Batching.Query(ctx, q)
}

func (u unreadable) Delete(ctx context.Context, k datastore.Key) error {
	if u.drop != nil {
		return u.drop
	}
	return u.Batching.Delete(ctx, k)
}

// TestUnreadableOutboxEndsTheRun: results must not be done again behind it.
func TestUnreadableOutboxEndsTheRun(t *testing.T) {
	bad := errors.New("bad block")
	for name, s := range map[string]unreadable{"query": {query: bad}, "drop": {drop: bad}} {
		t.Run(name, func(t *testing.T) {
			s.Batching = memStore()
			require.NoError(t, s.Put(t.Context(), outboxKey.ChildString("x"), []byte("{")))
			w := run(t, Config{}, newNode(time.Minute), s, newBulk(), nobody(t))
			require.ErrorIs(t, w.ended(), bad)
			require.Empty(t, w.node.snapshot().held)
		})
	}
}
