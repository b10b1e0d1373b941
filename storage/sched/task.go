package sched

import (
	"bytes"
	"cmp"
	"context"
	"sync"
	"time"

	"quarry/api"
)

// record is what is stored of a task.
type record struct {
	api.TaskStatus
	WorkerID  api.UUID
	Session   api.UUID
	Since     int       // the fencing number with which the present run of the work began
	Seq       uint64    // order of submission
	Tries     int       // retryable failures
	NotBefore time.Time // after a retryable failure
	Past      []run     `json:",omitempty"` // that ran out, oldest first
}

// run is one execution of a task by one worker.
type run struct {
	Worker      api.UUID
	Since, Last int // the fencing numbers under which it ran
}

// maxPast bounds record.Past.
const maxPast = 8

// live is what a restart may forget of a running task.
type live struct {
	lease    time.Time
	spent    time.Duration
	computed bool
}

// task is a record with its place in the queues. Scheduler.mu guards all but op.
type task struct {
	record
	live
	op       sync.Mutex    // held by whoever changes the record, also while it is written
	changed  chan struct{} // closed and replaced at every change; nil while nobody waits
	claiming bool          // chosen for a worker, and being written
	gone     bool          // forgotten
}

func bySeq(a, b *task) int { return cmp.Compare(a.Seq, b.Seq) }

// view is a copy that shares no memory with the task.
func (t *task) view() api.TaskStatus {
	v := t.TaskStatus
	v.Result = bytes.Clone(v.Result)
	v.Spec.Params = bytes.Clone(v.Spec.Params)
	if v.Failure != nil {
		f := *v.Failure
		v.Failure = &f
	}
	return v
}

// summary is what lists show of the task; it shares no memory with it.
func (t *task) summary() api.TaskStatus {
	v := t.Summary()
	if v.Failure != nil {
		f := *v.Failure
		v.Failure = &f
	}
	return v
}

// heldBy tells whether the run of the work that a worker speaks of has the task.
func (t *task) heldBy(worker api.UUID, attempt int) bool {
	return t.State == api.TaskRunning && t.WorkerID == worker && t.Since <= attempt && attempt <= t.Attempts
}

// change applies f to a copy of the record, stores the copy, and only then shows
// it. f decides on the record as it is and refuses with an error, which changes
// nothing. The caller does not hold mu.
func (s *Scheduler) change(ctx context.Context, t *task, f func(*record) error) error {
	t.op.Lock()
	defer t.op.Unlock()
	s.mu.Lock()
	next, gone := t.record, t.gone
	s.mu.Unlock()
	if gone {
		return unknownTask(t.ID)
	}
	if err := f(&next); err != nil {
		return err
	}
	next.Updated = time.Now().UTC()
	if err := s.save(ctx, next); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next.Stage, next.Percent, next.ETA = t.keepProgress(next)
	s.leave(t)
	t.record = next
	s.enter(t)
	return nil
}

// keepProgress is the progress to show after a change: reports go on while a
// change is written, and a run that goes on keeps its own.
func (t *task) keepProgress(next record) (stage string, percent float64, eta time.Duration) {
	if t.State == api.TaskRunning && next.State == api.TaskRunning && t.WorkerID == next.WorkerID && t.Since == next.Since {
		return t.Stage, t.Percent, t.ETA
	}
	return next.Stage, next.Percent, next.ETA
}

// add makes a task known. The caller holds mu, and puts it into its queue.
func (s *Scheduler) add(t *task) {
	s.tasks[t.ID], s.byKey[t.Spec.Key] = t, t
	s.bySeq = append(s.bySeq, t)
}

// enter puts a task where its state belongs and tells who waits.
func (s *Scheduler) enter(t *task) {
	switch t.State {
	case api.TaskQueued:
		s.enqueue(t)
	case api.TaskRunning:
		s.occupy(t)
		t.lease = time.Now().Add(s.cfg.Lease)
		s.files.HoldFor(t.ID, t.Spec, t.Worker)
	}
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// leave takes a task out of where its state had put it.
func (s *Scheduler) leave(t *task) {
	switch t.State {
	case api.TaskQueued:
		s.dequeue(t)
	case api.TaskRunning:
		s.vacate(t)
	}
}

// occupy notes that the sector and the worker of a task are busy with it.
func (s *Scheduler) occupy(t *task) {
	s.busy(t)
	if w := s.workers[t.WorkerID]; w != nil {
		w.running[t.ID] = t
	}
}

// busy takes the other tasks of a sector out of the ready ones.
func (s *Scheduler) busy(t *task) {
	sec := s.sector(t.Spec.Sector)
	sec.running = t
	for _, w := range sec.waiting {
		s.ready.remove(w)
	}
}

// free makes the other tasks of a sector ready.
func (s *Scheduler) free(t *task) {
	sec := s.sector(t.Spec.Sector)
	if sec.running == t {
		sec.running = nil
		for _, w := range sec.waiting {
			s.ready.insert(w)
		}
	}
	s.tidy(t.Spec.Sector)
	s.wake() // cores, memory or the sector
}

// vacate is the opposite of occupy.
func (s *Scheduler) vacate(t *task) {
	if w := s.workers[t.WorkerID]; w != nil {
		delete(w.running, t.ID)
	}
	s.files.Release(t.ID)
	s.free(t)
}

func (s *Scheduler) sector(ref api.SectorRef) *sector {
	if s.sectors[ref] == nil {
		s.sectors[ref] = &sector{}
	}
	return s.sectors[ref]
}

func (s *Scheduler) tidy(ref api.SectorRef) {
	if sec := s.sectors[ref]; sec != nil && sec.running == nil && len(sec.waiting) == 0 {
		delete(s.sectors, ref)
	}
}
