package paths

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"quarry/api"
	"quarry/internal/breaker"
	"quarry/internal/durable"
)

// expand makes the directory of a path absolute: one in storage.json that is not
// is relative to that file.
func (l *Local) expand(dir string) (string, error) {
	if len(dir) > 1 && dir[:2] == "~/" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("expand %s: %w", dir, err)
		}
		return filepath.Join(home, dir[2:]), nil
	}
	if !filepath.IsAbs(dir) && l.cfg.File != "" {
		dir = filepath.Join(filepath.Dir(l.cfg.File), dir)
	}
	return filepath.Abs(dir)
}

func (l *Local) readFile() (storageFile, error) {
	var sf storageFile
	if l.cfg.File == "" {
		return sf, nil
	}
	if err := readJSON(l.cfg.File, &sf); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return sf, fmt.Errorf("read storage paths: %w", err)
	}
	return sf, nil
}

// configured lists the directories of storage.json, each once.
func (l *Local) configured() ([]string, error) {
	sf, err := l.readFile()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range sf.StoragePaths {
		dir, err := l.expand(e.Path)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out, nil
}

// Add takes a directory that has a sectorstore.json into the set, remembers it
// in storage.json, and tells the index of it and of the files inside. A directory
// whose ID is known from another place takes that one's place when the other is
// gone, and is refused with *api.ErrInvalid when it is well. So is one with keys
// in its sectorstore.json that mean nothing here.
func (l *Local) Add(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	m, err := breaker.Get(ctx, l.deps.Breaker, dir, l.cfg.Limit, func(context.Context) (api.PathMeta, error) { return l.understood(dir) })
	if err != nil {
		return err
	}
	if err := l.replaceGone(ctx, dir, m.ID); err != nil {
		return err
	}
	p := l.place(dir)
	if err := l.look(ctx, p); err != nil {
		l.forget(p)
		return err
	}
	if err := l.remember(dir); err != nil {
		return err
	}
	l.examine(ctx, p, true)
	l.count(ctx, p)
	select {
	case l.grown <- struct{}{}:
	default:
	}
	return l.announce(ctx, p)
}

// understood reads a sectorstore.json of which every key means something here.
func (l *Local) understood(dir string) (api.PathMeta, error) {
	m, unknown, err := l.deps.Disk.Meta(dir)
	if err == nil && len(unknown) > 0 {
		err = &api.ErrInvalid{
			What:   "storage path " + dir,
			Reason: fmt.Sprintf("%s has keys that mean nothing here: %q", MetaFile, unknown),
			Hint:   "remove them, or correct their names",
		}
	}
	return m, err
}

// place finds the place of a directory, or makes it.
func (l *Local) place(dir string) *place {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.IndexFunc(l.places, func(p *place) bool { return p.dir == dir }); i >= 0 {
		return l.places[i]
	}
	p := &place{dir: dir}
	l.places = append(l.places, p)
	return p
}

// replaceGone makes room for a path that has come to dir from another place.
func (l *Local) replaceGone(ctx context.Context, dir string, id api.StorageID) error {
	l.mu.Lock()
	old := l.byID(id)
	l.mu.Unlock()
	if old == nil || old.dir == dir {
		return nil
	}
	m, err := breaker.Get(ctx, l.deps.Breaker, old.dir, l.cfg.Limit, func(context.Context) (api.PathMeta, error) {
		m, _, err := l.deps.Disk.Meta(old.dir)
		return m, err
	})
	if err == nil && m.ID == id {
		return sameID(dir, id, old.dir)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.log.Warn("a storage path has moved", "id", id, "from", old.dir, "to", dir)
	if err := l.rewrite(func(e storageEntry) bool { return !l.isDir(e, old.dir) }, ""); err != nil {
		return err
	}
	l.forget(old)
	return nil
}

func (l *Local) isDir(e storageEntry, dir string) bool {
	have, err := l.expand(e.Path)
	return err == nil && have == dir
}

// forget takes a place out of the set.
func (l *Local) forget(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places = slices.DeleteFunc(l.places, func(o *place) bool { return o == p })
	if p.stop != nil {
		p.stop()
	}
	if p.release != nil {
		p.release()
		p.release = nil
	}
	l.deps.Breaker.Forget(p.dir)
}

func (l *Local) remember(dir string) error {
	return l.rewrite(func(storageEntry) bool { return true }, dir)
}

// rewrite keeps some of the entries of storage.json, adds one that is not there,
// and stores the file when that changes it.
func (l *Local) rewrite(keep func(storageEntry) bool, add string) error {
	if l.cfg.File == "" {
		return nil
	}
	l.fileMu.Lock()
	defer l.fileMu.Unlock()
	sf, err := l.readFile()
	if err != nil {
		return err
	}
	before := len(sf.StoragePaths)
	sf.StoragePaths = slices.DeleteFunc(sf.StoragePaths, func(e storageEntry) bool { return !keep(e) })
	changed := len(sf.StoragePaths) != before
	if add != "" && !slices.ContainsFunc(sf.StoragePaths, func(e storageEntry) bool { return l.isDir(e, add) }) {
		sf.StoragePaths, changed = append(sf.StoragePaths, storageEntry{Path: add}), true
	}
	if !changed {
		return nil
	}
	b, err := json.MarshalIndent(sf, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", l.cfg.File, err)
	}
	return durable.WriteFile(l.cfg.File, append(b, '\n'), 0o644)
}

// Detach takes a path out of the set, forgets it in storage.json and in the
// index. Its files stay. *api.ErrBusy while space on it is reserved for work,
// *api.ErrNotFound when this process does not have it.
func (l *Local) Detach(ctx context.Context, id api.StorageID) error {
	l.mu.Lock()
	p := l.byID(id)
	reserved := int64(0)
	if p != nil {
		reserved = p.reserved
	}
	l.mu.Unlock()
	switch {
	case p == nil:
		return &api.ErrNotFound{What: "storage path " + string(id), Hint: "it is not attached to this process"}
	case reserved > 0:
		return &api.ErrBusy{What: "storage path " + p.dir, Reason: fmt.Sprintf("work that needs %d bytes of it is under way", reserved)}
	}
	if err := l.rewrite(func(e storageEntry) bool { return !l.isDir(e, p.dir) }, ""); err != nil {
		return err
	}
	l.forget(p)
	if err := l.deps.Index.StorageDetach(ctx, id, l.cfg.URL); err != nil {
		return fmt.Errorf("detach storage path %s: %w (it is out of storage.json; the index forgets it by itself)", p.dir, err)
	}
	return nil
}

// DetachDir is Detach of a directory, also of one that was never opened.
func (l *Local) DetachDir(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	l.mu.Lock()
	i := slices.IndexFunc(l.places, func(p *place) bool { return p.dir == dir })
	l.mu.Unlock()
	if i < 0 {
		return &api.ErrNotFound{What: "storage path " + dir, Hint: "it is not attached to this process"}
	}
	p := l.place(dir)
	if id := p.id(l); id != "" {
		return l.Detach(ctx, id)
	}
	if err := l.rewrite(func(e storageEntry) bool { return !l.isDir(e, dir) }, ""); err != nil {
		return err
	}
	l.forget(p)
	return nil
}
