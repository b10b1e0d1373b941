package parents

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	fslock "github.com/ipfs/go-fs-lock"

	"quarry/internal/durable"
	"quarry/proofs/porep"
	"quarry/proofs/sdr"
)

// Stage is the stage of progress while a file is made, in nodes.
const Stage = "parents"

const (
	extPart    = ".part"
	extJournal = ".journal"
	extChecked = ".checked" // what a whole read found
	extLock    = ".lock"
)

// Config says where and for which sectors.
type Config struct {
	// Dir holds the files; empty: none are kept.
	Dir string
	// Least is the smallest sector size whose parents are kept; 0 = 512 MiB.
	Least abi.SectorSize
}

// Deps are the collaborators; Log may be nil.
type Deps struct {
	Log *slog.Logger
}

// Cache hands out opened files.
type Cache struct {
	cfg Config
	log *slog.Logger

	mu   sync.Mutex
	open map[string]*os.File // by name; closed by Close
	made map[string]sdr.Parents
}

// New makes a cache; it touches no file.
func New(cfg Config, deps Deps) *Cache {
	if cfg.Least == 0 {
		cfg.Least = 512 << 20
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Cache{cfg: cfg, log: deps.Log, open: map[string]*os.File{}, made: map[string]sdr.Parents{}}
}

// For is the parents of a seal proof's graph, nil where they are best computed:
// sealing works without a file, only slower. A file that is not there yet is made
// first, with progress. The error is that of ctx.
func (c *Cache) For(ctx context.Context, proof abi.RegisteredSealProof,
	progress func(stage string, done, total int64)) (sdr.Parents, error) {
	size, err := proof.SectorSize()
	if err != nil || c.cfg.Dir == "" || size < c.cfg.Least {
		return nil, nil //nolint:nilerr,nilnil // whoever seals will say what is wrong with the proof type
	}
	g, err := porep.Graph(proof)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // as above
	}
	p, err := c.parents(ctx, g, progress)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		c.log.Warn("parents are computed instead of read", "file", g.ParentFileName(), "err", err)
		return nil, nil //nolint:nilnil // documented
	}
	return p, nil
}

func (c *Cache) parents(ctx context.Context, g *sdr.Graph, progress func(string, int64, int64)) (sdr.Parents, error) {
	c.mu.Lock()
	p, ok := c.made[g.ParentFileName()]
	c.mu.Unlock()
	if ok {
		return p, nil
	}
	if err := os.MkdirAll(c.cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := fslock.Lock(c.cfg.Dir, g.ParentFileName()+extLock)
	if err != nil {
		return nil, fmt.Errorf("somebody else makes or checks it now: %w", err)
	}
	defer lock.Close() //nolint:errcheck // released at exit at the latest
	path := filepath.Join(c.cfg.Dir, g.ParentFileName())
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := c.build(ctx, g, path, progress); err != nil {
			return nil, err
		}
	}
	return c.take(ctx, g, path)
}

// build makes the file beside its place and moves it there when it is whole.
func (c *Cache) build(ctx context.Context, g *sdr.Graph, path string, progress func(string, int64, int64)) (err error) {
	c.log.Info("making a parent cache file; it serves every sector of its kind", "file", path, "bytes", g.ParentFileSize())
	began := time.Now()
	part, err := os.OpenFile(path+extPart, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // the directory is the operator's choice
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreClosed(part.Close())) }()
	journal, err := os.OpenFile(path+extJournal, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // as above
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	total := int64(g.Nodes()) //nolint:gosec // at most 2^31 nodes
	sum, err := sdr.BuildParentFile(ctx, g, part, journal, func(n uint64) {
		if progress != nil {
			progress(Stage, int64(n), total) //nolint:gosec // as above
		}
	})
	if err != nil {
		return err
	}
	if err := expected(g, sum); err != nil {
		return errors.Join(err, os.Remove(path+extPart), os.Remove(path+extJournal))
	}
	if err := errors.Join(part.Sync(), part.Close(), os.Rename(path+extPart, path), durable.SyncDir(c.cfg.Dir)); err != nil {
		return err
	}
	c.log.Info("parent cache file made", "file", path, "took", time.Since(began))
	return errors.Join(c.record(path, sum), os.Remove(path+extJournal))
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// expected compares with the published digest where there is one.
func expected(g *sdr.Graph, sum [32]byte) error {
	if want, known := g.ParentFileDigest(); known && want != sum {
		return fmt.Errorf("the digest of the parents is %x instead of %x", sum, want)
	}
	return nil
}

// checked is what a whole read found; it stands as long as size and time of the
// file are the same.
type checked struct {
	SHA256  string
	Size    int64
	ModTime time.Time
}

func (c *Cache) record(path string, sum [32]byte) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(checked{hex.EncodeToString(sum[:]), st.Size(), st.ModTime()})
	if err != nil {
		return err
	}
	return durable.WriteFile(path+extChecked, raw, 0o644)
}

// known is the digest that an earlier read of the same file found.
func known(path string, st os.FileInfo) (sum [32]byte, ok bool) {
	raw, err := os.ReadFile(path + extChecked)
	if err != nil {
		return sum, false
	}
	var c checked
	if json.Unmarshal(raw, &c) != nil || c.Size != st.Size() || !c.ModTime.Equal(st.ModTime()) {
		return sum, false
	}
	b, err := hex.DecodeString(c.SHA256)
	return [32]byte(append(b, make([]byte, 32)...)[:32]), err == nil && len(b) == 32
}

// take opens a file that is in place; one that was never read whole, or was
// changed since, is read first.
func (c *Cache) take(ctx context.Context, g *sdr.Graph, path string) (sdr.Parents, error) {
	f, err := os.Open(path) //nolint:gosec // as above
	if err != nil {
		return nil, err
	}
	p, err := c.verified(ctx, g, path, f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w; remove it and it will be made again", path, err), f.Close())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, ok := c.made[g.ParentFileName()]; ok { // two tasks at once
		return before, f.Close()
	}
	c.open[g.ParentFileName()], c.made[g.ParentFileName()] = f, p
	return p, nil
}

func (c *Cache) verified(ctx context.Context, g *sdr.Graph, path string, f *os.File) (*sdr.ParentFile, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p, err := sdr.OpenParentFile(ctx, g, f, st.Size())
	if err != nil {
		return nil, err
	}
	sum, ok := known(path, st)
	want, published := g.ParentFileDigest()
	switch {
	case ok && (!published || sum == want):
		return p, nil
	case !published:
		return nil, errors.New("it was not made here and there is no published digest to check it with")
	}
	c.log.Info("reading a parent cache file whole to check it", "file", path, "bytes", st.Size())
	if err := p.Verify(ctx, want); err != nil {
		return nil, err
	}
	return p, c.record(path, want)
}

// Close closes the files; what For returned must not be used any more.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for name, f := range c.open {
		errs = append(errs, f.Close())
		delete(c.open, name)
		delete(c.made, name)
	}
	return errors.Join(errs...)
}
