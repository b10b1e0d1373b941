package engine

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"quarry/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestIdentityOfTwo: a second process with a worker's identity ends with an error
// that names the first, after the time that a killed predecessor is believed in.
func TestIdentityOfTwo(t *testing.T) {
	for name, c := range map[string]struct {
		takeover time.Duration
		until    time.Duration // the other one goes
		ends     bool
	}{
		"the other one stays":               {45 * time.Second, time.Hour, true},
		"it was this worker's predecessor":  {45 * time.Second, 40 * time.Second, false},
		"a built-in worker waits for ever":  {0, time.Hour, false},
		"it comes back after it was absent": {45 * time.Second, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(time.Minute, task("t", api.TaskCommit1))
				store := memStore()
				id, err := identity(t.Context(), store)
				require.NoError(t, err)
				taken := &api.ErrInUse{What: "the identity of worker " + id.String(), Holder: "process 7 on host7"}
				if c.until > 0 {
					n.away = taken
				}
				w := run(t, Config{Takeover: c.takeover}, n, store, newBulk(),
					func(context.Context, api.TaskStatus, *Claim) (json.RawMessage, error) { return someResult, nil })
				if c.until == 0 { // twice for less than the bound, with a claim between
					for range 2 {
						time.Sleep(time.Minute)
						n.set(taken)
						time.Sleep(30 * time.Second)
						n.set(nil)
					}
				}
				time.Sleep(c.until)
				n.set(nil)
				time.Sleep(time.Minute)
				if c.ends {
					require.ErrorContains(t, w.ended(), "host7")
					require.Empty(t, n.snapshot().reports)
					return
				}
				require.NoError(t, w.halt())
				require.Len(t, n.snapshot().reports, 1)
				require.LessOrEqual(t, w.log.count("WARN no task is given to this worker"), 2)
			})
		})
	}
}

// TestOtherRefusalsOfAClaimAreWaitedOut: a busy node is no other process.
func TestOtherRefusalsOfAClaimAreWaitedOut(t *testing.T) {
	for way, err := range ways {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(time.Minute, task("t", api.TaskCommit1))
				n.away = err
				w := run(t, Config{Takeover: time.Second}, n, memStore(), newBulk(),
					func(context.Context, api.TaskStatus, *Claim) (json.RawMessage, error) { return someResult, nil })
				time.Sleep(time.Hour)
				n.set(nil)
				time.Sleep(time.Minute)
				require.NoError(t, w.halt())
				require.Len(t, n.snapshot().reports, 1)
				require.Equal(t, 1, w.log.count("WARN waits for the private node: tasks are claimed"))
				require.Equal(t, 1, w.log.count("INFO the private node answers again: tasks are claimed"))
			})
		})
	}
}

// TestReportsOfProgress say everything that the node decides by.
func TestReportsOfProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(15*time.Minute, task("t", api.TaskPreCommit1))
		id := n.queue[0].ID
		w := run(t, Config{Progress: 10 * time.Second}, n, memStore(), newBulk(),
			func(ctx context.Context, _ api.TaskStatus, c *Claim) (json.RawMessage, error) {
				require.Equal(t, id, c.ID())
				sleep(ctx, 15*time.Second)
				c.Set("layers", 3, 4)
				sleep(ctx, 10*time.Second)
				c.Set("trees", 7, 0)
				sleep(ctx, 10*time.Second)
				err := c.Confirm(ctx)
				sleep(ctx, 10*time.Second)
				return someResult, err
			})
		time.Sleep(time.Minute)
		require.NoError(t, w.halt())
		me, s := w.Info().ID, time.Second
		require.Equal(t, []api.TaskProgress{
			{
				Worker:  me,
				Task:    id,
				Attempt: 1,
				Stage:   "prepare",
				Spent:   10 * s,
			},
			{
				Worker:  me,
				Task:    id,
				Attempt: 1,
				Stage:   "layers",
				Percent: 75,
				Spent:   20 * s,
			},
			{
				Worker:  me,
				Task:    id,
				Attempt: 1,
				Stage:   "trees",
				Spent:   30 * s,
			},
			{
				Worker:   me,
				Task:     id,
				Attempt:  1,
				Stage:    "trees",
				Spent:    35 * s,
				Computed: true,
			},
			{
				Worker:   me,
				Task:     id,
				Attempt:  1,
				Stage:    "trees",
				Spent:    40 * s,
				Computed: true,
			},
		}, n.snapshot().progress)
	})
}

