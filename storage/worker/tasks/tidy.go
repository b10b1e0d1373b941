package tasks

import (
	"context"
	"errors"
	"os"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/storage/paths"
)

// Tidy deletes what was begun by tasks that are done or forgotten, as the private
// node says, and that this worker does not have; busy are those that it has. What
// it cannot ask about stays.
func (t *Tasks) Tidy(ctx context.Context, busy map[api.UUID]bool) {
	for _, p := range t.local.Paths() {
		for _, kind := range api.AllFileTypes {
			for _, s := range p.Made(kind) {
				name, err := p.MadePath(s, kind)
				if ctx.Err() != nil || err != nil || !t.leftOver(ctx, p, name, s, kind, busy) {
					continue
				}
				err = errors.Join(os.RemoveAll(name), remove(name+ownerSuffix), remove(name+inputSuffix))
				t.log.Info("what was begun of a sector file is deleted: its task is done or forgotten", "file", name, "err", err)
			}
		}
	}
}

// leftOver tells whether nobody needs what was begun at name.
func (t *Tasks) leftOver(ctx context.Context, p paths.Path, name string, s abi.SectorID, kind api.FileType, busy map[api.UUID]bool) bool {
	o, known := ownerOf(name)
	if !known { // of an older version, which runs no more: whole elsewhere, it is over
		locs, err := t.node.StorageFindSector(ctx, s, kind)
		return err == nil && len(locs) > 0 && p.Meta.CanSeal
	}
	if busy[o.Task] {
		return false
	}
	st, err := t.node.TaskGet(ctx, o.Task)
	var forgotten *api.ErrNotFound
	return err == nil && st.State == api.TaskDone || errors.As(err, &forgotten)
}

// clearRecords deletes the small files in a cache that said of what it was made
// and what the task gave. Nobody needs them once the next task has used the cache.
func clearRecords(dir paths.CacheDir, names ...string) error {
	for _, n := range names {
		if err := dir.Remove(n); err != nil {
			return err
		}
	}
	return nil
}
