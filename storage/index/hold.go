package index

import (
	"context"
	"time"

	"quarry/api"
)

// Locker grants leases; a part of api.Leases.
type Locker interface {
	StorageLock(ctx context.Context, r api.LockRequest) (api.LockLease, error)
	StorageRenewLock(ctx context.Context, id api.UUID, ttl time.Duration) (api.LockLease, error)
	StorageUnlock(ctx context.Context, id api.UUID) error
}

// Hold takes a lease and renews it until release is called. The returned context
// ends, with *api.ErrLeaseLost as its cause, when the index says that somebody
// else has the files; work under the lease must use that context. An index that
// cannot be reached has said nothing, and one that has forgotten the lease is
// asked for it anew. release waits for the renewal to end and gives the lease
// back.
func Hold(ctx context.Context, l Locker, r api.LockRequest) (held context.Context, release func(), err error) {
	r.TTL = ttl(r.TTL)
	got, err := l.StorageLock(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	held, cancel := context.WithCancelCause(ctx)
	h := &hold{locks: l, req: r, id: got.ID}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.renew(held, cancel)
	}()
	return held, func() {
		cancel(context.Canceled)
		<-done
		// The caller's context may have ended; the lease must go back all the same.
		bg, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		_ = l.StorageUnlock(bg, h.id) // if it fails the lease runs out by itself
	}, nil
}

// hold is a lease that is kept. The renewing goroutine alone touches id until it
// has ended.
type hold struct {
	locks Locker
	req   api.LockRequest
	id    api.UUID
}

func (h *hold) renew(ctx context.Context, lost context.CancelCauseFunc) {
	tick := time.NewTicker(h.req.TTL / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if isLocked(h.once(ctx)) {
			lost(&api.ErrLeaseLost{What: "files of sector " + api.SectorName(h.req.Sector)})
			return
		}
	}
}

// once renews the lease, or takes it again where the index has forgotten it.
func (h *hold) once(ctx context.Context) error {
	one, stop := context.WithTimeout(ctx, h.req.TTL/3)
	defer stop()
	_, err := h.locks.StorageRenewLock(one, h.id, h.req.TTL)
	if !isLost(err) {
		return err
	}
	again := h.req
	again.Wait = 0
	got, err := h.locks.StorageLock(one, again)
	if err == nil {
		h.id = got.ID
	}
	return err
}
