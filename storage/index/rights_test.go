package index

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

func as(t *testing.T, token string, perms ...api.Permission) context.Context {
	t.Helper()
	return api.WithCaller(t.Context(), api.Caller{Token: token, Perms: perms})
}

func worker(t *testing.T, token string) context.Context {
	t.Helper()
	perms, _ := api.RolePermissions(api.RoleWorker)
	return as(t, token, perms...)
}

func peer(t *testing.T, token string) context.Context {
	t.Helper()
	perms, _ := api.RolePermissions(api.RoleMarketsPeer)
	return as(t, token, perms...)
}

func admin(t *testing.T) context.Context {
	t.Helper()
	return as(t, "admin", api.AllPermissions...)
}

const (
	urlA = "http://a:1/remote"
	urlB = "http://b:2/remote"
)

var meta = api.PathMeta{ID: "p", Weight: 3, CanSeal: true, CanStore: true}

// withWorker is an index to which worker A has attached a path with one file of
// each kind.
func withWorker(t *testing.T) *Index {
	t.Helper()
	x := New(Config{})
	ctx := worker(t, "A")
	require.NoError(t, x.StorageAttach(ctx, meta, urlA, api.FsStat{Available: 10}))
	var files []api.SectorFile
	for _, k := range api.AllFileTypes {
		files = append(files, api.SectorFile{Sector: sector, Type: k, Storage: "p", Primary: true})
	}
	require.NoError(t, x.StorageDeclareSectors(ctx, files))
	return x
}

func refusal(t *testing.T, err error, says string) {
	t.Helper()
	var invalid *api.ErrInvalid
	require.ErrorAs(t, err, &invalid)
	require.ErrorContains(t, err, says)
}

// A markets peer finds, reads and holds unsealed files, and no others.
func TestPeerGetsUnsealedFilesOnly(t *testing.T) {
	x := withWorker(t)
	for _, k := range api.AllFileTypes {
		address := urlA + "/" + k.String() + "/" + api.SectorName(sector)
		may := k == api.FileUnsealed
		_, err := x.StorageFindSector(peer(t, "M"), sector, k)
		allowed(t, may, err, "find "+k.String())
		_, err = x.StorageFileBearer(peer(t, "M"), api.FileUse{URL: address})
		allowed(t, may, err, "read "+k.String())
		_, err = x.StorageFileBearer(peer(t, "M"), api.FileUse{URL: address, Delete: true})
		allowed(t, false, err, "delete "+k.String())
		_, err = x.StorageLock(peer(t, "M"), api.LockRequest{Sector: sector, Read: k})
		allowed(t, may, err, "hold "+k.String())
		_, err = x.StorageLock(peer(t, "M"), api.LockRequest{Sector: sector, Write: k})
		allowed(t, false, err, "hold for writing "+k.String())
		_, err = x.StorageLock(peer(t, "M"), api.LockRequest{Sector: sector, Read: api.FileUnsealed | k})
		allowed(t, may, err, "hold more than unsealed files "+k.String())
		for name, ctx := range map[string]context.Context{"worker": worker(t, "B"), "admin": admin(t), "self": t.Context()} {
			locs, err := x.StorageFindSector(ctx, sector, k)
			require.NoError(t, err, name)
			require.Equal(t, []string{address}, locs[0].URLs)
			for _, del := range []bool{false, true} {
				b, err := x.StorageFileBearer(ctx, api.FileUse{URL: address, Delete: del})
				require.NoError(t, err, name)
				require.NotEmpty(t, b.Token)
			}
		}
	}
	_, err := x.StorageLock(peer(t, "M"), api.LockRequest{Sector: sector, Read: api.FileUnsealed, Write: api.FileUnsealed})
	allowed(t, false, err, "both")
}

func allowed(t *testing.T, may bool, err error, what string) {
	t.Helper()
	var missing *api.ErrPermission
	require.Equal(t, may, err == nil, "%s: %v", what, err)
	require.Equal(t, !may, errors.As(err, &missing), "%s: %v", what, err)
	if !may {
		require.Equal(t, api.PermWorker, missing.Need)
	}
}

