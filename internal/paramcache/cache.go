package paramcache

import (
	"context"
	"errors"
	"fmt"
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
	// written.
	Dir string
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

	mu     sync.Mutex
	params map[string]*opened
	keys   map[string]*groth16.Prepared

	srs      *snarkpack.SRSFile
	unmapSRS func() error
}

type opened struct {
	params *groth16.Params
	unmap  func() error
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
		cfg.Hint = "put the published files there"
		if cfg.Devnet {
			cfg.Hint = "generate them with: miner-worker params generate"
		}
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Cache{dir: cfg.Dir, cfg: cfg, log: deps.Log, params: map[string]*opened{}, keys: map[string]*groth16.Prepared{}}, nil
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
		f, err = os.Open(filepath.Join(c.dir, dirDevnet, name+ext))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return f, true, err
		}
	}
	f, err = os.Open(filepath.Join(c.dir, name+ext))
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, &MissingError{Name: name, Dir: c.dir, Hint: c.cfg.Hint}
	}
	return f, false, err
}

// Params maps the parameters of a circuit. The first use of a file reads it
// whole to check it, which takes about a second per gigabyte; the result is
// remembered.
func (c *Cache) Params(ctx context.Context, name string) (*groth16.Params, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := c.params[name]; ok {
		return o.params, nil
	}
	o, err := c.open(ctx, name)
	if err != nil {
		return nil, err
	}
	c.params[name] = o
	return o.params, nil
}

func (c *Cache) open(ctx context.Context, name string) (*opened, error) {
	f, devnet, err := c.find(name, extParams)
	if err != nil {
		return nil, err
	}
	defer f.Close() // a mapping outlives its descriptor
	if err := c.trust(ctx, f, name+extParams, devnet); err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	mem, unmap, err := mapFile(f, st.Size())
	if err != nil {
		return nil, err
	}
	p, err := groth16.OpenParams(groth16.BytesSource(mem))
	if err != nil {
		return nil, errors.Join(&DamagedError{Path: f.Name(), Reason: err.Error()}, unmap())
	}
	c.log.Info("proof parameters opened", "file", f.Name(), "bytes", st.Size(), "generated here", devnet)
	return &opened{p, unmap}, nil
}

// VerifyingKey reads the key that checks proofs of a circuit.
func (c *Cache) VerifyingKey(ctx context.Context, name string) (*groth16.Prepared, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.keys[name]; ok {
		return k, nil
	}
	f, devnet, err := c.find(name, extKey)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := c.trust(ctx, f, name+extKey, devnet); err != nil {
		return nil, err
	}
	vk, err := groth16.ReadVerifyingKey(f)
	if err != nil {
		return nil, &DamagedError{Path: f.Name(), Reason: err.Error()}
	}
	k, err := groth16.Prepare(vk)
	if err != nil {
		return nil, &DamagedError{Path: f.Name(), Reason: err.Error()}
	}
	c.keys[name] = k
	return k, nil
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

// Close unmaps everything that was handed out.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for name, o := range c.params {
		errs = append(errs, o.unmap())
		delete(c.params, name)
	}
	if c.srs != nil {
		errs = append(errs, c.unmapSRS())
		c.srs = nil
	}
	return errors.Join(errs...)
}
