package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/storage/fetch"
	"quarry/storage/index"
	"quarry/storage/paths"
)

// Storage is what a worker needs of the private node; a subset of api.Storage.
type Storage interface {
	WorkerClaim(ctx context.Context, w api.WorkerInfo, held []api.HeldTask) (*api.TaskStatus, error)
	WorkerProgress(ctx context.Context, p api.TaskProgress) (api.TaskClaim, error)
	WorkerDone(ctx context.Context, r api.TaskReport) error
	fetch.Index
}

// Config of a Worker.
type Config struct {
	Hostname  string         // empty: the machine's
	Place     string         // where the worker's repo is, as holder.Place says it
	TaskTypes []api.TaskType // empty: all
	MemBytes  uint64         // offered to tasks; 0 = no limit
	CPUs      int            // 0 = all
	URL       string         // base of this process's /remote, empty when it serves none
	Progress  time.Duration  // between progress reports; 0 = 5 s
	Retry     time.Duration  // between tries to reach the private node; 0 = 2 s
	PullPause time.Duration  // before a broken pull of piece data goes on, doubling; 0 = 250 ms
}

// Deps of a Worker.
type Deps struct {
	Storage Storage
	Local   *paths.Local
	Store   datastore.Batching
	Blobs   api.Blobs     // where bulk results go and come from
	Token   func() string // bearer for /remote of other processes
	Snark   Snark         // nil: Groth16 tasks are not offered
	Parents Parents       // nil: the parents of a graph are computed each time
	Log     *slog.Logger
}

// AllTasks lists every task type a worker can do.
var AllTasks = []api.TaskType{api.TaskAddPiece, api.TaskPreCommit1, api.TaskPreCommit2, api.TaskCommit1, api.TaskCommit2, api.TaskFinalize, api.TaskUnseal,
	api.TaskUpdate, api.TaskProveUpdate1, api.TaskProveUpdate2, api.TaskFinalizeUpdate}

// Worker does tasks until its Run ends.
type Worker struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	info   api.WorkerInfo
	client *fetch.Client // sector files
	pull   *puller       // piece data

	mu      sync.Mutex
	running map[api.UUID]held // until the report was acknowledged
	doing   map[api.UUID]api.TaskStatus
}

// held is a task of this worker.
type held struct {
	attempt int
	cancel  context.CancelCauseFunc
}

// New reads the worker's identity from its store, or makes one.
func New(ctx context.Context, cfg Config, deps Deps) (*Worker, error) {
	if deps.Storage == nil || deps.Local == nil || deps.Store == nil || deps.Blobs == nil {
		return nil, errors.New("worker: storage, local paths, a datastore and a store of bulk results are all needed")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	setDefaults(&cfg)
	cfg.TaskTypes = offered(cfg.TaskTypes, deps.Snark)
	id, err := identity(ctx, deps.Store)
	if err != nil {
		return nil, err
	}
	w := &Worker{cfg: cfg, deps: deps, log: deps.Log, client: fetch.NewClient(deps.Token), pull: newPuller(deps.Local, cfg.PullPause),
		running: map[api.UUID]held{}, doing: map[api.UUID]api.TaskStatus{}}
	w.info = api.WorkerInfo{ID: id, Session: uuid.New(), Hostname: cfg.Hostname, PID: os.Getpid(), Place: cfg.Place, TaskTypes: cfg.TaskTypes,
		MemBytes: cfg.MemBytes, CPUs: cfg.CPUs, URL: cfg.URL}
	return w, nil
}

func setDefaults(c *Config) {
	if c.Hostname == "" {
		if c.Hostname, _ = os.Hostname(); c.Hostname == "" {
			c.Hostname = "worker"
		}
	}
	if len(c.TaskTypes) == 0 {
		c.TaskTypes = slices.Clone(AllTasks)
	}
	if c.CPUs <= 0 {
		c.CPUs = runtime.NumCPU()
	}
	if c.Progress <= 0 {
		c.Progress = 5 * time.Second
	}
	if c.PullPause <= 0 {
		c.PullPause = 250 * time.Millisecond
	}
	if c.Retry <= 0 {
		c.Retry = 2 * time.Second
	}
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
func (w *Worker) Info() api.WorkerInfo {
	i := w.info
	i.Paths = w.deps.Local.IDs()
	return i
}

// Tasks lists what the worker does now.
func (w *Worker) Tasks() []api.TaskStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]api.TaskStatus, 0, len(w.doing))
	for _, t := range w.doing {
		out = append(out, t)
	}
	return out
}

