package index

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

// TestEachProcessSpeaksForItself: what one process says of a path that several
// have says nothing about the others.
func TestEachProcessSpeaksForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(Config{})
		meta := api.PathMeta{ID: "p", CanStore: true, Weight: 1}
		for _, u := range []string{"http://one/remote", "http://two/remote/", ""} {
			require.NoError(t, x.StorageAttach(t.Context(), meta, u, api.FsStat{Available: 10}))
		}
		require.NoError(t, x.StorageDeclareSectors(t.Context(), []api.SectorFile{{Sector: sector, Type: api.FileSealed, Storage: "p"}}))
		say := func(u, fault string) {
			require.NoError(t, x.StorageReportHealth(t.Context(),
				api.PathHealth{Storage: "p", URL: u, Err: fault, Stat: api.FsStat{Available: 10}}))
		}
		urls := func() []string {
			p, err := x.StorageGet(t.Context(), "p")
			require.NoError(t, err)
			locs, err := x.StorageFindSector(t.Context(), sector, api.FileSealed)
			require.NoError(t, err)
			require.Equal(t, p.HeartbeatErr == "", len(locs) == 1, "its files are where it is well")
			return p.URLs
		}
		require.Equal(t, []string{"http://one/remote", "http://two/remote"}, urls())
		say("http://one/remote", "hung")
		require.Equal(t, []string{"http://two/remote"}, urls())
		say("http://two/remote", "gone")
		require.Empty(t, urls())
		p, err := x.StorageGet(t.Context(), "p")
		require.NoError(t, err)
		require.Empty(t, p.HeartbeatErr, "a process without a URL still reads it")
		say("", "not mounted")
		p, err = x.StorageGet(t.Context(), "p")
		require.NoError(t, err)
		require.NotEmpty(t, p.HeartbeatErr)
		require.Empty(t, urls())
		say("http://one/remote", "")
		require.Equal(t, []string{"http://one/remote"}, urls())
		var unknown *api.ErrNotFound
		require.ErrorAs(t, x.StorageReportHealth(t.Context(), api.PathHealth{Storage: "p", URL: "http://three/remote"}), &unknown)
	})
}

// TestDeadProcessesAreForgotten, and silence is told as such.
func TestDeadProcessesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(Config{})
		meta := api.PathMeta{ID: "p", CanStore: true}
		require.NoError(t, x.StorageAttach(t.Context(), meta, "http://dead/remote", api.FsStat{}))
		require.NoError(t, x.StorageAttach(t.Context(), meta, "http://lives/remote", api.FsStat{}))
		for range 60 {
			time.Sleep(10 * time.Second)
			require.NoError(t, x.StorageReportHealth(t.Context(), api.PathHealth{Storage: "p", URL: "http://lives/remote"}))
		}
		require.Len(t, x.paths["p"].keepers, 2, "ten minutes are not over")
		p, err := x.StorageGet(t.Context(), "p")
		require.NoError(t, err)
		require.Equal(t, []string{"http://lives/remote"}, p.URLs, "but nobody is sent to it")
		time.Sleep(10 * time.Second)
		require.NoError(t, x.StorageReportHealth(t.Context(), api.PathHealth{Storage: "p", URL: "http://lives/remote"}))
		require.Len(t, x.paths["p"].keepers, 1)
		time.Sleep(51 * time.Second)
		p, err = x.StorageGet(t.Context(), "p")
		require.NoError(t, err)
		require.Equal(t, "nothing was heard of it for 51s", p.HeartbeatErr)
	})
}

// TestChangesAreSignalled: those that a waiting task may wait for, once.
func TestChangesAreSignalled(t *testing.T) {
	x := New(Config{})
	signalled := func() bool {
		select {
		case <-x.Changed():
			return true
		default:
			return false
		}
	}
	require.False(t, signalled())
	require.NoError(t, x.StorageAttach(t.Context(), api.PathMeta{ID: "p"}, "", api.FsStat{Available: 5}))
	require.NoError(t, x.StorageAttach(t.Context(), api.PathMeta{ID: "q"}, "", api.FsStat{Available: 5}))
	require.True(t, signalled())
	require.False(t, signalled(), "one for many")
	beat := func(free int64, unwritable, fault string) bool {
		h := api.PathHealth{Storage: "p", Stat: api.FsStat{Available: free, Unwritable: unwritable}, Err: fault}
		require.NoError(t, x.StorageReportHealth(t.Context(), h))
		return signalled()
	}
	require.False(t, beat(5, "", ""), "nothing new")
	require.False(t, beat(4, "", ""))
	require.True(t, beat(5, "", ""), "more room")
	require.False(t, beat(5, "read only", ""))
	require.True(t, beat(5, "", ""), "writable again")
	require.False(t, beat(9, "", "gone"), "room on a path that is gone is none")
	require.True(t, beat(9, "", ""), "back")
	require.NoError(t, x.StorageDeclareSectors(t.Context(), []api.SectorFile{{Sector: sector, Type: api.FileSealed, Storage: "p"}}))
	require.True(t, signalled())
	l, err := x.StorageLock(t.Context(), lock(0, api.FileSealed, 0))
	require.NoError(t, err)
	require.False(t, signalled())
	require.NoError(t, x.StorageUnlock(t.Context(), l.ID))
	require.True(t, signalled())
}

// TestClaimedFiles: a task has its files without a time of its own; readers do not
// keep it waiting, writers do, and it keeps both away.
func TestClaimedFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(Config{})
		task, other := api.UUID{1}, api.UUID{2}
		r := api.LockRequest{Sector: sector, Read: api.FileUnsealed, Write: api.FileSealed, Holder: "PC2 on w"}
		_, err := x.StorageLock(t.Context(), lock(api.FileSealed, 0, 0))
		require.NoError(t, err)
		by, until := x.HoldFor(task, r)
		require.Empty(t, by, "a reader is not waited for")
		require.Zero(t, until)
		by, _ = x.HoldFor(task, r)
		require.Empty(t, by, "it has them")
		_, err = x.StorageLock(t.Context(), lock(0, api.FileUnsealed, 0))
		require.ErrorContains(t, err, "PC2 on w (while its task runs)")
		by, _ = x.HoldFor(other, r)
		require.Contains(t, by, "PC2 on w")
		time.Sleep(24 * time.Hour)
		_, err = x.StorageLock(t.Context(), lock(0, api.FileSealed, 0))
		require.Error(t, err, "it has no time of its own")
		_, err = x.StorageRenewLock(t.Context(), task, 0)
		require.Error(t, err)
		require.NoError(t, x.StorageUnlock(t.Context(), task))
		_, err = x.StorageLock(t.Context(), lock(0, api.FileSealed, 0))
		require.Error(t, err, "only the queue gives a task's files back")
		x.Release(task)
		x.Release(task)
		l, err := x.StorageLock(t.Context(), lock(0, api.FileSealed, 0))
		require.NoError(t, err)
		by, until = x.HoldFor(task, r)
		require.NotEmpty(t, by)
		require.Equal(t, l.Expires, until)
		time.Sleep(31 * time.Second)
		by, _ = x.HoldFor(task, r)
		require.Empty(t, by, "the writer's lease ran out")
	})
}
