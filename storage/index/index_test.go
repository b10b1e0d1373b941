package index

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

var sector = abi.SectorID{Miner: 1000, Number: 1}

func lock(read, write api.FileType, wait time.Duration) api.LockRequest {
	return api.LockRequest{
		Sector: sector,
		Read:   read,
		Write:  write,
		Holder: "h",
		TTL:    30 * time.Second,
		Wait:   wait,
	}
}

func TestLockConflicts(t *testing.T) {
	u, s := api.FileUnsealed, api.FileSealed
	for name, c := range map[string]struct {
		first, second api.LockRequest
		ok            bool
	}{
		"readers share":           {lock(u, 0, 0), lock(u, 0, 0), true},
		"writer excludes reader":  {lock(0, u, 0), lock(u, 0, 0), false},
		"reader excludes writer":  {lock(u, 0, 0), lock(0, u, 0), false},
		"writers exclude":         {lock(0, u, 0), lock(0, u, 0), false},
		"other kinds do not care": {lock(0, u, 0), lock(0, s, 0), true},
		"partial overlap":         {lock(u, s, 0), lock(s, 0, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			x := New(Config{})
			_, err := x.StorageLock(t.Context(), c.first)
			require.NoError(t, err)
			_, err = x.StorageLock(t.Context(), c.second)
			var locked *api.ErrLocked
			require.Equal(t, !c.ok, errors.As(err, &locked))
		})
	}
}

func TestLeaseEndsUnlessRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(Config{})
		got, err := x.StorageLock(t.Context(), lock(0, api.FileSealed, 0))
		require.NoError(t, err)
		time.Sleep(20 * time.Second)
		_, err = x.StorageRenewLock(t.Context(), got.ID, 30*time.Second)
		require.NoError(t, err)
		time.Sleep(29 * time.Second)
		_, err = x.StorageLock(t.Context(), lock(api.FileSealed, 0, 0))
		require.Error(t, err)
		time.Sleep(2 * time.Second)
		_, err = x.StorageRenewLock(t.Context(), got.ID, 0)
		var lost *api.ErrLeaseLost
		require.ErrorAs(t, err, &lost)
		_, err = x.StorageLock(t.Context(), lock(api.FileSealed, 0, 0))
		require.NoError(t, err)
		require.NoError(t, x.StorageUnlock(t.Context(), got.ID))
	})
}

func TestWaitersAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(Config{})
		first, err := x.StorageLock(t.Context(), lock(api.FileSealed, 0, 0))
		require.NoError(t, err)
		var order []string
		wait := func(name string, r api.LockRequest) {
			go func() {
				l, err := x.StorageLock(t.Context(), r)
				require.NoError(t, err)
				order = append(order, name)
				time.Sleep(time.Second)
				require.NoError(t, x.StorageUnlock(t.Context(), l.ID))
			}()
			synctest.Wait()
		}
		wait("writer", lock(0, api.FileSealed, time.Minute))
		wait("late reader", lock(api.FileSealed, 0, time.Minute)) // would share with first, but must not pass the writer
		require.Empty(t, order)
		require.NoError(t, x.StorageUnlock(t.Context(), first.ID))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"writer", "late reader"}, order)
		require.Zero(t, x.locks.count)
		require.Empty(t, x.locks.queues)
		require.Empty(t, x.locks.leases)
	})
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(Config{})
		_, err := x.StorageLock(t.Context(), api.LockRequest{Sector: sector, Write: api.FileSealed, Holder: "the other",
			TTL: 5 * time.Minute})
		require.NoError(t, err)
		_, err = x.StorageLock(t.Context(), lock(0, api.FileSealed, 10*time.Second))
		require.ErrorContains(t, err, "the other")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = x.StorageLock(ctx, lock(0, api.FileSealed, time.Minute))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, x.locks.count)
		start := time.Now()
		_, err = x.StorageLock(t.Context(), lock(0, api.FileSealed, 10*time.Minute)) // the lease runs out by itself
		require.NoError(t, err)
		require.Less(t, time.Since(start), 5*time.Minute)
	})
}

// forgetful is an index that restarts.
type forgetful struct{ x atomic.Pointer[Index] }

func (f *forgetful) StorageLock(ctx context.Context, r api.LockRequest) (api.LockLease, error) {
	return f.x.Load().StorageLock(ctx, r)
}

func (f *forgetful) StorageRenewLock(ctx context.Context, id api.UUID, d time.Duration) (api.LockLease, error) {
	return f.x.Load().StorageRenewLock(ctx, id, d)
}

