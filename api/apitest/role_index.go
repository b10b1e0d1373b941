package apitest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// The sectors that the checks of the roles speak of.
var (
	sectorOne = abi.SectorID{Miner: 1000, Number: 1}
	sectorMax = abi.SectorID{Miner: 1000, Number: 1<<63 - 1}
)

// typed finds the error of package api that a call must have given.
func typed[E error](t *testing.T, err error) E {
	t.Helper()
	var e E
	require.ErrorAs(t, err, &e)
	return e
}

// fileOf is a file of the first sector.
func fileOf(id api.StorageID, kind api.FileType) api.SectorFile {
	return api.SectorFile{Sector: sectorOne, Type: kind, Storage: id}
}

// manyFiles are n files of one kind on one path, sector by sector from 0.
func manyFiles(id api.StorageID, n int) []api.SectorFile {
	out := make([]api.SectorFile, n)
	for i := range out {
		out[i] = fileOf(id, api.FileSealed)
		out[i].Sector.Number = abi.SectorNumber(i) //nolint:gosec // small
	}
	return out
}

func attach(t *testing.T, x api.Index, p api.PathMeta, url string, room int64) {
	t.Helper()
	require.NoError(t, x.StorageAttach(t.Context(), p, url, api.FsStat{Capacity: room, Available: room, FSAvailable: room}))
}

// CheckIndex is what [api.Index] promises of paths that other processes have.
func CheckIndex[I api.Index](t *testing.T, fresh func(t *testing.T) I) {
	for name, check := range map[string]func(*testing.T, api.Index){
		"attach and detach":       checkAttach,
		"what cannot be attached": checkAttachRefused,
		"health":                  checkHealth,
		"declare and drop":        checkDeclare,
		"declarations refused":    checkDeclareRefused,
		"where files are":         checkFind,
		"bearers of files":        checkBearers,
		"pages of files":          checkFiles,
		"room for new files":      checkAlloc,
	} {
		t.Run(name, func(t *testing.T) { check(t, fresh(t)) })
	}
}

func checkAttach(t *testing.T, x api.Index) {
	ctx := t.Context()
	meta := api.PathMeta{
		ID:         "a",
		Weight:     7,
		CanSeal:    true,
		CanStore:   true,
		MaxStorage: 1<<64 - 1,
		Groups:     []string{"g"},
		AllowTo:    []string{"h"},
		AllowTypes: []string{"sealed"},
		DenyMiners: []string{"f01001"},
	}
	stat := api.FsStat{
		Capacity:    1 << 62,
		Available:   5,
		FSAvailable: 6,
		Reserved:    1,
		Max:         9,
		Used:        4,
	}
	for range 2 { // repeating it refreshes
		require.NoError(t, x.StorageAttach(ctx, meta, "http://one:1/remote/", stat))
	}
	require.NoError(t, x.StorageAttach(ctx, meta, "https://two:2/remote", stat))
	got, err := x.StorageGet(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, meta, got.PathMeta)
	require.Equal(t, stat, got.Stat)
	require.Equal(t, []string{"http://one:1/remote", "https://two:2/remote"}, got.URLs)
	require.False(t, got.LastHeartbeat.IsZero())
	require.NoError(t, x.StorageDeclareSectors(ctx, []api.SectorFile{fileOf("a", api.FileCache)}))
	require.NoError(t, x.StorageDetach(ctx, "a", "http://one:1/remote"))
	got, err = x.StorageGet(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, []string{"https://two:2/remote"}, got.URLs)
	for range 2 { // with the last URL the path is gone, and stays so
		require.NoError(t, x.StorageDetach(ctx, "a", "https://two:2/remote"))
	}
	_, err = x.StorageGet(ctx, "a")
	require.Equal(t, "storage path a", typed[*api.ErrNotFound](t, err).What)
	list, err := x.StorageList(ctx)
	require.NoError(t, err)
	require.Empty(t, list)
	attach(t, x, meta, "http://one:1/remote", 1)
	locs, err := x.StorageFindSector(ctx, sectorOne, api.FileCache)
	require.NoError(t, err)
	require.Empty(t, locs, "what was declared on it is forgotten with the path")
}

