package paramcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"quarry/proofs/groth16"
	"quarry/proofs/snarkpack"
)

// EnvDir names the directory of parameters for every Filecoin program.
const EnvDir = "FIL_PROOFS_PARAMETER_CACHE"

const (
	dirDevnet  = "devnet"
	dirChecked = "checked"
	extParams  = ".params"
	extKey     = ".vk"
)

// DefaultDir is where parameters are when nothing else is said.
func DefaultDir() (string, error) {
	if d := os.Getenv(EnvDir); d != "" {
		return d, nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the directory for proof parameters: %w; set %s", err, EnvDir)
	}
	return filepath.Join(base, "quarry", "proof-parameters"), nil
}

// Config says where, and for which kind of network.
type Config struct {
	// Dir holds the files; empty for DefaultDir. It is made when something is
	// generated, and need not be writable otherwise.
	Dir string
	// Records holds what checks of files found where Dir is not this user's alone;
	// empty for a directory in the user's cache.
	Records string
	// Devnet also takes parameters generated here. They are worth nothing on a
	// network where anybody else has power.
	Devnet bool
	// Hint ends the error about missing parameters; empty for the common one.
	Hint string
}

// Deps are the collaborators; Log may be nil.
type Deps struct {
	Log *slog.Logger
}

// Cache hands out parameters; it implements snark.Keys. Close it when nobody
// uses what it handed out any more.
type Cache struct {
	dir string
	cfg Config
	log *slog.Logger

	// mu guards the fields below and is never held while a file is read: who opens
	// one thing holds its slot, and nobody else waits for that.
	mu     sync.Mutex
	params map[string]*slot[*groth16.Params]
	keys   map[string]*slot[*groth16.Prepared]
	srs    *slot[*snarkpack.SRSFile]
	files  []*source // open as long as the cache
	closed bool
}

// New makes a cache; it touches no file.
func New(cfg Config, deps Deps) (*Cache, error) {
	if cfg.Dir == "" {
		d, err := DefaultDir()
		if err != nil {
			return nil, err
		}
		cfg.Dir = d
	}
	if cfg.Hint == "" {
		cfg.Hint = "put the published files there, as fetch-params of lotus and others does where " + EnvDir + " names that directory"
		if cfg.Devnet {
			cfg.Hint += "; for an embedded devnet generate them with: miner-worker params generate"
		}
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Records == "" {
		if base, err := os.UserCacheDir(); err == nil { // without one, checks are not remembered
			cfg.Records = filepath.Join(base, "quarry", "parameter-checks")
		}
	}
	return &Cache{
		dir:    cfg.Dir,
		cfg:    cfg,
		log:    deps.Log,
		srs:    newSlot[*snarkpack.SRSFile](),
		params: map[string]*slot[*groth16.Params]{},
		keys:   map[string]*slot[*groth16.Prepared]{},
	}, nil
}

// Dir is where the files are.
func (c *Cache) Dir() string { return c.dir }

// goodName keeps names of parameters inside the directory.
var goodName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// find opens the file of a name with extension: a generated one first where
// they are taken.
func (c *Cache) find(name, ext string) (f *os.File, devnet bool, err error) {
	if !goodName.MatchString(name) {
		return nil, false, fmt.Errorf("%q is not a name of parameters", name)
	}
	if c.cfg.Devnet {
		f, err = openRegular(filepath.Join(c.dir, dirDevnet, name+ext))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return f, true, err
		}
	}
	f, err = openRegular(filepath.Join(c.dir, name+ext))
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, &MissingError{Name: name, Dir: c.dir, Hint: c.cfg.Hint}
	}
	return f, false, err
}

// openRegular opens a file for reading and refuses what is none: the directory
// may be one where others write, and a pipe would hold us up for ever.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openNonblock, 0) //nolint:gosec // below the cache directory, names are checked
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &DamagedError{Path: path, Reason: "it is not a regular file"}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// keep holds a file open until Close.
func (c *Cache) keep(src *source) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("open %s: the parameter cache is closed", src.name)
	}
	c.files = append(c.files, src)
	return nil
}

