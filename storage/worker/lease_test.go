package worker_test

import (
	"context"
	"encoding/json"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/storage/sched"
	"quarry/storage/worker/engine"
)

// queue is the scheduler behind a line that can be cut.
type queue struct {
	*sched.Scheduler
	cut *atomic.Bool
}

func (q queue) lost() error {
	if q.cut.Load() {
		return &api.ErrUnreachable{Peer: "the private node", Reason: "no route to host"}
	}
	return nil
}

func (q queue) WorkerClaim(ctx context.Context, w api.WorkerInfo, held []api.HeldTask) (*api.TaskStatus, error) {
	if err := q.lost(); err != nil {
		return nil, err
	}
	return q.Claim(ctx, w, held)
}

func (q queue) WorkerProgress(ctx context.Context, p api.TaskProgress) (api.TaskClaim, error) {
	if err := q.lost(); err != nil {
		return api.TaskClaim{}, err
	}
	return q.Progress(ctx, p)
}

func (q queue) WorkerDone(ctx context.Context, r api.TaskReport) error {
	if err := q.lost(); err != nil {
		return err
	}
	return q.Done(ctx, r)
}

// noBulk is for tasks whose results are small.
type noBulk struct{}

func (noBulk) Keep(context.Context, io.Reader) (api.BlobRef, error) { return api.BlobRef{}, nil }
func (noBulk) Upload(context.Context, api.BlobRef) error            { return nil }
func (noBulk) BlobOpen(context.Context, api.BlobRef) (io.ReadCloser, error) {
	return nil, &api.ErrNotFound{What: "blob"}
}
func (noBulk) Sweep(map[api.CidString]bool, time.Duration) (int, error) { return 0, nil }

// hand is one worker whose tasks take an hour.
type hand struct {
	cut     atomic.Bool
	begun   atomic.Int32
	done    atomic.Int32
	dropped atomic.Int32
}

func (h *hand) start(t *testing.T, s *sched.Scheduler, name string) {
	t.Helper()
	e, err := engine.New(t.Context(), engine.Config{Hostname: name, TaskTypes: []api.TaskType{api.TaskPreCommit1}, CPUs: 1}, engine.Deps{
		Node:  queue{s, &h.cut},
		Store: dssync.MutexWrap(datastore.NewMapDatastore()),
		Bulk:  noBulk{},
		Work: func(ctx context.Context, _ api.TaskStatus, c *engine.Claim) (json.RawMessage, error) {
			h.begun.Add(1)
			select {
			case <-time.After(time.Hour):
			case <-ctx.Done():
				h.dropped.Add(1)
				return nil, ctx.Err()
			}
			if err := c.Confirm(ctx); err != nil {
				h.dropped.Add(1)
				return nil, err
			}
			h.done.Add(1)
			return json.RawMessage(`{"by":"` + name + `"}`), nil
		},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
}

// TestWhoIsFurtherHasTheTask: a worker out of reach for 20 s, 10 min, 14 min and
// 40 min of its hour does it once; where the lease ran out and another has begun,
// the other one stops.
func TestWhoIsFurtherHasTheTask(t *testing.T) {
	for length, given := range map[time.Duration]bool{20 * time.Second: false, 10 * time.Minute: false, 14 * time.Minute: false,
		40 * time.Minute: true} {
		t.Run(length.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { outOfReach(t, length, given) })
		})
	}
}

func outOfReach(t *testing.T, length time.Duration, given bool) {
	s, err := sched.New(t.Context(), sched.Config{}, sched.Deps{Store: dssync.MutexWrap(datastore.NewMapDatastore())})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	ref := api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 1}, ProofType: abi.RegisteredSealProof_StackedDrg2KiBV1_1}
	st, err := s.Submit(t.Context(), api.TaskSpec{Key: "t", Type: api.TaskPreCommit1, Sector: ref, Params: json.RawMessage("{}")})
	require.NoError(t, err)
	first, second := new(hand), new(hand)
	first.start(t, s, "first")
	time.Sleep(time.Second)
	second.start(t, s, "second")
	time.Sleep(10 * time.Minute)
	first.cut.Store(true)
	time.Sleep(length)
	first.cut.Store(false)
	time.Sleep(2 * time.Hour)
	st, err = s.Get(t.Context(), st.ID)
	require.NoError(t, err)
	require.Equal(t, api.TaskDone, st.State, "%v", st.Failure)
	require.JSONEq(t, `{"by":"first"}`, string(st.Result))
	require.Equal(t, int32(1), first.begun.Load())
	require.Equal(t, int32(1), first.done.Load())
	want := int32(0)
	if given {
		want = 1
	}
	require.Equal(t, want, second.begun.Load())
	require.Equal(t, want, second.dropped.Load())
	require.Zero(t, second.done.Load())
}

// TestSecondProcessOfOneIdentityEnds, and says where the first one is; a successor
// after a kill is let in.
func TestSecondProcessOfOneIdentityEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := sched.New(t.Context(), sched.Config{}, sched.Deps{Store: dssync.MutexWrap(datastore.NewMapDatastore())})
		require.NoError(t, err)
		store := dssync.MutexWrap(datastore.NewMapDatastore())
		work := func(context.Context, api.TaskStatus, *engine.Claim) (json.RawMessage, error) { return nil, nil }
		start := func(host string) (stop func(), ended chan error) {
			e, err := engine.New(t.Context(), engine.Config{Hostname: host, Place: host + " /repo",
				TaskTypes: []api.TaskType{api.TaskPreCommit1}, Takeover: 45 * time.Second},
				engine.Deps{Node: queue{s, new(atomic.Bool)}, Store: store, Bulk: noBulk{}, Work: work})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			ended = make(chan error, 1)
			go func() { ended <- e.Run(ctx) }()
			return cancel, ended
		}
		stop, first := start("host-one")
		time.Sleep(time.Minute)
		_, second := start("host-two")
		began := time.Now()
		require.ErrorContains(t, <-second, "host-one")
		require.GreaterOrEqual(t, time.Since(began), 45*time.Second)
		stop()
		require.NoError(t, <-first)
		stop, third := start("host-one")
		time.Sleep(2 * time.Minute)
		select {
		case err := <-third:
			t.Fatalf("the successor was not let in: %v", err)
		default:
		}
		stop()
		require.NoError(t, <-third)
	})
}
