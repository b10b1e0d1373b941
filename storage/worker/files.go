package worker

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/storage/paths"
)

// have gives the local path that holds a file, fetching the file into a sealing
// path when no local path has it.
func (w *Worker) have(ctx context.Context, s abi.SectorID, t api.FileType, size abi.SectorSize, p *progress) (paths.Path, error) {
	if at, ok := w.deps.Local.Find(s, t); ok {
		return at, nil
	}
	what := t.String() + " of sector " + api.SectorName(s)
	locs, err := w.deps.Storage.StorageFindSector(ctx, s, t)
	if err != nil {
		return paths.Path{}, fmt.Errorf("find %s: %w", what, err)
	}
	if len(locs) == 0 {
		return paths.Path{}, &api.ErrNotFound{What: what, Hint: "no attached storage path has it"}
	}
	need := paths.Need(t, size, true)
	at, release, err := w.deps.Local.Alloc(what, need, true)
	if err != nil {
		return paths.Path{}, err
	}
	defer release()
	tmp, err := at.TempPath(s, t)
	if err != nil {
		return paths.Path{}, err
	}
	var errs []error
	for _, l := range locs {
		for _, u := range l.URLs {
			if err := w.client.Sector(ctx, u, t, tmp, p.of("fetch "+t.String())); err != nil {
				errs = append(errs, err)
				continue
			}
			if err := at.Publish(s, t); err != nil {
				return at, err
			}
			return at, w.declare(ctx, at, s, t, false)
		}
	}
	err = errors.Join(errs...)
	if err == nil {
		err = &api.ErrNotFound{What: what, Hint: "the process that has it serves no URL; give it a listen address or share the path"}
	}
	if full := new(api.ErrNoSpace); errors.As(err, &full) {
		err = errors.Join(err, os.RemoveAll(tmp))
	}
	return paths.Path{}, fmt.Errorf("fetch %s: %w", what, err)
}

func (w *Worker) declare(ctx context.Context, at paths.Path, s abi.SectorID, t api.FileType, primary bool) error {
	return w.deps.Local.Declare(ctx, api.SectorFile{Sector: s, Type: t, Storage: at.Meta.ID, Primary: primary || at.Meta.CanStore})
}

// only removes every other copy of a file that was changed at at: a stale copy
// must never be picked instead. One that cannot be reached is dropped from the
// index and logged.
func (w *Worker) only(ctx context.Context, at paths.Path, s abi.SectorID, t api.FileType) error {
	if err := w.deps.Local.Remove(ctx, s, t, at.Meta.ID); err != nil {
		return err
	}
	locs, err := w.deps.Storage.StorageFindSector(ctx, s, t)
	if err != nil {
		return fmt.Errorf("find copies of %s: %w", t, err)
	}
	for _, l := range locs {
		if l.Storage == at.Meta.ID {
			continue
		}
		for _, u := range l.URLs {
			if err := w.client.Remove(ctx, u, at.Meta.ID); err != nil {
				w.log.Warn("an old copy of a sector file could not be removed", "url", u, "err", err)
			}
		}
		if err := w.deps.Local.Drop(ctx, api.SectorFile{Sector: s, Type: t, Storage: l.Storage}); err != nil {
			return err
		}
	}
	return nil
}

// openFile opens a replica for reading, fetching it when need be.
func (w *Worker) openFile(ctx context.Context, s api.SectorRef, t api.FileType, size abi.SectorSize, p *progress) (*os.File, error) {
	at, err := w.have(ctx, s.ID, t, size, p)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(at.FilePath(s.ID, t))
	if err != nil {
		return nil, fmt.Errorf("open %s of sector %s: %w", t, s, err)
	}
	return f, nil
}
