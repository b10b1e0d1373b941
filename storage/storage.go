package storage

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"
	"golang.org/x/sync/errgroup"

	"quarry/api"
	"quarry/internal/breaker"
	"quarry/internal/lifecycle"
	"quarry/proofs/porep"
	"quarry/storage/blobs"
	"quarry/storage/fetch"
	"quarry/storage/index"
	"quarry/storage/paths"
	"quarry/storage/prove"
	"quarry/storage/sched"
)

// Config of a Manager.
type Config struct {
	Hostname      string       // printed where the manager holds a lock; empty: the machine's
	Tasks         sched.Config // zero values: defaults
	ParallelReads int          // sectors read at the same time on one path for proofs; 0 = 8
}

// Deps of a Manager.
type Deps struct {
	Store datastore.Batching
	Index *index.Index // also the index that Local reports to
	Local *paths.Local
	Blobs *blobs.Store // bulk results of the tasks
	// Breaker guards reads by the directory of a local path and by host; nil: one
	// of the manager's own.
	Breaker *breaker.Breaker
	Log     *slog.Logger
}

// Manager implements api.Storage. Its methods may be called from several
// goroutines at once.
type Manager struct {
	*index.Index  // paths, sectors and locks
	*prove.Prover // proofs over stored sectors
	cfg           Config
	local         *paths.Local
	tasks         *sched.Scheduler
	client        *fetch.Client
	blobs         *blobs.Store
	log           *slog.Logger
}

var _ api.Storage = (*Manager)(nil)

// New reads the tasks of the store and gives a Manager; Run keeps it going.
func New(cfg Config, deps Deps) (*Manager, error) {
	if deps.Store == nil || deps.Index == nil || deps.Local == nil || deps.Blobs == nil {
		return nil, errors.New("storage: a datastore, an index, local paths and a store of bulk results are all needed")
	}
	if cfg.Hostname == "" {
		cfg.Hostname, _ = os.Hostname()
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	client := fetch.NewClient(deps.Index)
	prover, err := newProver(cfg, deps, client)
	if err != nil {
		return nil, err
	}
	m := &Manager{
		Index:  deps.Index,
		Prover: prover,
		cfg:    cfg,
		local:  deps.Local,
		client: client,
		blobs:  deps.Blobs,
		log:    deps.Log,
	}
	m.tasks, err = sched.New(context.Background(), cfg.Tasks, sched.Deps{
		Store: deps.Store,
		Reach: m.reach,
		Files: taskFiles{deps.Index},
		Log:   deps.Log,
	})
	return m, err
}

func newProver(cfg Config, deps Deps, client *fetch.Client) (*prove.Prover, error) {
	if deps.Breaker == nil {
		deps.Breaker = breaker.New(breaker.Config{Places: cfg.ParallelReads})
	}
	return prove.New(prove.Config{}, prove.Deps{
		Index:   deps.Index,
		Local:   deps.Local,
		Remote:  remote{client},
		Breaker: deps.Breaker,
		Log:     deps.Log,
	})
}

// Run keeps the index informed of the local paths and takes tasks from silent
// workers, until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	defer m.client.Close()
	catch := lifecycle.NewCatcher(m.log)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.local.Run(ctx) })
	for what, run := range map[string]func(context.Context) error{
		"looking after tasks":          m.tasks.Run,
		"looking after sector reads":   m.Prover.Run,
		"waking tasks":                 m.wakeTasks,
		"sweeping up old bulk results": m.sweepBlobs,
	} {
		g.Go(func() error {
			catch.Again(ctx, what, run)
			return nil
		})
	}
	return g.Wait()
}

// StorageList lists the paths that the index knows, and after them the directories
// of this process that could not be opened yet: these have no ID.
func (m *Manager) StorageList(ctx context.Context) ([]api.StoragePath, error) {
	list, err := m.Index.StorageList(ctx)
	for _, t := range m.local.Troubles() {
		if t.ID == "" {
			list = append(list, api.StoragePath{URLs: []string{}, HeartbeatErr: "cannot be opened: " + t.Dir + ": " + t.Err})
		}
	}
	return list, err
}

// StorageAddLocal attaches a directory with a sectorstore.json to this process.
func (m *Manager) StorageAddLocal(ctx context.Context, path string) error {
	return m.local.Add(ctx, path)
}

// StorageDetachLocal detaches a path from this process.
func (m *Manager) StorageDetachLocal(ctx context.Context, id api.StorageID) error {
	return m.local.Detach(ctx, id)
}

