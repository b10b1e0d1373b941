package holder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"quarry/internal/printable"
)

// ErrNoLocks says that a place cannot be locked: its file system knows no locks,
// is full or is read-only. What that means is up to the caller.
var ErrNoLocks = errors.New("the file system cannot hold a lock")

// Lock is a held file.
type Lock struct {
	f       *os.File
	release func() error
}

// Take locks path, creating it, and writes into it who holds it. The lock is the
// kernel's: it ends with the process, however that ends. *ErrHeld says that
// another process has it (or another Take of this one); ErrNoLocks that nobody
// can. What is written is for people only, so that a full disk does not matter
// once the file is there.
func Take(path string, who Holder) (*Lock, error) {
	for range 100 { // until the file that was locked is the one that has the name
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("hold %s: %w", path, err)
			}
			return nil, fmt.Errorf("hold %s: %w: %w", path, ErrNoLocks, err)
		}
		if err := tryLock(f); err != nil {
			said := "another process"
			if b, rerr := io.ReadAll(io.LimitReader(f, 4*maxText)); rerr == nil && len(printable.Brief(string(b))) > 0 {
				said = printable.Brief(string(b))
			}
			_ = f.Close() // nothing was written
			if errors.Is(err, errTaken) {
				return nil, &ErrHeld{Path: path, Holder: said}
			}
			return nil, fmt.Errorf("hold %s: %w: %w", path, ErrNoLocks, err)
		}
		if !named(f, path) { // its last holder removed it meanwhile
			_ = f.Close() // nothing was written
			continue
		}
		_ = f.Truncate(0)                              // the text is for people
		_, _ = f.WriteAt([]byte(who.String()+"\n"), 0) // and a full disk keeps it short
		l := &Lock{f: f}
		l.release = sync.OnceValue(l.drop)
		return l, nil
	}
	return nil, &ErrHeld{Path: path, Holder: "processes that come and go"}
}

func named(f *os.File, path string) bool {
	have, err := f.Stat()
	if err != nil {
		return false
	}
	want, err := os.Stat(path)
	return err == nil && os.SameFile(have, want)
}

// Release gives the lock up and removes the file. It is safe to repeat.
func (l *Lock) Release() error { return l.release() }

func (l *Lock) drop() error {
	err := os.Remove(l.f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.f.Close())
}

// TakeAll locks a file of the same name in each directory, or none of them.
// Directories that cannot be locked are returned as skipped, with the reason.
func TakeAll(dirs []string, name string, who Holder) (held []*Lock, skipped []error, err error) {
	for _, dir := range dirs {
		l, err := Take(filepath.Join(dir, name), who)
		switch {
		case err == nil:
			held = append(held, l)
		case errors.Is(err, ErrNoLocks) || errors.Is(err, fs.ErrNotExist):
			skipped = append(skipped, err)
		default:
			for _, l := range held {
				err = errors.Join(err, l.Release())
			}
			return nil, skipped, err
		}
	}
	return held, skipped, nil
}
