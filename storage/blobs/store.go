package blobs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"quarry/api"
	"quarry/internal/durable"
)

// Config of a Store.
type Config struct {
	Dir string // made when it is not there
	Max int64  // bytes of one blob; 0 = api.MaxBlob
}

// Store keeps blobs in a directory, one file each. Its methods may be called
// from several goroutines at once.
type Store struct{ cfg Config }

// tempPrefix starts the names of files that are being written.
const tempPrefix = ".new-"

// Open makes the directory and deletes what a crash left half-written in it.
func Open(cfg Config) (*Store, error) {
	if cfg.Max <= 0 {
		cfg.Max = api.MaxBlob
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of bulk results: %w", err)
	}
	entries, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("read the directory of bulk results: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := os.Remove(filepath.Join(cfg.Dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("delete a half-written bulk result: %w", err)
			}
		}
	}
	return &Store{cfg: cfg}, nil
}

// BlobPut implements [api.Blobs]. More than Config.Max bytes are refused with
// *api.ErrInvalid; a full disk gives an error that errors.Is unix.ENOSPC.
func (s *Store) BlobPut(ctx context.Context, r io.Reader) (api.BlobRef, error) {
	return s.put(ctx, r, func(api.BlobRef) error { return nil })
}

// put keeps what r gives unless accept refuses its name.
func (s *Store) put(ctx context.Context, r io.Reader, accept func(api.BlobRef) error) (api.BlobRef, error) {
	f, err := os.CreateTemp(s.cfg.Dir, tempPrefix)
	if err != nil {
		return api.BlobRef{}, fmt.Errorf("keep a bulk result: %w", err)
	}
	ref, err := s.write(ctx, f, r)
	if err == nil {
		err = accept(ref)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.path(ref.CID))
	}
	if err != nil {
		return api.BlobRef{}, fmt.Errorf("keep a bulk result: %w", errors.Join(err, gone(os.Remove(f.Name()))))
	}
	return ref, durable.SyncDir(s.cfg.Dir)
}

// gone takes "it is not there" for done.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *Store) write(ctx context.Context, w io.Writer, r io.Reader) (api.BlobRef, error) {
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(&ctxReader{ctx: ctx, r: r}, s.cfg.Max+1))
	if err != nil {
		return api.BlobRef{}, err
	}
	if n > s.cfg.Max {
		return api.BlobRef{}, &api.ErrInvalid{What: "bulk result", Reason: fmt.Sprintf("it has more than %d bytes", s.cfg.Max)}
	}
	c, err := nameOf(h)
	return api.BlobRef{CID: c, Size: n}, err
}

func nameOf(h hash.Hash) (api.CidString, error) {
	mh, err := multihash.Encode(h.Sum(nil), multihash.SHA2_256)
	if err != nil {
		return "", fmt.Errorf("name a bulk result: %w", err)
	}
	return api.CidString(cid.NewCidV1(cid.Raw, mh).String()), nil
}

// ctxReader stops between reads when ctx ends.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // one copy
	r   io.Reader
}

func (c *ctxReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// Parse reads the name of a blob: a raw CID of version 1 with SHA2-256, in the
// form that it is given out in.
func Parse(name string) (api.CidString, error) {
	c, err := cid.Decode(name)
	if err != nil {
		return "", &api.ErrInvalid{What: fmt.Sprintf("name %.80q of a bulk result", name), Reason: "it is no CID"}
	}
	want := cid.Prefix{Version: 1, Codec: cid.Raw, MhType: multihash.SHA2_256, MhLength: sha256.Size}
	if c.Prefix() != want || c.String() != name {
		return "", &api.ErrInvalid{What: "name " + c.String() + " of a bulk result", Reason: "it is not a raw CID with SHA2-256 in base32"}
	}
	return api.CidString(name), nil
}

func (s *Store) path(c api.CidString) string { return filepath.Join(s.cfg.Dir, string(c)) }

// Touch tells whether a blob is kept with the size that ref says, and makes it
// young again for SweepUnnamed: who asks is about to name it.
func (s *Store) Touch(ref api.BlobRef) (bool, error) {
	f, size, err := s.file(ref.CID)
	if err != nil {
		var missing *api.ErrNotFound
		if errors.As(err, &missing) {
			return false, nil
		}
		return false, err
	}
	now := time.Now()
	if err := errors.Join(os.Chtimes(s.path(ref.CID), now, now), f.Close()); err != nil {
		return false, fmt.Errorf("bulk result %s: %w", ref.CID, err)
	}
	return size == ref.Size, nil
}

// file opens a blob by its name and tells how large it is.
func (s *Store) file(c api.CidString) (*os.File, int64, error) {
	if _, err := Parse(string(c)); err != nil {
		return nil, 0, err
	}
	f, err := os.Open(s.path(c))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, &api.ErrNotFound{
			What: "bulk result " + string(c),
			Hint: "the task that made it was forgotten; it is made again by a new one",
		}
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open bulk result %s: %w", c, err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open bulk result %s: %w", c, err), f.Close())
	}
	return f, st.Size(), nil
}

// BlobOpen implements [api.Blobs].
func (s *Store) BlobOpen(_ context.Context, ref api.BlobRef) (io.ReadCloser, error) {
	f, size, err := s.file(ref.CID)
	if err != nil {
		return nil, err
	}
	if size != ref.Size {
		return nil, errors.Join(damaged(ref, fmt.Sprintf("the file has %d bytes", size)), f.Close())
	}
	return newChecked(f, ref), nil
}

func damaged(ref api.BlobRef, why string) error {
	return &api.ErrNotFound{
		What: fmt.Sprintf("bulk result %s of %d bytes", ref.CID, ref.Size),
		Hint: "what is kept under the name is damaged: " + why,
	}
}

// SweepUnnamed deletes the blobs that named does not list and that were neither
// put nor touched for longer than age, which leaves time between putting a blob
// and naming it; an hour is plenty. Half-written ones go by the same age. It
// returns how many went.
func (s *Store) SweepUnnamed(named map[api.CidString]bool, age time.Duration) (int, error) {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return 0, fmt.Errorf("read the directory of bulk results: %w", err)
	}
	swept := 0
	var errs []error
	for _, e := range entries {
		st, err := e.Info()
		if named[api.CidString(e.Name())] || err != nil || time.Since(st.ModTime()) < age {
			continue
		}
		if err := os.Remove(filepath.Join(s.cfg.Dir, e.Name())); err != nil {
			errs = append(errs, fmt.Errorf("delete bulk result %s: %w", e.Name(), err))
			continue
		}
		swept++
	}
	return swept, errors.Join(errs...)
}
