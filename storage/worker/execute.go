package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/porep"
)

const updateFiles = api.FileUpdate | api.FileUpdateCache

func porepSector(s api.SectorRef) porep.Sector {
	return porep.Sector{Proof: s.ProofType, Miner: s.ID.Miner, Number: s.ID.Number}
}

// opaque decodes what only workers look into.
func opaque[T any](raw json.RawMessage) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, &api.ErrInvalid{What: "what an earlier task handed on", Reason: err.Error(), Hint: "the worker that made it may be of another version"}
	}
	return v, nil
}

// execute does the task; while it is claimed its files are its own. A panic in it fails the task, not the
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
	result, err = w.dispatch(ctx, t.Spec, size, p)
	if cause := context.Cause(ctx); err != nil && isLeaseLost(cause) {
		err = cause
	}
	if err != nil {
		return nil, fmt.Errorf("%s of sector %s: %w", t.Spec.Type, t.Spec.Sector, err)
	}
	return result, nil
}

// dispatch does the task by its type.
func (w *Worker) dispatch(ctx context.Context, spec api.TaskSpec, size abi.SectorSize, p *progress) (json.RawMessage, error) {
	s := spec.Sector
	switch spec.Type {
	case api.TaskAddPiece:
		return do(spec, api.AddPiece, func(a api.AddPieceParams) (abi.PieceInfo, error) { return a.Piece, w.addPiece(ctx, s, a, p) })
	case api.TaskPreCommit1:
		return do(spec, api.PreCommit1, func(a api.PreCommit1Params) (api.PreCommit1Out, error) {
			return sealed1(w.preCommit1(ctx, s, size, a, p))
		})
	case api.TaskPreCommit2:
		return do(spec, api.PreCommit2, func(a api.PreCommit2Params) (api.PreCommit2Result, error) { return w.preCommit2(ctx, s, size, a, p) })
	case api.TaskCommit1:
		return do(spec, api.Commit1, func(a api.Commit1Params) (api.Commit1Result, error) { return w.commit1(ctx, s, size, a, p) })
	case api.TaskCommit2:
		return do(spec, api.Commit2, func(a api.Commit2Params) (api.Commit2Result, error) { return w.commit2(ctx, s, a, p) })
	case api.TaskFinalize:
		return do(spec, api.Finalize, func(a api.FinalizeParams) (api.Nothing, error) { return api.Nothing{}, w.finalize(ctx, s, size, a, p) })
	case api.TaskUnseal:
		return do(spec, api.Unseal, func(a api.UnsealParams) (api.Nothing, error) { return api.Nothing{}, w.unseal(ctx, s, size, a, p) })
	case api.TaskUpdate:
		return do(spec, api.UpdateReplica, func(a api.UpdateReplicaParams) (api.UpdateReplicaResult, error) {
			return w.updateReplica(ctx, s, size, a, p)
		})
	case api.TaskProveUpdate1:
		return do(spec, api.ProveUpdate1, func(a api.ProveUpdate1Params) (api.ProveUpdate1Result, error) {
			return w.proveUpdate1(ctx, s, size, a, p)
		})
	case api.TaskProveUpdate2:
		return do(spec, api.ProveUpdate2, func(a api.ProveUpdate2Params) (api.ProveUpdate2Result, error) { return w.proveUpdate2(ctx, s, a, p) })
	case api.TaskFinalizeUpdate:
		return do(spec, api.FinalizeUpdate, func(a api.FinalizeUpdateParams) (api.Nothing, error) {
			return api.Nothing{}, w.finalizeUpdate(ctx, s, size, a, p)
		})
	}
	return nil, &api.ErrInvalid{What: "task type " + string(spec.Type), Reason: "this worker does not know it", Hint: "upgrade the worker"}
}

// sealed1 closes what the first phase hands to the second.
func sealed1(out porep.PreCommit1Out, err error) (api.PreCommit1Out, error) {
	if err != nil {
		return api.PreCommit1Out{}, err
	}
	raw, err := json.Marshal(out)
	return api.PreCommit1Out{RawMessage: raw}, err
}

// do decodes a task's parameters, hands them on and encodes the result.
func do[P, R any](spec api.TaskSpec, t api.Task[P, R], work func(P) (R, error)) (json.RawMessage, error) {
	a, err := t.Params(spec)
	if err != nil {
		return nil, err
	}
	r, err := work(a)
	if err != nil {
		return nil, err
	}
	return t.Done(r)
}
