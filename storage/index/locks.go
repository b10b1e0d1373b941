package index

import (
	"context"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"

	"quarry/api"
	"quarry/internal/printable"
)

const (
	defaultTTL = 30 * time.Second
	maxTTL     = 10 * time.Minute
	maxWait    = 10 * time.Minute
	maxWaiting = 4096 // waiters in all; more is a caller gone wild
	maxHeld    = 1024 // leases of a caller that only reads
)

// lockTable holds leases and the queue of those who wait, oldest first. Index.mu
// guards it.
type lockTable struct {
	leases map[abi.SectorID]map[api.UUID]*lease
	byID   map[api.UUID]*lease
	queues map[abi.SectorID][]*waiter
	count  int
}

type lease struct {
	api.LockRequest
	id      api.UUID
	owner   caller
	expires time.Time // zero: of a claimed task, ends with the claim
}

// over tells whether the lease ran out.
func (l *lease) over(now time.Time) bool { return !l.expires.IsZero() && now.After(l.expires) }

type waiter struct {
	req   api.LockRequest
	owner caller
	wake  chan struct{} // buffered: something changed, look again
	since time.Time
}

func newLockTable() lockTable {
	return lockTable{leases: map[abi.SectorID]map[api.UUID]*lease{}, byID: map[api.UUID]*lease{}, queues: map[abi.SectorID][]*waiter{}}
}

// conflicts tells whether two requests for one sector exclude each other.
func conflicts(a, b api.LockRequest) bool {
	return a.Write&(b.Read|b.Write) != 0 || b.Write&a.Read != 0
}

func ttl(d time.Duration) time.Duration {
	if d <= 0 {
		return defaultTTL
	}
	return min(d, maxTTL)
}

// StorageLock grants a lease, at once or after at most r.Wait. Requests that
// exclude each other are served in the order in which they came, so writers do
// not starve. It returns *api.ErrLocked, naming a holder, when time is up.
func (x *Index) StorageLock(ctx context.Context, r api.LockRequest) (api.LockLease, error) {
	if r.Read|r.Write == 0 {
		return api.LockLease{}, &api.ErrInvalid{What: "lock of sector " + api.SectorName(r.Sector), Reason: "it names no file kind"}
	}
	who := callerOf(ctx)
	if err := who.may("StorageLock", r.Read|r.Write, r.Write); err != nil {
		return api.LockLease{}, err
	}
	r.Holder = printable.Brief(r.Holder)
	x.mu.Lock()
	if !who.serves && x.held(who.id) >= maxHeld {
		defer x.mu.Unlock()
		return api.LockLease{}, &api.ErrBusy{What: "the index of sector files", Reason: fmt.Sprintf("this token holds %d leases", maxHeld)}
	}
	w := &waiter{req: r, owner: who, wake: make(chan struct{}, 1), since: time.Now()}
	if granted, ok := x.tryLock(w); ok {
		x.mu.Unlock()
		return granted, nil
	}
	if r.Wait <= 0 || x.locks.count >= maxWaiting {
		defer x.mu.Unlock()
		return api.LockLease{}, x.lockedErr(w)
	}
	x.locks.queues[r.Sector] = append(x.locks.queues[r.Sector], w)
	x.locks.count++
	x.mu.Unlock()
	return x.waitLock(ctx, w)
}

func (x *Index) waitLock(ctx context.Context, w *waiter) (api.LockLease, error) {
	deadline := time.NewTimer(min(w.req.Wait, maxWait))
	defer deadline.Stop()
	for {
		x.mu.Lock()
		if granted, ok := x.tryLock(w); ok {
			x.dequeue(w)
			x.mu.Unlock()
			return granted, nil
		}
		next := time.NewTimer(time.Until(x.nextExpiry(w.req.Sector)) + time.Millisecond)
		x.mu.Unlock()
		var err error
		select {
		case <-w.wake:
		case <-next.C:
		case <-deadline.C:
			x.mu.Lock()
			err = x.lockedErr(w)
			x.mu.Unlock()
		case <-ctx.Done():
			err = fmt.Errorf("wait for lock of sector %s: %w", api.SectorName(w.req.Sector), ctx.Err())
		}
		next.Stop()
		if err != nil {
			x.mu.Lock()
			x.dequeue(w)
			x.mu.Unlock()
			return api.LockLease{}, err
		}
	}
}

