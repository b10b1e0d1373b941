package apitest

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// soon is longer than anything a check waits for takes.
const soon = time.Minute

// CheckLeases is what [api.Leases] promises.
func CheckLeases[L api.Leases](t *testing.T, fresh func(t *testing.T) L) {
	for name, check := range map[string]func(*testing.T, api.Leases){
		"readers share, a writer excludes": checkLocks,
		"a lease has an end":               checkLeaseEnds,
		"what is lost":                     checkLeaseLost,
		"waiting":                          checkLockWait,
		"a caller that gives up":           checkLockGivenUp,
	} {
		t.Run(name, func(t *testing.T) { check(t, fresh(t)) })
	}
}

func reading(holder string) api.LockRequest {
	return api.LockRequest{Sector: sectorOne, Read: api.FileSealed, Holder: holder}
}

func writing(holder string) api.LockRequest {
	return api.LockRequest{Sector: sectorOne, Write: api.FileSealed, Holder: holder}
}

func mustLock(t *testing.T, l api.Leases, r api.LockRequest) api.LockLease {
	t.Helper()
	got, err := l.StorageLock(t.Context(), r)
	require.NoError(t, err)
	require.NotEqual(t, uuid.Nil, got.ID)
	return got
}

func checkLocks(t *testing.T, l api.Leases) {
	ctx := t.Context()
	_, err := l.StorageLock(ctx, api.LockRequest{Sector: sectorOne})
	require.Equal(t, "lock of sector s-t01000-1", typed[*api.ErrInvalid](t, err).What, "it names no file")
	first, second := mustLock(t, l, reading("first")), mustLock(t, l, reading("second"))
	require.NotEqual(t, first.ID, second.ID)
	_, err = l.StorageLock(ctx, writing("writer"))
	locked := typed[*api.ErrLocked](t, err)
	require.Equal(t, "s-t01000-1", locked.Sector)
	require.Regexp(t, "^(first|second) ", locked.Holder)
	other := writing("writer")
	other.Sector.Number = 2
	mustLock(t, l, other)
	kind := writing("writer")
	kind.Write = api.FileCache
	mustLock(t, l, kind)
	require.NoError(t, l.StorageUnlock(ctx, first.ID))
	_, err = l.StorageLock(ctx, writing("writer"))
	require.Contains(t, typed[*api.ErrLocked](t, err).Holder, "second")
	require.NoError(t, l.StorageUnlock(ctx, second.ID))
	mustLock(t, l, writing("writer"))
	for _, r := range []api.LockRequest{reading("third"), writing("third")} {
		_, err = l.StorageLock(ctx, r)
		require.Contains(t, typed[*api.ErrLocked](t, err).Holder, "writer")
	}
}

func checkLeaseEnds(t *testing.T, l api.Leases) {
	for ask, want := range map[time.Duration]time.Duration{0: 30 * time.Second, time.Minute: time.Minute} {
		r := reading("reader")
		r.TTL = ask
		before := time.Now()
		got := mustLock(t, l, r)
		require.WithinRange(t, got.Expires.Add(-want), before.Add(-time.Microsecond), time.Now())
		before = time.Now()
		again, err := l.StorageRenewLock(t.Context(), got.ID, ask)
		require.NoError(t, err)
		require.Equal(t, got.ID, again.ID)
		require.WithinRange(t, again.Expires.Add(-want), before.Add(-time.Microsecond), time.Now())
		require.NoError(t, l.StorageUnlock(t.Context(), got.ID))
	}
}

func checkLeaseLost(t *testing.T, l api.Leases) {
	ctx := t.Context()
	unknown := uuid.New()
	_, err := l.StorageRenewLock(ctx, unknown, soon)
	require.Equal(t, "lock "+unknown.String(), typed[*api.ErrLeaseLost](t, err).What)
	require.NoError(t, l.StorageUnlock(ctx, unknown), "giving back what one has not is no error")
	short := writing("short")
	short.TTL = time.Millisecond
	over := mustLock(t, l, short)
	next := writing("next")
	next.Wait = soon
	got := mustLock(t, l, next)
	_, err = l.StorageRenewLock(ctx, over.ID, soon)
	typed[*api.ErrLeaseLost](t, err)
	require.NoError(t, l.StorageUnlock(ctx, over.ID))
	_, err = l.StorageRenewLock(ctx, got.ID, soon)
	require.NoError(t, err, "the other's late unlock took nothing away")
	for range 2 {
		require.NoError(t, l.StorageUnlock(ctx, got.ID))
	}
	_, err = l.StorageRenewLock(ctx, got.ID, soon)
	typed[*api.ErrLeaseLost](t, err)
}

func checkLockWait(t *testing.T, l api.Leases) {
	first := longReader(t, l)
	short := writing("short")
	short.Wait = time.Millisecond
	_, err := l.StorageLock(t.Context(), short)
	require.Contains(t, typed[*api.ErrLocked](t, err).Holder, "holder")
	got := waitingWriter(t.Context(), t, l)
	require.NoError(t, l.StorageUnlock(t.Context(), first.ID))
	require.NoError(t, <-got)
	_, err = l.StorageLock(t.Context(), reading("late"))
	require.Contains(t, typed[*api.ErrLocked](t, err).Holder, "patient")
}

// checkLockGivenUp: who waits and is gone stands in nobody's way.
func checkLockGivenUp(t *testing.T, l api.Leases) {
	longReader(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	got := waitingWriter(ctx, t, l)
	cancel()
	require.ErrorIs(t, <-got, context.Canceled)
	until(t, func() bool { return !writerWaits(t, l) })
}

func longReader(t *testing.T, l api.Leases) api.LockLease {
	t.Helper()
	r := reading("holder")
	r.TTL = soon
	return mustLock(t, l, r)
}

// waitingWriter starts one, and returns when it waits.
func waitingWriter(ctx context.Context, t *testing.T, l api.Leases) <-chan error {
	t.Helper()
	got := make(chan error, 1)
	go func() {
		r := writing("patient")
		r.Wait = soon
		_, err := l.StorageLock(ctx, r)
		got <- err
	}()
	until(t, func() bool { return writerWaits(t, l) })
	return got
}

// writerWaits tells whether a writer waits: a reader does not pass it.
func writerWaits(t *testing.T, l api.Leases) bool {
	t.Helper()
	lease, err := l.StorageLock(t.Context(), reading("prober"))
	if err != nil {
		require.Contains(t, typed[*api.ErrLocked](t, err).Holder, "patient (waiting since ")
		return true
	}
	require.NoError(t, l.StorageUnlock(t.Context(), lease.ID))
	return false
}

// until asks again and again, for as long as a test may take.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !holds(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it has not come about in a minute")
		}
	}
}
