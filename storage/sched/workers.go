package sched

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"quarry/api"
)

// worker is a process that asks for tasks.
type worker struct {
	api.WorkerInfo
	since   time.Time // of the session
	seen    time.Time
	cancel  context.CancelFunc // of the claim that waits now
	claims  int                // that wait now
	left    bool               // the last claim ended because the connection did
	running map[api.UUID]*task
}

// signOfLife is how long a worker that was heard of keeps a second process from
// taking its identity: three progress reports.
const signOfLife = 15 * time.Second

// lives tells whether the process that is known under the identity is there.
func (w *worker) lives(now time.Time) bool {
	return w.claims > 0 || !w.left && now.Sub(w.seen) < signOfLife
}

func name(w api.WorkerInfo) string { return w.Hostname + " " + w.ID.String()[:8] }

// used sums what the worker's running tasks take.
func (w *worker) used() (sum Resources) {
	for _, t := range w.running {
		if n, err := Needs(t.Spec.Type, t.Spec.Sector.ProofType); err == nil {
			sum.add(n)
		}
	}
	return sum
}

// register makes the worker known and lists the tasks that it came back without.
func (s *Scheduler) register(w api.WorkerInfo, held []api.HeldTask, cancel context.CancelFunc) (*worker, []*task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	me := s.workers[w.ID]
	switch {
	case me == nil:
		me = &worker{since: now, running: map[api.UUID]*task{}}
		s.workers[w.ID] = me
		s.adopt(me, w.ID)
	case me.Session != w.Session && me.lives(now):
		return nil, nil, &api.ErrBusy{
			What: "worker identity " + w.ID.String(),
			Reason: fmt.Sprintf("another process on %s has worked under it since %s; stop one of the two, or give this one a repo of its own",
				me.Hostname, me.since.UTC().Format(time.RFC3339)),
		}
	case me.Session != w.Session:
		me.since = now
	}
	if me.cancel != nil {
		me.cancel()
	}
	changedPaths := !slices.Equal(me.Paths, w.Paths)
	me.WorkerInfo, me.seen, me.cancel = copyInfo(w), now, cancel
	me.claims++
	me.left = false
	if changedPaths {
		s.wake() // others may have waited for this one's files
	}
	var lost []*task
	for _, t := range me.running {
		if !slices.ContainsFunc(held, func(h api.HeldTask) bool { return h.Task == t.ID && t.heldBy(w.ID, h.Attempt) }) {
			lost = append(lost, t)
			continue
		}
		t.lease = now.Add(s.cfg.Lease)
	}
	slices.SortFunc(lost, bySeq)
	return me, lost, nil
}

// adopt gives a worker that is new to this process the tasks that it had before.
func (s *Scheduler) adopt(me *worker, id api.UUID) {
	for _, sec := range s.sectors {
		if t := sec.running; t != nil && t.State == api.TaskRunning && t.WorkerID == id {
			me.running[t.ID] = t
		}
	}
}

// claimed notes the end of a claim. One that the caller broke off means that the
// process may be gone.
func (s *Scheduler) claimed(ctx context.Context, me *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	me.claims--
	me.left = ctx.Err() != nil && me.claims == 0
	me.seen = time.Now()
}

// Run takes tasks from workers that were silent for a whole lease, until ctx
// ends.
func (s *Scheduler) Run(ctx context.Context) error {
	tick := time.NewTicker(min(s.cfg.Lease/4, s.cfg.Silence))
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

// keepWorker is how many leases a silent worker stays in the list.
const keepWorker = 4

func (s *Scheduler) reap(ctx context.Context) error {
	s.mu.Lock()
	now := time.Now()
	var silent []*task
	for _, sec := range s.sectors {
		if t := sec.running; t != nil && t.State == api.TaskRunning && now.After(t.lease) {
			silent = append(silent, t)
		}
	}
	for id, w := range s.workers {
		if w.claims == 0 && len(w.running) == 0 && now.Sub(w.seen) > keepWorker*s.cfg.Lease {
			delete(s.workers, id)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(silent, bySeq)
	var errs []error
	for _, t := range silent {
		errs = append(errs, s.runOut(ctx, t))
	}
	return errors.Join(errs...)
}

// runOut ends a claim that was not kept. Its worker may have the task back later.
func (s *Scheduler) runOut(ctx context.Context, t *task) error {
	err := s.change(ctx, t, func(r *record) error {
		s.mu.Lock()
		over := r.State == api.TaskRunning && time.Now().After(t.lease)
		s.mu.Unlock()
		if !over {
			return errMoved
		}
		s.log.Warn("task is queued again: its worker was silent for a whole lease", "task", r.Spec.Key, "worker", r.Worker, "lease", s.cfg.Lease)
		why := &api.ErrLeaseLost{What: "task " + r.Spec.Key + ": worker " + r.Worker + " was silent for " + s.cfg.Lease.String()}
		r.ranOutNow()
		r.queue(api.NewFailure(why, true))
		return nil
	})
	var unknown *api.ErrNotFound
	if errors.Is(err, errMoved) || errors.As(err, &unknown) {
		return nil
	}
	return err
}