// Params opens the parameters of a circuit. The first use of a file reads it
// whole to check it, which takes about a second per gigabyte; the result is
// remembered. Nobody waits for the check of another file.
func (c *Cache) Params(ctx context.Context, name string) (*groth16.Params, error) {
	return slotOf(&c.mu, c.params, name).get(ctx, name+extParams, func() (*groth16.Params, error) { return c.openParams(ctx, name) })
}

// openParams leaves the points on disk: they are taken from a mapping of the
// file, block by block, while a proof is made.
func (c *Cache) openParams(ctx context.Context, name string) (p *groth16.Params, err error) {
	src, devnet, err := c.checked(ctx, name, extParams)
	if err != nil {
		return nil, err
	}
	if p, err = groth16.OpenParams(src); err != nil {
		err = &DamagedError{Path: src.name, Reason: err.Error()}
	} else {
		err = c.keep(src)
	}
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	if published := filepath.Join(c.dir, name+extParams); devnet && !absent(published) {
		c.log.Warn("generated parameters are used though published ones are there; only an embedded devnet takes their proofs",
			"used", src.name, "published", published)
	}
	c.log.Info("proof parameters opened", "file", src.name, "bytes", src.size, "generated here", devnet)
	return p, nil
}

// checked opens a large file that is known to be good.
func (c *Cache) checked(ctx context.Context, name, ext string) (src *source, devnet bool, err error) {
	f, devnet, err := c.find(name, ext)
	if err != nil {
		return nil, false, err
	}
	st, err := f.Stat()
	if err == nil {
		err = c.trust(ctx, f, name+ext, devnet)
	}
	if err != nil {
		return nil, devnet, errors.Join(err, f.Close())
	}
	src, err = mapSource(f, st.Size())
	return src, devnet, err
}

// VerifyingKey reads the key that checks proofs of a circuit.
func (c *Cache) VerifyingKey(ctx context.Context, name string) (*groth16.Prepared, error) {
	return slotOf(&c.mu, c.keys, name).get(ctx, name+extKey, func() (*groth16.Prepared, error) {
		vk, path, err := c.readKey(name)
		if err != nil {
			return nil, err
		}
		k, err := groth16.Prepare(vk)
		if err != nil {
			return nil, &DamagedError{Path: path, Reason: err.Error()}
		}
		return k, nil
	})
}

// maxKey is more than the largest key has, in bytes: groth16.MaxInputs points.
const maxKey = 16 << 20

// readKey reads a key file once, so that the bytes that are used are the bytes
// whose digest was compared. That is done every time: keys are small, and who
// could slip in another could make us believe false proofs.
func (c *Cache) readKey(name string) (vk *groth16.VerifyingKey, path string, err error) {
	f, devnet, err := c.find(name, extKey)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", f.Name(), err)
	}
	want, err := c.wanted(name+extKey, devnet)
	if err != nil {
		return nil, "", err
	}
	if err := want.same(f.Name(), int64(len(raw)), digestOf(raw)); err != nil {
		return nil, "", err
	}
	r := bytes.NewReader(raw)
	vk, err = groth16.ReadVerifyingKey(r)
	if err == nil && r.Len() != 0 {
		err = fmt.Errorf("%d bytes follow the key", r.Len())
	}
	if err != nil {
		return nil, "", &DamagedError{Path: f.Name(), Reason: err.Error()}
	}
	return vk, f.Name(), nil
}

// Has tells whether the key of a circuit is there, so that its proofs can be
// checked. It does not read the file.
func (c *Cache) Has(name string) bool {
	f, _, err := c.find(name, extKey)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// Need is nil when both files of a circuit are there; it reads neither.
func (c *Cache) Need(name string) error {
	for _, ext := range []string{extParams, extKey} {
		f, _, err := c.find(name, ext)
		if err != nil {
			return err
		}
		_ = f.Close()
	}
	return nil
}

// Close closes every file. A proof that is still being made with one fails.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	c.files = nil
	return errors.Join(errs...)
}
