package sched

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
)

// Config of a Scheduler.
type Config struct {
	Lease      time.Duration // a running task is queued again after this silence; 0 = 60 s
	ClaimWait  time.Duration // how long a claim waits for a task; 0 = 20 s
	TaskWait   time.Duration // how long Wait waits; 0 = 30 s
	Affinity   time.Duration // how long a task waits for a worker that has its files; 0 = 10 s
	RetryDelay time.Duration // first delay after a retryable failure, doubling to 5 min; 0 = 1 s
	MaxTries   int           // attempts of a task before a retryable failure is final; 0 = 8
}

// Reach tells how well a worker can get at a task's files: ok false means not
// at all, now; a higher score means more of them are on its own paths.
type Reach func(ctx context.Context, w api.WorkerInfo, spec api.TaskSpec) (score int, ok bool)

// Deps of a Scheduler.
type Deps struct {
	Store datastore.Batching
	Reach Reach // nil: every worker reaches everything
	Log   *slog.Logger
}

// Scheduler implements the task and worker methods of api.Storage. Its methods
// may be called from several goroutines at once.
type Scheduler struct {
	cfg   Config
	store datastore.Batching
	reach Reach
	log   *slog.Logger

	mu      sync.Mutex
	tasks   map[api.UUID]*task
	byKey   map[string]*task
	workers map[api.UUID]*worker
	changed chan struct{} // closed and replaced at every change
}

// task is what is stored, plus what a restart may forget.
type task struct {
	api.TaskStatus
	WorkerID  api.UUID
	Session   api.UUID
	Seq       uint64    // order of submission
	NotBefore time.Time // after a retryable failure

	lease time.Time
}

type worker struct {
	api.WorkerInfo
	seen   time.Time
	cancel context.CancelFunc // of the claim that waits now
}

var prefix = datastore.NewKey("/task")

// New reads the tasks of the store. Tasks that were running stay with their
// worker for one lease, so that a worker that outlived us goes on.
func New(ctx context.Context, cfg Config, deps Deps) (*Scheduler, error) {
	if deps.Store == nil {
		return nil, errors.New("task scheduler: no datastore given")
	}
	setDefaults(&cfg)
	s := &Scheduler{cfg: cfg, store: deps.Store, reach: deps.Reach, log: deps.Log,
		tasks: map[api.UUID]*task{}, byKey: map[string]*task{}, workers: map[api.UUID]*worker{}, changed: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.reach == nil {
		s.reach = func(context.Context, api.WorkerInfo, api.TaskSpec) (int, bool) { return 0, true }
	}
	return s, s.load(ctx)
}

func setDefaults(c *Config) {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.Lease, time.Minute)
	def(&c.ClaimWait, 20*time.Second)
	def(&c.TaskWait, 30*time.Second)
	def(&c.Affinity, 10*time.Second)
	def(&c.RetryDelay, time.Second)
	if c.MaxTries <= 0 {
		c.MaxTries = 8
	}
}

func (s *Scheduler) load(ctx context.Context) error {
	res, err := s.store.Query(ctx, query.Query{Prefix: prefix.String()})
	if err != nil {
		return fmt.Errorf("read tasks: %w", err)
	}
	defer res.Close() //nolint:errcheck // read only
	for r := range res.Next() {
		if r.Error != nil {
			return fmt.Errorf("read tasks: %w", r.Error)
		}
		t := new(task)
		if err := json.Unmarshal(r.Value, t); err != nil {
			return fmt.Errorf("task record %s is damaged: %w (restore a backup, or remove the record)", r.Key, err)
		}
		t.lease = time.Now().Add(s.cfg.Lease)
		s.tasks[t.ID] = t
		s.byKey[t.Spec.Key] = t
	}
	return nil
}

func (s *Scheduler) key(id api.UUID) datastore.Key { return prefix.ChildString(id.String()) }

// save writes t; the caller holds mu and has not shown the change to anybody.
func (s *Scheduler) save(ctx context.Context, t *task) error {
	b, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode task %s: %w", t.Spec.Key, err)
	}
	if err := s.store.Put(ctx, s.key(t.ID), b); err != nil {
		return fmt.Errorf("store task %s: %w", t.Spec.Key, err)
	}
	if err := s.store.Sync(ctx, s.key(t.ID)); err != nil {
		return fmt.Errorf("store task %s: %w", t.Spec.Key, err)
	}
	return nil
}

// change applies f to a copy of t, stores the copy, and only then shows it.
// The caller holds mu. Writes outlive the caller's context: half the callers
// are requests whose connection may close.
func (s *Scheduler) change(ctx context.Context, t *task, f func(*task)) error {
	next := *t
	f(&next)
	next.Updated = time.Now().UTC()
	if err := s.save(context.WithoutCancel(ctx), &next); err != nil {
		return err
	}
	*t = next
	s.notify()
	return nil
}