// TestTidying: from time to time, with what is in use named.
func TestTidying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, b := newNode(15*time.Minute, task("t", api.TaskCommit2)), newBulk()
		id := n.queue[0].ID
		var mu sync.Mutex
		var busy []map[api.UUID]bool
		e, err := New(t.Context(), Config{}, Deps{
			Node:  n,
			Store: memStore(),
			Bulk:  b,
			Work: func(ctx context.Context, st api.TaskStatus, c *Claim) (json.RawMessage, error) {
				if _, err := c.Open(ctx, api.BlobRef{CID: "in"}); err != nil {
					return nil, err
				}
				out, err := proving(ctx, st, c)
				sleep(ctx, 15*time.Minute)
				return out, err
			},
			Tidy: func(_ context.Context, now map[api.UUID]bool) {
				mu.Lock()
				defer mu.Unlock()
				busy = append(busy, now)
			},
		})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		time.Sleep(25 * time.Minute)
		stop()
		require.NoError(t, <-ended)
		require.Equal(t, []map[api.UUID]bool{{id: true}, {}}, busy)
		require.Equal(t, []map[api.CidString]bool{{"in": true, "cid of vanilla": true}, {}}, b.swept)
		require.Equal(t, time.Hour, b.age)
	})
}

// TestRunClosesItsWork when everything has stopped.
func TestRunClosesItsWork(t *testing.T) {
	closed := 0
	e, err := New(t.Context(), Config{}, Deps{
		Node:  newNode(time.Minute),
		Store: memStore(),
		Bulk:  newBulk(),
		Work:  nobody(t),
		Close: func() { closed++ },
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, e.Run(ctx))
	require.Equal(t, 1, closed)
}

// TestTaskThatIsGivenTwiceIsDoneOnce: the node believed that it was lost.
func TestTaskThatIsGivenTwiceIsDoneOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := task("t", api.TaskCommit1)
		n := newNode(15*time.Minute, one)
		begun := 0
		w := run(t, Config{}, n, memStore(), newBulk(), func(ctx context.Context, _ api.TaskStatus, _ *Claim) (json.RawMessage, error) {
			begun++
			sleep(ctx, time.Minute)
			return someResult, nil
		})
		time.Sleep(time.Second)
		n.mu.Lock()
		n.queue = append(n.queue, one)
		n.mu.Unlock()
		time.Sleep(2 * time.Minute)
		require.NoError(t, w.halt())
		require.Equal(t, 1, begun)
	})
}

func TestInfoAndDefaults(t *testing.T) {
	d := Deps{Node: newNode(time.Minute), Work: nobody(t), Store: memStore(), Bulk: newBulk()}
	for name, spoil := range map[string]func(*Deps){
		"node":  func(d *Deps) { d.Node = nil },
		"work":  func(d *Deps) { d.Work = nil },
		"store": func(d *Deps) { d.Store = nil },
		"bulk":  func(d *Deps) { d.Bulk = nil },
	} {
		bad := d
		spoil(&bad)
		_, err := New(t.Context(), Config{}, bad)
		require.ErrorContains(t, err, "needed", name)
	}
	e, err := New(t.Context(), Config{}, d)
	require.NoError(t, err)
	require.NotEmpty(t, e.Info().Hostname)
	require.Equal(t, runtime.NumCPU(), e.Info().CPUs)
	require.Nil(t, e.Info().Paths)
	want := Config{
		Hostname: e.cfg.Hostname,
		CPUs:     e.cfg.CPUs,
		Progress: 5 * time.Second,
		Retry:    2 * time.Second,
		RetryMax: 30 * time.Second,
		CallTime: time.Minute,
		Tidy:     10 * time.Minute,
	}
	require.Equal(t, want, e.cfg)

	d.Paths = func() []api.StorageID { return []api.StorageID{"a"} }
	cfg := Config{
		Hostname:  "h",
		Place:     "p",
		TaskTypes: []api.TaskType{api.TaskUnseal},
		MemBytes:  7,
		CPUs:      3,
		URL:       "u",
		Progress:  1,
		Retry:     2,
		RetryMax:  3,
		CallTime:  4,
		Tidy:      5,
		Takeover:  6,
	}
	other, err := New(t.Context(), cfg, d)
	require.NoError(t, err)
	require.Equal(t, cfg, other.cfg)
	require.Equal(t, api.WorkerInfo{
		ID:        e.Info().ID,
		Session:   other.Info().Session,
		Hostname:  "h",
		PID:       os.Getpid(),
		Place:     "p",
		TaskTypes: []api.TaskType{api.TaskUnseal},
		MemBytes:  7,
		CPUs:      3,
		URL:       "u",
		Paths:     []api.StorageID{"a"},
	}, other.Info())
	require.NotEqual(t, e.Info().Session, other.Info().Session)
	require.NotEqual(t, uuid.Nil, other.Info().Session)

	require.NoError(t, d.Store.Put(t.Context(), idKey, []byte("no uuid")))
	_, err = New(t.Context(), Config{}, d)
	require.ErrorContains(t, err, "damaged")
	for n := range 2 { // put and sync
		_, err = identity(t.Context(), &fragile{Batching: memStore(), left: n})
		require.ErrorContains(t, err, "store worker identity")
	}
	_, err = identity(t.Context(), unreadableID{memStore()})
	require.ErrorContains(t, err, "read worker identity")
}

// unreadableID is a store that cannot be read.
type unreadableID struct{ datastore.Batching }

func (unreadableID) Get(context.Context, datastore.Key) ([]byte, error) {
	return nil, errors.New("bad block")
}
