package index

import (
	"context"
	"time"

	"quarry/api"
)

// Locker grants leases; a subset of api.Storage.
type Locker interface {
	StorageLock(ctx context.Context, r api.LockRequest) (api.LockLease, error)
	StorageRenewLock(ctx context.Context, id api.UUID, ttl time.Duration) (api.LockLease, error)
	StorageUnlock(ctx context.Context, id api.UUID) error
}

// Hold takes a lease and renews it until release is called. The returned
// context ends, with *api.ErrLeaseLost as its cause, when the lease could not
// be renewed in time; work under the lock must use that context. release waits
// for the renewal to end and gives the lease back.
func Hold(ctx context.Context, l Locker, r api.LockRequest) (held context.Context, release func(), err error) {
	r.TTL = ttl(r.TTL)
	got, err := l.StorageLock(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	held, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	id := got.ID // the goroutine alone touches it until done is closed
	go func() {
		defer close(done)
		renew(held, cancel, l, got.ID, r, func(n api.UUID) { id = n })
	}()
	return held, func() {
		cancel(context.Canceled)
		<-done
		// The caller's context may have ended; the lease must go back all the same.
		bg, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		_ = l.StorageUnlock(bg, id) // if it fails the lease runs out by itself
	}, nil
}

func renew(ctx context.Context, lost context.CancelCauseFunc, l Locker, id api.UUID, r api.LockRequest, reid func(api.UUID)) {
	// Expiry is counted on our own clock from when we asked, never on the
	// index's, which may differ.
	deadline := time.Now().Add(r.TTL)
	tick := time.NewTicker(r.TTL / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		one, stop := context.WithTimeout(ctx, r.TTL/3)
		_, err := l.StorageRenewLock(one, id, r.TTL)
		stop()
		if isLost(err) && time.Now().Before(deadline) {
			// The index restarted and forgot: our time is not over, so ask anew, at
			// once or not at all.
			again := r
			again.Wait = 0
			var got api.LockLease
			if got, err = l.StorageLock(ctx, again); err == nil {
				id = got.ID
				reid(id)
			}
		}
		switch {
		case err == nil:
			deadline = asked.Add(r.TTL)
		case isLost(err) || isLocked(err) || time.Now().Add(r.TTL/3).After(deadline):
			lost(&api.ErrLeaseLost{What: "files of sector " + api.SectorName(r.Sector)})
			return
		}
	}
}
