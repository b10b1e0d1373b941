package sched

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"quarry/api"
)

// Limits of what workers say.
const (
	maxStage   = 200      // bytes of a stage
	maxFailure = 16 << 10 // bytes of a failure's text, and of its typed error
)

// Progress keeps a claim; *api.ErrLeaseLost means stop, and keep the files.
// Progress is not stored: a restart forgets it. A run of the work whose claim ran
// out gets the task back when it has spent more on it than who has it now.
func (s *Scheduler) Progress(ctx context.Context, p api.TaskProgress) (api.TaskClaim, error) {
	p.Stage = p.Stage[:min(len(p.Stage), maxStage)]
	c, ok := s.keep(p)
	if ok {
		return c, nil
	}
	t, err := s.find(p.Task)
	if err != nil {
		return api.TaskClaim{}, leaseLost(p.Task)
	}
	if err := s.takeBack(ctx, t, p); err != nil {
		return api.TaskClaim{}, err
	}
	if c, ok = s.keep(p); !ok {
		return api.TaskClaim{}, leaseLost(p.Task)
	}
	return c, nil
}

func leaseLost(id api.UUID) error { return &api.ErrLeaseLost{What: "task " + id.String()} }

// keep notes the progress of who has the task.
func (s *Scheduler) keep(p api.TaskProgress) (api.TaskClaim, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if w := s.workers[p.Worker]; w != nil {
		w.seen = now
	}
	t := s.tasks[p.Task]
	if t == nil || !t.heldBy(p.Worker, p.Attempt) {
		return api.TaskClaim{}, false
	}
	t.lease = now.Add(s.cfg.Lease)
	t.spent, t.computed = max(t.spent, p.Spent), t.computed || p.Computed
	t.Stage, t.Percent = p.Stage, min(max(p.Percent, 0), 100)
	if t.Percent >= 1 {
		t.ETA = time.Duration(float64(now.Sub(t.Updated)) * (100 - t.Percent) / t.Percent).Round(time.Second)
	}
	return api.TaskClaim{Attempt: t.Attempts, Lease: s.cfg.Lease}, true
}

