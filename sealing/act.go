package sealing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// stepError is a failure that the machine knows: of this step (retry later,
// under a new key where one is named) or of the sector for good.
type stepError struct {
	kind kind
	job  job // whose next try needs a new key
	err  error
}

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

func failed(j job, format string, a ...any) error {
	return &stepError{evFailed, j, fmt.Errorf(format, a...)}
}

func fatal(format string, a ...any) error {
	return &stepError{evFatal, job{}, fmt.Errorf(format, a...)}
}

// eventOf turns an error of a visit into an event: what is not a known failure
// means that something could not be reached, and the sector stays.
func (s *Sealing) eventOf(r record, err error) event {
	ev := event{Kind: evStuck, Reason: err.Error(), Backoff: s.backoff(r.Retries)}
	var step *stepError
	if errors.As(err, &step) {
		ev.Kind, ev.Job = step.kind, step.job
	}
	return ev
}

// backoff doubles from RetryMin to RetryMax.
func (s *Sealing) backoff(retries int) time.Duration {
	d := s.cfg.RetryMin << min(retries, 20)
	if d <= 0 || d > s.cfg.RetryMax {
		return s.cfg.RetryMax
	}
	return d
}

// act does the work of one visit to a state.
func (s *Sealing) act(ctx context.Context, l *lane, eff effect, r record) (event, error) {
	switch eff {
	case effWaitDeals:
		return s.waitDeals(ctx, l, r)
	case effPlace:
		return s.placeNext(ctx, l, r)
	case effPack:
		return s.pack(ctx, l, r)
	case effTicket:
		return s.ticket(ctx, r)
	case effPC1:
		return s.preCommit1(ctx, l, r)
	case effPC2:
		return s.preCommit2(ctx, l, r)
	case effPreCommit:
		return s.preCommit(ctx, l, r)
	case effPreCommitWait:
		return s.preCommitWait(ctx, r)
	case effSeed:
		return s.seed(ctx, r)
	case effProve:
		return s.prove(ctx, l, r)
	case effCommit:
		return s.commit(ctx, l, r)
	case effCommitWait:
		return s.commitWait(ctx, r)
	case effFinalize:
		return s.finalize(ctx, l, r)
	case effRetry:
		return event{Kind: evRetry}, nil
	case effRemove:
		return s.remove(ctx, r)
	}
	return s.actUpdate(ctx, l, eff, r)
}

// actUpdate is act for the states of an update.
func (s *Sealing) actUpdate(ctx context.Context, l *lane, eff effect, r record) (event, error) {
	switch eff {
	case effUpdate:
		return s.updateReplica(ctx, l, r)
	case effProveUpdate:
		return s.proveUpdate(ctx, l, r)
	case effSubmitUpdate:
		return s.submitUpdate(ctx, l, r)
	case effWaitMutable:
		return s.waitMutable(ctx, r)
	case effUpdateWait:
		return s.updateWait(ctx, r)
	case effKeepUpdate:
		return s.keepUpdate(ctx, l, r)
	case effUpdateActive:
		return s.updateActive(ctx, r)
	case effReleaseKey:
		return s.releaseKey(ctx, l, r)
	case effAbort:
		return s.abort(ctx, l, r)
	}
	return event{}, fmt.Errorf("state %s has no work", r.State)
}

// keyed is one task of a sector. Its key is made of the job with its failed
// tries, and of rest: what else makes the task what it is (a ticket, a seed).
type keyed[P, R any] struct {
	task   api.Task[P, R]
	job    job
	rest   string
	params P
	// waits is asked from time to time while no worker takes the task; an error of it
	// is the end of the wait. nil: it waits as long as it takes.
	waits func(ctx context.Context) error
}

