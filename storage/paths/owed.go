package paths

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/breaker"
	"quarry/internal/durable"
)

// owedFile remembers deletions on paths that were away, beside storage.json.
const owedFile = "storage-owed.json"

// deletion is a file that was to be deleted on a path that was away. It is not
// declared when the path is back: it may be a stale copy, and is never picked
// instead of the right one.
type deletion struct {
	Storage api.StorageID
	Sector  abi.SectorID
	Type    api.FileType
	All     bool `json:",omitempty"` // no copy was to stay anywhere
}

func (d deletion) same(f api.SectorFile) bool {
	return d.Storage == f.Storage && d.Sector == f.Sector && d.Type == f.Type
}

func (l *Local) owedPath() string { return filepath.Join(filepath.Dir(l.cfg.File), owedFile) }

// readOwed reads what a former process of this repo still owed.
func (l *Local) readOwed() error {
	if l.cfg.File == "" {
		return nil
	}
	err := readJSON(l.owedPath(), &l.owed)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read what is to be deleted on paths that were away: %w", err)
	}
	return nil
}

// owe puts a deletion off until its path is back.
func (l *Local) owe(d deletion) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.owed, d) {
		return nil
	}
	next := append(l.without(api.SectorFile{Storage: d.Storage, Sector: d.Sector, Type: d.Type}), d)
	return l.keepOwed(next)
}

// without is what is owed less one file. The caller holds mu.
func (l *Local) without(files ...api.SectorFile) []deletion {
	return slices.DeleteFunc(slices.Clone(l.owed), func(d deletion) bool { return slices.ContainsFunc(files, d.same) })
}

// keepOwed stores the list before it counts. The caller holds mu; the list is
// short and changes only while a path is away.
func (l *Local) keepOwed(next []deletion) error {
	if len(next) == len(l.owed) && slices.Equal(next, l.owed) {
		return nil
	}
	if l.cfg.File != "" {
		b, err := json.MarshalIndent(next, "", "  ")
		if err != nil {
			return fmt.Errorf("encode %s: %w", owedFile, err)
		}
		if err := durable.WriteFile(l.owedPath(), append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	l.owed = next
	return nil
}

// forgive takes back what was owed of files that are there anew.
func (l *Local) forgive(files ...api.SectorFile) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.owed) == 0 {
		return nil
	}
	return l.keepOwed(l.without(files...))
}

// owes lists what is to be deleted on a path.
func (l *Local) owes(id api.StorageID) []deletion {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.owed), func(d deletion) bool { return d.Storage != id })
}

// payOwed deletes on a path that is back what was to be deleted while it was
// away. A copy of which the index knows no other stays, undeclared: it may be the
// last.
func (l *Local) payOwed(ctx context.Context, p Path) error {
	for _, d := range l.owes(p.Meta.ID) {
		if !d.All {
			locs, err := l.deps.Index.StorageFindSector(ctx, d.Sector, d.Type)
			if err != nil {
				return fmt.Errorf("find other copies of %s of sector %s: %w", d.Type, api.SectorName(d.Sector), err)
			}
			if !slices.ContainsFunc(locs, func(i api.SectorLocationInfo) bool { return i.Storage != d.Storage }) {
				l.log.Warn("a copy that was to be deleted stays, not used: the index knows no other one now",
					"path", p.Dir, "kind", d.Type, "sector", api.SectorName(d.Sector))
				continue
			}
		}
		_, err := breaker.Get(ctx, l.deps.Breaker, p.Dir, scanLimit, func(context.Context) (struct{}, error) {
			return struct{}{}, p.remove(d.Sector, d.Type)
		})
		if err != nil {
			return fmt.Errorf("delete %s, which was put off: %w", p.FilePath(d.Sector, d.Type), err)
		}
		l.log.Info("a copy is deleted that was to go while its path was away", "path", p.Dir, "kind", d.Type, "sector",
			api.SectorName(d.Sector))
		if err := l.forgive(api.SectorFile{Storage: d.Storage, Sector: d.Sector, Type: d.Type}); err != nil {
			return err
		}
	}
	return nil
}