func (s *Scheduler) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// view is a copy that shares no memory with the task.
func (t *task) view() api.TaskStatus {
	v := t.TaskStatus
	v.Result = bytes.Clone(v.Result)
	v.Spec.Params = bytes.Clone(v.Spec.Params)
	return v
}

// Submit queues a task, or gives the one of the same key.
func (s *Scheduler) Submit(ctx context.Context, spec api.TaskSpec) (api.TaskStatus, error) {
	if spec.Key == "" || len(spec.Key) > 512 {
		return api.TaskStatus{}, &api.ErrInvalid{What: "task", Reason: "its key is empty or longer than 512 bytes"}
	}
	if _, err := Needs(spec.Type, spec.Sector.ProofType); err != nil {
		return api.TaskStatus{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.byKey[spec.Key]; t != nil {
		if t.Spec.Type != spec.Type || t.Spec.Sector != spec.Sector || !sameJSON(t.Spec.Params, spec.Params) {
			return api.TaskStatus{}, &api.ErrInvalid{What: "task " + spec.Key, Reason: "the key belongs to a task with other parameters", Hint: "choose another key, or forget the old task"}
		}
		if !t.Final() && !bytes.Equal(t.Spec.Params, spec.Params) { // a fresh address or token for the same data
			if err := s.change(ctx, t, func(t *task) { t.Spec.Params = bytes.Clone(spec.Params) }); err != nil {
				return api.TaskStatus{}, err
			}
		}
		return t.view(), nil
	}
	now := time.Now().UTC()
	spec.Params = bytes.Clone(spec.Params)
	t := &task{TaskStatus: api.TaskStatus{ID: uuid.New(), Spec: spec, State: api.TaskQueued, Submitted: now, Updated: now}}
	for _, o := range s.tasks {
		t.Seq = max(t.Seq, o.Seq+1)
	}
	if err := s.save(context.WithoutCancel(ctx), t); err != nil {
		return api.TaskStatus{}, err
	}
	s.tasks[t.ID], s.byKey[spec.Key] = t, t
	s.notify()
	return t.view(), nil
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

func unknownTask(id api.UUID) error {
	return &api.ErrNotFound{What: "task " + id.String(), Hint: "submit it again by its key"}
}

// Get gives a task's status.
func (s *Scheduler) Get(_ context.Context, id api.UUID) (api.TaskStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[id]
	if t == nil {
		return api.TaskStatus{}, unknownTask(id)
	}
	return t.view(), nil
}

// Wait gives the status when the task is final, or ctx ends, or Config.TaskWait
// passed.
func (s *Scheduler) Wait(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	limit := time.NewTimer(s.cfg.TaskWait)
	defer limit.Stop()
	for last := false; ; {
		s.mu.Lock()
		t, changed := s.tasks[id], s.changed
		if t == nil {
			s.mu.Unlock()
			return api.TaskStatus{}, unknownTask(id)
		}
		v, final := t.view(), t.Final()
		s.mu.Unlock()
		if final || last {
			return v, nil
		}
		select {
		case <-changed:
		case <-limit.C:
			last = true
		case <-ctx.Done():
			last = true
		}
	}
}

// List pages through all tasks in the order of their submission.
func (s *Scheduler) List(_ context.Context, cursor string, limit int) ([]api.TaskStatus, string, error) {
	var after uint64
	if cursor != "" {
		if _, err := fmt.Sscanf(cursor, "t%d", &after); err != nil {
			return nil, "", &api.ErrInvalid{What: "cursor", Reason: "it was not given out by this method", Hint: "start with an empty cursor"}
		}
	}
	if limit <= 0 || limit > 500 {
		limit = 500
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []api.TaskStatus{}
	for _, t := range s.sorted() {
		if cursor != "" && t.Seq <= after {
			continue
		}
		if len(out) == limit {
			return out, fmt.Sprintf("t%d", s.tasks[out[limit-1].ID].Seq), nil
		}
		out = append(out, t.view())
	}
	return out, "", nil
}

func (s *Scheduler) sorted() []*task {
	all := make([]*task, 0, len(s.tasks))
	for _, t := range s.tasks {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *task) int {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
	return all
}

// Forget drops a final task. One that is not final is refused; an unknown one
// is no error.
func (s *Scheduler) Forget(ctx context.Context, id api.UUID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[id]
	if t == nil {
		return nil
	}
	if !t.Final() {
		return &api.ErrBusy{What: "task " + t.Spec.Key, Reason: "it is " + string(t.State)}
	}
	ctx = context.WithoutCancel(ctx)
	if err := s.store.Delete(ctx, s.key(id)); err != nil {
		return fmt.Errorf("forget task %s: %w", t.Spec.Key, err)
	}
	if err := s.store.Sync(ctx, s.key(id)); err != nil {
		return fmt.Errorf("forget task %s: %w", t.Spec.Key, err)
	}
	delete(s.tasks, id)
	delete(s.byKey, t.Spec.Key)
	s.notify()
	return nil
}
