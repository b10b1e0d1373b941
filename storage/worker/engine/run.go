package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"quarry/api"
)

// Run claims and does tasks until ctx ends, and returns when all of them have
// stopped. Results that a former run could not deliver go first. It ends with
// *api.ErrBusy when another process has had this worker's identity for longer
// than Config.Takeover.
func (e *Engine) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer e.deps.Close()
	defer wg.Wait()
	defer stop()
	if err := e.resume(ctx, &wg); err != nil {
		return err
	}
	wg.Go(func() { e.tidyUp(ctx) })
	o := e.newOutage("tasks are claimed")
	var taken time.Time // since when the identity is another's
	for ctx.Err() == nil {
		t, err := e.claim(ctx)
		if err == nil {
			o.over()
			taken = time.Time{}
			if t != nil {
				e.start(ctx, &wg, *t)
			}
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if !isTaken(err) {
			e.rest(ctx, o.failed(err, e.cfg.Retry, e.cfg.RetryMax))
			continue
		}
		if taken.IsZero() {
			taken = time.Now()
			e.log.Warn("no task is given to this worker: its identity is in use, for some seconds by its own former process, "+
				"or by one with a copy of its repo", "err", err)
		}
		if e.cfg.Takeover > 0 && time.Since(taken) >= e.cfg.Takeover {
			return fmt.Errorf("claim tasks: %w", err)
		}
		sleep(ctx, e.cfg.Retry)
	}
	return nil
}

// claim asks for a task. An answer may take the node's whole waiting time.
func (e *Engine) claim(ctx context.Context) (t *api.TaskStatus, err error) {
	err = e.once(ctx, func(ctx context.Context) error {
		t, err = e.deps.Node.WorkerClaim(ctx, e.Info(), e.held())
		return err
	})
	return t, err
}

// isTaken tells whether a claim was refused because another process has the
// identity of this worker.
func isTaken(err error) bool {
	var used *api.ErrInUse
	return errors.As(err, &used)
}

func (e *Engine) held() []api.HeldTask {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := []api.HeldTask{}
	for id, c := range e.claims {
		out = append(out, api.HeldTask{Task: id, Attempt: c.attempt()})
	}
	return out
}

// add makes a task known as held; nil when it is already.
func (e *Engine) add(ctx context.Context, t api.TaskStatus) *Claim {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.claims[t.ID] != nil {
		return nil // the private node believes we lost it; the next claim tells it
	}
	c := e.newClaim(ctx, t)
	e.claims[t.ID] = c
	return c
}

func (e *Engine) drop(c *Claim) {
	c.cancel(nil)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.claims, c.ID())
}

func (e *Engine) start(ctx context.Context, wg *sync.WaitGroup, t api.TaskStatus) {
	c := e.add(ctx, t)
	if c == nil {
		return
	}
	wg.Go(func() {
		defer e.drop(c)
		// A claim that is dropped so is queued again at our next one.
		_ = e.catch.Do("task "+t.Spec.Key, func() error { e.perform(ctx, c); return nil })
	})
}

// perform does one task, keeps what came of it, and delivers that. run is the
// context of the process.
func (e *Engine) perform(run context.Context, c *Claim) {
	t := c.status()
	log := e.log.With("task", t.Spec.Key)
	log.Info("task begins", "type", t.Spec.Type, "sector", t.Spec.Sector.String(), "attempt", t.Attempts)
	result, err := e.work(c, t)
	if err != nil && c.ctx.Err() != nil {
		if isLeaseLost(context.Cause(c.ctx)) {
			log.Warn("task abandoned: the private node has given it to another worker, or it has ended; its files stay for reuse")
		}
		return // stopped: it is queued again at our next claim, or after the lease
	}
	o := outcome{Task: t.ID, Key: t.Spec.Key, Attempt: c.attempt()}
	if err == nil && len(result) > api.MaxResult {
		err = &api.ErrInvalid{
			What:   "result of task " + t.Spec.Key,
			Reason: fmt.Sprintf("it has %d bytes, more than the %d of a message", len(result), api.MaxResult),
		}
	}
	if err != nil {
		o.Failure = failure(err)
		log.Error("task failed", "retryable", o.Failure.Retryable, "err", err)
	} else {
		o.Result, o.Bulk = result, c.bulk(false)
		log.Info("task done", "took", time.Since(c.began).Round(time.Millisecond))
	}
	d := delivery{e: e, c: c, outcome: o}
	d.keep()
	d.run(run)
}

// work does the task while its claim is kept by reports. A panic in it fails the
// task, not the process: other sectors are being sealed.
func (e *Engine) work(c *Claim, t api.TaskStatus) (result json.RawMessage, err error) {
	var wg sync.WaitGroup
	beat, stop := context.WithCancel(c.ctx)
	wg.Go(func() {
		_ = e.catch.Do("the reports of task "+t.Spec.Key, func() error { e.beat(beat, c); return nil })
	})
	defer wg.Wait()
	defer stop()
	err = e.catch.Do("task "+t.Spec.Key, func() error {
		result, err = e.deps.Work(c.ctx, t, c)
		return err
	})
	return result, err
}

// beat reports progress. That nobody hears it changes nothing: only the word of
// the private node ends the claim.
func (e *Engine) beat(ctx context.Context, c *Claim) {
	tick := time.NewTicker(e.cfg.Progress)
	defer tick.Stop()
	o := e.newOutage("progress of task " + c.key() + " is reported")
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := e.once(ctx, c.report)
		if ctx.Err() != nil || isLeaseLost(err) {
			return
		}
		if err == nil || definite(err) {
			o.over()
		} else {
			o.failed(err, e.cfg.Retry, e.cfg.RetryMax)
		}
	}
}

// bulkAge is how long a bulk result that nobody names stays.
const bulkAge = time.Hour

// tidyUp deletes from time to time what nobody needs any more.
func (e *Engine) tidyUp(ctx context.Context) {
	tick := time.NewTicker(e.cfg.Tidy)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := e.catch.Do("tidying up", func() error {
			e.deps.Tidy(ctx, e.busy())
			_, err := e.deps.Bulk.Sweep(e.named(), bulkAge)
			return err
		})
		if err != nil {
			e.log.Warn("old bulk results could not be deleted", "err", err)
		}
	}
}

// named are the bulk results that tasks of this worker name.
func (e *Engine) named() map[api.CidString]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[api.CidString]bool{}
	for _, c := range e.claims {
		for _, ref := range c.bulk(true) {
			out[ref.CID] = true
		}
	}
	return out
}
