package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/filecoin-project/go-state-types/abi"
	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/internal/durable"
	"quarry/storage/paths"
)

// What a stopped or killed process had computed is gone on with: the layers of
// PC1 and the replica of PC2 stay where they were being made. The proofs find
// out themselves what of it is whole; nothing here is declared before they are
// done.

// inputName is the file in a cache directory being made that says of what. It
// goes before the directory is published.
const inputName = "pc1-input"

// inputOf names everything that the layers of a sector depend on.
func inputOf(s api.SectorRef, a api.PreCommit1Params) (string, error) {
	b, err := json.Marshal(struct {
		Sector api.SectorRef
		Params api.PreCommit1Params
	}{s, a})
	if err != nil {
		return "", fmt.Errorf("encode what PC1 starts from: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// begun gives the sealing path where an earlier attempt at a file was left that
// same takes, and reserves what it lacks of need bytes.
func (w *Worker) begun(s abi.SectorID, t api.FileType, need uint64, same func(name string) bool) (paths.Path, func(), bool) {
	for _, p := range w.deps.Local.Paths() {
		if !p.Meta.CanSeal {
			continue
		}
		name, err := p.MadePath(s, t)
		if err != nil || !same(name) {
			continue
		}
		if release, err := w.deps.Local.Reserve(p.Meta.ID, need-min(need, onDisk(name))); err == nil {
			return p, release, true
		}
	}
	return paths.Path{}, nil, false
}

// onDisk is how many bytes a file or directory takes; what cannot be read takes
// none.
func onDisk(name string) (sum uint64) {
	_ = filepath.WalkDir(name, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			sum += uint64(st.Blocks) * 512 //nolint:gosec // not negative
		}
		return nil
	})
	return sum
}

// layersHome is where the layers of a sector are made: on with what an earlier
// attempt at the same left, or an empty directory.
func (w *Worker) layersHome(s api.SectorRef, size abi.SectorSize, a api.PreCommit1Params) (at paths.Path, dir string, release func(), err error) {
	want, err := inputOf(s, a)
	if err != nil {
		return at, "", nil, err
	}
	what, need := "cache of sector "+s.String(), paths.Need(api.FileCache, size, true)
	at, release, ok := w.begun(s.ID, api.FileCache, need, func(name string) bool {
		got, err := os.ReadFile(filepath.Join(name, inputName)) //nolint:gosec // our own file
		return err == nil && string(got) == want
	})
	if ok {
		dir, err = at.MadePath(s.ID, api.FileCache)
		return at, dir, release, err
	}
	if at, release, err = w.deps.Local.Alloc(what, need, true); err != nil {
		return at, "", nil, err
	}
	if dir, err = at.MadePath(s.ID, api.FileCache); err == nil {
		err = errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)) //nolint:gosec // as all sector directories
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(dir, inputName), []byte(want), 0o644)
	}
	if err != nil {
		release()
		return at, "", nil, paths.AsNoSpace(err, what, need)
	}
	return at, dir, release, nil
}

// sweep deletes what was left of tasks that have been done elsewhere meanwhile.
// It is housekeeping: what is in use or cannot be asked about stays.
func (w *Worker) sweep(ctx context.Context, except abi.SectorID) {
	for _, p := range w.deps.Local.Paths() {
		for _, t := range []api.FileType{api.FileCache, api.FileSealed} {
			for _, s := range p.Made(t) {
				if s != except && p.Meta.CanSeal {
					w.sweepOne(ctx, p, s, t)
				}
			}
		}
	}
}

func (w *Worker) sweepOne(ctx context.Context, p paths.Path, s abi.SectorID, t api.FileType) {
	locs, err := w.deps.Storage.StorageFindSector(ctx, s, t)
	if err != nil || len(locs) == 0 {
		return
	}
	// Whoever makes the file has it locked.
	l, err := w.deps.Storage.StorageLock(ctx, api.LockRequest{Sector: s, Write: t, Holder: "tidying on " + w.info.Hostname})
	if err != nil {
		return
	}
	defer func() { _ = w.deps.Storage.StorageUnlock(ctx, l.ID) }() // if it fails the lease runs out by itself
	name, err := p.MadePath(s, t)
	if err == nil {
		err = os.RemoveAll(name)
	}
	w.log.Info("what was begun of a sector file is deleted: the file has been made elsewhere", "file", name, "err", err)
}

// worthKeeping tells whether the next attempt here can use what a failed one
// left: it was stopped, and the task is still ours.
func worthKeeping(ctx context.Context, err error) bool {
	return errors.Is(err, context.Canceled) && ctx.Err() != nil && !isLeaseLost(context.Cause(ctx))
}

// publishMade renames what was computed or copied here into place and declares
// it.
func (w *Worker) publishMade(ctx context.Context, at paths.Path, s abi.SectorID, t api.FileType) error {
	if err := at.PublishMade(s, t); err != nil {
		return err
	}
	return w.declare(ctx, at, s, t, false)
}