// A bearer is made for an address of a process that has a path attached, and for
// nobody else's.
func TestBearersGoToKnownProcessesOnly(t *testing.T) {
	x := withWorker(t)
	name := "/sealed/" + api.SectorName(sector)
	for address, known := range map[string]bool{
		urlA + name:                     true,
		urlB + name:                     false,
		"http://a:1" + name:             false,
		"http://a:1/x/remote" + name:    false,
		"http://evil/?" + urlA + name:   false,
		"http://a:1@evil/remote" + name: false,
		"http://A:1/remote" + name:      false,
		urlA + "/x" + name:              false,
		urlA:                            false,
		"":                              false,
	} {
		_, err := x.StorageFileBearer(worker(t, "B"), api.FileUse{URL: address})
		require.Equal(t, known, err == nil, "%q: %v", address, err)
	}
	require.NoError(t, x.StorageDetach(worker(t, "A"), "p", urlA))
	_, err := x.StorageFileBearer(t.Context(), api.FileUse{URL: urlA + name})
	var unknown *api.ErrNotFound
	require.ErrorAs(t, err, &unknown)
	key, err := x.StorageFileKey(worker(t, "B"))
	require.NoError(t, err)
	require.Len(t, key.Public, 32)
}

// What a markets peer says of paths changes nothing for those that have them.
func TestPeerChangesNothingOfOthers(t *testing.T) {
	x := withWorker(t)
	m := peer(t, "M")
	before, err := x.StorageGet(t.Context(), "p")
	require.NoError(t, err)
	same := func(what string) {
		t.Helper()
		now, err := x.StorageGet(t.Context(), "p")
		require.NoError(t, err)
		require.Equal(t, before, now, what)
		locs, err := x.StorageFindSector(t.Context(), sector, api.FileSealed)
		require.NoError(t, err)
		require.Len(t, locs, 1)
		require.Equal(t, []string{urlA + "/sealed/" + api.SectorName(sector)}, locs[0].URLs)
	}
	refusal(t, x.StorageAttach(m, meta, urlB, api.FsStat{}), "a URL was given with a token that only reads")
	same("a URL")
	refusal(t, x.StorageAttach(m, meta, urlA, api.FsStat{}), "attach the path without a URL")
	same("the worker's URL")
	require.NoError(t, x.StorageAttach(m, api.PathMeta{ID: "p"}, "", api.FsStat{Available: 1 << 40}))
	same("its own attachment, with other rules and room")
	refusal(t, x.StorageDetach(m, "p", urlA), "attached with another token")
	same("a detachment")
	refusal(t, x.StorageReportHealth(m, api.PathHealth{Storage: "p", URL: urlA, Err: "gone"}), "attached with another token")
	same("a report on the worker's")
	require.NoError(t, x.StorageReportHealth(m, api.PathHealth{Storage: "p", Err: "gone"}))
	same("a report on its own")
	var unknown *api.ErrNotFound
	require.ErrorAs(t, x.StorageDeclareSectors(m, []api.SectorFile{{Sector: sector, Type: api.FileSealed, Storage: "p"}}), &unknown)
	same("a declaration")
	require.NoError(t, x.StorageDetach(m, "p", ""))
	same("its own detachment")
}

