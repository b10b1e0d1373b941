package paths

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/breaker"
)

// tempDir is the name Lotus gives the directory of files in flight.
const tempDir = "fetching"

// madeSuffix makes the name of a file that is computed here.
const madeSuffix = ".made"

// FilePath is where a file of one kind of a sector is or would be.
func (p Path) FilePath(s abi.SectorID, t api.FileType) string {
	return filepath.Join(p.Dir, t.String(), api.SectorName(s))
}

// Mounted fails when the directory is not the path any more, because its disk is
// not mounted: what would be written there would lie below the mount.
func (p Path) Mounted() error {
	m, err := ReadMeta(p.Dir)
	if err != nil {
		return &api.ErrBusy{What: "storage path " + string(p.Meta.ID), Reason: plain(gone(p.Dir, err))}
	}
	if m.ID != p.Meta.ID {
		return &api.ErrBusy{What: "storage path " + string(p.Meta.ID), Reason: fmt.Sprintf("path %s is in %s now", m.ID, p.Dir)}
	}
	return nil
}

// TempPath is where a file lies while it is fetched, before it is renamed to
// FilePath. It is on the same file system and ignored by everything that lists
// sectors. What lies there is believed to be a part of the file, so nothing else
// may use the name.
func (p Path) TempPath(s abi.SectorID, t api.FileType) (string, error) {
	return p.inFlight(s, t, "")
}

// MadePath is where a file lies while it is computed or copied here. It may have
// its full length long before it is whole.
func (p Path) MadePath(s abi.SectorID, t api.FileType) (string, error) {
	return p.inFlight(s, t, madeSuffix)
}

// Made lists the sectors of which a file of one kind lies at MadePath.
func (p Path) Made(t api.FileType) []abi.SectorID {
	entries, err := os.ReadDir(filepath.Join(p.Dir, t.String(), tempDir))
	if err != nil {
		return nil // nothing was made here, or nothing can be read
	}
	var out []abi.SectorID
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), madeSuffix); ok {
			if id, err := api.ParseSectorName(name); err == nil {
				out = append(out, id)
			}
		}
	}
	return out
}

func (p Path) inFlight(s abi.SectorID, t api.FileType, suffix string) (string, error) {
	if err := p.Mounted(); err != nil {
		return "", err
	}
	dir := filepath.Join(p.Dir, t.String(), tempDir)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as the type directories
		return "", fmt.Errorf("create %s: %w", dir, err)
	}
	return filepath.Join(dir, api.SectorName(s)+suffix), nil
}

// Publish renames what was fetched to TempPath to FilePath, replacing what is
// there.
func (p Path) Publish(s abi.SectorID, t api.FileType) error { return p.publish(s, t, "") }

// PublishMade is Publish of what was made at MadePath.
func (p Path) PublishMade(s abi.SectorID, t api.FileType) error { return p.publish(s, t, madeSuffix) }

func (p Path) publish(s abi.SectorID, t api.FileType, suffix string) error {
	tmp, err := p.inFlight(s, t, suffix)
	if err != nil {
		return err
	}
	final := p.FilePath(s, t)
	if t&(api.FileCache|api.FileUpdateCache) != 0 {
		if err := os.RemoveAll(final); err != nil { // a directory cannot be renamed over another
			return fmt.Errorf("replace %s: %w", final, err)
		}
	}
	if err := os.Rename(tmp, final); err != nil {
		return fmt.Errorf("publish %s: %w", final, err)
	}
	return SyncDir(filepath.Dir(final))
}

// Find gives the local path that holds a file of one kind of a sector. A path
// that is not well, or does not answer in time, has none.
func (l *Local) Find(ctx context.Context, s abi.SectorID, t api.FileType) (Path, bool) {
	for _, p := range l.well() {
		there, err := breaker.Get(ctx, l.deps.Breaker, p.Dir, l.cfg.Limit, func(context.Context) (bool, error) {
			return l.deps.Disk.Exists(p.FilePath(s, t))
		})
		if err == nil && there {
			return p, true
		}
	}
	return Path{}, false
}

// well lists the paths that can be read, by ID.
func (l *Local) well() []Path {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Path
	for _, p := range l.places {
		if p.opened && p.trouble == "" {
			out = append(out, p.path())
		}
	}
	slices.SortFunc(out, func(a, b Path) int { return strings.Compare(string(a.Meta.ID), string(b.Meta.ID)) })
	return out
}

// Remove deletes files of the sector, of all kinds in types, from every path of
// this process except keep, and tells the index. Missing files are no error; a
// path that is not well is one, because nobody knows what lies on it.
func (l *Local) Remove(ctx context.Context, s abi.SectorID, types api.FileType, keep ...api.StorageID) error {
	var errs []error
	for _, p := range l.Paths() {
		if slices.Contains(keep, p.Meta.ID) {
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
	err := l.deps.Breaker.Do(ctx, p.Dir, scanLimit, func(context.Context) error { return p.remove(s, t) })
	if err != nil {
		return fmt.Errorf("remove %s: %w", p.FilePath(s, t), err)
	}
	return l.Drop(ctx, api.SectorFile{Sector: s, Type: t, Storage: p.Meta.ID})
}

// remove deletes a file with all that was begun of it.
func (p Path) remove(s abi.SectorID, t api.FileType) error {
	if err := p.Mounted(); err != nil {
		return err
	}
	name := p.FilePath(s, t)
	flight := filepath.Join(p.Dir, t.String(), tempDir)
	begun := []string{filepath.Join(flight, api.SectorName(s)), name}
	if made, err := filepath.Glob(filepath.Join(flight, api.SectorName(s)+".*")); err == nil {
		begun = append(begun, made...) // and what says of what it was begun
	}
	if t == api.FileCache { // a replica begun beside it is worth nothing without it
		begun = append(begun, filepath.Join(p.Dir, api.FileSealed.String(), tempDir, api.SectorName(s)+madeSuffix))
	}
	var errs []error
	for _, n := range begun {
		errs = append(errs, os.RemoveAll(n))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err := SyncDir(filepath.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the path has no directory for such files
	}
	return err
}
