package paths

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// tempDir is the name Lotus gives the directory of files in flight.
const tempDir = "fetching"

// redeclareEvery is how many heartbeats pass between full declarations, which
// repair whatever a crash left between a rename and its declaration.
const redeclareEvery = 30

// Run keeps the index informed of all paths until ctx ends. It attaches every
// path first, reports health at each heartbeat, and starts over for a path that
// the index does not know (it restarted).
func (l *Local) Run(ctx context.Context) error {
	tick := time.NewTicker(l.cfg.Heartbeat)
	defer tick.Stop()
	for n := 0; ; n++ {
		l.retryWaiting()
		for _, p := range l.Paths() {
			if err := l.beat(ctx, p, n%redeclareEvery == 0); err != nil && ctx.Err() == nil {
				l.log.Warn("storage index cannot be told of a path; it will be told again", "path", p.Dir, "id", p.Meta.ID, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// retryWaiting opens what can be opened now. A directory stays in the list while
// that is tried: it counts as not opened until it is.
func (l *Local) retryWaiting() {
	for _, dir := range l.Unopened() {
		if err := l.open(dir); err != nil {
			continue
		}
		l.mu.Lock()
		l.waiting = slices.DeleteFunc(l.waiting, func(w string) bool { return w == dir })
		l.mu.Unlock()
		l.log.Info("storage path opened", "path", dir)
	}
}

func (l *Local) beat(ctx context.Context, p Path, full bool) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if full {
		return l.announce(ctx, p)
	}
	stat, text := l.health(p)
	err := l.idx.StorageReportHealth(ctx, p.Meta.ID, stat, text)
	var unknown *api.ErrNotFound
	if errors.As(err, &unknown) {
		return l.announce(ctx, p)
	}
	return err
}

func (l *Local) health(p Path) (api.FsStat, string) {
	stat, err := l.stat(p)
	if err == nil {
		_, err = ReadMeta(p.Dir) // a vanished mount leaves an empty directory behind
	}
	if err != nil {
		return stat, err.Error()
	}
	return stat, ""
}

// announce attaches the path and declares every sector file in it.
func (l *Local) announce(ctx context.Context, p Path) error {
	stat, text := l.health(p)
	if text != "" {
		return errors.New(text)
	}
	if err := l.idx.StorageAttach(ctx, p.Meta, l.cfg.URL, stat); err != nil {
		return fmt.Errorf("attach storage path %s: %w", p.Dir, err)
	}
	files, err := l.scan(p)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(files, api.MaxDeclare) {
		if err := l.Declare(ctx, batch...); err != nil {
			return err
		}
	}
	return nil
}

// Declare tells the index of files, at most api.MaxDeclare. A process whose token does not allow it
// (a markets node that only reads shared paths) stays silent: the process that
// owns the path declares its files.
func (l *Local) Declare(ctx context.Context, files ...api.SectorFile) error {
	l.mu.Lock()
	mute := l.mute
	l.mu.Unlock()
	if mute {
		return nil
	}
	err := l.idx.StorageDeclareSectors(ctx, files)
	var perm *api.ErrPermission
	if errors.As(err, &perm) {
		l.mu.Lock()
		l.mute = true
		l.mu.Unlock()
		return nil
	}
	if err != nil {
		return fmt.Errorf("declare %d sector files to the index: %w", len(files), err)
	}
	return nil
}

// Drop tells the index that one file is no longer there.
func (l *Local) Drop(ctx context.Context, f api.SectorFile) error {
	if err := l.idx.StorageDropSectors(ctx, []api.SectorFile{f}); err != nil {
		return fmt.Errorf("drop %s of sector %s from the index: %w", f.Type, api.SectorName(f.Sector), err)
	}
	return nil
}

func (l *Local) scan(p Path) ([]api.SectorFile, error) {
	var out []api.SectorFile
	for _, t := range api.AllFileTypes {
		entries, err := os.ReadDir(filepath.Join(p.Dir, t.String()))
		if err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("list storage path %s: %w", p.Dir, err)
		}
		for _, e := range entries {
			if e.Name() == tempDir {
				continue
			}
			id, err := api.ParseSectorName(e.Name())
			if err != nil {
				l.log.Warn("stray name in a storage path is ignored", "path", filepath.Join(p.Dir, t.String(), e.Name()))
				continue
			}
			out = append(out, api.SectorFile{Sector: id, Type: t, Storage: p.Meta.ID, Primary: p.Meta.CanStore})
		}
	}
	return out, nil
}

// Remove deletes files of the sector, of all kinds in types, from every path of
// this process except keep, and tells the index. Missing files are no error.
func (l *Local) Remove(ctx context.Context, s abi.SectorID, types api.FileType, keep ...api.StorageID) error {
	var errs []error
	for _, p := range l.Paths() {
		if contains(keep, p.Meta.ID) {
			continue
		}
		for _, t := range api.AllFileTypes {
			if types.Has(t) {
				errs = append(errs, l.removeOne(ctx, p, s, t))
			}
		}
	}
	return errors.Join(errs...)
}

func (l *Local) removeOne(ctx context.Context, p Path, s abi.SectorID, t api.FileType) error {
	name := p.FilePath(s, t)
	flight := filepath.Join(p.Dir, t.String(), tempDir, api.SectorName(s))
	err := errors.Join(os.RemoveAll(flight), os.RemoveAll(flight+madeSuffix), os.RemoveAll(name))
	if t == api.FileCache { // a replica begun beside it is worth nothing without it
		err = errors.Join(err, os.RemoveAll(filepath.Join(p.Dir, api.FileSealed.String(), tempDir, api.SectorName(s)+madeSuffix)))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	if err := SyncDir(filepath.Dir(name)); err != nil {
		return err
	}
	return l.Drop(ctx, api.SectorFile{Sector: s, Type: t, Storage: p.Meta.ID})
}

func contains(ids []api.StorageID, id api.StorageID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}

func marshalIndent(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return append(b, '\n'), nil
}
