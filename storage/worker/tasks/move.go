package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/storage/paths"
)

// move makes the file appear on another path. The old one stays until the new
// one is declared.
func (j *job) move(ctx context.Context, from, to paths.Path, t api.FileType) error {
	src, final := from.FilePath(j.sector.ID, t), to.FilePath(j.sector.ID, t)
	tmp, err := to.MadePath(j.sector.ID, t)
	if err != nil {
		return err
	}
	if err := errors.Join(j.own(tmp), os.RemoveAll(tmp)); err != nil {
		return fmt.Errorf("move %s: %w", src, err)
	}
	if _, err := os.Lstat(final); errors.Is(err, fs.ErrNotExist) {
		if err := os.Link(src, final); err == nil { // same file system, one file: nothing to copy
			return errors.Join(remove(tmp+ownerSuffix), paths.SyncDir(filepath.Dir(final)))
		}
	}
	if err := j.copyTree(ctx, src, tmp); err != nil {
		return fmt.Errorf("move %s: %w", src, err)
	}
	return j.publishMade(ctx, to, t)
}

func (j *job) copyTree(ctx context.Context, src, dst string) error {
	st, err := os.Stat(src)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return j.copyFile(ctx, src, dst)
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
			if err := j.copyFile(ctx, filepath.Join(src, e.Name()), filepath.Join(dst, e.Name())); err != nil {
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

func (j *job) copyFile(ctx context.Context, src, dst string) (err error) {
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
	if err := unix.Fallocate(int(out.Fd()), 0, 0, max(st.Size(), 1)); errors.Is(err, unix.ENOSPC) { //nolint:gosec // a descriptor
		return err // better now than after an hour
	}
	c := &counter{r: ctxReader{in, ctx}, f: func(n int64) { j.Set("move", n, st.Size()) }}
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
