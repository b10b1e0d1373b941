package index

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

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
