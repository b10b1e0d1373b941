package paramcache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
)

// State is what is on disk of the parameters of one circuit.
type State string

// States.
const (
	Absent     State = "absent"
	Unfinished State = "unfinished" // a generation was interrupted; it goes on when called again
	Made       State = "generated"  // here, for embedded devnets
	Fetched    State = "published"  // of the public networks; checked when first used
	Partial    State = "partial"    // the key without the parameters: can check proofs, not make them
)

// Status is the parameters of one circuit on disk.
type Status struct {
	Name  string
	State State
	Path  string // of the parameter file, where there is one
	Bytes int64
}

// Status looks what is there of a name; it reads no file.
func (c *Cache) Status(name string) (Status, error) {
	s := Status{Name: name, State: Absent}
	f, devnet, err := c.find(name, extParams)
	var missing *MissingError
	switch {
	case errors.As(err, &missing):
		if _, err := os.Stat(filepath.Join(c.dir, dirDevnet, name+extState)); err == nil {
			s.State = Unfinished
		} else if c.Has(name) {
			s.State = Partial
		}
		return s, nil
	case err != nil:
		return s, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return s, err
	}
	s.Path, s.Bytes, s.State = f.Name(), st.Size(), Fetched
	if devnet {
		s.State = Made
	}
	return s, nil
}

// Check reads parameters and key of a circuit whole, whatever was found before,
// and tests every point.
func (c *Cache) Check(ctx context.Context, name string, progress Progress) error {
	key, path, err := c.readKey(name)
	if err != nil {
		return err
	}
	if err := c.recheck(ctx, name, extParams, progress); err != nil {
		return err
	}
	p, err := c.Params(ctx, name)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(key, p.VerifyingKey()) {
		return &DamagedError{Path: path, Reason: "it is not the key of the parameters beside it"}
	}
	return p.Check(ctx, 0, func(done, total int64) {
		if progress != nil {
			progress(StagePoints, done, total)
		}
	})
}

func (c *Cache) recheck(ctx context.Context, name, ext string, progress Progress) error {
	f, devnet, err := c.find(name, ext)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.verify(ctx, f, name+ext, devnet, progress)
}
