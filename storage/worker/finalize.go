package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/storage/paths"
)

// finalize drops what proving does not need and moves the rest to a path for
// keeping. Every step may be repeated.
func (w *Worker) finalize(ctx context.Context, s api.SectorRef, size abi.SectorSize, a api.FinalizeParams, p *progress) error {
	cache, err := w.have(ctx, s.ID, api.FileCache, size, p)
	if err != nil {
		return err
	}
	p.set("clear cache", 0, 0)
	if err := porep.ClearCache(paths.CacheDir(cache.FilePath(s.ID, api.FileCache)), s.ProofType); err != nil {
		return fmt.Errorf("clear cache: %w", err)
	}
	if err := porep.ClearSynthetic(paths.CacheDir(cache.FilePath(s.ID, api.FileCache))); err != nil { // the proof has landed
		return fmt.Errorf("clear cache: %w", err)
	}
	keep := api.FileSealed | api.FileCache
	if a.KeepUnsealed {
		keep |= api.FileUnsealed
	} else if err := w.everywhere(ctx, s.ID, api.FileUnsealed); err != nil {
		return err
	}
	for _, t := range []api.FileType{api.FileSealed, api.FileCache, api.FileUnsealed} {
		if !keep.Has(t) {
			continue
		}
		if err := w.settle(ctx, s, t, size, p); err != nil {
			return err
		}
	}
	return nil
}

// everywhere removes a file from all paths.
func (w *Worker) everywhere(ctx context.Context, s abi.SectorID, t api.FileType) error {
	return w.only(ctx, paths.Path{}, s, t)
}

// settle puts one file on a path for keeping, and removes other copies.
func (w *Worker) settle(ctx context.Context, s api.SectorRef, t api.FileType, size abi.SectorSize, p *progress) error {
	from, err := w.have(ctx, s.ID, t, size, p)
	var missing *api.ErrNotFound
	if t == api.FileUnsealed && errors.As(err, &missing) {
		return nil // a sector of zeros only
	}
	if err != nil {
		return err
	}
	to := from
	if !from.Meta.CanStore {
		dst, release, err := w.deps.Local.Alloc(t.String()+" of sector "+s.String(), paths.Need(t, size, false), false)
		if err != nil {
			return err
		}
		defer release()
		to = dst
		if err := move(ctx, from, to, s.ID, t, p); err != nil {
			return paths.AsNoSpace(err, t.String()+" of sector "+s.String(), paths.Need(t, size, false))
		}
	}
	if err := w.declare(ctx, to, s.ID, t, true); err != nil {
		return err
	}
	return w.only(ctx, to, s.ID, t)
}

// move makes the file appear on another path. The old one stays until the new
// one is declared.
func move(ctx context.Context, from, to paths.Path, s abi.SectorID, t api.FileType, p *progress) error {
	src, final := from.FilePath(s, t), to.FilePath(s, t)
	tmp, err := to.MadePath(s, t)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("move %s: %w", src, err)
	}
	if _, err := os.Lstat(final); errors.Is(err, fs.ErrNotExist) {
		if err := os.Link(src, final); err == nil { // same file system, one file: nothing to copy
			return paths.SyncDir(filepath.Dir(final))
		}
	}
	if err := copyTree(ctx, src, tmp, p); err != nil {
		return errors.Join(fmt.Errorf("move %s: %w", src, err), os.RemoveAll(tmp))
	}
	return to.PublishMade(s, t)
}

func copyTree(ctx context.Context, src, dst string, p *progress) error {
	st, err := os.Stat(src)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return copyFile(ctx, src, dst, p)
	}
	if err := os.MkdirAll(dst, 0o755); err != nil { //nolint:gosec // as all sector directories
		return err
	}
	entries, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			if err := copyFile(ctx, filepath.Join(src, e.Name()), filepath.Join(dst, e.Name()), p); err != nil {
				return err
			}
		}
	}
	return paths.SyncDir(dst)
}

// ctxReader stops between reads when the task is abandoned.
type ctxReader struct {
	io.Reader
	ctx context.Context //nolint:containedctx // one copy
}

func (r ctxReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}

func copyFile(ctx context.Context, src, dst string, p *progress) (err error) {
	in, err := os.Open(src) //nolint:gosec // a sector file
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	st, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // as all sector files
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := unix.Fallocate(int(out.Fd()), 0, 0, max(st.Size(), 1)); err != nil && errors.Is(err, unix.ENOSPC) { //nolint:gosec // a descriptor
		return err // better now than after an hour
	}
	c := &counter{r: ctxReader{in, ctx}, f: func(n int64) { p.set("move", n, st.Size()) }}
	n, err := io.CopyBuffer(out, c, make([]byte, 1<<20))
	if err != nil {
		return err
	}
	if n != st.Size() {
		return fmt.Errorf("copied %d of %d bytes", n, st.Size())
	}
	return errors.Join(out.Truncate(n), out.Sync())
}

var _ porep.Files = paths.CacheDir("")
