package sched

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
	"quarry/internal/holder"
)

// Config of a Scheduler.
type Config struct {
	// Lease is how long a claim holds without a report; 0 = 15 min, longer than an
	// outage that an operator shrugs off.
	Lease      time.Duration
	Silence    time.Duration // a worker not heard of for so long is not waited for, and its identity is free; 0 = 90 s
	ClaimWait  time.Duration // how long a claim waits for a task; 0 = 20 s
	TaskWait   time.Duration // how long Wait waits; 0 = 30 s
	Affinity   time.Duration // how long a task waits for a worker that has its files; 0 = 10 s
	RetryDelay time.Duration // first delay after a retryable failure, doubling to 5 min; 0 = 1 s
	MaxTries   int           // retryable failures of a task before the last is final; 0 = 8
}

// Reach tells how well a worker can get at a task's files. why is empty where it
// can, and otherwise names what is missing; a higher score means that more of
// them are on its own paths.
type Reach func(ctx context.Context, w api.WorkerInfo, t api.TaskStatus) (score int, why string)

// Files keeps everybody else away from the files of a claimed task.
type Files interface {
	// HoldFor gives the files of a task to it until Release, or says who has them
	// and until when at most.
	HoldFor(task api.UUID, spec api.TaskSpec, holder string) (blocker string, until time.Time)
	Release(task api.UUID)
}

// Deps of a Scheduler.
type Deps struct {
	Store datastore.Batching
	Reach Reach // nil: every worker reaches everything
	Files Files // nil: nobody else uses sector files
	Log   *slog.Logger
}

// Scheduler implements api.Tasks, less RemoveSector, and api.Fleet. Its methods
// may be called from several goroutines at once.
type Scheduler struct {
	cfg   Config
	store datastore.Batching
	reach Reach
	files Files
	log   *slog.Logger

	// mu guards what follows and is never held during a write to the store.
	mu      sync.Mutex
	tasks   map[api.UUID]*task
	byKey   map[string]*task
	bySeq   []*task // ascending
	seq     uint64  // of the next task
	ready   readyTasks
	delayed delayedTasks
	sectors map[api.SectorRef]*sector
	workers map[api.UUID]*worker
	alive   *holder.Register // which process each worker is
	touched uint64           // tasks looked at for lists while mu was held
	changed chan struct{}    // closed and replaced when a waiting claim should look again
}

// sector is a sector with something to do: one task of it runs at a time.
type sector struct {
	running *task
	waiting []*task // queued and due; ready while none runs
}

// noFiles is a Files that has nobody to keep away.
type noFiles struct{}

func (noFiles) HoldFor(api.UUID, api.TaskSpec, string) (string, time.Time) { return "", time.Time{} }
func (noFiles) Release(api.UUID)                                           {}

var prefix = datastore.NewKey("/task")

// New reads the tasks of the store. Tasks that were running stay with their
// worker for one lease.
func New(ctx context.Context, cfg Config, deps Deps) (*Scheduler, error) {
	if deps.Store == nil {
		return nil, errors.New("task scheduler: no datastore given")
	}
	setDefaults(&cfg)
	s := &Scheduler{
		cfg:     cfg,
		store:   deps.Store,
		reach:   deps.Reach,
		files:   deps.Files,
		log:     deps.Log,
		tasks:   map[api.UUID]*task{},
		byKey:   map[string]*task{},
		ready:   readyTasks{},
		sectors: map[api.SectorRef]*sector{},
		workers: map[api.UUID]*worker{},
		alive:   holder.NewRegister(holder.RegisterConfig{Silence: cfg.Silence}),
		changed: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.reach == nil {
		s.reach = func(context.Context, api.WorkerInfo, api.TaskStatus) (int, string) { return 0, "" }
	}
	if s.files == nil {
		s.files = noFiles{}
	}
	return s, s.load(ctx)
}

func setDefaults(c *Config) {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.Lease, 15*time.Minute)
	def(&c.Silence, 90*time.Second)
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
	defer res.Close() // read only
	for r := range res.Next() {
		if r.Error != nil {
			return fmt.Errorf("read tasks: %w", r.Error)
		}
		var rec record
		if err := json.Unmarshal(r.Value, &rec); err != nil {
			s.log.Error("a stored task is damaged and left out; its sector submits it again", "record", r.Key, "err", err)
			continue
		}
		s.add(&task{record: rec})
	}
	slices.SortFunc(s.bySeq, bySeq)
	for _, t := range s.bySeq {
		s.seq = max(s.seq, t.Seq+1)
		s.enter(t)
	}
	return nil
}

// save writes a record; the caller does not hold mu. Writes outlive the caller's
// context: half the callers are requests whose connection may close.
func (s *Scheduler) save(ctx context.Context, r record) error {
	ctx = context.WithoutCancel(ctx)
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode task %s: %w", r.Spec.Key, err)
	}
	k := prefix.ChildString(r.ID.String())
	if err := s.store.Put(ctx, k, b); err != nil {
		return fmt.Errorf("store task %s: %w", r.Spec.Key, err)
	}
	if err := s.store.Sync(ctx, k); err != nil {
		return fmt.Errorf("store task %s: %w", r.Spec.Key, err)
	}
	return nil
}

// Wake makes waiting claims look again: a path or a file has come, or nobody
// holds the files of a sector any more.
func (s *Scheduler) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake()
}

func (s *Scheduler) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}