func checkAttachRefused(t *testing.T, x api.Index) {
	ctx := t.Context()
	long := api.StorageID(strings.Repeat("i", 128))
	for id, url := range map[api.StorageID]string{
		"":         "",
		long + "i": "",
		"ftp":      "ftp://h/remote",
		"host":     "http:///remote",
		"text":     "no url",
	} {
		typed[*api.ErrInvalid](t, x.StorageAttach(ctx, api.PathMeta{ID: id}, url, api.FsStat{}))
	}
	list, err := x.StorageList(ctx)
	require.NoError(t, err)
	require.Empty(t, list, "what is refused changes nothing")
	attach(t, x, api.PathMeta{ID: long}, "", 0)
	attach(t, x, api.PathMeta{ID: "a"}, "", 0)
	list, err = x.StorageList(ctx)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, api.StorageID("a"), list[0].ID, "in the order of their IDs")
}

func checkHealth(t *testing.T, x api.Index) {
	ctx := t.Context()
	require.Equal(t, "storage path a", typed[*api.ErrNotFound](t, x.StorageReportHealth(ctx, api.PathHealth{Storage: "a"})).What)
	attach(t, x, api.PathMeta{ID: "a", Weight: 1, CanSeal: true}, "http://h:1/remote", 1<<20)
	require.NoError(t, x.StorageDeclareSectors(ctx, []api.SectorFile{fileOf("a", api.FileSealed)}))
	beat := api.PathHealth{Storage: "a", URL: "http://h:1/remote", Stat: api.FsStat{Available: 1 << 19}, Err: "the disk hangs"}
	require.NoError(t, x.StorageReportHealth(ctx, beat))
	got, err := x.StorageGet(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, "the disk hangs", got.HeartbeatErr)
	require.Equal(t, api.FsStat{Available: 1 << 19}, got.Stat)
	locs, err := x.StorageFindSector(ctx, sectorOne, api.FileSealed)
	require.NoError(t, err)
	require.Empty(t, locs, "it cannot be read now")
	_, err = x.StorageBestAlloc(ctx, api.FileSealed, 2048, true)
	typed[*api.ErrNoSpace](t, err)
	beat.Err = ""
	require.NoError(t, x.StorageReportHealth(ctx, beat))
	locs, err = x.StorageFindSector(ctx, sectorOne, api.FileSealed)
	require.NoError(t, err)
	require.Len(t, locs, 1, "what was declared was kept")
}

func checkDeclare(t *testing.T, x api.Index) {
	ctx := t.Context()
	attach(t, x, api.PathMeta{ID: "a"}, "http://h:1/remote", 0)
	files := manyFiles("a", api.MaxDeclare)
	for range 2 {
		require.NoError(t, x.StorageDeclareSectors(ctx, files))
	}
	require.NoError(t, x.StorageDeclareSectors(ctx, nil))
	got, next, err := x.StorageFiles(ctx, "a", "", api.MaxDeclare)
	require.NoError(t, err)
	require.Empty(t, next)
	require.Equal(t, files, got)
	for range 2 {
		require.NoError(t, x.StorageDropSectors(ctx, files[1:]))
	}
	require.NoError(t, x.StorageDropSectors(ctx, manyFiles("unknown", 1)))
	got, _, err = x.StorageFiles(ctx, "a", "", 0)
	require.NoError(t, err)
	require.Equal(t, files[:1], got)
}

