package paths

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/breaker"
	"quarry/internal/lifecycle"
)

// Index is what a Local tells the index of; a part of api.Index.
type Index interface {
	StorageAttach(ctx context.Context, p api.PathMeta, url string, stat api.FsStat) error
	StorageDetach(ctx context.Context, id api.StorageID, url string) error
	StorageReportHealth(ctx context.Context, h api.PathHealth) error
	StorageDeclareSectors(ctx context.Context, files []api.SectorFile) error
	StorageDropSectors(ctx context.Context, files []api.SectorFile) error
	StorageFindSector(ctx context.Context, s abi.SectorID, t api.FileType) ([]api.SectorLocationInfo, error)
}

// Config of a Local.
type Config struct {
	File      string        // storage.json; empty: no file, paths come by Add only
	URL       string        // base URL under which this process serves /remote, ending in /remote; empty: it does not
	Heartbeat time.Duration // 0 = 10 s
	Limit     time.Duration // of one look at a disk; 0 = 10 s
	ReadOnly  bool          // nothing is ever written: a markets node with shared paths
}

// Deps of a Local.
type Deps struct {
	Index   Index
	Disk    Disk             // nil: OS
	Breaker *breaker.Breaker // by the directory of a path; nil: one of its own
	// Hold claims a directory for this process before it is used, and gives it back;
	// nil: nobody else claims them.
	Hold func(dir string) (release func(), err error)
	Log  *slog.Logger // nil: silent
}

// Path is one directory of this process.
type Path struct {
	Meta api.PathMeta
	Dir  string
}

// Local is the set of storage paths of this process. Its methods may be called
// from several goroutines at once.
type Local struct {
	cfg   Config
	deps  Deps
	log   *slog.Logger
	catch *lifecycle.Catcher

	fileMu sync.Mutex // held while storage.json is rewritten

	mu     sync.Mutex
	places []*place      // in the order in which they were configured
	owed   []deletion    // on paths that were away
	grown  chan struct{} // a signal: a place has come
	mute   bool          // the index refuses declarations from us: another process makes them
}

// Open reads storage.json and has a first look at the paths it names. A path that
// cannot be read (a disk that is not mounted yet, or does not answer) is logged
// and tried again by Run.
func Open(cfg Config, deps Deps) (*Local, error) {
	if deps.Index == nil {
		return nil, errors.New("storage paths: no index given")
	}
	setDefaults(&cfg, &deps)
	l := &Local{
		cfg:   cfg,
		deps:  deps,
		log:   deps.Log,
		catch: lifecycle.NewCatcher(deps.Log),
		grown: make(chan struct{}, 1),
	}
	if err := l.readOwed(); err != nil {
		return nil, err
	}
	dirs, err := l.configured()
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	for _, dir := range dirs {
		p := &place{dir: dir}
		l.places = append(l.places, p)
		wg.Go(func() {
			err := l.catch.Do("opening "+dir, func() error { return l.look(context.Background(), p) })
			if err != nil {
				l.log.Error("storage path cannot be opened; it will be tried again", "path", dir, "err", err)
			}
		})
	}
	wg.Wait()
	return l, nil
}

func setDefaults(cfg *Config, deps *Deps) {
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = 10 * time.Second
	}
	if cfg.Limit <= 0 {
		cfg.Limit = 10 * time.Second
	}
	if deps.Disk == nil {
		deps.Disk = OS{}
	}
	if deps.Breaker == nil {
		deps.Breaker = breaker.New(breaker.Config{})
	}
	if deps.Hold == nil {
		deps.Hold = func(string) (func(), error) { return func() {}, nil }
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
}

// look is one look at a directory that was not opened yet.
func (l *Local) look(ctx context.Context, p *place) error {
	m, err := breaker.Get(ctx, l.deps.Breaker, p.dir, l.cfg.Limit, func(context.Context) (api.PathMeta, error) { return l.prepare(p.dir) })
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		if other := l.byID(m.ID); other != nil && other != p {
			err = sameID(p.dir, m.ID, other.dir)
		}
	}
	if err == nil && p.release == nil {
		p.release, err = l.deps.Hold(p.dir)
	}
	if err != nil {
		p.trouble = plain(err)
		return err
	}
	p.meta, p.opened, p.trouble = m, true, ""
	return nil
}

func sameID(dir string, id api.StorageID, other string) error {
	return &api.ErrInvalid{
		What:   "storage path " + dir,
		Reason: fmt.Sprintf("ID %s is already attached from %s, which is well", id, other),
		Hint:   "one of the two is a copy: give it a sectorstore.json of its own, or detach the other",
	}
}

// plain is the text of an error as it is shown in lists: on one line.
func plain(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// prepare reads who a directory is, and makes what is missing in it.
func (l *Local) prepare(dir string) (api.PathMeta, error) {
	m, unknown, err := l.deps.Disk.Meta(dir)
	if err != nil {
		return m, err
	}
	if len(unknown) > 0 {
		l.log.Warn("keys of sectorstore.json that mean nothing here are ignored", "path", dir, "keys", unknown)
	}
	if l.cfg.ReadOnly || m.Weight == 0 {
		return m, nil // a path mounted read-only is fine as long as nothing is written to it
	}
	if err := l.deps.Disk.Prepare(dir); err != nil {
		l.log.Warn("the directories of a storage path cannot be made; it is read only", "path", dir, "err", err)
	}
	return m, nil
}

// Release gives the claims on all directories back; the Local is not used after.
func (l *Local) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.places {
		if p.release != nil {
			p.release()
			p.release = nil
		}
	}
}

// byID finds an opened place. The caller holds mu.
func (l *Local) byID(id api.StorageID) *place {
	i := slices.IndexFunc(l.places, func(p *place) bool { return p.opened && p.meta.ID == id })
	if i < 0 {
		return nil
	}
	return l.places[i]
}

// Dir is the directory of a path, if this process has it.
func (l *Local) Dir(id api.StorageID) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.byID(id)
	if p == nil {
		return "", false
	}
	return p.dir, true
}

// Paths lists the paths of this process, by ID, also those that are not well now.
func (l *Local) Paths() []Path {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Path, 0, len(l.places))
	for _, p := range l.places {
		if p.opened {
			out = append(out, p.path())
		}
	}
	slices.SortFunc(out, func(a, b Path) int { return strings.Compare(string(a.Meta.ID), string(b.Meta.ID)) })
	return out
}

// IDs lists the identities of Paths.
func (l *Local) IDs() []api.StorageID {
	var out []api.StorageID
	for _, p := range l.Paths() {
		out = append(out, p.Meta.ID)
	}
	return out
}

// Unopened lists the configured directories that were not opened since this process
// started. A path that was opened once and hangs or is gone now is not among them.
func (l *Local) Unopened() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []string{}
	for _, p := range l.places {
		if !p.opened {
			out = append(out, p.dir)
		}
	}
	return out
}

// Trouble is a directory of this process that is not as it should be.
type Trouble struct {
	ID  api.StorageID // empty: not opened yet
	Dir string
	Err string // why it cannot be read, or why nothing new can be written
}

// Troubles lists the directories that are not well.
func (l *Local) Troubles() []Trouble {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Trouble
	for _, p := range l.places {
		err := p.trouble
		if err == "" {
			err = p.unwritable
		}
		if err != "" {
			out = append(out, Trouble{ID: p.meta.ID, Dir: p.dir, Err: err})
		}
	}
	return out
}
