package sched

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"quarry/api"
)

// maxKey bounds the key of a task, in bytes.
const maxKey = 512

// Submit queues a task, or gives the one of the same key.
func (s *Scheduler) Submit(ctx context.Context, spec api.TaskSpec) (api.TaskStatus, error) {
	if spec.Key == "" || len(spec.Key) > maxKey {
		return api.TaskStatus{}, &api.ErrInvalid{What: "task", Reason: fmt.Sprintf("its key is empty or longer than %d bytes", maxKey)}
	}
	if _, err := Needs(spec.Type, spec.Sector.ProofType); err != nil {
		return api.TaskStatus{}, err
	}
	spec.Params = bytes.Clone(spec.Params)
	t, isNew := s.reserve(spec)
	if isNew {
		return s.submit(ctx, t)
	}
	return s.resubmit(ctx, t, spec)
}

// reserve gives the task of a key, which it makes when there is none. A new task
// comes with its op held, so that nobody is told of it before it is stored.
func (s *Scheduler) reserve(spec api.TaskSpec) (t *task, isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.byKey[spec.Key]; t != nil {
		return t, false
	}
	now := time.Now().UTC()
	t = &task{record: record{Seq: s.seq, TaskStatus: api.TaskStatus{
		ID:        uuid.New(),
		Spec:      spec,
		State:     api.TaskQueued,
		Submitted: now,
		Updated:   now,
	}}}
	s.seq++
	t.op.Lock()
	s.byKey[spec.Key] = t
	return t, true
}

func (s *Scheduler) submit(ctx context.Context, t *task) (api.TaskStatus, error) {
	defer t.op.Unlock()
	err := s.save(ctx, t.record)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		t.gone = true
		delete(s.byKey, t.Spec.Key)
		return api.TaskStatus{}, err
	}
	s.tasks[t.ID] = t
	i, _ := slices.BinarySearchFunc(s.bySeq, t, bySeq) // others may have been stored sooner
	s.bySeq = slices.Insert(s.bySeq, i, t)
	s.enter(t)
	return s.status(ctx, t), nil
}

// resubmit answers a key that is known. What differs only in how the same data is
// reached replaces the old.
func (s *Scheduler) resubmit(ctx context.Context, t *task, spec api.TaskSpec) (api.TaskStatus, error) {
	t.op.Lock() // it may be on its way into the store
	s.mu.Lock()
	have, gone, v := t.Spec, t.gone, s.status(ctx, t)
	s.mu.Unlock()
	t.op.Unlock()
	switch {
	case gone:
		return s.Submit(ctx, spec)
	case have.Type != spec.Type || have.Sector != spec.Sector || !sameJSON(have.Params, spec.Params):
		return api.TaskStatus{}, &api.ErrInvalid{
			What:   "task " + spec.Key,
			Reason: "the key belongs to a task with other parameters",
			Hint:   "choose another key, or forget the old task",
		}
	case v.Final() || bytes.Equal(have.Params, spec.Params):
		return v, nil
	}
	err := s.change(ctx, t, func(r *record) error {
		if !r.Final() {
			r.Spec.Params = spec.Params
		}
		return nil
	})
	if err != nil {
		return api.TaskStatus{}, err
	}
	return s.Get(ctx, t.ID)
}

// sameJSON compares two values after removing white space, which transports
// may change. Field values may differ in a retried call where they do not matter
// (a data reference carries a fresh token), so AddPiece compares less: see
// identity.
func sameJSON(a, b json.RawMessage) bool {
	return bytes.Equal(identity(a), identity(b))
}

func identity(raw json.RawMessage) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) == nil {
		delete(fields, "Data")
		if b, err := json.Marshal(fields); err == nil {
			return b
		}
	}
	var out bytes.Buffer
	if json.Compact(&out, raw) != nil {
		return raw
	}
	return out.Bytes()
}

// Retry lets a queued task be tried at once, whatever delay it was given.
func (s *Scheduler) Retry(ctx context.Context, id api.UUID) error {
	t, err := s.find(id)
	if err != nil {
		return err
	}
	return s.change(ctx, t, func(r *record) error {
		if r.State == api.TaskQueued {
			r.Tries, r.NotBefore = 0, time.Time{}
		}
		return nil
	})
}

// Abort takes a running task from its worker, for good: that run of the work does
// not get it back, whatever it has spent.
func (s *Scheduler) Abort(ctx context.Context, id api.UUID) error {
	t, err := s.find(id)
	if err != nil {
		return err
	}
	return s.change(ctx, t, func(r *record) error {
		if r.State == api.TaskRunning {
			s.log.Warn("task is taken from its worker on request", "task", r.Spec.Key, "worker", r.Worker)
			r.queue(api.NewFailure(&api.ErrLeaseLost{What: "task " + r.Spec.Key + " was taken from worker " + r.Worker +
				" on request"}, true))
			r.Past, r.NotBefore = nil, time.Time{}
		}
		return nil
	})
}

// Cancel ends a task that nobody wants any more, for good. Its worker is told at
// its next report that it has ended.
func (s *Scheduler) Cancel(ctx context.Context, id api.UUID) error {
	t, err := s.find(id)
	if err != nil {
		return nil
	}
	err = s.change(ctx, t, func(r *record) error {
		if r.Final() {
			return errMoved
		}
		s.log.Info("task is cancelled", "task", r.Spec.Key, "was", r.State, "worker", r.Worker)
		r.State, r.Failure, r.Past = api.TaskFailed, &api.Failure{Text: "it was cancelled: nobody wants its result any more"}, nil
		return nil
	})
	var unknown *api.ErrNotFound
	if errors.Is(err, errMoved) || errors.As(err, &unknown) {
		return nil
	}
	return err
}

// Forget drops a final task. One that is not final is refused with *api.ErrBusy;
// an unknown one is no error.
func (s *Scheduler) Forget(ctx context.Context, id api.UUID) error {
	t, err := s.find(id)
	if err != nil {
		return nil
	}
	t.op.Lock()
	defer t.op.Unlock()
	s.mu.Lock()
	key, state, final := t.Spec.Key, t.State, t.Final()
	s.mu.Unlock()
	if !final {
		return &api.ErrBusy{What: "task " + key, Reason: "it is " + string(state)}
	}
	ctx = context.WithoutCancel(ctx)
	k := prefix.ChildString(id.String())
	if err := s.store.Delete(ctx, k); err != nil {
		return fmt.Errorf("forget task %s: %w", key, err)
	}
	if err := s.store.Sync(ctx, k); err != nil {
		return fmt.Errorf("forget task %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(t)
	return nil
}

func (s *Scheduler) drop(t *task) {
	t.gone = true
	delete(s.tasks, t.ID)
	delete(s.byKey, t.Spec.Key)
	if i, there := slices.BinarySearchFunc(s.bySeq, t, bySeq); there {
		s.bySeq = slices.Delete(s.bySeq, i, i+1)
	}
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

func (s *Scheduler) find(id api.UUID) (*task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[id]; t != nil {
		return t, nil
	}
	return nil, unknownTask(id)
}

func unknownTask(id api.UUID) error {
	return &api.ErrNotFound{What: "task " + id.String(), Hint: "submit it again by its key"}
}
