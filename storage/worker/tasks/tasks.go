package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/storage/fetch"
	"quarry/storage/paths"
)

// Node is what tasks ask of the private node; a subset of api.Storage.
type Node interface {
	StorageFindSector(ctx context.Context, s abi.SectorID, t api.FileType) ([]api.SectorLocationInfo, error)
	StorageFileBearer(ctx context.Context, use api.FileUse) (api.FileBearer, error)
	TaskGet(ctx context.Context, id api.UUID) (api.TaskStatus, error)
}

// Claim is a task while this worker has it. *engine.Claim is one.
type Claim interface {
	// ID is that of the task.
	ID() api.UUID
	// Set tells how far the work is.
	Set(stage string, done, total int64)
	// Ask repeats a call until the private node has answered it.
	Ask(ctx context.Context, what string, call func(context.Context) error) error
	// Confirm returns when the private node has said that the task still is ours.
	Confirm(ctx context.Context) error
	// Keep stores a bulk result, Open reads one.
	Keep(ctx context.Context, r io.Reader) (api.BlobRef, error)
	Open(ctx context.Context, ref api.BlobRef) (io.ReadCloser, error)
}

// All lists every task type that there is code for.
var All = []api.TaskType{
	api.TaskAddPiece,
	api.TaskPreCommit1,
	api.TaskPreCommit2,
	api.TaskCommit1,
	api.TaskCommit2,
	api.TaskFinalize,
	api.TaskUnseal,
	api.TaskUpdate,
	api.TaskProveUpdate1,
	api.TaskProveUpdate2,
	api.TaskFinalizeUpdate,
}

// snarkTasks are the tasks that only a worker with a Snark can do.
var snarkTasks = []api.TaskType{api.TaskCommit2, api.TaskProveUpdate2}

// Offered leaves out of types, or of all when there are none, what cannot be done
// without a Snark.
func Offered(types []api.TaskType, s Snark) []api.TaskType {
	if len(types) == 0 {
		types = All
	}
	return slices.DeleteFunc(slices.Clone(types), func(t api.TaskType) bool { return s == nil && slices.Contains(snarkTasks, t) })
}

// Config of Tasks.
type Config struct {
	RoomWait  time.Duration // how long a task waits for room on a path; 0 = 2 min
	PullPause time.Duration // before a broken pull of piece data goes on, doubling; 0 = 250 ms
}

// Deps of Tasks.
type Deps struct {
	Node    Node
	Local   *paths.Local
	Snark   Snark   // nil: none of snarkTasks
	Parents Parents // nil: the parents of a graph are computed each time
	Log     *slog.Logger
}

// Tasks does tasks.
type Tasks struct {
	cfg     Config
	node    Node
	local   *paths.Local
	snark   Snark
	parents Parents
	log     *slog.Logger
	client  *fetch.Client // sector files
	pull    *puller       // piece data
}

// New makes Tasks.
func New(cfg Config, deps Deps) *Tasks {
	if cfg.RoomWait <= 0 {
		cfg.RoomWait = 2 * time.Minute
	}
	if cfg.PullPause <= 0 {
		cfg.PullPause = 250 * time.Millisecond
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Tasks{
		cfg:     cfg,
		node:    deps.Node,
		local:   deps.Local,
		snark:   deps.Snark,
		parents: deps.Parents,
		log:     deps.Log,
		client:  fetch.NewClient(deps.Node),
		pull:    newPuller(deps.Local, cfg.PullPause),
	}
}

// Close drops idle connections.
func (t *Tasks) Close() {
	t.client.Close()
	t.pull.close()
}

// job is one task being done.
type job struct {
	*Tasks
	Claim
	sector api.SectorRef
	size   abi.SectorSize
}

func (j *job) String() string { return j.sector.String() }

func (j *job) porep() porep.Sector {
	return porep.Sector{Proof: j.sector.ProofType, Miner: j.sector.ID.Miner, Number: j.sector.ID.Number}
}

// of gives a progress function for one stage.
func (j *job) of(stage string) func(done, total int64) {
	return func(done, total int64) { j.Set(stage, done, total) }
}

// Do does one task and gives its result.
func (t *Tasks) Do(ctx context.Context, spec api.TaskSpec, c Claim) (json.RawMessage, error) {
	size, err := spec.Sector.ProofType.SectorSize()
	if err != nil {
		return nil, &api.ErrInvalid{What: "seal proof type", Reason: err.Error()}
	}
	j := &job{Tasks: t, Claim: c, sector: spec.Sector, size: size}
	result, err := j.do(ctx, spec)
	if err != nil {
		err = paths.AsNoSpace(temporary(err), "files of sector "+j.String(), uint64(size))
		return nil, fmt.Errorf("%s of sector %s: %w", spec.Type, spec.Sector, err)
	}
	return result, nil
}

func (j *job) do(ctx context.Context, spec api.TaskSpec) (json.RawMessage, error) {
	switch spec.Type {
	case api.TaskAddPiece:
		return run(ctx, spec, api.AddPiece, j.addPiece)
	case api.TaskPreCommit1:
		return run(ctx, spec, api.PreCommit1, j.preCommit1)
	case api.TaskPreCommit2:
		return run(ctx, spec, api.PreCommit2, j.preCommit2)
	case api.TaskCommit1:
		return run(ctx, spec, api.Commit1, j.commit1)
	case api.TaskCommit2:
		return run(ctx, spec, api.Commit2, j.commit2)
	case api.TaskFinalize:
		return run(ctx, spec, api.Finalize, j.finalize)
	case api.TaskUnseal:
		return run(ctx, spec, api.Unseal, j.unseal)
	case api.TaskUpdate:
		return run(ctx, spec, api.UpdateReplica, j.updateReplica)
	case api.TaskProveUpdate1:
		return run(ctx, spec, api.ProveUpdate1, j.proveUpdate1)
	case api.TaskProveUpdate2:
		return run(ctx, spec, api.ProveUpdate2, j.proveUpdate2)
	case api.TaskFinalizeUpdate:
		return run(ctx, spec, api.FinalizeUpdate, j.finalizeUpdate)
	}
	return nil, &api.ErrInvalid{What: "task type " + string(spec.Type), Reason: "this worker does not know it", Hint: "upgrade the worker"}
}

// run decodes a task's parameters, hands them on and encodes the result.
func run[P, R any](
	ctx context.Context, spec api.TaskSpec, t api.Task[P, R], work func(context.Context, P) (R, error),
) (json.RawMessage, error) {
	a, err := t.Params(spec)
	if err != nil {
		return nil, err
	}
	r, err := work(ctx, a)
	if err != nil {
		return nil, err
	}
	return t.Done(r)
}

// opaque decodes what only workers look into.
func opaque[T any](raw json.RawMessage) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, &api.ErrInvalid{
			What:   "what an earlier task handed on",
			Reason: err.Error(),
			Hint:   "the worker that made it may be of another version",
		}
	}
	return v, nil
}

// transport is a failure on the way of data, which says nothing about the data.
type transport struct{ error }

// Unwrap gives the failure and its type at the boundary.
func (t transport) Unwrap() []error {
	return []error{t.error, &api.ErrUnreachable{Peer: "the source of the data", Reason: t.Error()}}
}

// temporary gives a failure of transport its type.
func temporary(err error) error {
	if errors.Is(err, errTransient) || errors.Is(err, fetch.ErrChecksum) {
		return transport{err}
	}
	return err
}

// cause is why ctx ended.
func cause(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