func checkDeclareRefused(t *testing.T, x api.Index) {
	ctx := t.Context()
	attach(t, x, api.PathMeta{ID: "a"}, "", 0)
	require.NoError(t, x.StorageDeclareSectors(ctx, []api.SectorFile{fileOf("a", api.FileCache)}))
	mixed := append(manyFiles("a", 3), manyFiles("unknown", 1)...)
	require.Equal(t, "storage path unknown", typed[*api.ErrNotFound](t, x.StorageDeclareSectors(ctx, mixed)).What)
	odd := append(manyFiles("a", 3), fileOf("a", api.FileSealed|api.FileCache))
	none := append(manyFiles("a", 3), fileOf("a", 0))
	over := manyFiles("a", api.MaxDeclare+1)
	for _, files := range [][]api.SectorFile{odd, none, over} {
		typed[*api.ErrInvalid](t, x.StorageDeclareSectors(ctx, files))
		typed[*api.ErrInvalid](t, x.StorageDropSectors(ctx, append(files, fileOf("a", api.FileCache))))
	}
	got, _, err := x.StorageFiles(ctx, "a", "", 0)
	require.NoError(t, err)
	require.Equal(t, []api.SectorFile{fileOf("a", api.FileCache)}, got, "what is refused changes nothing")
}

func checkFind(t *testing.T, x api.Index) {
	ctx := t.Context()
	locs, err := x.StorageFindSector(ctx, sectorOne, api.FileSealed)
	require.NoError(t, err)
	require.Empty(t, locs, "nowhere is no error")
	for _, kinds := range []api.FileType{0, api.FileSealed | api.FileCache, 1 << 9} {
		_, err := x.StorageFindSector(ctx, sectorOne, kinds)
		typed[*api.ErrInvalid](t, err)
	}
	attach(t, x, api.PathMeta{ID: "a", Weight: 9, CanSeal: true}, "http://h:1/remote", 0)
	attach(t, x, api.PathMeta{ID: "b", Weight: 2, CanStore: true}, "https://i:2/remote", 0)
	primary := fileOf("b", api.FileUpdateCache)
	primary.Primary = true
	require.NoError(t, x.StorageDeclareSectors(ctx, []api.SectorFile{fileOf("a", api.FileUpdateCache), primary}))
	locs, err = x.StorageFindSector(ctx, sectorOne, api.FileUpdateCache)
	require.NoError(t, err)
	require.Equal(t, []api.SectorLocationInfo{
		{
			Storage:  "b",
			URLs:     []string{"https://i:2/remote/update-cache/s-t01000-1"},
			Weight:   2,
			CanStore: true,
			Primary:  true,
		},
		{Storage: "a", URLs: []string{"http://h:1/remote/update-cache/s-t01000-1"}, Weight: 9, CanSeal: true},
	}, locs, "the primary copy first")
}

// checkBearers: for files of processes that are known, other ones for each use, and
// a key to check them with.
func checkBearers(t *testing.T, x api.Index) {
	ctx := t.Context()
	attach(t, x, api.PathMeta{ID: "a"}, "http://one:1/remote", 1)
	file := "http://one:1/remote/sealed/" + api.SectorName(sectorMax)
	read, err := x.StorageFileBearer(ctx, api.FileUse{URL: file})
	require.NoError(t, err)
	require.NotEmpty(t, read.Token)
	require.Positive(t, read.Valid)
	del, err := x.StorageFileBearer(ctx, api.FileUse{URL: file, Delete: true})
	require.NoError(t, err)
	require.NotEqual(t, read.Token, del.Token)
	_, err = x.StorageFileBearer(ctx, api.FileUse{URL: "http://two:2/remote/sealed/" + api.SectorName(sectorMax)})
	typed[*api.ErrNotFound](t, err)
	_, err = x.StorageFileBearer(ctx, api.FileUse{URL: file + "/.."})
	typed[*api.ErrInvalid](t, err)
	key, err := x.StorageFileKey(ctx)
	require.NoError(t, err)
	require.Len(t, key.Public, 32)
	require.NotEmpty(t, key.ID)
}

func checkFiles(t *testing.T, x api.Index) {
	ctx := t.Context()
	_, _, err := x.StorageFiles(ctx, "a", "", 1)
	require.Equal(t, "storage path a", typed[*api.ErrNotFound](t, err).What)
	attach(t, x, api.PathMeta{ID: "a"}, "", 0)
	attach(t, x, api.PathMeta{ID: "b"}, "", 0)
	want := append(manyFiles("a", 5), api.SectorFile{Sector: sectorMax, Type: api.FileCache, Storage: "a", Primary: true})
	require.NoError(t, x.StorageDeclareSectors(ctx, append(manyFiles("b", 1), want...)))
	for _, limit := range []int{1, 2, 3, 6, 7, 0, -1, 1 << 40} {
		var all []api.SectorFile
		cursor, pages := "", 0
		for ; pages == 0 || cursor != ""; pages++ {
			page, next, err := x.StorageFiles(ctx, "a", cursor, limit)
			require.NoError(t, err)
			all, cursor = append(all, page...), next
		}
		require.Equal(t, want, all, "limit %d", limit)
		if limit >= 1 {
			require.Equal(t, max(1, (6+limit-1)/limit), pages, "limit %d", limit)
		}
	}
	for _, cursor := range []string{"?", "AAAA", "t1", "cw"} {
		_, _, err := x.StorageFiles(ctx, "a", cursor, 1)
		require.Equal(t, "cursor", typed[*api.ErrInvalid](t, err).What, cursor)
	}
}

func checkAlloc(t *testing.T, x api.Index) {
	ctx := t.Context()
	const size = abi.SectorSize(2048)
	best := func(kinds api.FileType, sealing bool) string {
		paths, err := x.StorageBestAlloc(ctx, kinds, size, sealing)
		require.NoError(t, err)
		names := ""
		for _, p := range paths {
			names += string(p.ID)
		}
		return names
	}
	_, err := x.StorageBestAlloc(ctx, api.FileSealed|api.FileCache, size, true)
	none := typed[*api.ErrNoSpace](t, err)
	require.Equal(t, uint64(4096), none.NeedBytes)
	attach(t, x, api.PathMeta{ID: "small", Weight: 100, CanSeal: true, CanStore: true}, "", 2047)
	attach(t, x, api.PathMeta{ID: "x", Weight: 1, CanSeal: true, CanStore: true}, "", 4096)
	attach(t, x, api.PathMeta{ID: "y", Weight: 3, CanSeal: true}, "", 2048)
	attach(t, x, api.PathMeta{ID: "z", Weight: 0, CanSeal: true, CanStore: true}, "", 1<<40)
	require.Equal(t, "yx", best(api.FileSealed, true), "the most weighted room first; no weight, no new files")
	require.Equal(t, "x", best(api.FileSealed, false))
	require.Equal(t, "x", best(api.FileSealed|api.FileCache, true))
	for kinds, bytes := range map[api.FileType]abi.SectorSize{0: size, api.FileSealed: 1 << 60} {
		_, err := x.StorageBestAlloc(ctx, kinds, bytes, true)
		typed[*api.ErrInvalid](t, err)
	}
}

// CheckLocalPaths is what the role promises of the paths of the process that is
// asked. newDir makes a directory that can be attached under an ID.
func CheckLocalPaths[I api.Index](t *testing.T, fresh func(t *testing.T) I, newDir func(t *testing.T, id string) string) {
	x, ctx := fresh(t), t.Context()
	require.Error(t, x.StorageAddLocal(ctx, t.TempDir()), "it has no sectorstore.json")
	list, err := x.StorageList(ctx)
	require.NoError(t, err)
	require.Empty(t, list)
	for i := range 2 {
		dir := newDir(t, fmt.Sprint("path", i))
		for range 2 { // repeating it is safe
			require.NoError(t, x.StorageAddLocal(ctx, dir))
		}
	}
	list, err = x.StorageList(ctx)
	require.NoError(t, err)
	require.Len(t, list, 2)
	for i, p := range list {
		require.Equal(t, api.StorageID(fmt.Sprint("path", i)), p.ID)
		require.Positive(t, p.Stat.Capacity)
		require.Empty(t, p.HeartbeatErr)
	}
	typed[*api.ErrInvalid](t, x.StorageAddLocal(ctx, newDir(t, "path0")))
}
