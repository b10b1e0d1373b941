package paramcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	fslock "github.com/ipfs/go-fs-lock"

	"quarry/internal/durable"
	"quarry/proofs/groth16"
	"quarry/proofs/r1cs"
)

const (
	fileLock = "generate.lock"
	extPart  = ".part"
	extState = ".state" // holds the secret while a generation is not finished
)

// ErrPresent says that there is nothing to generate.
var ErrPresent = errors.New("these parameters are there already; remove the files to make new ones, and know that proofs made " +
	"with the old ones will not verify any more")

// Generate makes parameters for a circuit, for embedded devnets only. It may be
// interrupted, also by kill -9, and goes on where it was when it is called again;
// one generation runs at a time. Until it ends, a file readable by this user
// alone holds the secret that would allow forging proofs; it is removed at the
// end. Files that are there, whole or not, are never replaced.
func (c *Cache) Generate(ctx context.Context, name string, circuit r1cs.Circuit, progress Progress) (err error) {
	if !goodName.MatchString(name) {
		return fmt.Errorf("%q is not a name of parameters", name)
	}
	dir, unlock, err := c.begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	final := filepath.Join(dir, name)
	if c.complete(name) {
		if err := forget(final); err != nil { // after a crash in the last step the secret is still there
			return err
		}
		return ErrPresent
	}
	if err := inTheWay(final); err != nil {
		return err
	}
	made, err := generateInto(ctx, final+extParams+extPart, final+extState, circuit, progress)
	if err != nil {
		return fmt.Errorf("generate %s in %s: %w", name, dir, err)
	}
	return c.install(name, final, made)
}

// begin makes the directory of generated files and locks it.
func (c *Cache) begin() (dir string, unlock func() error, err error) {
	dir = filepath.Join(c.dir, dirDevnet)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, fmt.Errorf("make the directory of generated parameters: %w", err)
	}
	lock, err := fslock.Lock(dir, fileLock)
	var held fslock.LockedError
	switch {
	case errors.As(err, &held):
		return "", nil, fmt.Errorf("another process generates parameters in %s; wait for it: %w", dir, err)
	case err != nil:
		return "", nil, fmt.Errorf("lock %s: %w", filepath.Join(dir, fileLock), err)
	}
	return dir, lock.Close, nil
}

// inTheWay finds files that only a person can judge: parameters without the
// record that says they are whole, or a key that no interrupted generation has
// left. Proofs that stand may depend on them.
func inTheWay(final string) error {
	if !absent(final + extParams) {
		return leftover(final + extParams)
	}
	if !absent(final+extKey) && absent(final+extState) {
		return leftover(final + extKey)
	}
	return nil
}

func leftover(path string) error {
	return fmt.Errorf("%s is there, but not all that belongs to it (.params, .vk, and a .json beside each): put the rest "+
		"back, or remove it to generate new ones; proofs made with the old ones will not verify then", path)
}

// complete tells whether both files are in place with their records.
func (c *Cache) complete(name string) bool {
	return c.installed(name+extParams) && c.installed(name+extKey)
}

func (c *Cache) installed(file string) bool {
	r, err := readRecord(c.madePath(file))
	if err != nil {
		return false
	}
	st, err := os.Stat(filepath.Join(c.dir, dirDevnet, file))
	return err == nil && st.Size() == r.Size
}

func generateInto(ctx context.Context, part, statePath string, circuit r1cs.Circuit, progress Progress) (made *groth16.Generated,
	err error) {
	state, err := os.ReadFile(statePath) //nolint:gosec // below the cache directory, names are checked
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the state of the interrupted generation: %w", err)
	}
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // as above
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	opts := groth16.GenerateOptions{State: state, Progress: progress,
		Save: func(b []byte) error { return durable.WriteFile(statePath, b, 0o600) }}
	made, err = groth16.Generate(ctx, circuit, f, opts)
	if errors.Is(err, groth16.ErrStale) { // the rest of something else: begin again
		opts.State = nil
		made, err = groth16.Generate(ctx, circuit, f, opts)
	}
	return made, err
}

// install puts the files in place, each after the record that makes it trusted:
// a record counts only together with its file. The parameters come last, so that
// whatever is missing after a crash is done by the next call; then the secret
// goes.
func (c *Cache) install(name, final string, made *groth16.Generated) error {
	key, err := encodeKey(made.VerifyingKey)
	if err != nil {
		return err
	}
	if err := c.made(name+extKey, digestOf(key), int64(len(key))); err != nil {
		return err
	}
	if err := durable.WriteFile(final+extKey, key, 0o644); err != nil {
		return err
	}
	if err := os.Chmod(final+extParams+extPart, 0o644); err != nil { //nolint:gosec // parameters are public
		return err
	}
	if err := c.made(name+extParams, made.Digest, made.Size); err != nil {
		return err
	}
	if err := os.Rename(final+extParams+extPart, final+extParams); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(final)); err != nil {
		return err
	}
	c.rememberMade(final+extParams, made.Digest)
	return forget(final)
}

// rememberMade saves the first user of new parameters from reading them whole:
// their digest was taken while they were written.
func (c *Cache) rememberMade(path, digest string) {
	f, err := openRegular(path)
	if err != nil {
		return
	}
	defer f.Close()
	if id, err := identify(f); err == nil {
		c.remember(f, digest, id)
	}
}

// forget removes the secret, also what a crash left of writing it.
func forget(final string) error {
	old, err := filepath.Glob(filepath.Join(filepath.Dir(final), "."+filepath.Base(final)+extState+".tmp-*"))
	if err != nil {
		return fmt.Errorf("look for the secret behind the parameters: %w", err)
	}
	for _, path := range append(old, final+extState) {
		if err := durable.Remove(path); err != nil {
			return fmt.Errorf("remove the secret behind the parameters: %w; remove %s by hand", err, path)
		}
	}
	return nil
}
