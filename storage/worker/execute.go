package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/storage/index"
)

// lockWait is how long a task waits for the files of its sector.
const lockWait = 5 * time.Minute

const (
	allFiles    = api.FileUnsealed | api.FileSealed | api.FileCache
	updateFiles = api.FileUpdate | api.FileUpdateCache
)

// lockOf says which files a task reads and writes.
func lockOf(t api.TaskType) (read, write api.FileType) {
	switch t {
	case api.TaskAddPiece:
		return 0, api.FileUnsealed
	case api.TaskPreCommit1:
		return api.FileUnsealed, api.FileCache
	case api.TaskPreCommit2:
		return api.FileUnsealed, api.FileCache | api.FileSealed
	case api.TaskCommit1:
		return api.FileSealed | api.FileCache, 0
	case api.TaskCommit2, api.TaskProveUpdate2:
		return 0, 0
	case api.TaskUnseal:
		return api.FileSealed | api.FileCache | updateFiles, api.FileUnsealed
	case api.TaskUpdate:
		return allFiles, updateFiles
	case api.TaskProveUpdate1:
		return api.FileSealed | api.FileCache | updateFiles, 0
	case api.TaskFinalizeUpdate:
		return 0, allFiles | updateFiles
	}
	return 0, allFiles
}

func porepSector(s api.SectorRef) porep.Sector {
	return porep.Sector{Proof: s.ProofType, Miner: s.ID.Miner, Number: s.ID.Number}
}

// params decodes the parameters of a task strictly.
func params[T any](raw json.RawMessage) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, &api.ErrInvalid{What: "task parameters", Reason: err.Error()}
	}
	return v, nil
}

// execute does the task under its locks. A panic in it fails the task, not the
// process: other sectors are being sealed.
func (w *Worker) execute(ctx context.Context, t api.TaskStatus, p *progress) (result json.RawMessage, err error) {
	defer func() {
		if r := recover(); r != nil {
			result, err = nil, fmt.Errorf("task %s failed inside: %v", t.Spec.Key, r)
		}
	}()
	size, err := t.Spec.Sector.ProofType.SectorSize()
	if err != nil {
		return nil, &api.ErrInvalid{What: "seal proof type", Reason: err.Error()}
	}
	if read, write := lockOf(t.Spec.Type); read|write != 0 {
		p.set("wait for files", 0, 0)
		locked, release, err := index.Hold(ctx, w.deps.Storage, api.LockRequest{Sector: t.Spec.Sector.ID, Read: read, Write: write,
			Holder: string(t.Spec.Type) + " on " + w.info.Hostname, Wait: lockWait})
		if err != nil {
			return nil, fmt.Errorf("task %s: %w", t.Spec.Key, err)
		}
		defer release()
		ctx = locked
	}
	out, err := w.dispatch(ctx, t.Spec, size, p)
	if cause := context.Cause(ctx); err != nil && isLeaseLost(cause) {
		err = cause
	}
	if err != nil {
		return nil, fmt.Errorf("%s of sector %s: %w", t.Spec.Type, t.Spec.Sector, err)
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode result of %s: %w", t.Spec.Key, err)
	}
	return b, nil
}

// dispatch does the task by its type.
func (w *Worker) dispatch(ctx context.Context, spec api.TaskSpec, size abi.SectorSize, p *progress) (any, error) {
	s := spec.Sector
	switch spec.Type {
	case api.TaskAddPiece:
		return with(spec, func(a api.AddPieceParams) (any, error) { return a.Piece, w.addPiece(ctx, s, a, p) })
	case api.TaskPreCommit1:
		return with(spec, func(a api.PreCommit1Params) (any, error) { return w.preCommit1(ctx, s, size, a, p) })
	case api.TaskPreCommit2:
		return with(spec, func(a api.PreCommit2Params) (any, error) { return w.preCommit2(ctx, s, size, a, p) })
	case api.TaskCommit1:
		return with(spec, func(a api.Commit1Params) (any, error) { return w.commit1(ctx, s, size, a, p) })
	case api.TaskCommit2:
		return with(spec, func(a api.Commit2Params) (any, error) { return w.commit2(ctx, s, a, p) })
	case api.TaskFinalize:
		return with(spec, func(a api.FinalizeParams) (any, error) { return nil, w.finalize(ctx, s, size, a, p) })
	case api.TaskUnseal:
		return with(spec, func(a api.UnsealParams) (any, error) { return nil, w.unseal(ctx, s, size, a, p) })
	case api.TaskUpdate:
		return with(spec, func(a api.UpdateReplicaParams) (any, error) { return w.updateReplica(ctx, s, size, a, p) })
	case api.TaskProveUpdate1:
		return with(spec, func(a api.ProveUpdate1Params) (any, error) { return w.proveUpdate1(ctx, s, size, a, p) })
	case api.TaskProveUpdate2:
		return with(spec, func(a api.ProveUpdate2Params) (any, error) { return w.proveUpdate2(ctx, s, a, p) })
	case api.TaskFinalizeUpdate:
		return with(spec, func(a api.FinalizeUpdateParams) (any, error) { return nil, w.finalizeUpdate(ctx, s, size, a, p) })
	}
	return nil, &api.ErrInvalid{What: "task type " + string(spec.Type), Reason: "this worker does not know it", Hint: "upgrade the worker"}
}

// with decodes a task's parameters and hands them on.
func with[T any](spec api.TaskSpec, do func(T) (any, error)) (any, error) {
	a, err := params[T](spec.Params)
	if err != nil {
		return nil, err
	}
	return do(a)
}
