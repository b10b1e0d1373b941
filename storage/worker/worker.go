package worker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/storage/blobs"
	"quarry/storage/paths"
	"quarry/storage/worker/engine"
	"quarry/storage/worker/tasks"
)

// Storage is what a worker needs of the private node; a subset of api.Storage.
type Storage interface {
	engine.Node
	tasks.Node
}

// Snark makes Groth16 proofs out of vanilla ones.
type Snark = tasks.Snark

// Worker does tasks until its Run ends.
type Worker = engine.Engine

// AllTasks lists every task type a worker can do.
var AllTasks = tasks.All

// Config of a Worker.
type Config struct {
	Hostname  string         // empty: the machine's
	Place     string         // where the worker's repo is, as holder.Place says it
	TaskTypes []api.TaskType // empty: all
	MemBytes  uint64         // offered to tasks; 0 = no limit
	CPUs      int            // 0 = all
	URL       string         // base of this process's /remote, empty when it serves none
	Progress  time.Duration  // between progress reports; 0 = 5 s
	Retry     time.Duration  // before the first repetition of a call to the private node; 0 = 2 s
	RoomWait  time.Duration  // how long a task waits for room on a path before it goes elsewhere; 0 = 2 min
	PullPause time.Duration  // before a broken pull of piece data goes on, doubling; 0 = 250 ms
	Takeover  time.Duration  // how long another process may have this worker's identity before Run ends; 0 = it is waited for
}

// Deps of a Worker.
type Deps struct {
	Storage   Storage
	Local     *paths.Local
	Store     datastore.Batching
	Blobs     *blobs.Store  // bulk results of this process
	NodeBlobs *blobs.Client // those of the private node; nil: they are the same
	Snark     Snark         // nil: Groth16 tasks are not offered
	Parents   tasks.Parents // nil: the parents of a graph are computed each time
	Log       *slog.Logger
}

// New makes a worker; it reads its identity from the store, or makes one.
func New(ctx context.Context, cfg Config, deps Deps) (*Worker, error) {
	if deps.Storage == nil || deps.Local == nil || deps.Store == nil || deps.Blobs == nil {
		return nil, errors.New("worker: storage, local paths, a datastore and a store of bulk results are all needed")
	}
	do := tasks.New(tasks.Config{
		RoomWait:  cfg.RoomWait,
		PullPause: cfg.PullPause,
	}, tasks.Deps{
		Node:    deps.Storage,
		Local:   deps.Local,
		Snark:   deps.Snark,
		Parents: deps.Parents,
		Log:     deps.Log,
	})
	return engine.New(ctx, engine.Config{
		Hostname:  cfg.Hostname,
		Place:     cfg.Place,
		TaskTypes: tasks.Offered(cfg.TaskTypes, deps.Snark),
		MemBytes:  cfg.MemBytes,
		CPUs:      cfg.CPUs,
		URL:       cfg.URL,
		Progress:  cfg.Progress,
		Retry:     cfg.Retry,
		Takeover:  cfg.Takeover,
	}, engine.Deps{
		Node: deps.Storage,
		Work: func(ctx context.Context, t api.TaskStatus, c *engine.Claim) (json.RawMessage, error) {
			return do.Do(ctx, t.Spec, c)
		},
		Store: deps.Store,
		Bulk:  blobs.NewMirror(deps.Blobs, deps.NodeBlobs),
		Paths: deps.Local.IDs,
		Tidy:  do.Tidy,
		Close: do.Close,
		Log:   deps.Log,
	})
}
