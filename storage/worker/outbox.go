package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

// outcome is a finished task whose report has not been acknowledged.
type outcome struct {
	Task    api.UUID
	Key     string
	Result  json.RawMessage `json:",omitempty"`
	Failure *api.Failure    `json:",omitempty"`
	Attempt int
}

var outbox = datastore.NewKey("/worker/out")

func (w *Worker) keep(ctx context.Context, o outcome) error {
	b, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode result of %s: %w", o.Key, err)
	}
	k := outbox.ChildString(o.Task.String())
	if err := w.deps.Store.Put(ctx, k, b); err != nil {
		return fmt.Errorf("store result of %s: %w", o.Key, err)
	}
	return w.deps.Store.Sync(ctx, k)
}

// deliver reports until the private node acknowledges or says that the task is
// somebody else's, or ctx ends; then a later run goes on.
func (w *Worker) deliver(ctx context.Context, o outcome) {
	for ctx.Err() == nil {
		err := w.deps.Storage.WorkerDone(ctx, api.TaskReport{Worker: w.info.ID, Task: o.Task, Attempt: o.Attempt, Result: o.Result, Failure: o.Failure})
		if err == nil || isLeaseLost(err) {
			k := outbox.ChildString(o.Task.String())
			if err := w.deps.Store.Delete(ctx, k); err != nil {
				w.log.Warn("a delivered result could not be dropped; it will be delivered again", "task", o.Key, "err", err)
			}
			return
		}
		w.log.Warn("result could not be delivered; it will be tried again", "task", o.Key, "err", err)
		sleep(ctx, w.cfg.Retry)
	}
}

// resume delivers what is in the outbox, and counts those tasks as held.
func (w *Worker) resume(ctx context.Context, wg *sync.WaitGroup) error {
	res, err := w.deps.Store.Query(ctx, query.Query{Prefix: outbox.String()})
	if err != nil {
		return fmt.Errorf("read undelivered results: %w", err)
	}
	all, err := res.Rest()
	if err != nil {
		return fmt.Errorf("read undelivered results: %w", err)
	}
	for _, e := range all {
		var o outcome
		if err := json.Unmarshal(e.Value, &o); err != nil {
			w.log.Error("an undelivered result is damaged and dropped; the task will be done again", "key", e.Key, "err", err)
			if err := w.deps.Store.Delete(ctx, datastore.NewKey(e.Key)); err != nil {
				return fmt.Errorf("drop damaged result: %w", err)
			}
			continue
		}
		w.mu.Lock()
		w.running[o.Task] = held{attempt: o.Attempt, cancel: func(error) {}}
		w.mu.Unlock()
		wg.Go(func() {
			defer w.drop(o.Task)
			w.deliver(ctx, o)
		})
	}
	return nil
}