// Run claims and does tasks until ctx ends, and returns when all of them have
// stopped. Results that a former run could not deliver go first.
func (w *Worker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer func() {
		wg.Wait()
		w.client.Close()
		w.pull.close()
	}()
	if err := w.resume(ctx, &wg); err != nil {
		return err
	}
	away := false
	for ctx.Err() == nil {
		t, err := w.deps.Storage.WorkerClaim(ctx, w.Info(), w.held())
		if err != nil {
			if ctx.Err() == nil && !away { // told once, however long it takes
				w.log.Warn("no task could be claimed; it is tried again until one can", "err", err)
			}
			away = true
			sleep(ctx, w.cfg.Retry)
			continue
		}
		if away {
			w.log.Info("tasks can be claimed again")
			away = false
		}
		if t != nil {
			w.start(ctx, &wg, *t)
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (w *Worker) held() []api.HeldTask {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []api.HeldTask{}
	for id, h := range w.running {
		out = append(out, api.HeldTask{Task: id, Attempt: h.attempt})
	}
	return out
}

func (w *Worker) start(ctx context.Context, wg *sync.WaitGroup, t api.TaskStatus) {
	w.mu.Lock()
	if _, ok := w.running[t.ID]; ok {
		w.mu.Unlock()
		return // the private node believes we lost it; the next claim tells it
	}
	task, cancel := context.WithCancelCause(ctx)
	w.running[t.ID], w.doing[t.ID] = held{attempt: t.Attempts, cancel: cancel}, t
	w.mu.Unlock()
	wg.Go(func() {
		defer w.drop(t.ID)
		w.perform(ctx, task, t)
	})
}

func (w *Worker) drop(id api.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h, ok := w.running[id]; ok {
		h.cancel(nil)
	}
	delete(w.running, id)
	delete(w.doing, id)
}

// perform does one task and reports it. run is the context of the process, ctx
// that of the task, which ends earlier when the claim is lost.
func (w *Worker) perform(run, ctx context.Context, t api.TaskStatus) {
	w.log.Info("task begins", "task", t.Spec.Key, "type", t.Spec.Type, "sector", t.Spec.Sector.String(), "attempt", t.Attempts)
	began := time.Now()
	p := newProgress()
	var wg sync.WaitGroup
	beat, stop := context.WithCancel(ctx)
	wg.Go(func() { w.beat(beat, t, p) })
	result, err := w.execute(ctx, t, p)
	stop()
	wg.Wait()
	if run.Err() != nil {
		return // stopped: the task is queued again at our next claim, or after the lease
	}
	if cause := context.Cause(ctx); err != nil && isLeaseLost(cause) {
		w.log.Warn("task abandoned: it belongs to another worker now", "task", t.Spec.Key)
		return
	}
	o := outcome{Task: t.ID, Key: t.Spec.Key, Attempt: t.Attempts, Result: result}
	if err != nil {
		o.Result, o.Failure = nil, api.NewFailure(err, retryable(err))
		w.log.Error("task failed", "task", t.Spec.Key, "retryable", o.Failure.Retryable, "err", err)
	} else {
		w.log.Info("task done", "task", t.Spec.Key, "took", time.Since(began).Round(time.Millisecond))
	}
	if err := w.keep(run, o); err != nil {
		w.log.Error("result cannot be stored; it is reported all the same", "task", t.Spec.Key, "err", err)
	}
	w.deliver(run, o)
}

// beat reports progress and ends the task when the claim is lost.
func (w *Worker) beat(ctx context.Context, t api.TaskStatus, p *progress) {
	tick := time.NewTicker(w.cfg.Progress)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		stage, percent := p.get()
		_, err := w.deps.Storage.WorkerProgress(ctx, api.TaskProgress{Worker: w.info.ID, Task: t.ID, Attempt: t.Attempts, Stage: stage, Percent: percent})
		if isLeaseLost(err) {
			w.mu.Lock()
			if h, ok := w.running[t.ID]; ok {
				h.cancel(err)
			}
			w.mu.Unlock()
			return
		}
	}
}

func isLeaseLost(err error) bool {
	var lost *api.ErrLeaseLost
	return errors.As(err, &lost)
}

// retryable tells whether the same task can succeed later, here or elsewhere.
func retryable(err error) bool {
	var notFound *api.ErrNotFound
	return api.IsTemporary(err) || isLeaseLost(err) || errors.As(err, &notFound) || errors.Is(err, errTransient) ||
		errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) ||
		errors.Is(err, fetch.ErrChecksum) || errors.Is(err, context.DeadlineExceeded)
}

var _ index.Locker = Storage(nil)
