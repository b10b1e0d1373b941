package sched

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"quarry/api"
)

// Claim registers the worker and gives it at most one task; nil when none
// fitted within Config.ClaimWait. A newer claim of the same worker ends an older
// one, whose answer may have nobody to read it. A second process with a worker's
// identity is refused with *api.ErrInUse while the first one lives.
func (s *Scheduler) Claim(ctx context.Context, w api.WorkerInfo, held []api.HeldTask) (*api.TaskStatus, error) {
	if w.ID == uuid.Nil || w.Session == uuid.Nil {
		return nil, &api.ErrInvalid{What: "worker " + w.Hostname, Reason: "it has no ID or session"}
	}
	limited, cancel := context.WithTimeout(ctx, s.cfg.ClaimWait)
	defer cancel()
	me, lost, err := s.register(w, held, cancel)
	if err != nil {
		return nil, err
	}
	defer s.claimed(me)
	if err := s.release(ctx, lost, me.WorkerInfo); err != nil {
		return nil, err
	}
	for {
		t, changed, next := s.choose(limited, me, held)
		if t == nil {
			if !await(limited, changed, next) {
				return nil, nil
			}
			continue
		}
		v, err := s.grant(ctx, t, me.WorkerInfo)
		if v != nil || err != nil {
			return v, err
		}
	}
}

// await returns true when a claim should look again, false when its time is over.
func await(ctx context.Context, changed <-chan struct{}, next time.Time) bool {
	var timer <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(time.Until(next))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-timer:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// errMoved says that a task is not any more what a decision was made about.
var errMoved = errors.New("the task has moved on")

// release queues again what a worker came back without.
func (s *Scheduler) release(ctx context.Context, lost []*task, w api.WorkerInfo) error {
	for _, t := range lost {
		err := s.change(ctx, t, func(r *record) error {
			if r.State != api.TaskRunning || r.WorkerID != w.ID {
				return errMoved
			}
			s.log.Warn("task is queued again: its worker came back without it", "task", r.Spec.Key, "worker", name(w))
			r.queue(api.NewFailure(&api.ErrLeaseLost{What: "task " + r.Spec.Key + ": worker " + name(w) + " came back without it"}, true))
			return nil
		})
		if err != nil && !errors.Is(err, errMoved) {
			return err
		}
	}
	return nil
}

// queue takes a task from its worker.
func (r *record) queue(why *api.Failure) {
	r.State, r.Failure = api.TaskQueued, why
	r.WorkerID, r.Session, r.Worker = uuid.Nil, uuid.Nil, ""
	r.Stage, r.Percent, r.ETA = "", 0, 0
}

// choose takes the best task that fits a worker out of the ready ones. Without
// one it gives the channel that tells of a change, and the time at which it
// should be asked again in any case.
func (s *Scheduler) choose(ctx context.Context, me *worker, held []api.HeldTask) (*task, <-chan struct{}, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	next := s.due(now)
	if ctx.Err() != nil { // replaced by a newer claim, or nobody listens any more
		return nil, s.changed, next
	}
	me.seen = now
	p := picker{
		s:    s,
		ctx:  ctx,
		me:   me,
		used: me.used(),
		held: held,
		now:  now,
		next: next,
	}
	s.inOrder(p.wants, p.consider)
	if p.found != nil {
		s.begin(p.found)
	}
	return p.found, s.changed, p.next
}

// begin keeps everybody else away from a task that is about to be somebody's; end
// it with settle. The caller holds mu.
func (s *Scheduler) begin(t *task) {
	t.claiming = true
	s.dequeue(t)
	s.busy(t)
}

// settle ends what begin began: a task that is still queued waits again, and one
// that has ended meanwhile gives its sector free.
func (s *Scheduler) settle(t *task) {
	t.claiming = false
	if t.State == api.TaskRunning {
		return
	}
	s.files.Release(t.ID)
	s.dequeue(t)
	s.free(t)
	if t.State == api.TaskQueued && !t.gone {
		s.enqueue(t)
	}
}

// picker is the search of one claim for a task.
type picker struct {
	s     *Scheduler
	ctx   context.Context // one search
	me    *worker
	used  Resources
	held  []api.HeldTask
	now   time.Time
	drain bool // a wide task waits for some of those that compute to end
	found *task
	next  time.Time // when something may be different though nothing changed
}

// wants tells whether a class is worth looking at.
func (p *picker) wants(c class) bool {
	need, err := Needs(c.kind, c.proof)
	if err != nil || !slices.Contains(p.me.TaskTypes, c.kind) || p.drain && need.cores(p.me.CPUs) > 0 {
		return false
	}
	if !need.fits(p.used, p.me.WorkerInfo) {
		p.drain = p.drain || need.Wide > p.used.Wide && need.fits(Resources{}, p.me.WorkerInfo)
		return false
	}
	return true
}

// consider takes t unless something is in its way; it returns true to go on.
func (p *picker) consider(t *task) bool {
	if slices.ContainsFunc(p.held, func(h api.HeldTask) bool { return h.Task == t.ID }) {
		return true // the worker still works on it under an older claim, and will hear of that
	}
	if need, _ := Needs(t.Spec.Type, t.Spec.Sector.ProofType); p.drain && need.cores(p.me.CPUs) > 0 {
		return true
	}
	if !p.best(t) {
		return true
	}
	if blocker, until := p.s.files.HoldFor(t.ID, t.Spec, name(p.me.WorkerInfo)); blocker != "" {
		p.look(until)
		return true
	}
	p.found = t
	return false
}

// look asks for another search at a time.
func (p *picker) look(at time.Time) {
	if !at.IsZero() && (p.next.IsZero() || at.Before(p.next)) {
		p.next = at
	}
}

// best tells whether the worker reaches the task's files, and no other living
// worker that has more of them at hand deserves to be waited for.
func (p *picker) best(t *task) bool {
	score, why := p.s.reach(p.ctx, p.me.WorkerInfo, t.TaskStatus)
	if why != "" {
		return false
	}
	alone := later(t.Updated, t.NotBefore).Add(p.s.cfg.Affinity)
	if p.now.After(alone) {
		return true
	}
	for id, o := range p.s.workers {
		if id == p.me.ID || p.now.Sub(o.seen) > p.s.cfg.Silence || !slices.Contains(o.TaskTypes, t.Spec.Type) {
			continue
		}
		if other, why := p.s.reach(p.ctx, o.WorkerInfo, t.TaskStatus); why == "" && other > score {
			p.look(alone.Add(time.Millisecond))
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

// grant stores that a chosen task is the worker's. It gives nothing when the task
// has moved on meanwhile.
func (s *Scheduler) grant(ctx context.Context, t *task, w api.WorkerInfo) (*api.TaskStatus, error) {
	err := s.change(ctx, t, func(r *record) error {
		if r.State != api.TaskQueued || ctx.Err() != nil {
			return errMoved
		}
		r.State, r.Worker, r.WorkerID = api.TaskRunning, name(w), w.ID
		r.Session = w.Session
		r.Attempts++
		r.Since = r.Attempts
		r.Stage, r.Percent, r.ETA = "", 0, 0
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(t)
	if errors.Is(err, errMoved) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t.spent, t.computed = 0, false
	v := t.view()
	return &v, nil
}
