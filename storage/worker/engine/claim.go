package engine

import (
	"context"
	"io"
	"sync"
	"time"

	"quarry/api"
)

// Claim is a task that this worker has, as the code sees it that does the task.
// Its methods may be called from several goroutines at once.
type Claim struct {
	e      *Engine
	ctx    context.Context // of the task: it ends with the claim
	cancel context.CancelCauseFunc
	began  time.Time
	// reporting is held by whoever reports: of two at once the second could speak of
	// a fencing number that the first has just replaced.
	reporting chan struct{}

	mu       sync.Mutex
	task     api.TaskStatus // Attempts is the fencing number to use
	waits    int            // calls that wait for the private node
	computed bool
	kept     []api.BlobRef // bulk that the result names
	used     []api.BlobRef // bulk that was read
}

func (e *Engine) newClaim(ctx context.Context, t api.TaskStatus) *Claim {
	t.Stage = "prepare"
	c := &Claim{e: e, task: t, began: time.Now(), reporting: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	return c
}

// Set tells how far the work is: a stage, and done of total parts of it.
func (c *Claim) Set(stage string, done, total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.task.Stage, c.task.Percent = stage, 0
	if total > 0 {
		c.task.Percent = 100 * float64(done) / float64(total)
	}
}

// Ask calls the private node until it answers; what says for whom. While it
// cannot be reached only the end of ctx ends that.
func (c *Claim) Ask(ctx context.Context, what string, call func(context.Context) error) error {
	waited := false
	defer func() { c.waiting(&waited, false) }()
	return c.e.ask(ctx, what, func(now bool) { c.waiting(&waited, now) }, call)
}

func (c *Claim) waiting(was *bool, now bool) {
	if *was == now {
		return
	}
	*was = now
	c.mu.Lock()
	defer c.mu.Unlock()
	if now {
		c.waits++
	} else {
		c.waits--
	}
}

// Confirm is to be called when everything is computed, before any of it is
// published: it returns when the private node has said that the task still is
// this worker's. *api.ErrLeaseLost means that it is not; then the files stay.
func (c *Claim) Confirm(ctx context.Context) error {
	c.mu.Lock()
	c.computed = true
	c.mu.Unlock()
	return c.Ask(ctx, "the claim of task "+c.key()+" is confirmed before its files are published", c.report)
}

// report tells the private node how far the task is, which keeps the claim.
func (c *Claim) report(ctx context.Context) error {
	select {
	case c.reporting <- struct{}{}:
		defer func() { <-c.reporting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	p := api.TaskProgress{
		Worker:   c.e.info.ID,
		Task:     c.task.ID,
		Attempt:  c.task.Attempts,
		Stage:    c.stage(),
		Percent:  c.task.Percent,
		Spent:    time.Since(c.began),
		Computed: c.computed,
	}
	c.mu.Unlock()
	got, err := c.e.deps.Node.WorkerProgress(ctx, p)
	if isLeaseLost(err) {
		c.cancel(err)
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.task.Attempts = max(c.task.Attempts, got.Attempt)
	return nil
}

// WaitsForNode is the stage of a task whose next step needs an answer.
const WaitsForNode = "waits for the private node"

func (c *Claim) stage() string {
	if c.waits > 0 {
		return WaitsForNode
	}
	return c.task.Stage
}

// Keep stores a bulk result that the result will name. It lies on this machine
// until the result was delivered, and goes to the private node before it.
func (c *Claim) Keep(ctx context.Context, r io.Reader) (api.BlobRef, error) {
	ref, err := c.e.deps.Bulk.Keep(ctx, r)
	if err != nil {
		return api.BlobRef{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, ref)
	return ref, nil
}

// Open reads a bulk result of another task, and waits while the private node,
// which has it, cannot be reached. A reference that is too large is refused.
func (c *Claim) Open(ctx context.Context, ref api.BlobRef) (r io.ReadCloser, err error) {
	if ref.Size < 0 || ref.Size > api.MaxBlob {
		return nil, &api.ErrInvalid{What: "bulk result " + string(ref.CID), Reason: "the size that it is said to have is out of bounds"}
	}
	c.mu.Lock()
	c.used = append(c.used, ref)
	c.mu.Unlock()
	what := "bulk result " + string(ref.CID) + " is fetched for task " + c.key()
	o := c.e.newOutage(what)
	waited := false
	defer func() { c.waiting(&waited, false) }()
	for { // no time limit of a call: it is a transfer, which has limits of its own
		r, err = c.e.deps.Bulk.BlobOpen(ctx, ref)
		if err == nil || definite(err) {
			o.over()
			return r, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c.waiting(&waited, true)
		c.e.rest(ctx, o.failed(err, c.e.cfg.Retry, c.e.cfg.RetryMax))
	}
}

// ID is that of the task.
func (c *Claim) ID() api.UUID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.task.ID
}

func (c *Claim) key() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.task.Spec.Key
}

func (c *Claim) attempt() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.task.Attempts
}

func (c *Claim) status() api.TaskStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.task
	t.Stage = c.stage()
	return t
}

// bulk are the blobs that must not be swept: those that the result names, or with
// all those that are read too.
func (c *Claim) bulk(all bool) []api.BlobRef {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := append([]api.BlobRef{}, c.kept...)
	if all {
		out = append(out, c.used...)
	}
	return out
}
