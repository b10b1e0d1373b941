package prove

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/breaker"
	"quarry/proofs/porep"
	"quarry/storage/paths"
)

// Index knows where sector files were declared; *index.Index is one.
type Index interface {
	StorageFindSector(ctx context.Context, s abi.SectorID, t api.FileType) ([]api.SectorLocationInfo, error)
	StorageList(ctx context.Context) ([]api.StoragePath, error)
}

// Local knows the storage paths of this process; *paths.Local is one.
type Local interface {
	Paths() []paths.Path
	// Unopened lists the configured directories that were not opened since the
	// process started.
	Unopened() []string
}

// FS reads files of local paths. Every call of it may hang.
type FS interface {
	Open(name string) (porep.File, error)
	Cache(dir string) porep.Files
	Stat(name string) (fs.FileInfo, error)
}

// Remote reads files of other processes; it has limits of its own.
type Remote interface {
	Open(ctx context.Context, url string) (porep.File, error)
	Dir(ctx context.Context, url string) porep.Files
}

// Config of a Prover; the zero value is good.
type Config struct {
	// SectorLimit is how long one sector is read before it is left out (0 = 1
	// minute). A path of which nothing comes back for so long is hung.
	SectorLimit time.Duration
	// Probe is how long one probe of a hung path is waited for (0 = 10 s).
	Probe time.Duration
}

// Deps of a Prover.
type Deps struct {
	Index   Index
	Local   Local
	FS      FS               // nil: the operating system's
	Remote  Remote           // nil: local paths only
	Breaker *breaker.Breaker // by directory of a local path and by host; nil: one of its own
	Log     *slog.Logger     // nil: silent
}

// Prover makes vanilla proofs over stored sectors. Its methods may be called from
// several goroutines at once.
type Prover struct {
	cfg  Config
	deps Deps

	mu       sync.Mutex
	readable map[abi.SectorID]bool // at the last try
}

// New makes a Prover that has read nothing yet.
func New(cfg Config, deps Deps) (*Prover, error) {
	if deps.Index == nil || deps.Local == nil {
		return nil, errors.New("storage prover: an index and local paths are needed")
	}
	if cfg.SectorLimit <= 0 {
		cfg.SectorLimit = time.Minute
	}
	if cfg.Probe <= 0 {
		cfg.Probe = 10 * time.Second
	}
	if deps.FS == nil {
		deps.FS = OS{}
	}
	if deps.Breaker == nil {
		deps.Breaker = breaker.New(breaker.Config{})
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Prover{cfg: cfg, deps: deps, readable: map[abi.SectorID]bool{}}, nil
}

// Run looks now and then whether what hangs has come back, until ctx ends.
func (p *Prover) Run(ctx context.Context) error {
	p.deps.Breaker.Watch(ctx, p.cfg.Probe, p.probe)
	return nil
}

// probe is how to find out whether a key answers. Of a host, and of two paths
// together, the next reader finds out.
func (p *Prover) probe(key string) func(context.Context) error {
	if !filepath.IsAbs(key) {
		return nil
	}
	return func(context.Context) error {
		_, err := p.deps.FS.Stat(metaName(key))
		return err
	}
}

// ProverState tells how far the prover can be believed.
func (p *Prover) ProverState(ctx context.Context) (api.ProverState, error) {
	list, err := p.deps.Index.StorageList(ctx)
	if err != nil {
		return api.ProverState{}, err
	}
	st := api.ProverState{Unopened: p.deps.Local.Unopened()}
	st.Opened = len(st.Unopened) == 0
	for _, l := range list {
		st.Paths = append(st.Paths, l.ID)
	}
	for _, k := range p.deps.Breaker.States() {
		if k.Hung {
			st.Hung = append(st.Hung, api.HungPath{Path: k.Key, Since: k.Since})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ok := range p.readable {
		if ok {
			st.Readable++
		}
	}
	return st, nil
}

func (p *Prover) note(id abi.SectorID, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readable[id] = ok
}

// OS reads files through the operating system.
type OS struct{}

// Open opens a file for reading.
func (OS) Open(name string) (porep.File, error) { return paths.OpenFile(name, os.O_RDONLY) }

// Cache is a cache directory.
func (OS) Cache(dir string) porep.Files { return paths.CacheDir(dir) }

// Stat is os.Stat.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }
