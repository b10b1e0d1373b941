package index

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// signalled tells whether there was a change since it was asked last.
func signalled(x *Index) bool {
	select {
	case <-x.Changed():
		return true
	default:
		return false
	}
}

func attach(t *testing.T, x *Index, p api.PathMeta, url string, room int64) {
	t.Helper()
	require.NoError(t, x.StorageAttach(t.Context(), p, url, api.FsStat{Available: room}))
}

func ids(paths []api.StoragePath) (out []string) {
	for _, p := range paths {
		out = append(out, string(p.ID))
	}
	return out
}

func TestAttachBounds(t *testing.T) {
	x := New(Config{})
	long := strings.Repeat("i", 128)
	for id, ok := range map[string]bool{"": false, "i": true, long: true, long + "i": false} {
		err := x.StorageAttach(t.Context(), api.PathMeta{ID: api.StorageID(id)}, "", api.FsStat{})
		require.Equal(t, ok, err == nil, "%d bytes", len(id))
	}
	for url, ok := range map[string]bool{"http://h": true, "https://h/remote/": true, "ftp://h": false, "http://": false,
		"h:1": false, "http://h:x": false} {
		err := x.StorageAttach(t.Context(), api.PathMeta{ID: "u"}, url, api.FsStat{})
		require.Equal(t, ok, err == nil, url)
	}
	got, err := x.StorageGet(t.Context(), "u")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"http://h", "https://h/remote"}, got.URLs)
}

// TestPathLivesAsLongAsSomebodyServesIt, with or without a URL.
func TestPathLivesAsLongAsSomebodyServesIt(t *testing.T) {
	ctx := t.Context()
	x := New(Config{})
	require.NoError(t, x.StorageDetach(ctx, "a", ""))
	attach(t, x, api.PathMeta{ID: "a"}, "", 0)
	attach(t, x, api.PathMeta{ID: "a"}, "http://h/remote", 0)
	attach(t, x, api.PathMeta{ID: "b"}, "http://h/remote", 0)
	both := []api.SectorFile{{Sector: sector, Type: api.FileSealed, Storage: "a"}, {Sector: sector, Type: api.FileSealed, Storage: "b"}}
	require.NoError(t, x.StorageDeclareSectors(ctx, both))
	require.NoError(t, x.StorageDetach(ctx, "a", "http://other/remote"))
	require.NoError(t, x.StorageDetach(ctx, "a", "http://h/remote/"))
	got, err := x.StorageGet(ctx, "a")
	require.NoError(t, err)
	require.Empty(t, got.URLs, "it is local to somebody still")
	require.NoError(t, x.StorageDetach(ctx, "a", ""))
	var missing *api.ErrNotFound
	_, err = x.StorageGet(ctx, "a")
	require.ErrorAs(t, err, &missing)
	require.Equal(t, &api.ErrNotFound{What: "storage path a", Hint: "attach it"}, missing)
	_, _, err = x.StorageFiles(ctx, "a", "", 1)
	require.ErrorAs(t, err, &missing)
	require.ErrorAs(t, x.StorageReportHealth(ctx, api.PathHealth{Storage: "a"}), &missing)
	locs, err := x.StorageFindSector(ctx, sector, api.FileSealed)
	require.NoError(t, err)
	require.Len(t, locs, 1, "the copy on the other path is known")
	require.NoError(t, x.StorageDetach(ctx, "b", "http://h/remote"))
	require.Empty(t, x.sectors)
}

func TestListIsInOrder(t *testing.T) {
	x := New(Config{})
	want := []string{}
	for i := range 20 {
		want = append(want, fmt.Sprintf("p%02d", i))
	}
	for i := range want {
		attach(t, x, api.PathMeta{ID: api.StorageID(want[len(want)-1-i])}, "", 0)
	}
	list, err := x.StorageList(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, ids(list))
}

// TestChangesAreTold: who waits for files or room looks again when there may be
// some, and not at every heartbeat.
func TestChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		x := New(Config{})
		require.False(t, signalled(x))
		attach(t, x, api.PathMeta{ID: "a"}, "", 5)
		require.True(t, signalled(x))
		beat := func(room int64, fault string) bool {
			require.NoError(t, x.StorageReportHealth(ctx, api.PathHealth{Storage: "a", Stat: api.FsStat{Available: room}, Err: fault}))
			return signalled(x)
		}
		require.False(t, beat(5, ""), "nothing new")
		require.False(t, beat(4, ""), "less room")
		require.True(t, beat(5, ""), "more room")
		require.False(t, beat(5, "hangs"), "it is gone")
		require.True(t, beat(5, ""), "it is back")
		time.Sleep(50 * time.Second)
		require.False(t, beat(5, ""), "it was not silent for too long")
		time.Sleep(50*time.Second + 1)
		require.True(t, beat(5, ""), "it was")
		require.NoError(t, x.StorageDeclareSectors(ctx, []api.SectorFile{{Sector: sector, Type: api.FileSealed, Storage: "a"}}))
		require.True(t, signalled(x))
	})
}

// TestSilenceHidesAPath one moment after the limit.
func TestSilenceHidesAPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		x := New(Config{Silence: time.Minute})
		attach(t, x, api.PathMeta{ID: "a"}, "", 0)
		require.NoError(t, x.StorageDeclareSectors(ctx, []api.SectorFile{{Sector: sector, Type: api.FileSealed, Storage: "a"}}))
		for _, c := range []struct {
			wait time.Duration
			want int
		}{{time.Minute, 1}, {1, 0}} {
			time.Sleep(c.wait)
			locs, err := x.StorageFindSector(ctx, sector, api.FileSealed)
			require.NoError(t, err)
			require.Len(t, locs, c.want)
		}
	})
}

// TestDropLeavesOtherCopies.
func TestDropLeavesOtherCopies(t *testing.T) {
	ctx := t.Context()
	x := New(Config{})
	attach(t, x, api.PathMeta{ID: "a"}, "", 0)
	attach(t, x, api.PathMeta{ID: "b"}, "", 0)
	on := func(id api.StorageID) []api.SectorFile {
		return []api.SectorFile{{Sector: sector, Type: api.FileSealed, Storage: id}}
	}
	require.NoError(t, x.StorageDeclareSectors(ctx, append(on("a"), on("b")...)))
	var invalid *api.ErrInvalid
	require.ErrorAs(t, x.StorageDropSectors(ctx, []api.SectorFile{{Sector: sector, Storage: "a"}}), &invalid)
	require.NoError(t, x.StorageDropSectors(ctx, on("a")))
	locs, err := x.StorageFindSector(ctx, sector, api.FileSealed)
	require.NoError(t, err)
	require.Len(t, locs, 1)
	require.Equal(t, api.StorageID("b"), locs[0].Storage)
	require.NoError(t, x.StorageDropSectors(ctx, on("b")))
	require.Empty(t, x.sectors)
}

func manyFiles(n int) []api.SectorFile {
	out := make([]api.SectorFile, n)
	for i := range out {
		out[i] = api.SectorFile{Sector: abi.SectorID{Miner: 1, Number: abi.SectorNumber(i)}, Type: api.FileSealed, Storage: "a"}
	}
	return out
}

func TestPagesHaveABound(t *testing.T) {
	ctx := t.Context()
	x := New(Config{})
	attach(t, x, api.PathMeta{ID: "a"}, "", 0)
	all := manyFiles(maxPage + 1)
	var invalid *api.ErrInvalid
	require.ErrorAs(t, x.StorageDeclareSectors(ctx, all), &invalid)
	require.Equal(t, "1001 at once are more than 1000", invalid.Reason)
	require.NoError(t, x.StorageDeclareSectors(ctx, all[:maxPage]))
	got, next, err := x.StorageFiles(ctx, "a", "", maxPage)
	require.NoError(t, err)
	require.Empty(t, next, "just as many as fit")
	require.Equal(t, all[:maxPage], got)
	require.NoError(t, x.StorageDeclareSectors(ctx, all[maxPage:]))
	for _, limit := range []int{-1, 0, maxPage, maxPage + 1} {
		got, next, err = x.StorageFiles(ctx, "a", "", limit)
		require.NoError(t, err)
		require.Equal(t, all[:maxPage], got, limit)
		got, next, err = x.StorageFiles(ctx, "a", next, limit)
		require.NoError(t, err)
		require.Empty(t, next)
		require.Equal(t, all[maxPage:], got, limit)
	}
	for _, text := range []string{"s-t01000-1", "x/1", "s-t01000-1/x", "s-t01000-1/", "/1"} {
		_, _, err = x.StorageFiles(ctx, "a", base64.RawURLEncoding.EncodeToString([]byte(text)), 1)
		require.ErrorAs(t, err, &invalid, text)
		require.Equal(t, "cursor", invalid.What)
	}
}

// TestCopiesAreInOrder: primary ones first, then heavy paths, then by ID.
func TestCopiesAreInOrder(t *testing.T) {
	ctx := t.Context()
	x := New(Config{})
	want := []api.SectorLocationInfo{
		{Storage: "g", Weight: 2, Primary: true},
		{Storage: "h", Weight: 1, Primary: true, CanStore: true},
		{Storage: "f", Weight: 9},
		{Storage: "e", Weight: 8, CanSeal: true},
		{Storage: "a", Weight: 7},
		{Storage: "b", Weight: 7},
		{Storage: "c", Weight: 7},
		{Storage: "d", Weight: 7},
	}
	for _, w := range want {
		attach(t, x, api.PathMeta{ID: w.Storage, Weight: w.Weight, CanSeal: w.CanSeal, CanStore: w.CanStore}, "", 0)
		f := api.SectorFile{Sector: sector, Type: api.FileSealed, Storage: w.Storage, Primary: w.Primary}
		require.NoError(t, x.StorageDeclareSectors(ctx, []api.SectorFile{f}))
	}
	got, err := x.StorageFindSector(ctx, sector, api.FileSealed)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// TestRoomIsInOrder: the most weighted room first, equal ones by ID; no path that
// takes no new files or has one byte too few.
func TestRoomIsInOrder(t *testing.T) {
	x := New(Config{})
	for _, id := range []string{"f", "e", "d", "c", "b", "a"} {
		attach(t, x, api.PathMeta{ID: api.StorageID(id), Weight: 2, CanSeal: true}, "", 6000)
	}
	attach(t, x, api.PathMeta{ID: "large", Weight: 1, CanSeal: true}, "", 10000)
	attach(t, x, api.PathMeta{ID: "heavy", Weight: 5, CanSeal: true}, "", 4096)
	attach(t, x, api.PathMeta{ID: "just", Weight: 1, CanSeal: true, CanStore: true}, "", 4096)
	attach(t, x, api.PathMeta{ID: "short", Weight: 1, CanSeal: true, CanStore: true}, "", 4095)
	attach(t, x, api.PathMeta{ID: "closed", CanSeal: true, CanStore: true}, "", 1<<40)
	best := func(kinds api.FileType, size abi.SectorSize, sealing bool) []string {
		got, err := x.StorageBestAlloc(t.Context(), kinds, size, sealing)
		require.NoError(t, err)
		return ids(got)
	}
	require.Equal(t, []string{"heavy", "a", "b", "c", "d", "e", "f", "large", "just"}, best(api.FileSealed|api.FileCache, 2048, true))
	require.Equal(t, []string{"just"}, best(api.FileSealed, 4096, false))
	require.Equal(t, []string{"just", "short"}, best(api.FileSealed, 2048, false))
}

func TestRoomBounds(t *testing.T) {
	x := New(Config{})
	_, err := x.StorageBestAlloc(t.Context(), api.FileSealed, 1<<56, true)
	var none *api.ErrNoSpace
	require.ErrorAs(t, err, &none)
	require.Equal(t, &api.ErrNoSpace{What: "sealed", NeedBytes: 1 << 56, Hint: "attach a storage path with room"}, none)
	for kinds, size := range map[api.FileType]abi.SectorSize{api.FileSealed: 1<<56 + 1, 0: 1, 1 << 9: 1} {
		_, err = x.StorageBestAlloc(t.Context(), kinds, size, true)
		var invalid *api.ErrInvalid
		require.ErrorAs(t, err, &invalid)
	}
}
