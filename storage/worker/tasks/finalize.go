package tasks

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/storage/paths"
	"quarry/storage/unsealed"
)

// finalize drops what proving does not need and moves the rest to a path for
// keeping. Every step may be repeated.
func (j *job) finalize(ctx context.Context, a api.FinalizeParams) (none api.Nothing, err error) {
	cache, err := j.cacheDir(ctx, api.FileCache)
	if err != nil {
		return none, err
	}
	if err := j.Confirm(ctx); err != nil {
		return none, err
	}
	j.Set("clear cache", 0, 0)
	err = firstError(
		func() error { return porep.ClearCache(cache, j.sector.ProofType) },
		func() error { return porep.ClearSynthetic(cache) }, // the proof has landed
		func() error { return clearRecords(cache, inputName, outputName, sealedName) },
	)
	if err != nil {
		return none, fmt.Errorf("clear cache: %w", err)
	}
	for _, t := range []api.FileType{api.FileSealed, api.FileCache} {
		if err := j.settle(ctx, t, asSealed); err != nil {
			return none, err
		}
	}
	if a.KeepUnsealed {
		return none, j.settle(ctx, api.FileUnsealed, asSealed)
	}
	// From now on the replica is the only source of the data.
	if err := j.proveForm(ctx, paths.Path{}, asSealed, cid.Undef); err != nil {
		return none, fmt.Errorf("the unsealed copy stays: %w", err)
	}
	return none, j.deleteEverywhere(ctx, api.FileUnsealed)
}

// settle puts one file on a path for keeping, and deletes other copies once the
// kept one has been proven.
func (j *job) settle(ctx context.Context, t api.FileType, f form) error {
	from, err := j.have(ctx, t)
	var missing *api.ErrNotFound
	if t == api.FileUnsealed && errors.As(err, &missing) {
		return nil // a sector of zeros only
	}
	if err != nil {
		return err
	}
	to := from
	if !from.Meta.CanStore {
		need := paths.Need(t, j.size, false)
		dst, release, err := j.room(ctx, paths.Want{What: t.String(), Types: t, Need: need, From: []api.PathMeta{from.Meta}})
		if err != nil {
			return err
		}
		defer release()
		to = dst
		if err := j.move(ctx, from, to, t); err != nil {
			return paths.AsNoSpace(err, j.name(t), need)
		}
	}
	if err := j.Confirm(ctx); err != nil {
		return err
	}
	if err := j.declare(ctx, to, t, true); err != nil {
		return err
	}
	return j.deleteOtherCopies(ctx, to, t, func(ctx context.Context) error {
		if t == api.FileUnsealed {
			return j.sameRanges(from, to)
		}
		return j.proveForm(ctx, to, f, cid.Undef)
	})
}

// sameRanges shows that a copy of an unsealed file has what the one that it was
// made of has, and can be read.
func (j *job) sameRanges(from, to paths.Path) error {
	if err := j.proveUnsealed(to); err != nil {
		return err
	}
	if from.Meta.ID == to.Meta.ID {
		return nil
	}
	a, err := unsealed.Open(from.FilePath(j.sector.ID, api.FileUnsealed), j.size)
	if err != nil {
		return err
	}
	defer a.Close() //nolint:errcheck // read only
	b, err := unsealed.Open(to.FilePath(j.sector.ID, api.FileUnsealed), j.size)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // read only
	if !a.SameRanges(b) {
		return fmt.Errorf("the copy on path %s has other ranges than the one on path %s", to.Meta.ID, from.Meta.ID)
	}
	return nil
}
