package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/proofs/update"
	"quarry/storage/paths"
)

func updateProof(s api.SectorRef) (abi.RegisteredUpdateProof, error) {
	p, err := s.ProofType.RegisteredUpdateProof()
	if err != nil {
		return 0, &api.ErrInvalid{What: "seal proof type", Reason: err.Error()}
	}
	return p, nil
}

// updateReplica encodes the unsealed data into the sector and publishes the new
// replica with its cache. The old one stays as it is.
func (w *Worker) updateReplica(ctx context.Context, s api.SectorRef, size abi.SectorSize, a api.UpdateReplicaParams, p *progress) (none api.UpdateReplicaResult, err error) {
	data, err := w.sectorData(ctx, s, size, p)
	if err != nil {
		return none, err
	}
	defer data.Close() //nolint:errcheck // read only
	if err := checkPieces(data, a.Pieces); err != nil {
		return none, err
	}
	old, closeOld, err := w.sector(ctx, s, api.FileSealed, api.FileCache, size, p)
	if err != nil {
		return none, err
	}
	defer closeOld()
	what, need := "updated replica of sector "+s.String(), paths.Need(updateFiles, size, true)
	at, release, err := w.deps.Local.Alloc(what, need, true)
	if err != nil {
		return none, err
	}
	defer release()
	com, err := encode(ctx, s, old, data, a.Pieces, at, p)
	if err != nil {
		return none, paths.AsNoSpace(err, what, need)
	}
	if err := w.publishUpdate(ctx, at, s.ID); err != nil {
		return none, err
	}
	raw, err := json.Marshal(com)
	if err != nil {
		return none, fmt.Errorf("encode commitments: %w", err)
	}
	return api.UpdateReplicaResult{
		SealedCID:   api.CidString(com.SealedCID().String()),
		UnsealedCID: api.CidString(com.UnsealedCID().String()),
		Commitments: api.UpdateCommitments{RawMessage: raw},
	}, nil
}

