package fetch

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/fr32"
	"quarry/storage/index"
	"quarry/storage/unsealed"
)

// lockWait is how long the index may keep a reader waiting for a writer: shorter
// where the reader has a copy and asks only whether somebody is at it.
const (
	lockWait     = 5 * time.Second
	lockWaitNear = time.Second
)

// hold takes a read lease. An index that says nothing for a second longer than it
// was asked to wait is unreachable.
func (r *Reader) hold(ctx context.Context, sector abi.SectorID, near bool) (context.Context, func(), error) {
	wait := lockWait
	if near {
		wait = lockWaitNear
	}
	return index.Hold(ctx, &prompt{r.idx, wait + time.Second}, api.LockRequest{
		Sector: sector,
		Read:   api.FileUnsealed,
		Holder: r.cfg.Holder,
		Wait:   wait,
	})
}

// prompt bounds the time for taking a lock.
type prompt struct {
	index.Locker
	limit time.Duration
}

// StorageLock takes a lock within the limit.
func (p *prompt) StorageLock(ctx context.Context, req api.LockRequest) (api.LockLease, error) {
	one, stop := context.WithTimeout(ctx, p.limit)
	defer stop()
	res, err := p.Locker.StorageLock(one, req)
	if err != nil && one.Err() != nil && ctx.Err() == nil {
		return res, &api.ErrUnreachable{Peer: "the sector index", Reason: "it does not answer"}
	}
	return res, err
}

// onPath opens the unsealed file on a path of ours that holds the range, nil when
// there is none.
func (r *Reader) onPath(sector abi.SectorID, offset, size abi.PaddedPieceSize) *unsealed.File {
	if r.local == nil {
		return nil
	}
	for _, p := range r.local.Paths() {
		f, err := unsealed.OpenAny(p.FilePath(sector, api.FileUnsealed))
		if err != nil {
			continue
		}
		if ok, err := f.Has(offset, size); err == nil && ok {
			return f
		}
		_ = f.Close()
	}
	return nil
}

// unpad shows the payload of a padded range of src, which has been checked to be
// there.
func unpad(ctx context.Context, src io.ReaderAt, offset, size abi.PaddedPieceSize, done func() error) *unpadded {
	return &unpadded{
		ctx:   ctx,
		src:   src,
		base:  int64(offset),
		size:  int64(fr32.UnpaddedLen(uint64(size))),
		close: sync.OnceValue(done),
	}
}
