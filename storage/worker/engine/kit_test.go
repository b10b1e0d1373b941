package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// node is a private node with a queue, whose claims run out after a lease. It can
// be away in every way that a node can.
type node struct {
	mu     sync.Mutex
	lease  time.Duration
	away   error // what it answers instead; nil: it is there
	hang   bool  // it takes calls and never answers
	queue  []api.TaskStatus
	claims map[api.UUID]*holder
	refuse func(api.TaskReport) error

	granted  []int // fencing numbers, in order
	reports  []api.TaskReport
	progress []api.TaskProgress
	held     [][]api.HeldTask
	infos    []api.WorkerInfo
	calls    int // that were answered
}

type holder struct {
	task   api.TaskStatus
	worker api.UUID
	until  time.Time
	spent  time.Duration
	past   []int // fencing numbers that ran out
	done   bool
}

func newNode(lease time.Duration, tasks ...api.TaskStatus) *node {
	return &node{lease: lease, queue: tasks, claims: map[api.UUID]*holder{}}
}

func task(key string, typ api.TaskType) api.TaskStatus {
	return api.TaskStatus{ID: uuid.New(), State: api.TaskQueued, Spec: api.TaskSpec{Key: key, Type: typ}}
}

func (n *node) set(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = err
}

// answer waits where the node hangs, and says whether it is away.
func (n *node) answer(ctx context.Context) error {
	n.mu.Lock()
	hang, away := n.hang, n.away
	if !hang && away == nil {
		n.calls++
	}
	n.mu.Unlock()
	if hang {
		<-ctx.Done()
		return fmt.Errorf("call: %w", ctx.Err())
	}
	return away
}

func (n *node) WorkerClaim(ctx context.Context, w api.WorkerInfo, held []api.HeldTask) (*api.TaskStatus, error) {
	if err := n.answer(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.held, n.infos = append(n.held, held), append(n.infos, w)
	for _, h := range held {
		if c := n.claims[h.Task]; c != nil && c.worker == w.ID && c.task.Attempts == h.Attempt {
			c.until = time.Now().Add(n.lease)
		}
	}
	if len(n.queue) > 0 {
		t := n.queue[0]
		n.queue = n.queue[1:]
		t.State, t.Attempts = api.TaskRunning, t.Attempts+1
		n.granted = append(n.granted, t.Attempts)
		n.claims[t.ID] = &holder{task: t, worker: w.ID, until: time.Now().Add(n.lease)}
		n.mu.Unlock()
		return &t, nil
	}
	n.mu.Unlock()
	sleep(ctx, 20*time.Second)
	return nil, nil
}

// giveAway lets somebody else have a task whose claim ran out.
func (n *node) giveAway(t *testing.T, id api.UUID, spent time.Duration) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.claims[id]
	require.True(t, time.Now().After(c.until), "the claim still holds")
	c.past = append(c.past, c.task.Attempts)
	c.task.Attempts++
	c.worker, c.spent, c.until = uuid.New(), spent, time.Now().Add(n.lease)
}

// end makes a task somebody else's success.
func (n *node) end(id api.UUID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.claims[id].done = true
}

func lost(id api.UUID) error { return &api.ErrLeaseLost{What: "task " + id.String()} }

func (n *node) WorkerProgress(ctx context.Context, p api.TaskProgress) (api.TaskClaim, error) {
	if err := n.answer(ctx); err != nil {
		return api.TaskClaim{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.progress = append(n.progress, p)
	c := n.claims[p.Task]
	switch {
	case c == nil || c.done:
		return api.TaskClaim{}, lost(p.Task)
	case c.worker == p.Worker && c.task.Attempts == p.Attempt:
	case slices.Contains(c.past, p.Attempt) && p.Spent > c.spent:
		c.worker, c.task.Attempts = p.Worker, c.task.Attempts+1
	default:
		return api.TaskClaim{}, lost(p.Task)
	}
	c.until, c.spent = time.Now().Add(n.lease), p.Spent
	return api.TaskClaim{Attempt: c.task.Attempts, Lease: n.lease}, nil
}

func (n *node) WorkerDone(ctx context.Context, r api.TaskReport) error {
	if err := n.answer(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		if err := n.refuse(r); err != nil {
			return err
		}
	}
	c := n.claims[r.Task]
	if c != nil && (c.done || c.worker != r.Worker || c.task.Attempts != r.Attempt) {
		return lost(r.Task)
	}
	n.reports = append(n.reports, r)
	return nil
}

func (n *node) snapshot() node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return node{
		granted:  slices.Clone(n.granted),
		reports:  slices.Clone(n.reports),
		progress: slices.Clone(n.progress),
		held:     slices.Clone(n.held),
		infos:    slices.Clone(n.infos),
	}
}