// takeBack gives the task to a run of the work whose claim ran out, if it is
// further than the present one, under a new fencing number.
func (s *Scheduler) takeBack(ctx context.Context, t *task, p api.TaskProgress) error {
	w, err := s.mayTakeBack(t, p)
	if err != nil {
		return err
	}
	err = s.change(ctx, t, func(r *record) error {
		was, ok := r.ranOut(p.Worker, p.Attempt)
		if !ok || r.Final() {
			return leaseLost(p.Task)
		}
		if r.State == api.TaskRunning {
			r.ranOutNow()
		}
		s.log.Warn("a worker that was out of reach has its task back", "task", r.Spec.Key, "worker", name(w), "spent", p.Spent)
		r.State, r.Worker, r.WorkerID = api.TaskRunning, name(w), p.Worker
		r.Session, r.Failure, r.NotBefore = w.Session, nil, time.Time{}
		r.Attempts++
		r.Since = was.Since
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.claiming {
		s.settle(t)
	}
	var unknown *api.ErrNotFound
	if errors.As(err, &unknown) {
		return leaseLost(p.Task)
	}
	if err == nil {
		t.spent, t.computed = p.Spent, p.Computed
	}
	return err
}

// mayTakeBack decides whether a run of the work is the furthest there is. Where
// the task is queued it is kept from others until settle.
func (s *Scheduler) mayTakeBack(t *task, p api.TaskProgress) (w api.WorkerInfo, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := t.ranOut(p.Worker, p.Attempt); !ok || t.Final() || t.gone {
		return w, leaseLost(p.Task)
	}
	busy := &api.ErrBusy{What: "task " + t.Spec.Key, Reason: "it is not free at this moment"}
	me := s.workers[p.Worker]
	if me == nil || t.claiming {
		return w, busy // a worker that is not known will claim soon
	}
	if t.State == api.TaskRunning {
		if t.computed && !p.Computed || t.computed == p.Computed && t.spent >= p.Spent {
			return w, leaseLost(p.Task)
		}
		return me.WorkerInfo, nil
	}
	if sec := s.sectors[t.Spec.Sector]; sec != nil && sec.running != nil {
		return w, busy
	}
	if blocker, _ := s.files.HoldFor(t.ID, t.Spec, name(me.WorkerInfo)); blocker != "" {
		return w, busy
	}
	s.begin(t)
	return me.WorkerInfo, nil
}

// ranOut finds the run of the work that a worker speaks of among those whose
// claims ran out.
func (r *record) ranOut(worker api.UUID, attempt int) (run, bool) {
	for _, c := range r.Past {
		if c.Worker == worker && c.Since <= attempt && attempt <= c.Last {
			return c, true
		}
	}
	return run{}, false
}

// ranOutNow remembers the present run of the work as one whose claim ran out.
func (r *record) ranOutNow() {
	r.Past = append(r.Past[:len(r.Past):len(r.Past)], run{Worker: r.WorkerID, Since: r.Since, Last: r.Attempts})
	if n := len(r.Past) - maxPast; n > 0 {
		r.Past = r.Past[n:]
	}
}

// Done takes the final report of a worker. It is safe to repeat; a report on a
// task that is final or forgotten is accepted silently. A worker that lost the
// task to another one gets *api.ErrLeaseLost, unless it brings the result: what
// is computed counts. A result that is too large is refused for good with
// *api.ErrInvalid.
func (s *Scheduler) Done(ctx context.Context, r api.TaskReport) error {
	if len(r.Result) > api.MaxResult {
		return &api.ErrInvalid{
			What:   "result of task " + r.Task.String(),
			Reason: fmt.Sprintf("it has %d bytes, more than %d", len(r.Result), api.MaxResult),
			Hint:   "bulk is put into the store of bulk results and named",
		}
	}
	if r.Failure != nil {
		f := *r.Failure
		f.Text = f.Text[:min(len(f.Text), maxFailure)]
		if len(f.Detail) > maxFailure {
			f.Code, f.Detail = 0, nil // the text says what is left of it
		}
		r.Failure = &f
	}
	t, err := s.find(r.Task)
	if err != nil {
		return nil
	}
	err = s.change(ctx, t, func(rec *record) error { return s.end(rec, r) })
	var unknown *api.ErrNotFound
	if errors.Is(err, errMoved) || errors.As(err, &unknown) {
		return nil
	}
	return err
}

func (s *Scheduler) end(rec *record, r api.TaskReport) error {
	holds := rec.State == api.TaskRunning && rec.WorkerID == r.Worker && rec.Since <= r.Attempt && r.Attempt <= rec.Attempts
	_, former := rec.ranOut(r.Worker, r.Attempt)
	switch {
	case rec.Final():
		return errMoved
	case !holds && !(former && r.Failure == nil):
		return leaseLost(r.Task)
	case r.Failure == nil:
		rec.State, rec.Result, rec.Failure = api.TaskDone, bytes.Clone(r.Result), nil
		rec.Percent, rec.ETA, rec.Past = 100, 0, nil
	case r.Failure.Retryable:
		s.again(rec, r.Failure)
	default:
		rec.State, rec.Failure, rec.Past = api.TaskFailed, r.Failure, nil
	}
	return nil
}

// maxDelay bounds the delay after a retryable failure.
const maxDelay = 5 * time.Minute

// again queues a task after a failure outside the data, or gives up.
func (s *Scheduler) again(r *record, why *api.Failure) {
	r.Tries++
	var full *api.ErrNoSpace // a disk that is full is waited for: an operator frees it, not another try
	if r.Tries >= s.cfg.MaxTries && !errors.As(why, &full) {
		r.State, r.Failure, r.Past = api.TaskFailed, why, nil
		return
	}
	r.queue(why)
	r.NotBefore = time.Now().Add(min(s.cfg.RetryDelay<<min(r.Tries-1, 16), maxDelay))
}