// publishUpdate replaces an earlier try. Nowhere and never is a replica beside
// a cache that is not its own.
func (w *Worker) publishUpdate(ctx context.Context, at paths.Path, s abi.SectorID) error {
	for _, step := range []func() error{
		func() error { return w.only(ctx, at, s, api.FileUpdate) },
		func() error { return os.RemoveAll(at.FilePath(s, api.FileUpdate)) },
		func() error { return w.publishMade(ctx, at, s, api.FileUpdateCache) },
		func() error { return w.only(ctx, at, s, api.FileUpdateCache) },
		func() error { return w.publishMade(ctx, at, s, api.FileUpdate) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// encode writes both new files under their temporary names.
func encode(ctx context.Context, s api.SectorRef, old update.Replica, data io.ReaderAt, pieces []abi.PieceInfo, at paths.Path, p *progress) (com update.Commitments, err error) {
	typ, err := updateProof(s)
	if err != nil {
		return com, err
	}
	name, err1 := at.MadePath(s.ID, api.FileUpdate)
	dir, err2 := at.MadePath(s.ID, api.FileUpdateCache)
	if err := errors.Join(err1, err2); err != nil {
		return com, err
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil { //nolint:gosec // as all sector directories
		return com, err
	}
	f, err := paths.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return com, fmt.Errorf("create updated replica: %w", err)
	}
	com, err = update.Encode(ctx, typ, old, data, pieces, f, paths.CacheDir(dir), p.set)
	if err == nil {
		err = paths.SyncDir(dir)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return com, errors.Join(err, os.Remove(name), os.RemoveAll(dir))
	}
	return com, nil
}

// sector opens a replica and its cache.
func (w *Worker) sector(ctx context.Context, s api.SectorRef, replica, cache api.FileType, size abi.SectorSize, p *progress) (update.Replica, func(), error) {
	at, err := w.have(ctx, s.ID, cache, size, p)
	if err != nil {
		return update.Replica{}, nil, err
	}
	f, err := w.openFile(ctx, s, replica, size, p)
	if err != nil {
		return update.Replica{}, nil, err
	}
	return update.Replica{Sealed: f, Cache: paths.CacheDir(at.FilePath(s.ID, cache))}, func() { _ = f.Close() }, nil
}

// proveUpdate1 makes the vanilla proof of an update, which is verified as it is
// made.
func (w *Worker) proveUpdate1(ctx context.Context, s api.SectorRef, size abi.SectorSize, a api.ProveUpdate1Params, p *progress) (none api.ProveUpdate1Result, err error) {
	com, err := opaque[update.Commitments](a.Commitments.RawMessage)
	if err != nil {
		return none, err
	}
	typ, err := updateProof(s)
	if err != nil {
		return none, err
	}
	old, closeOld, err := w.sector(ctx, s, api.FileSealed, api.FileCache, size, p)
	if err != nil {
		return none, err
	}
	defer closeOld()
	updated, closeNew, err := w.sector(ctx, s, api.FileUpdate, api.FileUpdateCache, size, p)
	if err != nil {
		return none, err
	}
	defer closeNew()
	p.set("vanilla proof", 0, 0)
	blob, err := update.Prove(ctx, typ, com, old, updated)
	if err != nil {
		return none, err
	}
	ref, err := w.deps.Blobs.BlobPut(ctx, bytes.NewReader(blob))
	return api.ProveUpdate1Result{Vanilla: ref}, err
}

// finalizeUpdate tidies up at the end of an update. Every step may be repeated.
func (w *Worker) finalizeUpdate(ctx context.Context, s api.SectorRef, size abi.SectorSize, a api.FinalizeUpdateParams, p *progress) error {
	switch a.Do {
	case api.UpdateKeep:
		return w.keepUpdate(ctx, s, size, p)
	case api.UpdateReleaseKey:
		if err := w.released(ctx, s); err != nil {
			return err
		}
		return w.dropFiles(ctx, s, api.FileSealed, api.FileCache) // the replica first: without it nobody looks for the cache
	case api.UpdateAbort:
		return w.dropFiles(ctx, s, api.FileUpdate, api.FileUpdateCache, api.FileUnsealed)
	}
	return &api.ErrInvalid{What: fmt.Sprintf("files of an update: %q", a.Do), Reason: "it is not one of keep, release-key and abort"}
}

func (w *Worker) keepUpdate(ctx context.Context, s api.SectorRef, size abi.SectorSize, p *progress) error {
	cache, err := w.have(ctx, s.ID, api.FileUpdateCache, size, p)
	if err != nil {
		return err
	}
	p.set("clear cache", 0, 0)
	if err := porep.ClearCache(paths.CacheDir(cache.FilePath(s.ID, api.FileUpdateCache)), s.ProofType); err != nil {
		return fmt.Errorf("clear update cache: %w", err)
	}
	for _, t := range []api.FileType{api.FileUpdate, api.FileUpdateCache, api.FileUnsealed} {
		if err := w.settle(ctx, s, t, size, p); err != nil {
			return err
		}
	}
	return nil
}

// released makes sure that the new replica is on some path before the old one
// goes.
func (w *Worker) released(ctx context.Context, s api.SectorRef) error {
	for _, t := range []api.FileType{api.FileUpdate, api.FileUpdateCache} {
		locs, err := w.deps.Storage.StorageFindSector(ctx, s.ID, t)
		if err != nil {
			return fmt.Errorf("find %s: %w", t, err)
		}
		if len(locs) == 0 {
			return &api.ErrNotFound{What: t.String() + " of sector " + s.String(), Hint: "the replica from before the update is kept until it is back"}
		}
	}
	return nil
}

func (w *Worker) dropFiles(ctx context.Context, s api.SectorRef, types ...api.FileType) error {
	for _, t := range types {
		if err := w.everywhere(ctx, s.ID, t); err != nil {
			return err
		}
	}
	return nil
}

// unsealUpdate gives back data of an updated sector as long as the replica from
// before the update is there.
func (w *Worker) unsealUpdate(ctx context.Context, s api.SectorRef, size abi.SectorSize, commD cid.Cid, a api.UnsealParams, out io.Writer, p *progress) error {
	typ, err := updateProof(s)
	if err != nil {
		return err
	}
	key, err := cid.Parse(string(a.SectorKeyCID))
	if err != nil {
		return &api.ErrInvalid{What: "sector key CID " + string(a.SectorKeyCID), Reason: err.Error()}
	}
	old, err := w.openFile(ctx, s, api.FileSealed, size, p)
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		return &api.ErrInvalid{What: "unseal updated sector " + s.String(), Reason: "its readable copy is gone, and so is the replica from before the update",
			Hint: "sealing that anew to read the sector is not built yet; restore the unsealed file from a copy"}
	}
	if err != nil {
		return err
	}
	defer old.Close() //nolint:errcheck // read only
	updated, err := w.openFile(ctx, s, api.FileUpdate, size, p)
	if err != nil {
		return err
	}
	defer updated.Close() //nolint:errcheck // read only
	return update.Decode(ctx, typ, key, commD, old, updated, out, a.Offset, a.Size)
}
