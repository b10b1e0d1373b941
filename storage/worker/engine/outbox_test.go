package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

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
