package storage

import (
	"context"
	"time"

	"quarry/api"
	"quarry/storage/index"
)

// taskFiles gives a claimed task the files of its sector.
type taskFiles struct{ *index.Index }

// HoldFor implements sched.Files.
func (f taskFiles) HoldFor(task api.UUID, spec api.TaskSpec, holder string) (string, time.Time) {
	read, write := filesOf(spec.Type)
	if read|write == 0 {
		return "", time.Time{}
	}
	return f.Index.HoldFor(task, api.LockRequest{
		Sector: spec.Sector.ID,
		Read:   read,
		Write:  write,
		Holder: string(spec.Type) + " on " + holder,
	})
}

// filesOf says which files a task reads and writes.
func filesOf(t api.TaskType) (read, write api.FileType) {
	const sealed, update = api.FileSealed | api.FileCache, api.FileUpdate | api.FileUpdateCache
	switch t {
	case api.TaskAddPiece:
		return 0, api.FileUnsealed
	case api.TaskPreCommit1:
		return api.FileUnsealed, api.FileCache
	case api.TaskPreCommit2:
		return api.FileUnsealed, sealed
	case api.TaskCommit1:
		return sealed, 0
	case api.TaskCommit2, api.TaskProveUpdate2:
		return 0, 0
	case api.TaskUnseal:
		return sealed | update, api.FileUnsealed
	case api.TaskUpdate:
		return api.FileUnsealed | sealed, update
	case api.TaskProveUpdate1:
		return sealed | update, 0
	case api.TaskFinalizeUpdate:
		return 0, api.FileUnsealed | sealed | update
	}
	return 0, api.FileUnsealed | sealed
}

// wakeTasks tells the queue when files have come or were given back.
func (m *Manager) wakeTasks(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.Changed():
			m.tasks.Wake()
		}
	}
}

// Bulk results that no task names are deleted every so often; a new one has an
// hour to be named.
const (
	sweepEvery = 10 * time.Minute
	unnamedAge = time.Hour
)

func (m *Manager) sweepBlobs(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		named := map[api.CidString]bool{}
		m.tasks.EachBlob(func(r api.BlobRef) { named[r.CID] = true })
		n, err := m.blobs.SweepUnnamed(named, unnamedAge)
		if err != nil {
			m.log.Warn("bulk results that nobody needs could not all be deleted; it is tried again", "err", err)
		}
		if n > 0 {
			m.log.Info("bulk results that nobody needs are deleted", "count", n)
		}
	}
}
