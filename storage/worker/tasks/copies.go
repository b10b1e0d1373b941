package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/post"
	"quarry/storage/paths"
	"quarry/storage/unsealed"
)

// deleteOtherCopies deletes every copy of a file but the one at kept, which was
// changed or has just been put there: a stale copy must never be picked instead.
// proven is asked first, and only if there are others, whether the kept one can
// stand alone. A copy that cannot be reached is dropped from the index and logged.
func (j *job) deleteOtherCopies(ctx context.Context, kept paths.Path, t api.FileType, proven func(context.Context) error) error {
	locs, err := j.find(ctx, t)
	if err != nil {
		return err
	}
	locs = slices.DeleteFunc(locs, func(l api.SectorLocationInfo) bool { return l.Storage == kept.Meta.ID })
	if len(locs) == 0 && !j.hereToo(kept, t) {
		return nil
	}
	if err := proven(ctx); err != nil {
		return fmt.Errorf("%s on path %s cannot stand alone, so no other copy is deleted: %w", j.name(t), kept.Meta.ID, err)
	}
	if err := j.Confirm(ctx); err != nil {
		return err
	}
	return j.deleteCopies(ctx, kept.Meta.ID, locs, t)
}

// hereToo tells whether another path of this process has a copy.
func (j *job) hereToo(kept paths.Path, t api.FileType) bool {
	return slices.ContainsFunc(j.local.Paths(), func(p paths.Path) bool {
		return p.Meta.ID != kept.Meta.ID && exists(p.FilePath(j.sector.ID, t))
	})
}

// deleteEverywhere deletes all copies of files.
func (j *job) deleteEverywhere(ctx context.Context, types ...api.FileType) error {
	for _, t := range types {
		locs, err := j.find(ctx, t)
		if err != nil {
			return err
		}
		if err := j.Confirm(ctx); err != nil {
			return err
		}
		if err := j.deleteCopies(ctx, "", locs, t); err != nil {
			return err
		}
	}
	return nil
}

