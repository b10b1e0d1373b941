package paths

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"quarry/proofs/porep"
)

// CacheDir is a sector's cache directory as the proofs want it.
type CacheDir string

var _ porep.Files = CacheDir("")

type cacheFile struct{ *os.File }

// Size is the length in bytes.
func (f cacheFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// OpenFile opens a file that is not in a cache directory (a replica) in the
// form the proofs want; flags as for os.OpenFile.
func OpenFile(path string, flags int) (porep.File, error) {
	f, err := os.OpenFile(path, flags, 0o644) //nolint:gosec // sector data is shared between processes of one operator
	if err != nil {
		return nil, err
	}
	return cacheFile{f}, nil
}

// AsFile is an open file in the form the proofs want.
func AsFile(f *os.File) porep.File { return cacheFile{f} }

func (d CacheDir) path(name string) (string, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") {
		return "", fmt.Errorf("cache file name %q is not plain", name)
	}
	return filepath.Join(string(d), name), nil
}

// Create makes or replaces a file of size bytes.
func (d CacheDir) Create(name string, size int64) (porep.File, error) {
	p, err := d.path(name)
	if err != nil {
		return nil, err
	}
	f, err := OpenFile(p, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, fmt.Errorf("create cache file: %w", err)
	}
	if err := f.(cacheFile).Truncate(size); err != nil {
		return nil, errors.Join(fmt.Errorf("size cache file %s: %w", p, err), f.Close())
	}
	return f, nil
}

// Open opens an existing file for reading.
func (d CacheDir) Open(name string) (porep.File, error) {
	p, err := d.path(name)
	if err != nil {
		return nil, err
	}
	f, err := OpenFile(p, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open cache file: %w", err)
	}
	return f, nil
}

// Remove deletes a file; a missing one is no error.
func (d CacheDir) Remove(name string) error {
	p, err := d.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cache file: %w", err)
	}
	return nil
}

// List names all regular files.
func (d CacheDir) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, fmt.Errorf("list cache directory: %w", err)
	}
	var out []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
