package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"

	"quarry/api"
	"quarry/api/client"
	"quarry/storage/blobs"
)

// bigBytes is more than the vanilla proof of a 32 GiB sector, 11,014,808.
const bigBytes = 12_000_000

// far is a worker played by hand: it computes nothing.
type far struct {
	api  *client.MinerAPI
	info api.WorkerInfo
}

// bigResult lets a worker claim a C1 of its own and deliver a proof as large as
// those of 32 GiB sectors, the right way and the wrong one.
func bigResult(ctx context.Context, r *run) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	f, err := r.newFar(ctx)
	if err != nil {
		return err
	}
	defer f.api.Close()
	proof := make([]byte, bigBytes)
	_, _ = r.rng.Read(proof) // never fails
	if err := r.byReference(ctx, f, proof); err != nil {
		return fmt.Errorf("by reference: %w", err)
	}
	if err := r.inTheMessage(ctx, f, proof); err != nil {
		return fmt.Errorf("in the message: %w", err)
	}
	return nil
}

// newFar makes a worker with a path of its own.
func (r *run) newFar(ctx context.Context) (*far, error) {
	info, err := r.TokenFor(ctx, api.RoleWorker, "worker")
	if err != nil {
		return nil, err
	}
	f := &far{info: api.WorkerInfo{
		ID:        uuid.New(),
		Session:   uuid.New(),
		Hostname:  "far",
		TaskTypes: []api.TaskType{api.TaskCommit1},
		CPUs:      1,
		Paths:     []api.StorageID{api.StorageID(uuid.NewString())},
		URL:       "http://127.0.0.1:1/remote", // nobody fetches from it
	}}
	if f.api, err = client.Miner(ctx, client.Config{Info: info}); err != nil {
		return nil, err
	}
	path := api.PathMeta{ID: f.info.Paths[0], Weight: 10, CanSeal: true}
	return f, f.api.StorageAttach(ctx, path, f.info.URL, api.FsStat{Capacity: 1 << 40, Available: 1 << 40, FSAvailable: 1 << 40})
}

// claim submits a C1 of a sector that the worker says to have, and takes it.
func (r *run) claim(ctx context.Context, f *far, number abi.SectorNumber) (api.TaskStatus, error) {
	maddr, err := r.actor()
	if err != nil {
		return api.TaskStatus{}, err
	}
	var id abi.SectorID
	if _, err := fmt.Sscanf(strings.TrimLeft(maddr.String(), "tf0"), "%d", &id.Miner); err != nil {
		return api.TaskStatus{}, fmt.Errorf("miner %s: %w", maddr, err)
	}
	id.Number = number
	for _, t := range []api.FileType{api.FileSealed, api.FileCache} {
		if err := f.api.StorageDeclareSectors(ctx, []api.SectorFile{{Sector: id, Type: t, Storage: f.info.Paths[0],
			Primary: true}}); err != nil {
			return api.TaskStatus{}, err
		}
	}
	spec, err := api.Commit1.Spec(fmt.Sprintf("%s/C1/soak", api.SectorName(id)),
		api.SectorRef{ID: id, ProofType: abi.RegisteredSealProof_StackedDrg2KiBV1_1}, api.Commit1Params{})
	if err != nil {
		return api.TaskStatus{}, err
	}
	if _, err := r.Miner.TaskSubmit(ctx, spec); err != nil {
		return api.TaskStatus{}, err
	}
	var got *api.TaskStatus
	err = r.Until(ctx, "the C1 to be given to the worker", func(ctx context.Context) (bool, error) {
		got, err = f.api.WorkerClaim(ctx, f.info, nil)
		return got != nil, err
	})
	if err != nil {
		return api.TaskStatus{}, err
	}
	return *got, nil
}

// byReference delivers the proof as workers do.
func (r *run) byReference(ctx context.Context, f *far, proof []byte) error {
	t, err := r.claim(ctx, f, 900_001)
	if err != nil {
		return err
	}
	bulk, err := blobs.NewClient(blobs.ClientDeps{Base: f.api.Info().Base(), Token: f.api.Info().Token.Reveal})
	if err != nil {
		return err
	}
	defer bulk.Close()
	own, err := blobs.Open(blobs.Config{Dir: filepath.Join(r.Dir(), "far-results")})
	if err != nil {
		return err
	}
	began := time.Now()
	ref, err := blobs.NewMirror(own, bulk).BlobPut(ctx, bytes.NewReader(proof))
	if err != nil {
		return err
	}
	raw, err := api.Commit1.Done(api.Commit1Result{Vanilla: ref})
	if err != nil {
		return err
	}
	if err := f.api.WorkerDone(ctx, api.TaskReport{Worker: f.info.ID, Task: t.ID, Attempt: t.Attempts, Result: raw}); err != nil {
		return err
	}
	r.say("%d bytes were delivered within %s", ref.Size, time.Since(began).Round(time.Millisecond))
	st, err := r.Miner.TaskGet(ctx, t.ID)
	if err != nil {
		return err
	}
	res, err := api.Commit1.Result(st)
	if err != nil || res.Vanilla != ref {
		return fmt.Errorf("the task ended with %v, %w", res, err)
	}
	back, err := bulk.BlobOpen(ctx, ref)
	if err != nil {
		return err
	}
	defer back.Close()
	if got, err := io.ReadAll(back); err != nil || !bytes.Equal(got, proof) {
		return fmt.Errorf("%d bytes came back, and they are others: %w", len(got), err)
	}
	return nil
}

// inTheMessage delivers it as an old worker would: it must be refused for good,
// quickly, and the task must not be left running.
func (r *run) inTheMessage(ctx context.Context, f *far, proof []byte) error {
	t, err := r.claim(ctx, f, 900_002)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(proof)
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = f.api.WorkerDone(short, api.TaskReport{Worker: f.info.ID, Task: t.ID, Attempt: t.Attempts, Result: raw})
	var invalid *api.ErrInvalid
	if !errors.As(err, &invalid) {
		return fmt.Errorf("a result of %d bytes in a message gave %w; it should be refused for good", len(raw), err)
	}
	r.say("in a message: %v", err)
	// The worker then says why the task failed, and that is kept.
	if err := f.api.WorkerDone(ctx, api.TaskReport{Worker: f.info.ID, Task: t.ID, Attempt: t.Attempts,
		Failure: api.NewFailure(err, false)}); err != nil {
		return err
	}
	st, err := r.Miner.TaskGet(ctx, t.ID)
	if err != nil {
		return err
	}
	if st.State != api.TaskFailed || st.Failure == nil {
		return fmt.Errorf("the task is %s after a result that cannot be taken", st.State)
	}
	return nil
}
