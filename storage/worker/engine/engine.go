package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/internal/lifecycle"
)

// Node is what the engine needs of the private node; a subset of api.Fleet.
type Node interface {
	WorkerClaim(ctx context.Context, w api.WorkerInfo, held []api.HeldTask) (*api.TaskStatus, error)
	WorkerProgress(ctx context.Context, p api.TaskProgress) (api.TaskClaim, error)
	WorkerDone(ctx context.Context, r api.TaskReport) error
}

// Bulk keeps results that are too large for a message. *blobs.Mirror is one.
type Bulk interface {
	// Keep stores what r gives on this machine and names it.
	Keep(ctx context.Context, r io.Reader) (api.BlobRef, error)
	// Upload makes sure that the private node has what was kept.
	Upload(ctx context.Context, ref api.BlobRef) error
	// BlobOpen reads what was kept here or lies at the private node.
	BlobOpen(ctx context.Context, ref api.BlobRef) (io.ReadCloser, error)
	// Sweep deletes what is not named and older than age, if it is ours to delete.
	Sweep(named map[api.CidString]bool, age time.Duration) (int, error)
}

// Work does one task and gives its result. It stops soon after ctx ended.
type Work func(ctx context.Context, t api.TaskStatus, c *Claim) (json.RawMessage, error)

// Config of an Engine.
type Config struct {
	Hostname  string         // empty: the machine's
	Place     string         // where the worker's repo is, as holder.Place says it
	TaskTypes []api.TaskType // what Work can do
	MemBytes  uint64         // offered to tasks; 0 = no limit
	CPUs      int            // 0 = all
	URL       string         // base of this process's /remote, empty when it serves none
	Progress  time.Duration  // between progress reports; 0 = 5 s
	Retry     time.Duration  // before the first repetition of a call, doubling to RetryMax; 0 = 2 s
	RetryMax  time.Duration  // 0 = 30 s
	CallTime  time.Duration  // after which a call counts as not answered; 0 = 1 min
	Tidy      time.Duration  // between two rounds of Deps.Tidy and of sweeping bulk results; 0 = 10 min
	// Takeover is how long another process may have the identity of this worker
	// before Run ends with an error; 0 = it is waited for.
	Takeover time.Duration
}

// Deps of an Engine.
type Deps struct {
	Node  Node
	Work  Work
	Store datastore.Batching
	Bulk  Bulk
	Paths func() []api.StorageID // attached now; nil: none
	// Tidy deletes what earlier tasks left and nobody needs; busy are the tasks that
	// this worker has. nil: nothing is left.
	Tidy  func(ctx context.Context, busy map[api.UUID]bool)
	Close func() // called at the end of Run; nil: nothing is open
	Log   *slog.Logger
}

// Engine does tasks until its Run ends.
type Engine struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	catch  *lifecycle.Catcher
	info   api.WorkerInfo
	outbox outbox

	mu     sync.Mutex
	claims map[api.UUID]*Claim // until the report was acknowledged
	heard  chan struct{}       // closed and replaced when a call is answered that was not before
}

// New reads the worker's identity from its store, or makes one.
func New(ctx context.Context, cfg Config, deps Deps) (*Engine, error) {
	if deps.Node == nil || deps.Work == nil || deps.Store == nil || deps.Bulk == nil {
		return nil, errors.New("worker: a private node, work, a datastore and a store of bulk results are all needed")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Paths == nil {
		deps.Paths = func() []api.StorageID { return nil }
	}
	if deps.Tidy == nil {
		deps.Tidy = func(context.Context, map[api.UUID]bool) {}
	}
	if deps.Close == nil {
		deps.Close = func() {}
	}
	setDefaults(&cfg)
	id, err := identity(ctx, deps.Store)
	if err != nil {
		return nil, err
	}
	return &Engine{
		cfg:    cfg,
		deps:   deps,
		log:    deps.Log,
		catch:  lifecycle.NewCatcher(deps.Log),
		outbox: outbox{deps.Store},
		claims: map[api.UUID]*Claim{},
		heard:  make(chan struct{}),
		info: api.WorkerInfo{
			ID:        id,
			Session:   uuid.New(),
			Hostname:  cfg.Hostname,
			PID:       os.Getpid(),
			Place:     cfg.Place,
			TaskTypes: cfg.TaskTypes,
			MemBytes:  cfg.MemBytes,
			CPUs:      cfg.CPUs,
			URL:       cfg.URL,
		},
	}, nil
}

func setDefaults(c *Config) {
	if c.Hostname == "" {
		if c.Hostname, _ = os.Hostname(); c.Hostname == "" {
			c.Hostname = "worker"
		}
	}
	if c.CPUs <= 0 {
		c.CPUs = runtime.NumCPU()
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.Progress, 5*time.Second)
	def(&c.Retry, 2*time.Second)
	def(&c.RetryMax, 30*time.Second)
	def(&c.CallTime, time.Minute)
	def(&c.Tidy, 10*time.Minute)
}

var idKey = datastore.NewKey("/worker/id")

func identity(ctx context.Context, ds datastore.Batching) (api.UUID, error) {
	b, err := ds.Get(ctx, idKey)
	if err == nil {
		id, err := uuid.ParseBytes(b)
		if err != nil {
			return id, fmt.Errorf("worker identity in the store is damaged: %w", err)
		}
		return id, nil
	}
	if !errors.Is(err, datastore.ErrNotFound) {
		return uuid.Nil, fmt.Errorf("read worker identity: %w", err)
	}
	id := uuid.New()
	if err := ds.Put(ctx, idKey, []byte(id.String())); err != nil {
		return id, fmt.Errorf("store worker identity: %w", err)
	}
	if err := ds.Sync(ctx, idKey); err != nil {
		return id, fmt.Errorf("store worker identity: %w", err)
	}
	return id, nil
}

// Info is what the worker offers, with the paths it has now.
func (e *Engine) Info() api.WorkerInfo {
	i := e.info
	i.Paths = e.deps.Paths()
	return i
}

// Tasks lists what the worker does now, with results that wait to be delivered;
// each as its Summary.
func (e *Engine) Tasks() []api.TaskStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]api.TaskStatus, 0, len(e.claims))
	for _, c := range e.claims {
		out = append(out, c.status().Summary())
	}
	return out
}

// busy are the tasks that the worker has.
func (e *Engine) busy() map[api.UUID]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[api.UUID]bool{}
	for id := range e.claims {
		out[id] = true
	}
	return out
}