// BlobOpen reads a bulk result of a task; see [api.Blobs].
func (m *Manager) BlobOpen(ctx context.Context, ref api.BlobRef) (io.ReadCloser, error) {
	return m.blobs.BlobOpen(ctx, ref)
}

// TaskSubmit queues a task, or gives the one of the same key.
func (m *Manager) TaskSubmit(ctx context.Context, spec api.TaskSpec) (api.TaskStatus, error) {
	return m.tasks.Submit(ctx, spec)
}

// TaskGet gives a task's status.
func (m *Manager) TaskGet(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	return m.tasks.Get(ctx, id)
}

// TaskWait gives a task's status when it is final, or after 30 s.
func (m *Manager) TaskWait(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	return m.tasks.Wait(ctx, id)
}

// TaskList pages through the tasks.
func (m *Manager) TaskList(ctx context.Context, cursor string, limit int) ([]api.TaskStatus, string, error) {
	return m.tasks.List(ctx, cursor, limit)
}

// TaskQuery pages through the tasks that a query picks.
func (m *Manager) TaskQuery(ctx context.Context, q api.TaskQuery) (api.TaskPage, error) {
	return m.tasks.Query(ctx, q)
}

// TaskRetry lets a queued task be tried at once.
func (m *Manager) TaskRetry(ctx context.Context, id api.UUID) error { return m.tasks.Retry(ctx, id) }

// TaskAbort takes a running task from its worker.
func (m *Manager) TaskAbort(ctx context.Context, id api.UUID) error { return m.tasks.Abort(ctx, id) }

// TaskCancel ends a task that nobody wants any more.
func (m *Manager) TaskCancel(ctx context.Context, id api.UUID) error { return m.tasks.Cancel(ctx, id) }

// TaskForget drops a final task.
func (m *Manager) TaskForget(ctx context.Context, id api.UUID) error { return m.tasks.Forget(ctx, id) }

// WorkerClaim gives a worker at most one task.
func (m *Manager) WorkerClaim(ctx context.Context, w api.WorkerInfo, held []api.HeldTask) (*api.TaskStatus, error) {
	return m.tasks.Claim(ctx, w, held)
}

// WorkerProgress keeps a claim alive.
func (m *Manager) WorkerProgress(ctx context.Context, p api.TaskProgress) (api.TaskClaim, error) {
	return m.tasks.Progress(ctx, p)
}

// WorkerDone takes a worker's final report.
func (m *Manager) WorkerDone(ctx context.Context, r api.TaskReport) error {
	return m.tasks.Done(ctx, r)
}

// WorkerList lists the workers heard of lately.
func (m *Manager) WorkerList(ctx context.Context) ([]api.WorkerStatus, error) {
	return m.tasks.Workers(ctx)
}

// remote shows the client as the prover wants it.
type remote struct{ *fetch.Client }

func (r remote) Open(ctx context.Context, url string) (porep.File, error) {
	return r.Client.Open(ctx, url)
}

func (r remote) Dir(ctx context.Context, url string) porep.Files { return r.Client.Dir(ctx, url) }

// removeWait is how long RemoveSector waits for those who use the files.
const removeWait = 20 * time.Second

// RemoveSector deletes every file of a sector from every path. It may be
// repeated; a path whose process cannot be reached is named in the error.
func (m *Manager) RemoveSector(ctx context.Context, s abi.SectorID) error {
	var all api.FileType
	for _, t := range api.AllFileTypes {
		all |= t
	}
	ctx, release, err := index.Hold(ctx, m.Index, api.LockRequest{
		Sector: s,
		Write:  all,
		Holder: "sector removal on " + m.cfg.Hostname,
		Wait:   removeWait,
	})
	if err != nil {
		return err
	}
	defer release()
	errs := []error{m.local.Remove(ctx, s, all)}
	for _, t := range api.AllFileTypes {
		locs, err := m.StorageFindSector(ctx, s, t)
		errs = append(errs, err)
		for _, l := range locs {
			errs = append(errs, m.removeRemote(ctx, s, t, l))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) removeRemote(ctx context.Context, s abi.SectorID, t api.FileType, l api.SectorLocationInfo) error {
	var errs []error
	for _, u := range l.URLs {
		err := m.client.Remove(ctx, u)
		if err == nil {
			return m.StorageDropSectors(ctx, []api.SectorFile{{Sector: s, Type: t, Storage: l.Storage}})
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		errs = append(errs, &api.ErrUnreachable{Peer: "storage path " + string(l.Storage),
			Reason: "its process serves no URL; remove the files there"})
	}
	return errors.Join(errs...)
}
