package sched

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"quarry/api"
	"quarry/internal/holder"
)

// worker is a process that asks for tasks.
type worker struct {
	api.WorkerInfo
	seen    time.Time
	cancel  context.CancelFunc // of the claim that waits now
	claims  int                // that wait now
	running map[api.UUID]*task
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
	if err := s.identify(w, now); err != nil {
		return nil, nil, err
	}
	me := s.workers[w.ID]
	if me == nil {
		me = &worker{running: map[api.UUID]*task{}}
		s.workers[w.ID] = me
		s.adopt(me, w.ID)
	}
	if me.cancel != nil {
		me.cancel()
	}
	changedPaths := !slices.Equal(me.Paths, w.Paths)
	me.WorkerInfo, me.seen, me.cancel = copyInfo(w), now, cancel
	me.claims++
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

// identify sees to it that an identity of a worker belongs to one process at a
// time, since tasks and files do. A copy of a worker that is alive gets no work
// and is told which process that is; the tasks of the first are not touched.
func (s *Scheduler) identify(w api.WorkerInfo, now time.Time) error {
	err := s.alive.Claim(w.ID.String(), holder.Claimant{
		Holder:   holder.Holder{PID: w.PID, Host: w.Hostname, Since: now},
		Instance: w.Session,
		Place:    w.Place,
	})
	var used *holder.ErrHeld
	if !errors.As(err, &used) {
		return err
	}
	return &api.ErrInUse{
		What:   "the identity of worker " + w.ID.String(),
		Holder: used.Holder,
		Hint: fmt.Sprintf("one of the two runs on a copy of the other's repo: stop one, and give it a repo of its own; "+
			"it is forgotten when it was silent for %s", s.alive.Silence()),
	}
}

// adopt gives a worker that is new to this process the tasks that it had before.
func (s *Scheduler) adopt(me *worker, id api.UUID) {
	for _, sec := range s.sectors {
		if t := sec.running; t != nil && t.State == api.TaskRunning && t.WorkerID == id {
			me.running[t.ID] = t
		}
	}
}

// claimed notes the end of a claim.
func (s *Scheduler) claimed(me *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	me.claims--
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
		s.log.Warn("task is queued again: its worker was silent for a whole lease", "task", r.Spec.Key, "worker", r.Worker, "lease",
			s.cfg.Lease)
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
