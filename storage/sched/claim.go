package sched

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"quarry/api"
)

// taskOrder sorts equal priorities: what frees space or finishes a sector goes
// before what starts a new one (lotus sealtasks/task.go).
var taskOrder = map[api.TaskType]int{
	api.TaskFinalize: -3, api.TaskFinalizeUpdate: -2, api.TaskUnseal: 1, api.TaskCommit1: 2, api.TaskCommit2: 3, api.TaskPreCommit2: 4, api.TaskPreCommit1: 5,
	api.TaskProveUpdate1: 6, api.TaskProveUpdate2: 7, api.TaskUpdate: 8, api.TaskAddPiece: 9,
}

// Claim registers the worker and gives it at most one task; nil when none
// fitted within Config.ClaimWait. A newer claim of the same worker ends an older
// one, whose answer may have nobody to read it.
func (s *Scheduler) Claim(ctx context.Context, w api.WorkerInfo, held []api.HeldTask) (*api.TaskStatus, error) {
	if w.ID == uuid.Nil || w.Session == uuid.Nil {
		return nil, &api.ErrInvalid{What: "worker " + w.Hostname, Reason: "it has no ID or session"}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ClaimWait)
	defer cancel()
	if err := s.register(ctx, w, held, cancel); err != nil {
		return nil, err
	}
	poll := time.NewTicker(min(s.cfg.ClaimWait/10+time.Millisecond, time.Second)) // files move and delays end without a change here
	defer poll.Stop()
	for {
		got, changed, err := s.pick(ctx, w)
		if got != nil || err != nil {
			return got, err
		}
		select {
		case <-changed:
		case <-poll.C:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

func (s *Scheduler) register(ctx context.Context, w api.WorkerInfo, held []api.HeldTask, cancel context.CancelFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.workers[w.ID]; old != nil && old.cancel != nil {
		old.cancel()
	}
	s.workers[w.ID] = &worker{WorkerInfo: copyInfo(w), seen: time.Now(), cancel: cancel}
	for _, t := range s.tasks {
		if t.State != api.TaskRunning || t.WorkerID != w.ID {
			continue
		}
		if slices.Contains(held, api.HeldTask{Task: t.ID, Attempt: t.Attempts}) {
			t.lease = time.Now().Add(s.cfg.Lease)
			t.Session = w.Session
			continue
		}
		if err := s.requeue(ctx, t, &api.ErrLeaseLost{What: "task " + t.Spec.Key + ": worker " + name(w) + " does not work on it any more"}); err != nil {
			return err
		}
	}
	return nil
}

func name(w api.WorkerInfo) string { return w.Hostname + " " + w.ID.String()[:8] }

// pick assigns the best task that fits w, and otherwise gives the channel that
// tells of a change.
func (s *Scheduler) pick(ctx context.Context, w api.WorkerInfo) (*api.TaskStatus, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil { // replaced by a newer claim, or nobody listens any more
		return nil, s.changed, nil
	}
	s.workers[w.ID].seen = time.Now()
	used, busy := s.occupied(w.ID)
	drain := false // a wide task waits for some of those that compute to end
	for _, t := range s.queue() {
		need, err := Needs(t.Spec.Type, t.Spec.Sector.ProofType)
		if err != nil || !slices.Contains(w.TaskTypes, t.Spec.Type) || busy[t.Spec.Sector] || drain && need.cores(w.CPUs) > 0 {
			continue
		}
		if !need.fits(used, w) {
			drain = drain || need.Wide > used.Wide && need.fits(Resources{}, w)
			continue
		}
		if !s.best(ctx, t, w) {
			continue
		}
		err = s.change(ctx, t, func(t *task) {
			t.State, t.Worker, t.WorkerID, t.Session = api.TaskRunning, name(w), w.ID, w.Session
			t.Attempts++
			t.Stage, t.Percent, t.Failure = "", 0, nil
			t.lease = time.Now().Add(s.cfg.Lease)
		})
		if err != nil {
			return nil, nil, err
		}
		v := t.view()
		return &v, nil, nil
	}
	return nil, s.changed, nil
}

// queue lists the tasks that may start now, first one first.
func (s *Scheduler) queue() []*task {
	var q []*task
	now := time.Now()
	for _, t := range s.tasks {
		if t.State == api.TaskQueued && !now.Before(t.NotBefore) {
			q = append(q, t)
		}
	}
	slices.SortFunc(q, func(a, b *task) int {
		return cmp.Or(cmp.Compare(b.Spec.Priority, a.Spec.Priority),
			cmp.Compare(taskOrder[a.Spec.Type], taskOrder[b.Spec.Type]), cmp.Compare(a.Seq, b.Seq))
	})
	return q
}

// occupied sums what the worker's running tasks take, and lists the sectors that
// anybody works on: tasks of one sector never run at the same time.
func (s *Scheduler) occupied(id api.UUID) (used Resources, busy map[api.SectorRef]bool) {
	busy = map[api.SectorRef]bool{}
	for _, t := range s.tasks {
		if t.State != api.TaskRunning {
			continue
		}
		busy[t.Spec.Sector] = true
		if t.WorkerID == id {
			if n, err := Needs(t.Spec.Type, t.Spec.Sector.ProofType); err == nil {
				used.add(n)
			}
		}
	}
	return used, busy
}

// best tells whether w reaches the task's files, and no other living worker that
// has more of them at hand deserves to be waited for.
func (s *Scheduler) best(ctx context.Context, t *task, w api.WorkerInfo) bool {
	score, ok := s.reach(ctx, w, t.Spec)
	if !ok {
		return false
	}
	if time.Since(later(t.Updated, t.NotBefore)) > s.cfg.Affinity {
		return true
	}
	for id, o := range s.workers {
		if id == w.ID || time.Since(o.seen) > s.cfg.Lease || !slices.Contains(o.TaskTypes, t.Spec.Type) {
			continue
		}
		if other, ok := s.reach(ctx, o.WorkerInfo, t.Spec); ok && other > score {
			return false
		}
	}
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// requeue takes a running task from its worker.
func (s *Scheduler) requeue(ctx context.Context, t *task, why error) error {
	s.log.Warn("task is queued again", "task", t.Spec.Key, "reason", why, "attempt", t.Attempts)
	return s.change(ctx, t, func(t *task) { s.again(t, api.NewFailure(why, true)) })
}

// again queues t after a failure outside the data, or gives up.
func (s *Scheduler) again(t *task, why *api.Failure) {
	t.WorkerID, t.Session, t.Worker, t.Stage, t.Percent = uuid.Nil, uuid.Nil, "", "", 0
	t.Failure = why
	if t.Attempts >= s.cfg.MaxTries {
		t.State = api.TaskFailed
		return
	}
	t.State = api.TaskQueued
	delay := s.cfg.RetryDelay << min(max(t.Attempts-1, 0), 16)
	t.NotBefore = time.Now().Add(min(delay, 5*time.Minute))
}

// held gives the task if the worker holds it.
func (s *Scheduler) held(worker, id api.UUID) (*task, error) {
	t := s.tasks[id]
	if t == nil || t.State != api.TaskRunning || t.WorkerID != worker {
		return nil, &api.ErrLeaseLost{What: "task " + id.String()}
	}
	return t, nil
}

// Progress keeps a claim alive; *api.ErrLeaseLost means stop. Progress is not
// stored: a restart forgets it.
func (s *Scheduler) Progress(_ context.Context, p api.TaskProgress) (api.TaskClaim, error) {
	if len(p.Stage) > 200 {
		p.Stage = p.Stage[:200]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.held(p.Worker, p.Task)
	if err != nil {
		return api.TaskClaim{}, err
	}
	now := time.Now()
	t.lease = now.Add(s.cfg.Lease)
	t.Stage, t.Percent = p.Stage, min(max(p.Percent, 0), 100)
	if w := s.workers[p.Worker]; w != nil {
		w.seen = now
	}
	if started := t.Updated; t.Percent >= 1 {
		t.ETA = time.Duration(float64(now.Sub(started)) * (100 - t.Percent) / t.Percent).Round(time.Second)
	}
	return api.TaskClaim{Attempt: t.Attempts, Lease: s.cfg.Lease}, nil
}

// Done takes the final report of a worker. It is safe to repeat; a report on a
// task that is final or forgotten is accepted silently. A worker that lost the
// task to another one gets *api.ErrLeaseLost.
func (s *Scheduler) Done(ctx context.Context, r api.TaskReport) error {
	if len(r.Result) > api.MaxResult {
		return &api.ErrInvalid{What: "result of task " + r.Task.String(), Reason: fmt.Sprintf("%d bytes are too many", len(r.Result))}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[r.Task]; t == nil || t.Final() {
		return nil
	}
	t, err := s.held(r.Worker, r.Task)
	if err != nil {
		return err
	}
	return s.change(ctx, t, func(t *task) {
		switch {
		case r.Failure == nil:
			t.State, t.Result, t.Failure, t.Percent, t.ETA = api.TaskDone, bytes.Clone(r.Result), nil, 100, 0
		case r.Failure.Retryable:
			s.again(t, r.Failure)
		default:
			t.State, t.Failure = api.TaskFailed, r.Failure
		}
	})
}

// Workers lists those heard of within ten leases.
func (s *Scheduler) Workers(context.Context) ([]api.WorkerStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []api.WorkerStatus{}
	for _, w := range s.workers {
		st := api.WorkerStatus{WorkerInfo: copyInfo(w.WorkerInfo), LastSeen: w.seen}
		for _, t := range s.sorted() {
			if t.State == api.TaskRunning && t.WorkerID == w.ID {
				v := t.view()
				v.Result = nil
				st.Running = append(st.Running, v)
			}
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b api.WorkerStatus) int {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return out, nil
}

func copyInfo(w api.WorkerInfo) api.WorkerInfo {
	w.TaskTypes, w.GPUs, w.Paths = slices.Clone(w.TaskTypes), slices.Clone(w.GPUs), slices.Clone(w.Paths)
	return w
}

// Run takes tasks from workers that fell silent, until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.reap(ctx); err != nil {
			s.log.Error("tasks of silent workers could not be queued again; it will be tried again", "err", err)
		}
	}
}

func (s *Scheduler) reap(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, t := range s.tasks {
		if t.State == api.TaskRunning && now.After(t.lease) {
			if err := s.requeue(ctx, t, &api.ErrLeaseLost{What: "task " + t.Spec.Key + ": worker " + t.Worker + " fell silent"}); err != nil {
				return err
			}
		}
	}
	for id, w := range s.workers {
		if now.Sub(w.seen) > 10*s.cfg.Lease {
			delete(s.workers, id)
		}
	}
	return nil
}
