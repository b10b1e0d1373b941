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
var ErrPresent = errors.New("these parameters are there already; remove the files to make new ones, and know that proofs made with the old ones will not verify any more")

// Generate makes parameters for a circuit, for embedded devnets only. It may be
// interrupted, also by kill -9, and goes on where it was when it is called again;
// one generation runs at a time. Until it ends, a file readable by this user
// alone holds the secret that would allow forging proofs; it is removed at the
// end.
func (c *Cache) Generate(ctx context.Context, name string, circuit r1cs.Circuit, progress Progress) (err error) {
	if !goodName.MatchString(name) {
		return fmt.Errorf("%q is not a name of parameters", name)
	}
	dir := filepath.Join(c.dir, dirDevnet)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("generate parameters: %w", err)
	}
	lock, err := fslock.Lock(dir, fileLock)
	if err != nil {
		return fmt.Errorf("another process generates parameters in %s; wait for it: %w", dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	final := filepath.Join(dir, name)
	if c.complete(name) {
		return errors.Join(ErrPresent, forget(final)) // after a crash in the last step the secret is still there
	}
	made, err := generateInto(ctx, final+extParams+extPart, final+extState, circuit, progress)
	if err != nil {
		return fmt.Errorf("generate %s: %w", name, err)
	}
	return c.install(name, final, made)
}

// complete tells whether both files are in place with their records.
func (c *Cache) complete(name string) bool {
	return c.installed(name+extParams) && c.installed(name+extKey)
}

func (c *Cache) installed(file string) bool {
	r, err := readRecord(c.recordPath(file, true))
	if err != nil {
		return false
	}
	st, err := os.Stat(filepath.Join(c.dir, dirDevnet, file))
	return err == nil && st.Size() == r.Size
}

func generateInto(ctx context.Context, part, statePath string, circuit r1cs.Circuit, progress Progress) (made *groth16.Generated, err error) {
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

// install puts the files in place: first the records that make them trusted,
// last the removal of the secret. Whatever is missing after a crash is done by
// the next call, because the records only count together with their files.
func (c *Cache) install(name, final string, made *groth16.Generated) error {
	key, err := encodeKey(made.VerifyingKey)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(final+extKey, key, 0o644); err != nil {
		return err
	}
	if err := c.recordFile(name+extKey, final+extKey, digestOf(key)); err != nil {
		return err
	}
	if err := os.Chmod(final+extParams+extPart, 0o644); err != nil { //nolint:gosec // parameters are public
		return err
	}
	if err := c.recordFile(name+extParams, final+extParams+extPart, made.Digest); err != nil {
		return err
	}
	if err := os.Rename(final+extParams+extPart, final+extParams); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(final)); err != nil {
		return err
	}
	return forget(final)
}

// forget removes the secret.
func forget(final string) error {
	if err := durable.Remove(final + extState); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the secret behind the parameters: %w; remove %s by hand", err, final+extState)
	}
	return nil
}

// recordFile notes the digest of a file just written, under the name it gets.
func (c *Cache) recordFile(name, path, digest string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return c.writeRecord(name, true, record{Digest: digest, Size: st.Size(), ModTime: st.ModTime()})
}