func (f *forgetful) StorageUnlock(ctx context.Context, id api.UUID) error {
	return f.x.Load().StorageUnlock(ctx, id)
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &forgetful{}
		f.x.Store(New(Config{}))
		held, release, err := Hold(t.Context(), f, lock(0, api.FileSealed, 0))
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		require.NoError(t, held.Err())
		_, err = f.StorageLock(t.Context(), lock(0, api.FileSealed, 0))
		require.Error(t, err)

		f.x.Store(New(Config{})) // it takes the lock again
		time.Sleep(time.Minute)
		require.NoError(t, held.Err())
		_, err = f.StorageLock(t.Context(), lock(0, api.FileSealed, 0))
		require.Error(t, err)

		f.x.Store(New(Config{})) // somebody else is faster
		_, err = f.StorageLock(t.Context(), api.LockRequest{Sector: sector, Write: api.FileSealed, TTL: 10 * time.Minute})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		var lost *api.ErrLeaseLost
		require.ErrorAs(t, context.Cause(held), &lost)
		release()
	})
}

func TestPathsAndSectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		x := New(Config{})
		stat := api.FsStat{Available: 1 << 30}
		var unknown *api.ErrNotFound
		require.ErrorAs(t, x.StorageReportHealth(ctx, api.PathHealth{Storage: "a", Stat: stat}), &unknown)
		require.ErrorAs(t, x.StorageDeclareSectors(ctx, []api.SectorFile{{Sector: sector, Type: api.FileSealed, Storage: "a"}}), &unknown)
		require.NoError(t, x.StorageAttach(ctx, api.PathMeta{ID: "a", Weight: 1, CanStore: true}, "http://h:1/remote/", stat))
		require.NoError(t, x.StorageAttach(ctx, api.PathMeta{ID: "b", Weight: 5, CanSeal: true}, "", stat))
		require.Error(t, x.StorageAttach(ctx, api.PathMeta{ID: "c"}, "ftp://x", stat))
		for _, id := range []api.StorageID{"a", "b"} {
			require.NoError(t, x.StorageDeclareSectors(ctx, []api.SectorFile{{Sector: sector, Type: api.FileSealed, Storage: id,
				Primary: id == "a"}}))
		}
		require.Error(t, x.StorageDeclareSectors(ctx, []api.SectorFile{{Sector: sector, Type: api.FileSealed | api.FileCache,
			Storage: "a"}}))
		locs, err := x.StorageFindSector(ctx, sector, api.FileSealed)
		require.NoError(t, err)
		require.Len(t, locs, 2)
		require.Equal(t, []string{"http://h:1/remote/sealed/s-t01000-1"}, locs[0].URLs)

		best, err := x.StorageBestAlloc(ctx, api.FileSealed, 1<<20, true)
		require.NoError(t, err)
		require.Len(t, best, 1)
		_, err = x.StorageBestAlloc(ctx, api.FileSealed, 1<<40, true)
		var full *api.ErrNoSpace
		require.ErrorAs(t, err, &full)

		time.Sleep(40 * time.Second)
		require.NoError(t, x.StorageReportHealth(ctx, api.PathHealth{Storage: "b", Stat: stat}))
		time.Sleep(20 * time.Second) // a is silent for too long
		locs, err = x.StorageFindSector(ctx, sector, api.FileSealed)
		require.NoError(t, err)
		require.Len(t, locs, 1)
		require.NoError(t, x.StorageDetach(ctx, "b", ""))
		locs, err = x.StorageFindSector(ctx, sector, api.FileSealed)
		require.NoError(t, err)
		require.Empty(t, locs)
	})
}

func TestFilesPages(t *testing.T) {
	ctx := t.Context()
	x := New(Config{})
	require.NoError(t, x.StorageAttach(ctx, api.PathMeta{ID: "a"}, "", api.FsStat{}))
	for n := range 25 {
		for _, k := range []api.FileType{api.FileSealed, api.FileCache} {
			require.NoError(t, x.StorageDeclareSectors(ctx, []api.SectorFile{{Sector: abi.SectorID{Miner: 1,
				Number: abi.SectorNumber(n)}, Type: k, Storage: "a"}}))
		}
	}
	seen := map[api.SectorFile]bool{}
	cursor := ""
	for pages := 1; ; pages++ {
		page, next, err := x.StorageFiles(ctx, "a", cursor, 7)
		require.NoError(t, err)
		for _, f := range page {
			require.False(t, seen[f])
			seen[f] = true
		}
		if next == "" {
			require.Equal(t, 8, pages)
			break
		}
		cursor = next
	}
	require.Len(t, seen, 50)
	_, _, err := x.StorageFiles(ctx, "a", "rubbish!", 7)
	require.Error(t, err)
}
