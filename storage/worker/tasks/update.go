package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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

// updatedName is the file in the cache of an update that keeps what RU gave until
// the update is finalized.
const updatedName = "ru-output"

const updateFiles = api.FileUpdate | api.FileUpdateCache

// updateReplica encodes the unsealed data into the sector and publishes the new
// replica with its cache. The old one stays as it is.
func (j *job) updateReplica(ctx context.Context, a api.UpdateReplicaParams) (none api.UpdateReplicaResult, err error) {
	com, err := j.updated(ctx, a.Pieces)
	if err != nil {
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

// updated makes the new replica. A whole one of an earlier attempt whose report
// was lost is taken as it is, published or not.
func (j *job) updated(ctx context.Context, pieces []abi.PieceInfo) (com update.Commitments, err error) {
	input, err := inputOf(j.sector, pieces)
	if err != nil {
		return com, err
	}
	if at, ok := j.local.Find(ctx, j.sector.ID, api.FileUpdateCache); ok && exists(at.FilePath(j.sector.ID, api.FileUpdate)) &&
		loadFinished(filepath.Join(at.FilePath(j.sector.ID, api.FileUpdateCache), updatedName), input, &com) &&
		j.proveForm(ctx, at, asUpdated, com.SealedCID()) == nil {
		return com, firstError(
			func() error { return j.Confirm(ctx) },
			func() error { return j.declare(ctx, at, api.FileUpdateCache, false) },
			func() error { return j.declare(ctx, at, api.FileUpdate, false) },
		)
	}
	if at, ok := j.begunUpdate(input, &com); ok {
		return com, j.publishUpdate(ctx, at, com.SealedCID())
	}
	need := paths.Need(updateFiles, j.size, true)
	at, release, err := j.room(ctx, paths.Want{What: "updated replica", Types: updateFiles, Need: need, Sealing: true})
	if err != nil {
		return com, err
	}
	defer release()
	if com, err = j.encode(ctx, pieces, at, input); err != nil {
		return com, paths.AsNoSpace(err, "updated replica of sector "+j.String(), need)
	}
	return com, j.publishUpdate(ctx, at, com.SealedCID())
}

// begunUpdate finds a whole new replica that was not published, with its cache,
// which may have been.
func (j *job) begunUpdate(input string, com *update.Commitments) (paths.Path, bool) {
	for _, p := range j.local.Paths() {
		name, err1 := p.MadePath(j.sector.ID, api.FileUpdate)
		made, err2 := p.MadePath(j.sector.ID, api.FileUpdateCache)
		if err1 != nil || err2 != nil || !exists(name) {
			continue
		}
		for _, dir := range []string{made, p.FilePath(j.sector.ID, api.FileUpdateCache)} {
			if loadFinished(filepath.Join(dir, updatedName), input, com) {
				return p, true
			}
		}
	}
	return paths.Path{}, false
}

// publishUpdate replaces an earlier try. Nowhere and never is a replica beside
// a cache that is not its own.
func (j *job) publishUpdate(ctx context.Context, at paths.Path, commR cid.Cid) error {
	id := j.sector.ID
	if err := j.checkMade(ctx, at, commR); err != nil {
		return err
	}
	whole := func(context.Context) error { return nil } // that was it
	return firstError(
		func() error { return j.deleteOtherCopies(ctx, at, api.FileUpdate, whole) },
		func() error { return j.Confirm(ctx) },
		func() error { return os.RemoveAll(at.FilePath(id, api.FileUpdate)) },
		func() error {
			if dir, err := at.MadePath(id, api.FileUpdateCache); err != nil || !exists(dir) {
				return err // published before
			}
			return j.publishMade(ctx, at, api.FileUpdateCache)
		},
		func() error { return j.deleteOtherCopies(ctx, at, api.FileUpdateCache, whole) },
		func() error { return j.publishMade(ctx, at, api.FileUpdate) },
	)
}

// checkMade proves the new replica where it lies under its temporary name.
func (j *job) checkMade(ctx context.Context, at paths.Path, commR cid.Cid) error {
	name, err1 := at.MadePath(j.sector.ID, api.FileUpdate)
	dir, err2 := at.MadePath(j.sector.ID, api.FileUpdateCache)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !exists(dir) { // published before, and the replica was not
		dir = at.FilePath(j.sector.ID, api.FileUpdateCache)
	}
	f, err := paths.OpenFile(name, 0)
	if err != nil {
		return err
	}
	defer f.Close() // read only
	return j.proveFiles(ctx, f, paths.CacheDir(dir), asUpdated, commR)
}

// encode writes both new files under their temporary names.
func (j *job) encode(ctx context.Context, pieces []abi.PieceInfo, at paths.Path, input string) (com update.Commitments, err error) {
	typ, err := updateProof(j.sector)
	if err != nil {
		return com, err
	}
	data, err := j.sectorData(ctx)
	if err != nil {
		return com, err
	}
	defer data.Close() // read only
	if err := checkPieces(data, pieces); err != nil {
		return com, err
	}
	old, closeOld, err := j.openForm(ctx, asSealed)
	if err != nil {
		return com, err
	}
	defer closeOld()
	name, err1 := at.MadePath(j.sector.ID, api.FileUpdate)
	dir, err2 := at.MadePath(j.sector.ID, api.FileUpdateCache)
	if err := errors.Join(err1, err2); err != nil {
		return com, err
	}
	if err := errors.Join(j.own(name), j.own(dir), os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil { // as all sector directories
		return com, err
	}
	f, err := paths.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return com, fmt.Errorf("create updated replica: %w", err)
	}
	com, err = update.Encode(ctx, typ, update.EncodeTask{
		Old:    old,
		Data:   data,
		Pieces: pieces,
		Sealed: f,
		Cache:  paths.CacheDir(dir),
	}, j.Set)
	if err == nil {
		err = errors.Join(f.Sync(), paths.SyncDir(dir), saveFinished(filepath.Join(dir, updatedName), input, com))
	}
	return com, scrap(errors.Join(err, f.Close()), name, dir)
}

// openForm opens a replica and its cache, fetching them when need be.
func (j *job) openForm(ctx context.Context, f form) (update.Replica, func(), error) {
	cache, err := j.cacheDir(ctx, f.cache)
	if err != nil {
		return update.Replica{}, nil, err
	}
	r, err := j.openFile(ctx, f.replica)
	if err != nil {
		return update.Replica{}, nil, err
	}
	return update.Replica{Sealed: r, Cache: cache}, func() { _ = r.Close() }, nil
}

// proveUpdate1 makes the vanilla proof of an update, which is verified as it is
// made.
func (j *job) proveUpdate1(ctx context.Context, a api.ProveUpdate1Params) (none api.ProveUpdate1Result, err error) {
	com, err := opaque[update.Commitments](a.Commitments.RawMessage)
	if err != nil {
		return none, err
	}
	typ, err := updateProof(j.sector)
	if err != nil {
		return none, err
	}
	old, closeOld, err := j.openForm(ctx, asSealed)
	if err != nil {
		return none, err
	}
	defer closeOld()
	updated, closeNew, err := j.openForm(ctx, asUpdated)
	if err != nil {
		return none, err
	}
	defer closeNew()
	j.Set("vanilla proof", 0, 0)
	blob, err := update.Prove(ctx, typ, com, old, updated)
	if err != nil {
		return none, err
	}
	ref, err := j.Keep(ctx, bytes.NewReader(blob))
	return api.ProveUpdate1Result{Vanilla: ref}, err
}

// finalizeUpdate tidies up at the end of an update. Every step may be repeated.
func (j *job) finalizeUpdate(ctx context.Context, a api.FinalizeUpdateParams) (none api.Nothing, err error) {
	switch a.Do {
	case api.UpdateKeep:
		return none, j.keepUpdate(ctx)
	case api.UpdateReleaseKey:
		// From now on the new replica is the only one.
		if err := j.proveForm(ctx, paths.Path{}, asUpdated, cid.Undef); err != nil {
			return none, fmt.Errorf("the replica from before the update is kept: %w", err)
		}
		return none, j.deleteEverywhere(ctx, api.FileSealed, api.FileCache) // the replica first: without it nobody looks for the cache
	case api.UpdateAbort:
		return none, j.deleteEverywhere(ctx, api.FileUpdate, api.FileUpdateCache, api.FileUnsealed)
	}
	return none, &api.ErrInvalid{What: fmt.Sprintf("files of an update: %q", a.Do), Reason: "it is not one of keep, release-key and abort"}
}

func (j *job) keepUpdate(ctx context.Context) error {
	cache, err := j.cacheDir(ctx, api.FileUpdateCache)
	if err != nil {
		return err
	}
	if err := j.Confirm(ctx); err != nil {
		return err
	}
	j.Set("clear cache", 0, 0)
	if err := errors.Join(porep.ClearCache(cache, j.sector.ProofType), clearRecords(cache, updatedName)); err != nil {
		return fmt.Errorf("clear update cache: %w", err)
	}
	for _, t := range []api.FileType{api.FileUpdate, api.FileUpdateCache, api.FileUnsealed} {
		if err := j.settle(ctx, t, asUpdated); err != nil {
			return err
		}
	}
	return nil
}