// deleteCopies deletes the copies on other paths of this process than keep, and
// those at locs.
func (j *job) deleteCopies(ctx context.Context, keep api.StorageID, locs []api.SectorLocationInfo, t api.FileType) error {
	err := j.ask(ctx, "copies of "+j.name(t)+" are deleted", func(ctx context.Context) error {
		return j.local.Remove(ctx, j.sector.ID, t, keep)
	})
	if err != nil {
		return err
	}
	for _, l := range locs {
		for _, u := range l.URLs {
			if err := j.client.Remove(ctx, u, keep); err != nil {
				j.log.Warn("an old copy of a sector file could not be removed", "url", u, "err", err)
			}
		}
		err := j.Ask(ctx, "a copy of "+j.name(t)+" is taken out of the index", func(ctx context.Context) error {
			return j.local.Drop(ctx, api.SectorFile{Sector: j.sector.ID, Type: t, Storage: l.Storage})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// form is a replica with its cache: as sealed, or as updated with data later.
type form struct{ replica, cache api.FileType }

var (
	asSealed  = form{api.FileSealed, api.FileCache}
	asUpdated = form{api.FileUpdate, api.FileUpdateCache}
)

// proveForm proves a replica with its cache, preferring the files at one path:
// the length, the commitments, every file that a cache keeps for the sector's
// life, and a random leaf against CommR. Undefined commR: the one recorded in the
// cache, which finds damage but not another sector's files.
func (j *job) proveForm(ctx context.Context, at paths.Path, f form, commR cid.Cid) error {
	sealed, err := j.openReplica(ctx, at, f.replica)
	if err != nil {
		return err
	}
	defer sealed.Close() //nolint:errcheck // read only
	cache, err := j.openCache(ctx, at, f.cache)
	if err != nil {
		return err
	}
	return j.proveFiles(ctx, sealed, cache, f, commR)
}

// proveFiles is proveForm of files that are open.
func (j *job) proveFiles(ctx context.Context, sealed porep.File, cache porep.Files, f form, commR cid.Cid) error {
	n, err := sealed.Size()
	if err == nil && n != int64(j.size) { //nolint:gosec // sector sizes fit
		err = fmt.Errorf("%s has %d bytes instead of %d", j.name(f.replica), n, uint64(j.size))
	}
	if err == nil && commR == cid.Undef {
		commR, err = recordedCommR(cache)
	}
	if err != nil {
		return err
	}
	if err := porep.CheckTAux(j.sector.ProofType, cache); err != nil {
		return fmt.Errorf("%s: %w", j.name(f.cache), err)
	}
	info := proof.SectorInfo{SealProof: j.sector.ProofType, SectorNumber: j.sector.ID.Number, SealedCID: commR}
	return post.SelfCheck(ctx, j.sector.ID.Miner, post.SectorAccess{Info: info, Sealed: sealed, Cache: cache})
}

// recordedCommR is the CommR that stands beside the data: H(CommC, CommRLast).
func recordedCommR(cache porep.Files) (cid.Cid, error) {
	commC, commRLast, err := porep.ReadAux(cache)
	if err != nil {
		return cid.Undef, err
	}
	commR, err := merkle.HashNodes(commC, commRLast)
	if err != nil {
		return cid.Undef, fmt.Errorf("p_aux is damaged: %w", err)
	}
	return commcid.ReplicaCommitmentV1ToCID(commR[:])
}

// place is the local path of a file: at if it is there, or else any other.
func (j *job) place(ctx context.Context, at paths.Path, t api.FileType) (paths.Path, bool) {
	if at.Dir != "" && exists(at.FilePath(j.sector.ID, t)) {
		return at, true
	}
	return j.local.Find(ctx, j.sector.ID, t)
}

func (j *job) openReplica(ctx context.Context, at paths.Path, t api.FileType) (porep.File, error) {
	if p, ok := j.place(ctx, at, t); ok {
		return paths.OpenFile(p.FilePath(j.sector.ID, t), 0)
	}
	var f porep.File
	err := j.elsewhere(ctx, t, func(url string) (err error) {
		f, err = j.client.Open(ctx, url)
		return err
	})
	return f, err
}

func (j *job) openCache(ctx context.Context, at paths.Path, t api.FileType) (porep.Files, error) {
	if p, ok := j.place(ctx, at, t); ok {
		return paths.CacheDir(p.FilePath(j.sector.ID, t)), nil
	}
	var files porep.Files
	err := j.elsewhere(ctx, t, func(url string) error {
		d := j.client.Dir(ctx, url)
		files = d
		_, err := d.List()
		return err
	})
	return files, err
}

// elsewhere tries the addresses of a file until one works.
func (j *job) elsewhere(ctx context.Context, t api.FileType, try func(url string) error) error {
	locs, err := j.find(ctx, t)
	if err != nil {
		return err
	}
	errs := []error{&api.ErrNotFound{What: j.name(t), Hint: "attach the storage path that has it"}}
	for _, l := range locs {
		for _, u := range l.URLs {
			if err = try(u); err == nil {
				return nil
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// proveUnsealed shows that an unsealed file has the ranges that it must have, and
// that they can be read.
func (j *job) proveUnsealed(at paths.Path, ranges ...span) error {
	f, err := unsealed.Open(at.FilePath(j.sector.ID, api.FileUnsealed), j.size)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	for _, r := range ranges {
		has, err := f.Has(r.off, r.size)
		if err != nil {
			return err
		}
		if !has {
			return &api.ErrNotFound{What: fmt.Sprintf("range %d+%d of %s", r.off, r.size, j.name(api.FileUnsealed))}
		}
		if err := readEnds(f, r); err != nil {
			return fmt.Errorf("%s: %w", j.name(api.FileUnsealed), err)
		}
	}
	return readEnds(f, span{size: pad(j.size)})
}

// readEnds reads the first and the last node of a range.
func readEnds(f io.ReaderAt, r span) error {
	var b [32]byte
	if _, err := io.ReadFull(io.NewSectionReader(f, int64(r.off), 32), b[:]); err != nil { //nolint:gosec // inside the sector
		return err
	}
	_, err := io.ReadFull(io.NewSectionReader(f, int64(r.off+r.size)-32, 32), b[:]) //nolint:gosec // inside the sector
	return err
}
