package index

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// TestTaskHasItsFiles from the claim to the end: nobody outside of tasks takes
// them, renews them or gives them back.
func TestTaskHasItsFiles(t *testing.T) {
	x, task, ctx := New(Config{}), uuid.New(), t.Context()
	for range 2 { // a task that has the files has them
		blocker, until := x.HoldFor(task, lock(api.FileUnsealed, api.FileCache, 0))
		require.Empty(t, blocker)
		require.Zero(t, until)
	}
	require.Len(t, x.locks.byID, 1)
	_, err := x.StorageLock(ctx, lock(api.FileCache, 0, 0))
	var locked *api.ErrLocked
	require.ErrorAs(t, err, &locked)
	require.Equal(t, &api.ErrLocked{Sector: "s-t01000-1", Holder: "h (while its task runs)"}, locked)
	require.NoError(t, x.StorageUnlock(ctx, task))
	_, err = x.StorageRenewLock(ctx, task, time.Minute)
	var lost *api.ErrLeaseLost
	require.ErrorAs(t, err, &lost)
	blocker, until := x.HoldFor(uuid.New(), lock(0, api.FileCache, 0))
	require.Equal(t, "h (while its task runs)", blocker, "neither took anything away")
	require.Zero(t, until, "nobody knows when a task ends")
	x.Release(uuid.New())
	require.Len(t, x.locks.byID, 1)
	x.Release(task)
	require.Empty(t, x.locks.byID)
	require.Empty(t, x.locks.leases)
	_, err = x.StorageLock(ctx, lock(0, api.FileCache, 0))
	require.NoError(t, err)
}

// TestReaderKeepsNoTaskWaiting, a writer does, until its lease ends.
func TestReaderKeepsNoTaskWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(Config{})
		_, err := x.StorageLock(t.Context(), lock(api.FileSealed, 0, 0))
		require.NoError(t, err)
		writer, err := x.StorageLock(t.Context(), lock(0, api.FileCache, 0))
		require.NoError(t, err)
		blocker, _ := x.HoldFor(uuid.New(), lock(0, api.FileSealed, 0))
		require.Empty(t, blocker)
		task := uuid.New()
		blocker, until := x.HoldFor(task, lock(api.FileCache, 0, 0))
		require.Equal(t, "h (until "+writer.Expires.UTC().Format(time.RFC3339)+" unless renewed)", blocker)
		require.Equal(t, writer.Expires, until)
		require.Nil(t, x.locks.byID[task])
		time.Sleep(30 * time.Second)
		blocker, _ = x.HoldFor(task, lock(api.FileCache, 0, 0))
		require.NotEmpty(t, blocker, "the lease holds to its last moment")
		time.Sleep(1)
		blocker, _ = x.HoldFor(task, lock(api.FileCache, 0, 0))
		require.Empty(t, blocker)
		require.NotNil(t, x.locks.byID[task])
	})
}

// asked is a Locker that notes how long each call may take.
type asked struct {
	mu                  sync.Mutex
	lock, renew, unlock time.Duration
	err                 error
}

func (a *asked) note(ctx context.Context, to *time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	*to = left(ctx)
}

func (a *asked) renewed() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.renew
}

func (a *asked) StorageLock(ctx context.Context, _ api.LockRequest) (api.LockLease, error) {
	a.note(ctx, &a.lock)
	return api.LockLease{ID: uuid.New()}, a.err
}

func (a *asked) StorageRenewLock(ctx context.Context, id api.UUID, _ time.Duration) (api.LockLease, error) {
	a.note(ctx, &a.renew)
	return api.LockLease{ID: id}, nil
}

func (a *asked) StorageUnlock(ctx context.Context, _ api.UUID) error {
	a.note(ctx, &a.unlock)
	return ctx.Err()
}

func left(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return -1
	}
	return time.Until(end)
}

// TestHoldIsRenewedInTime: three times a lease, each within a third of it; and it
// is given back also when the caller's context has ended.
func TestHoldIsRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		ctx, cancel := context.WithCancel(t.Context())
		held, release, err := Hold(ctx, a, lock(0, api.FileSealed, 0))
		require.NoError(t, err)
		require.Equal(t, time.Duration(-1), a.lock)
		time.Sleep(10*time.Second - 1)
		synctest.Wait()
		require.Zero(t, a.renewed())
		time.Sleep(1)
		synctest.Wait()
		require.Equal(t, 10*time.Second, a.renewed())
		cancel()
		require.ErrorIs(t, context.Cause(held), context.Canceled)
		release()
		require.Equal(t, 5*time.Second, a.unlock)
	})
	_, _, err := Hold(t.Context(), &asked{err: context.DeadlineExceeded}, lock(0, api.FileSealed, 0))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestLimitsOfLeases(t *testing.T) {
	for ask, want := range map[time.Duration]time.Duration{
		-1:                 30 * time.Second,
		0:                  30 * time.Second,
		1:                  1,
		10 * time.Minute:   10 * time.Minute,
		10*time.Minute + 1: 10 * time.Minute,
	} {
		require.Equal(t, want, ttl(ask), ask)
	}
	x := New(Config{})
	_, err := x.StorageLock(t.Context(), api.LockRequest{Sector: sector})
	var invalid *api.ErrInvalid
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, "lock of sector s-t01000-1", invalid.What)
}

// TestNamesOfHoldersAreCut, and who gives none is called so.
func TestNamesOfHoldersAreCut(t *testing.T) {
	long := make([]byte, 201)
	for i := range long {
		long[i] = 'n'
	}
	for name, want := range map[string]string{
		string(long[:200]): string(long[:200]),
		string(long):       string(long[:200]) + "...",
		"":                 "somebody who gave no name",
	} {
		x := New(Config{})
		r := lock(0, api.FileSealed, 0)
		r.Holder = name
		got, err := x.StorageLock(t.Context(), r)
		require.NoError(t, err)
		_, err = x.StorageLock(t.Context(), r)
		var locked *api.ErrLocked
		require.ErrorAs(t, err, &locked)
		require.Equal(t, want+" (until "+got.Expires.UTC().Format(time.RFC3339)+" unless renewed)", locked.Holder)
	}
}

// TestTooManyWaiters are told so at once.
func TestTooManyWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(Config{})
		_, err := x.StorageLock(t.Context(), lock(0, api.FileSealed, 0))
		require.NoError(t, err)
		for waiting, want := range map[int]time.Duration{maxWaiting - 1: 5 * time.Second, maxWaiting: 0} {
			x.locks.count = waiting
			start := time.Now()
			_, err = x.StorageLock(t.Context(), lock(0, api.FileSealed, 5*time.Second))
			var locked *api.ErrLocked
			require.ErrorAs(t, err, &locked)
			require.Equal(t, want, time.Since(start))
			require.Equal(t, waiting, x.locks.count)
			x.locks.count = 0
			lease := time.Now().Add(time.Minute)
			for _, l := range x.locks.byID {
				l.expires = lease // for the second round
			}
		}
	})
}