// run has the task done and gives its result. A task that failed is a
// *taskError, and what it failed of is in its chain.
func run[P, R any](ctx context.Context, s *Sealing, l *lane, r record, k keyed[P, R]) (out R, err error) {
	key := fmt.Sprintf("%s/%s/%s/%d", s.name(r.Number), k.task.Type, k.rest, r.Attempts[k.job])
	spec, err := k.task.Spec(key, s.ref(r), k.params)
	if err != nil {
		return out, err
	}
	st, err := s.deps.Storage.TaskSubmit(ctx, spec)
	var invalid *api.ErrInvalid
	if errors.As(err, &invalid) { // refused as it is: only another key can help
		return out, failed(k.job, "submit task %s: %w", key, err)
	}
	if err != nil {
		return out, fmt.Errorf("submit task %s: %w", key, err)
	}
	if r.TaskID == nil || *r.TaskID != st.ID {
		if err := s.amend(ctx, l, func(r *record) { r.remember(st.ID) }); err != nil {
			return out, err
		}
	}
	for !st.Final() {
		if err := k.look(ctx, s, l, st.State); err != nil {
			return out, err
		}
		// Where storage is in this process TaskWait answers a context that has
		// ended with the state so far.
		if st, err = s.deps.Storage.TaskWait(ctx, st.ID); err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return out, fmt.Errorf("wait for task %s: %w", key, err)
		}
	}
	out, err = k.task.Result(st)
	var failure *api.Failure
	switch {
	case errors.As(err, &failure):
		return out, &taskError{key: key, job: k.job, failure: failure}
	case err != nil:
		return out, failed(k.job, "task %s gave a result that cannot be read: %w", key, err)
	}
	return out, nil
}

// cancelTasks ends the tasks of a sector that nobody wants any more, and forgets
// them, so that workers stop and delete what they began. It is repeated where it
// matters, and may be.
func (s *Sealing) cancelTasks(ctx context.Context, r record) {
	if now, err := s.get(r.Number); err == nil {
		r = now // with the task of the last step
	}
	for _, id := range r.Tasks {
		if err := s.deps.Storage.TaskCancel(ctx, id); err != nil {
			s.log.Warn("a task of a sector that is given up could not be cancelled", "sector", s.name(r.Number), "task", id, "err", err)
		}
	}
	s.forget(ctx, r)
}

// look is a look at what the task waits for; one that runs has its files.
func (k keyed[P, R]) look(ctx context.Context, s *Sealing, l *lane, st api.TaskState) error {
	switch {
	case k.waits == nil:
		return nil
	case st == api.TaskQueued:
		return k.waits(ctx)
	}
	_, err := s.missing(ctx, l, false)
	return err
}

func (r *record) remember(id api.UUID) {
	r.TaskID = &id
	for _, t := range r.Tasks {
		if t == id {
			return
		}
	}
	r.Tasks = append(r.Tasks, id)
}

// taskError is a task that ended in failure.
type taskError struct {
	key     string
	job     job
	failure *api.Failure
}

func (e *taskError) Error() string { return fmt.Sprintf("task %s failed: %s", e.key, e.failure.Text) }
func (e *taskError) Unwrap() error { return e.failure }

// isFailure tells whether err is a failure of the step, rather than something
// that cannot be reached.
func isFailure(err error) bool {
	var step *stepError
	return errors.As(err, &step)
}

// asFailure turns a failed task into a failure of the step.
func asFailure(err error) error {
	var t *taskError
	if errors.As(err, &t) {
		return &stepError{evFailed, t.job, err}
	}
	return err
}

// forget drops the results of the sector's tasks. It is housekeeping: what
// cannot be forgotten now only takes room.
func (s *Sealing) forget(ctx context.Context, r record) {
	if now, err := s.get(r.Number); err == nil {
		r = now // with the task of the last step
	}
	for _, id := range r.Tasks {
		if err := s.deps.Storage.TaskForget(ctx, id); err != nil {
			var gone *api.ErrNotFound
			if !errors.As(err, &gone) {
				s.log.Debug("task result not dropped", "sector", s.name(r.Number), "task", id, "err", err)
			}
		}
	}
}

// awaitHeight returns true when the chain is at epoch or above, false when l
// was woken first.
func (s *Sealing) awaitHeight(ctx context.Context, l *lane, epoch abi.ChainEpoch) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- s.catch.Do("waiting for an epoch", func() error {
			_, err := s.deps.Heads.WaitHeight(ctx, epoch)
			return err
		})
	}()
	select {
	case <-l.wake:
		cancel()
		<-done
		return false, nil
	case err := <-done:
		return err == nil, err
	}
}

// atHeight waits for an epoch and gives the tipset it saw there; nil when the
// visit ended first, which is no failure: epochs may be days away.
func (s *Sealing) atHeight(ctx context.Context, epoch abi.ChainEpoch) (*api.TipSet, error) {
	ts, err := s.deps.Heads.WaitHeight(ctx, epoch)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("wait for epoch %d: %w", epoch, err)
	}
	return ts, nil
}

// head is the newest tipset, from the follower or, before its first, the node.
func (s *Sealing) head(ctx context.Context) (*api.TipSet, error) {
	if h := s.deps.Heads.Head(); h != nil {
		return h, nil
	}
	h, err := s.deps.Chain.ChainHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the full node for its head: %w", err)
	}
	return h, nil
}
