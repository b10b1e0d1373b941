package index

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
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

// A URL belongs to the token that attached it: for every path, in every spelling.
func TestURLBelongsToItsToken(t *testing.T) {
	x := withWorker(t)
	b := worker(t, "B")
	for _, spelling := range []string{urlA, urlA + "/", "HTTP://A:1/remote"} {
		refusal(t, x.StorageAttach(b, meta, spelling, api.FsStat{}), "belongs to another token")
		refusal(t, x.StorageAttach(b, api.PathMeta{ID: "q"}, spelling, api.FsStat{}), "belongs to another token")
		refusal(t, x.StorageReportHealth(b, api.PathHealth{Storage: "p", URL: spelling}), "another token")
		refusal(t, x.StorageDetach(b, "p", spelling), "another token")
	}
	require.Nil(t, x.paths["q"], "a refusal changes nothing")
	require.NoError(t, x.StorageAttach(b, meta, urlB, api.FsStat{}), "its own URL of the same path")
	require.NoError(t, x.StorageDeclareSectors(b, []api.SectorFile{{Sector: sector, Type: api.FileSealed, Storage: "p"}}))

	// An admin may do everything and takes nothing away; the node itself takes.
	require.NoError(t, x.StorageAttach(admin(t), meta, urlA, api.FsStat{}))
	require.NoError(t, x.StorageReportHealth(worker(t, "A"), api.PathHealth{Storage: "p", URL: urlA}))
	require.NoError(t, x.StorageReportHealth(admin(t), api.PathHealth{Storage: "p", URL: urlA}))
	require.NoError(t, x.StorageAttach(t.Context(), meta, urlA, api.FsStat{}))
	refusal(t, x.StorageReportHealth(worker(t, "A"), api.PathHealth{Storage: "p", URL: urlA}), "another token")
	require.NoError(t, x.StorageDetach(admin(t), "p", urlA))
	require.NoError(t, x.StorageAttach(worker(t, "A"), meta, urlA, api.FsStat{}), "with its last path a URL is free")
}

func TestDeclarationsOfOthersPaths(t *testing.T) {
	x := withWorker(t)
	file := []api.SectorFile{{Sector: sector, Type: api.FileSealed, Storage: "p"}}
	var unknown *api.ErrNotFound
	require.ErrorAs(t, x.StorageDeclareSectors(worker(t, "B"), file), &unknown)
	require.NoError(t, x.StorageAttach(worker(t, "B"), meta, "", api.FsStat{}))
	require.NoError(t, x.StorageDeclareSectors(worker(t, "B"), file), "it shares the path")
	require.NoError(t, x.StorageDeclareSectors(admin(t), file))
	require.NoError(t, x.StorageDeclareSectors(t.Context(), file))
}

// Whose a URL is is on disk before it counts, and outlasts the index.
func TestOwnersOutlastTheIndex(t *testing.T) {
	store := dssync.MutexWrap(datastore.NewMapDatastore())
	alive := map[string]bool{"A": true, "B": true}
	open := func() *Index {
		x, err := Open(t.Context(), Config{}, Deps{Store: store, Valid: func(token string) bool { return alive[token] }})
		require.NoError(t, err)
		return x
	}
	require.NoError(t, open().StorageAttach(worker(t, "A"), meta, urlA, api.FsStat{}))
	x := open()
	refusal(t, x.StorageAttach(worker(t, "B"), meta, urlA, api.FsStat{}), "belongs to another token")
	require.NoError(t, x.StorageAttach(worker(t, "A"), meta, urlA, api.FsStat{}))
	require.NoError(t, x.StorageDetach(worker(t, "A"), "p", urlA))
	require.NoError(t, open().StorageAttach(worker(t, "B"), meta, urlA, api.FsStat{}), "given back")
	x = open()
	refusal(t, x.StorageAttach(worker(t, "A"), meta, urlA, api.FsStat{}), "belongs to another token")
	alive["B"] = false
	require.NoError(t, x.StorageAttach(worker(t, "A"), meta, urlA, api.FsStat{}), "the other token is worth nothing any more")
	refusal(t, x.StorageDetach(worker(t, "B"), "p", urlA), "another token")

	// The URL of the node itself is taken back from whoever had it.
	require.NoError(t, x.StorageAttach(worker(t, "A"), meta, urlB, api.FsStat{}))
	x = open()
	require.NoError(t, x.StorageAttach(t.Context(), meta, urlB, api.FsStat{}))
	alive["A"], alive["B"] = true, true
	refusal(t, open().StorageAttach(worker(t, "A"), meta, urlB, api.FsStat{}), "belongs to another token")

	// A row that nobody can read costs its URL's owner, not the start.
	require.NoError(t, store.Put(t.Context(), datastore.NewKey("rubbish!"), []byte("token A")))
	require.NoError(t, store.Put(t.Context(), ownerKey("http://c:3/remote"), nil))
	require.NoError(t, store.Put(t.Context(), ownerKey("http://C:3/remote"), []byte("token A")))
	require.Len(t, open().owners, 2)
}

// full is a store that takes nothing.
type full struct{ datastore.Datastore }

func (full) Put(context.Context, datastore.Key, []byte) error { return errors.New("disk full") }

func TestURLThatCannotBeRemembered(t *testing.T) {
	x, err := Open(t.Context(), Config{}, Deps{Store: full{datastore.NewMapDatastore()}})
	require.NoError(t, err)
	require.ErrorContains(t, x.StorageAttach(worker(t, "A"), meta, urlA, api.FsStat{}), "disk full")
	require.Empty(t, x.owners)
	require.Empty(t, x.paths)
}

// A token has so many URLs; those of earlier starts that it does not use go first.
func TestURLsOfOneToken(t *testing.T) {
	x := New(Config{})
	for n := range 3 * maxURLs {
		u := fmt.Sprintf("http://w:%d/remote", n+1)
		require.NoError(t, x.StorageAttach(worker(t, "A"), meta, u, api.FsStat{}))
		delete(x.paths["p"].keepers, u) // as after a restart, or when it was silent
	}
	require.LessOrEqual(t, len(x.owners), maxURLs)
	for n := range maxURLs {
		require.NoError(t, x.StorageAttach(worker(t, "B"), meta, fmt.Sprintf("http://b:%d/remote", n+1), api.FsStat{}))
	}
	refusal(t, x.StorageAttach(worker(t, "B"), meta, "http://c/remote", api.FsStat{}), "under 256 URLs already")
	require.NoError(t, x.StorageAttach(worker(t, "B"), meta, "http://b:7/remote", api.FsStat{}), "one of them again")
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