// held counts the leases of a token.
func (x *Index) held(id string) (n int) {
	now := time.Now()
	for _, l := range x.locks.byID {
		if l.owner.id == id && !l.over(now) {
			n++
		}
	}
	return n
}

// tryLock grants the lease unless a living lease or an older waiter is in the
// way. It drops leases of the sector that ran out.
func (x *Index) tryLock(w *waiter) (api.LockLease, bool) {
	x.dropOver(w.req.Sector)
	if x.blocker(w) != "" {
		return api.LockLease{}, false
	}
	l := &lease{LockRequest: w.req, id: uuid.New(), owner: w.owner, expires: time.Now().Add(ttl(w.req.TTL))}
	x.grant(l)
	return api.LockLease{ID: l.id, Expires: l.expires}, true
}

// blocker names who stands in the way of w, "" when nobody does.
func (x *Index) blocker(w *waiter) string {
	for _, l := range x.locks.leases[w.req.Sector] {
		if conflicts(l.LockRequest, w.req) {
			return l.String()
		}
	}
	for _, o := range x.locks.queues[w.req.Sector] {
		if o == w {
			break
		}
		if conflicts(o.req, w.req) {
			return holder(o.req.Holder) + " (waiting since " + o.since.UTC().Format(time.RFC3339) + ")"
		}
	}
	return ""
}

// String names the holder and how long it has the files.
func (l *lease) String() string {
	if l.expires.IsZero() {
		return holder(l.Holder) + " (while its task runs)"
	}
	return fmt.Sprintf("%s (until %s unless renewed)", holder(l.Holder), l.expires.UTC().Format(time.RFC3339))
}

func holder(name string) string {
	if name == "" {
		return "somebody who gave no name"
	}
	return name
}

func (x *Index) lockedErr(w *waiter) error {
	by := x.blocker(w)
	if by == "" {
		by = "others, until just now"
	}
	return &api.ErrLocked{Sector: api.SectorName(w.req.Sector), Holder: by}
}

func (x *Index) nextExpiry(s abi.SectorID) time.Time {
	first := time.Now().Add(maxTTL)
	for _, l := range x.locks.leases[s] {
		if !l.expires.IsZero() && l.expires.Before(first) {
			first = l.expires
		}
	}
	return first
}

func (x *Index) dequeue(w *waiter) {
	s := w.req.Sector
	q := x.locks.queues[s]
	for i, o := range q {
		if o == w {
			x.locks.queues[s] = append(q[:i:i], q[i+1:]...)
			x.locks.count--
			break
		}
	}
	if len(x.locks.queues[s]) == 0 {
		delete(x.locks.queues, s)
	}
	x.wakeAll(s)
}

func (x *Index) wakeAll(s abi.SectorID) {
	for _, o := range x.locks.queues[s] {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
}

func (x *Index) release(l *lease) {
	delete(x.locks.byID, l.id)
	delete(x.locks.leases[l.Sector], l.id)
	if len(x.locks.leases[l.Sector]) == 0 {
		delete(x.locks.leases, l.Sector)
	}
	x.wakeAll(l.Sector)
	x.signal()
}

// StorageRenewLock extends a lease from now; *api.ErrLeaseLost when it ran out
// or was released.
func (x *Index) StorageRenewLock(ctx context.Context, id api.UUID, d time.Duration) (api.LockLease, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.locks.byID[id]
	if l != nil && !callerOf(ctx).is(l.owner.id) {
		l = nil // whose it is, nobody else is told
	}
	if l == nil || l.expires.IsZero() || l.over(time.Now()) {
		if l != nil && !l.expires.IsZero() {
			x.release(l)
		}
		return api.LockLease{}, &api.ErrLeaseLost{What: "lock " + id.String()}
	}
	l.expires = time.Now().Add(ttl(d))
	return api.LockLease{ID: id, Expires: l.expires}, nil
}

// StorageUnlock releases a lease; one that is gone is no error.
func (x *Index) StorageUnlock(ctx context.Context, id api.UUID) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if l := x.locks.byID[id]; l != nil && !l.expires.IsZero() && callerOf(ctx).is(l.owner.id) {
		x.release(l)
	}
	return nil
}
