package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"quarry/api"
)

// keepTime bounds writing a result to the store, also at shutdown.
const keepTime = 10 * time.Second

// delivery brings one outcome to the private node.
type delivery struct {
	e *Engine
	c *Claim
	outcome
	kept bool
	told bool // that it could not be kept
}

// keep stores the outcome, whatever else ends meanwhile.
func (d *delivery) keep() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.c.ctx), keepTime)
	defer cancel()
	err := d.e.outbox.put(ctx, d.outcome)
	if err != nil && !d.told {
		d.told = true
		d.e.log.Error("result cannot be stored; it is reported all the same, and storing it is tried again", "task", d.Key, "err", err)
	}
	d.kept = err == nil
}

// run reports until the private node acknowledges, says that the task is somebody
// else's, or refuses for good; or until ctx ends, then a later run goes on.
func (d *delivery) run(ctx context.Context) {
	o := d.e.newOutage("the result of task " + d.Key + " is delivered")
	waited := false
	d.c.Set("deliver", 0, 0)
	for ctx.Err() == nil {
		err := d.once(ctx)
		if err == nil || definite(err) {
			o.over()
			if d.settled(err) {
				d.forget()
				return
			}
			continue
		}
		if !d.kept {
			d.keep()
		}
		d.c.waiting(&waited, true)
		d.e.rest(ctx, o.failed(err, d.e.cfg.Retry, d.e.cfg.RetryMax))
	}
}

// settled tells whether a definite answer is the end of the delivery. A result
// that is refused becomes a failure, which is still to be reported.
func (d *delivery) settled(err error) bool {
	if err == nil {
		return true
	}
	if isLeaseLost(err) {
		d.e.log.Warn("a result is not wanted any more: the task is another worker's, or has ended", "task", d.Key)
		return true
	}
	if d.Refused {
		d.e.log.Error("the private node refuses a result and the report of that too; both are dropped", "task", d.Key, "err", err)
		return true
	}
	d.refuse(err)
	return false
}

// once sends the bulk and then the report.
func (d *delivery) once(ctx context.Context) error {
	if d.Failure == nil {
		for _, ref := range d.Bulk {
			if err := d.e.deps.Bulk.Upload(ctx, ref); err != nil {
				return err
			}
		}
	}
	return d.e.once(ctx, func(ctx context.Context) error {
		return d.e.deps.Node.WorkerDone(ctx, api.TaskReport{
			Worker:  d.e.info.ID,
			Task:    d.Task,
			Attempt: d.c.attempt(),
			Result:  d.Result,
			Failure: d.Failure,
		})
	})
}

// refuse turns a result that is not taken into a failure with the reason. Where
// only our copy of the bulk is gone the task can be done again.
func (d *delivery) refuse(why error) {
	var gone *api.ErrNotFound
	d.e.log.Error("a result cannot be delivered; its task fails", "task", d.Key, "err", why)
	d.Failure = failure(why)
	d.Failure.Retryable = errors.As(why, &gone)
	d.Result, d.Bulk, d.Refused = nil, nil, true
	d.keep()
}

// forget drops the outcome. What stays in the store by accident is delivered
// again, which is harmless.
func (d *delivery) forget() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.c.ctx), keepTime)
	defer cancel()
	if err := d.e.outbox.drop(ctx, d.outcome); err != nil {
		d.e.log.Warn("a delivered result could not be dropped; it will be delivered again", "task", d.Key, "err", err)
	}
}

// resume delivers what a former run left, and counts those tasks as held.
func (e *Engine) resume(ctx context.Context, wg *sync.WaitGroup) error {
	all, err := e.outbox.all(ctx, e.log)
	if err != nil {
		return err
	}
	for _, o := range all {
		c := e.add(ctx, api.TaskStatus{ID: o.Task, Spec: api.TaskSpec{Key: o.Key}, State: api.TaskRunning, Attempts: o.Attempt})
		c.computed, c.kept = true, o.Bulk
		d := delivery{e: e, c: c, outcome: o, kept: true}
		wg.Go(func() {
			defer e.drop(c)
			_ = e.catch.Do("the result of task "+o.Key, func() error { d.run(ctx); return nil })
		})
	}
	return nil
}