// A path that only peers have holds nothing, takes nothing, and says so; they keep
// nothing alive that its owner took away.
func TestPathOfReadersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := withWorker(t)
		m := peer(t, "M")
		require.NoError(t, x.StorageAttach(m, api.PathMeta{ID: "p"}, "", api.FsStat{Available: 1 << 40}))
		require.NoError(t, x.StorageDetach(worker(t, "A"), "p", urlA))
		p, err := x.StorageGet(t.Context(), "p")
		require.NoError(t, err)
		require.Equal(t, "only a process that reads it has it", p.HeartbeatErr)
		require.Empty(t, x.sectors)
		_, err = x.StorageBestAlloc(t.Context(), api.FileSealed, 1, true)
		require.Error(t, err)
		require.NoError(t, x.StorageAttach(worker(t, "A"), meta, urlA, api.FsStat{Available: 10}))
		p, err = x.StorageGet(t.Context(), "p")
		require.NoError(t, err)
		require.Equal(t, meta.Weight, p.Weight)
		require.Empty(t, p.HeartbeatErr)
		require.EqualValues(t, 10, p.Stat.Available)
		require.NoError(t, x.StorageDetach(worker(t, "A"), "p", urlA))
		require.NoError(t, x.StorageDetach(m, "p", ""))
		require.Empty(t, x.paths)

		// One that has it and is silent is not spoken for by one that reads it, and
		// not forgotten at its word.
		require.NoError(t, x.StorageAttach(worker(t, "A"), meta, urlA, api.FsStat{Available: 10}))
		require.NoError(t, x.StorageAttach(m, meta, "", api.FsStat{}))
		for range 70 {
			time.Sleep(10 * time.Second)
			require.NoError(t, x.StorageReportHealth(m, api.PathHealth{Storage: "p"}))
		}
		require.Len(t, x.paths["p"].keepers, 2)
		p, err = x.StorageGet(t.Context(), "p")
		require.NoError(t, err)
		require.Equal(t, "nothing was heard of it for 11m40s", p.HeartbeatErr)
		time.Sleep(11 * time.Minute)
		require.NoError(t, x.StorageReportHealth(worker(t, "A"), api.PathHealth{Storage: "p", URL: urlA}))
		require.Len(t, x.paths["p"].keepers, 1, "a reader that is silent is forgotten")
	})
}

func TestPeersAttachSoMuch(t *testing.T) {
	x := New(Config{})
	for n := range maxShared {
		require.NoError(t, x.StorageAttach(peer(t, "M"), api.PathMeta{ID: api.StorageID(fmt.Sprint(n))}, "", api.FsStat{}))
	}
	refusal(t, x.StorageAttach(peer(t, "M"), api.PathMeta{ID: "one more"}, "", api.FsStat{}), "256 paths already")
	require.NoError(t, x.StorageAttach(peer(t, "M"), api.PathMeta{ID: "7"}, "", api.FsStat{}), "again")
	require.NoError(t, x.StorageAttach(peer(t, "N"), api.PathMeta{ID: "one more"}, "", api.FsStat{}), "another")
	require.NoError(t, x.StorageDetach(peer(t, "M"), "7", ""))
	require.NoError(t, x.StorageAttach(peer(t, "M"), api.PathMeta{ID: "one more"}, "", api.FsStat{}))
}

// A lease is of the token that took it.
func TestLeasesAreTheirTokens(t *testing.T) {
	x := New(Config{})
	got, err := x.StorageLock(peer(t, "M"), lock(api.FileUnsealed, 0, 0))
	require.NoError(t, err)
	var lost *api.ErrLeaseLost
	for name, ctx := range map[string]context.Context{"another peer": peer(t, "N"), "a worker": worker(t, "A")} {
		_, err = x.StorageRenewLock(ctx, got.ID, time.Minute)
		require.ErrorAs(t, err, &lost, name)
		require.NoError(t, x.StorageUnlock(ctx, got.ID))
		require.NotNil(t, x.locks.byID[got.ID], name)
	}
	for _, ctx := range []context.Context{peer(t, "M"), admin(t), t.Context()} {
		_, err = x.StorageRenewLock(ctx, got.ID, time.Minute)
		require.NoError(t, err)
	}
	require.NoError(t, x.StorageUnlock(peer(t, "M"), got.ID))
	require.Empty(t, x.locks.byID)
}

func TestPeersHoldSoMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(Config{})
		for range maxHeld {
			_, err := x.StorageLock(peer(t, "M"), lock(api.FileUnsealed, 0, 0))
			require.NoError(t, err)
		}
		_, err := x.StorageLock(peer(t, "M"), lock(api.FileUnsealed, 0, 0))
		var busy *api.ErrBusy
		require.ErrorAs(t, err, &busy)
		for _, ctx := range []context.Context{peer(t, "N"), worker(t, "A"), t.Context()} {
			_, err = x.StorageLock(ctx, lock(api.FileUnsealed, 0, 0))
			require.NoError(t, err)
		}
		time.Sleep(31 * time.Second)
		_, err = x.StorageLock(peer(t, "M"), lock(api.FileUnsealed, 0, 0))
		require.NoError(t, err, "those have run out")
	})
}
