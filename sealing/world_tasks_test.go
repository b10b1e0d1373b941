package sealing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"golang.org/x/crypto/blake2b"

	"quarry/api"
	"quarry/proofs/commp"
)

func testMiner() address.Address { a, _ := address.NewIDAddress(1000); return a }

func minerEntropy() []byte { b, _ := addressEntropy(testMiner()); return b }

func (w *world) TaskSubmit(ctx context.Context, spec api.TaskSpec) (api.TaskStatus, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.reach(ctx, "TaskSubmit"); err != nil {
		return api.TaskStatus{}, err
	}
	if t, ok := w.tasks[spec.Key]; ok {
		if t.State == api.TaskQueued || t.State == api.TaskRunning {
			t.Spec = spec // a fresh address for the same data
		}
		return *t, nil
	}
	t := &api.TaskStatus{ID: uuid.New(), Spec: spec, State: api.TaskQueued, Submitted: time.Now()}
	w.tasks[spec.Key], w.byID[t.ID] = t, t
	w.submitted = append(w.submitted, spec)
	return *t, nil
}

func (w *world) TaskGet(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.byID[id]
	if !ok {
		return api.TaskStatus{}, &api.ErrNotFound{What: "task"}
	}
	return *t, w.reach(ctx, "TaskGet")
}

// TaskWait is also where the work happens. Like the scheduler's it answers a
// context that ends while a task is held up with the state so far.
func (w *world) TaskWait(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	w.mu.Lock()
	if w.missing != 0 { // somebody who waits for a worker does so for a while
		w.mu.Unlock()
		time.Sleep(time.Millisecond)
		w.mu.Lock()
	}
	gate, sofar := chan struct{}(nil), api.TaskStatus{}
	if t, ok := w.byID[id]; ok {
		gate, sofar = w.block[t.Spec.Type], *t
	}
	w.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return sofar, nil
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.reach(ctx, "TaskWait"); err != nil {
		return api.TaskStatus{}, err
	}
	t, ok := w.byID[id]
	if !ok {
		return api.TaskStatus{}, &api.ErrNotFound{What: "task"}
	}
	switch {
	case w.missing != 0 && t.Spec.Type == w.needs: // nobody takes it
		return *t, nil
	case t.State == api.TaskQueued: // first time: not done yet
		t.State = api.TaskRunning
	case t.State == api.TaskRunning:
		w.work(t)
	}
	return *t, nil
}

func (w *world) work(t *api.TaskStatus) {
	if q := w.taskFails[t.Spec.Type]; len(q) > 0 {
		w.taskFails[t.Spec.Type] = q[1:]
		t.State, t.Failure = api.TaskFailed, &api.Failure{Text: q[0].text, Retryable: q[0].retryable}
		return
	}
	compute := w.compute
	if w.computeWith != nil {
		compute = w.computeWith
	}
	res, err := compute(t.Spec)
	if err != nil {
		t.State, t.Failure = api.TaskFailed, api.NewFailure(err, false)
		return
	}
	t.State = api.TaskDone
	t.Result, _ = json.Marshal(res)
}

// fakeGroth16 stands for the short proof of what vanilla proves.
func fakeGroth16(vanilla []byte) []byte {
	h := blake2b.Sum512(vanilla)
	return bytes.Repeat(h[:], 3)
}

type fakePC1 struct {
	Ticket []byte
	CommD  string
}

func (w *world) compute(spec api.TaskSpec) (any, error) {
	switch spec.Type {
	case api.TaskAddPiece:
		var p api.AddPieceParams
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		if p.Data.URL == "wrong" {
			return nil, &api.ErrPieceMismatch{Want: p.Piece.PieceCID.String(), Got: "baga-other"}
		}
	case api.TaskPreCommit1:
		var p api.PreCommit1Params
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		d, err := commp.CommD(spec.Sector.ProofType, p.Pieces)
		return fakePC1{p.Ticket, d.String()}, err
	case api.TaskPreCommit2:
		var p api.PreCommit2Params
		var in fakePC1
		if err := errors.Join(json.Unmarshal(spec.Params, &p), json.Unmarshal(p.PreCommit1Out.RawMessage, &in)); err != nil {
			return nil, err
		}
		h := blake2b.Sum256(fmt.Appendf(nil, "%s %x %s", spec.Sector, in.Ticket, in.CommD))
		h[31] &= 0x3f
		r, err := commcid.ReplicaCommitmentV1ToCID(h[:])
		return api.PreCommit2Result{SealedCID: api.CidString(r.String()), UnsealedCID: api.CidString(in.CommD),
			Commitments: api.SealCommitments{RawMessage: json.RawMessage(`{}`)}}, err
	case api.TaskCommit1:
		var p api.Commit1Params
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		return api.Commit1Result{Vanilla: putBulk(fmt.Appendf(nil, "vanilla %x", p.Seed))}, nil
	case api.TaskCommit2:
		var p api.Commit2Params
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		if p.Info.SectorID != spec.Sector.ID || !p.Info.SealedCID.Defined() || !p.Info.UnsealedCID.Defined() ||
			len(p.Info.Randomness) != 32 || len(p.Info.InteractiveRandomness) != 32 {
			return nil, fmt.Errorf("C2 of %+v", p.Info)
		}
		return api.Commit2Result{Proof: fakeGroth16(getBulk(p.Vanilla))}, nil
	case api.TaskUpdate, api.TaskProveUpdate1, api.TaskProveUpdate2, api.TaskFinalizeUpdate:
		return computeUpdate(spec)
	}
	return struct{}{}, nil
}

func (w *world) TaskForget(ctx context.Context, id api.UUID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t, ok := w.byID[id]; ok {
		delete(w.byID, id)
		delete(w.tasks, t.Spec.Key)
	}
	return w.reach(ctx, "TaskForget")
}

func (w *world) TaskRetry(ctx context.Context, id api.UUID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retried = append(w.retried, id)
	return w.reach(ctx, "TaskRetry")
}

func (w *world) TaskCancel(ctx context.Context, id api.UUID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t, ok := w.byID[id]; ok && !t.Final() {
		t.State, t.Failure = api.TaskFailed, &api.Failure{Text: "cancelled"}
		w.cancelled = append(w.cancelled, t.Spec.Key)
	}
	return w.reach(ctx, "TaskCancel")
}

func (w *world) StorageFindSector(ctx context.Context, id abi.SectorID, t api.FileType) ([]api.SectorLocationInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.reach(ctx, "StorageFindSector"); err != nil || w.missing == t {
		return nil, err
	}
	return []api.SectorLocationInfo{{Storage: "here"}}, nil
}

func (w *world) RemoveSector(ctx context.Context, id abi.SectorID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.removed[id] = true
	return w.reach(ctx, "RemoveSector")
}

// checkSpent fails when a setback that was prepared never happened. Callers
// hold mu.
func (w *world) checkSpent(t testing.TB) {
	t.Helper()
	for k, n := range w.flaky {
		if n > 0 {
			t.Errorf("%s was never called often enough: %d failures left", k, n)
		}
	}
	for k, q := range w.taskFails {
		if len(q) > 0 {
			t.Errorf("%d failures of %s tasks left", len(q), k)
		}
	}
	for k, q := range w.exits {
		if len(q) > 0 {
			t.Errorf("%d failures of method %d left", len(q), k)
		}
	}
}
