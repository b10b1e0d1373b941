package paths

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/durable"
)

// Index is what a Local tells the index of; a subset of api.Storage.
type Index interface {
	StorageAttach(ctx context.Context, p api.PathMeta, url string, stat api.FsStat) error
	StorageDetach(ctx context.Context, id api.StorageID, url string) error
	StorageReportHealth(ctx context.Context, id api.StorageID, stat api.FsStat, errText string) error
	StorageDeclareSectors(ctx context.Context, files []api.SectorFile) error
	StorageDropSectors(ctx context.Context, files []api.SectorFile) error
}

// Config of a Local.
type Config struct {
	File      string        // storage.json; empty: no file, paths come by Add only
	URL       string        // base URL under which this process serves /remote, ending in /remote; empty: it does not
	Heartbeat time.Duration // 0 = 10 s
}

// Deps of a Local.
type Deps struct {
	Index Index
	Log   *slog.Logger // nil: silent
}

// Path is one directory of this process.
type Path struct {
	Meta api.PathMeta
	Dir  string
}

// Local is the set of storage paths of this process. Its methods may be called
// from several goroutines at once.
type Local struct {
	cfg Config
	idx Index
	log *slog.Logger

	mu       sync.Mutex
	paths    map[api.StorageID]*Path
	waiting  []string // configured directories that were not opened yet
	reserved map[api.StorageID]int64
	mute     bool // the index refuses declarations from us: another process makes them
}

// Open reads storage.json and the paths it names. A path that cannot be read
// (a disk that is not mounted yet) is logged and tried again by Run.
func Open(cfg Config, deps Deps) (*Local, error) {
	if deps.Index == nil {
		return nil, errors.New("storage paths: no index given")
	}
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = 10 * time.Second
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	l := &Local{cfg: cfg, idx: deps.Index, log: deps.Log,
		paths: map[api.StorageID]*Path{}, reserved: map[api.StorageID]int64{}}
	sf, err := l.readFile()
	if err != nil {
		return nil, err
	}
	for _, e := range sf.StoragePaths {
		if err := l.open(e.Path); err != nil {
			l.log.Error("storage path cannot be opened; it will be tried again", "path", e.Path, "err", err)
			l.waiting = append(l.waiting, e.Path)
		}
	}
	return l, nil
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

// open takes the directory into the set without telling the index.
func (l *Local) open(dir string) error {
	dir, err := expand(dir)
	if err != nil {
		return err
	}
	meta, err := ReadMeta(dir)
	if err != nil {
		return err
	}
	if err := makeTypeDirs(dir); err != nil && meta.Weight > 0 {
		return err // a path mounted read-only is fine as long as nothing is written to it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.paths[meta.ID]; ok && old.Dir != dir {
		return &api.ErrInvalid{What: "storage path " + dir, Reason: fmt.Sprintf("ID %s is already attached from %s", meta.ID, old.Dir)}
	}
	l.paths[meta.ID] = &Path{Meta: meta, Dir: dir}
	return nil
}

func expand(dir string) (string, error) {
	if len(dir) > 1 && dir[:2] == "~/" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("expand %s: %w", dir, err)
		}
		dir = filepath.Join(home, dir[2:])
	}
	return filepath.Abs(dir)
}

// Add takes a directory that has a sectorstore.json into the set, remembers it
// in storage.json, and tells the index of it and of the files inside.
func (l *Local) Add(ctx context.Context, dir string) error {
	dir, err := expand(dir)
	if err != nil {
		return err
	}
	if err := l.open(dir); err != nil {
		return err
	}
	if err := l.remember(dir); err != nil {
		return err
	}
	meta, err := ReadMeta(dir)
	if err != nil {
		return err
	}
	if p, ok := l.get(meta.ID); ok {
		return l.announce(ctx, p)
	}
	return nil
}

func (l *Local) remember(dir string) error {
	if l.cfg.File == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	sf, err := l.readFile()
	if err != nil {
		return err
	}
	for _, e := range sf.StoragePaths {
		if have, err := expand(e.Path); err == nil && have == dir {
			return nil
		}
	}
	sf.StoragePaths = append(sf.StoragePaths, storageEntry{Path: dir})
	b, err := marshalIndent(sf)
	if err != nil {
		return err
	}
	return durable.WriteFile(l.cfg.File, b, 0o644)
}

// Dir is the directory of a path, if this process has it.
func (l *Local) Dir(id api.StorageID) (string, bool) {
	p, ok := l.get(id)
	return p.Dir, ok
}

// Paths lists the paths of this process, by ID.
func (l *Local) Paths() []Path {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Path, 0, len(l.paths))
	for _, p := range l.paths {
		out = append(out, *p)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Meta.ID < out[j].Meta.ID })
	return out
}

// Unopened lists the configured directories that were not opened since this process
// started. A path that was opened once and hangs or is gone now is not among them.
func (l *Local) Unopened() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.waiting)
}

// IDs lists the identities of Paths.
func (l *Local) IDs() []api.StorageID {
	var out []api.StorageID
	for _, p := range l.Paths() {
		out = append(out, p.Meta.ID)
	}
	return out
}

func (l *Local) get(id api.StorageID) (Path, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.paths[id]
	if !ok {
		return Path{}, false
	}
	return *p, true
}

// FilePath is where a file of one kind of a sector is or would be.
func (p Path) FilePath(s abi.SectorID, t api.FileType) string {
	return filepath.Join(p.Dir, t.String(), api.SectorName(s))
}

// TempPath is where a file lies while it is fetched, before it is renamed to
// FilePath. It is on the same file system and ignored by everything that lists
// sectors. What lies there is believed to be a part of the file, so nothing else
// may use the name.
func (p Path) TempPath(s abi.SectorID, t api.FileType) (string, error) {
	return p.inFlight(s, t, "")
}

// madeSuffix makes the name of a file that is computed here.
const madeSuffix = ".made"

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

// Find gives the local path that holds a file of one kind of a sector.
func (l *Local) Find(s abi.SectorID, t api.FileType) (Path, bool) {
	for _, p := range l.Paths() {
		if _, err := os.Stat(p.FilePath(s, t)); err == nil {
			return p, true
		}
	}
	return Path{}, false
}
