package paths

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

var sector = abi.SectorID{Miner: 1000, Number: 1}

// recorder is an index that remembers what it was told, and may forget.
type recorder struct {
	mu       sync.Mutex
	attached map[api.StorageID]int
	declared map[api.SectorFile]int
	health   map[api.StorageID]api.PathHealth
	detached []api.StorageID
	batches  int
	refuse   error // of declarations
}

func newRecorder() *recorder {
	return &recorder{attached: map[api.StorageID]int{}, declared: map[api.SectorFile]int{}, health: map[api.StorageID]api.PathHealth{}}
}

func (r *recorder) StorageAttach(_ context.Context, p api.PathMeta, _ string, _ api.FsStat) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attached[p.ID]++
	return nil
}

func (r *recorder) StorageDetach(_ context.Context, id api.StorageID, _ string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.detached = append(r.detached, id)
	return nil
}

func (r *recorder) StorageReportHealth(_ context.Context, h api.PathHealth) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.attached[h.Storage] == 0 {
		return &api.ErrNotFound{What: "path"}
	}
	r.health[h.Storage] = h
	return nil
}

func (r *recorder) attaches(id api.StorageID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attached[id]
}

func (r *recorder) of(id api.StorageID) api.PathHealth {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.health[id]
}

func (r *recorder) StorageDeclareSectors(_ context.Context, files []api.SectorFile) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches++
	for _, f := range files {
		r.declared[f]++
	}
	return r.refuse
}

func (r *recorder) StorageDropSectors(_ context.Context, files []api.SectorFile) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range files {
		for _, primary := range []bool{false, true} {
			f.Primary = primary
			delete(r.declared, f)
		}
	}
	return nil
}

func (r *recorder) StorageFindSector(_ context.Context, s abi.SectorID, t api.FileType) (out []api.SectorLocationInfo, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for f := range r.declared {
		if f.Sector == s && f.Type == t {
			out = append(out, api.SectorLocationInfo{Storage: f.Storage})
		}
	}
	return out, nil
}

func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.attached)
	clear(r.declared)
}

func (r *recorder) knows(f api.SectorFile) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.declared[f] > 0
}

func TestInitDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	require.NoError(t, InitDir(dir, api.PathMeta{Weight: 3, CanSeal: true}))
	m, err := ReadMeta(dir)
	require.NoError(t, err)
	require.Len(t, string(m.ID), 36)
	var invalid *api.ErrInvalid
	require.ErrorAs(t, InitDir(dir, api.PathMeta{}), &invalid, "a second init would change the identity")
	raw, err := os.ReadFile(filepath.Join(dir, MetaFile))
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(raw, &fields))
	for _, want := range []string{"ID", "Weight", "CanSeal", "CanStore", "MaxStorage"} { // the names of Lotus
		require.Contains(t, fields, want)
	}
	for _, k := range api.AllFileTypes {
		require.DirExists(t, filepath.Join(dir, k.String()))
	}
	_, err = ReadMeta(t.TempDir())
	require.ErrorContains(t, err, "--init")
}

// TestIndexRestarts: an index that forgot everything is told everything again.
func TestIndexRestarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	require.NoError(t, InitDir(dir, api.PathMeta{ID: "p", Weight: 1, CanStore: true}))
	file := filepath.Join(t.TempDir(), "storage.json")
	synctest.Test(t, func(t *testing.T) {
		idx := newRecorder()
		l, err := Open(Config{File: file}, Deps{Index: idx})
		require.NoError(t, err)
		require.NoError(t, l.Add(t.Context(), dir))
		require.NoError(t, l.Add(t.Context(), dir), "adding again is fine")
		l, err = Open(Config{File: file}, Deps{Index: idx}) // it was remembered, once
		require.NoError(t, err)
		require.Equal(t, []api.StorageID{"p"}, l.IDs())
		require.NoError(t, os.WriteFile(l.Paths()[0].FilePath(sector, api.FileSealed), nil, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "sealed", "stray.txt"), nil, 0o600))
		want := api.SectorFile{Sector: sector, Type: api.FileSealed, Storage: "p", Primary: true}

		run(t, l)
		require.True(t, idx.knows(want))
		idx.forget()
		time.Sleep(11 * time.Second)
		require.True(t, idx.knows(want))
		require.Len(t, idx.declared, 1, "the stray is left alone")
	})
}

func TestMarketsMayNotDeclare(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	require.NoError(t, InitDir(dir, api.PathMeta{ID: "p"}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sealed", api.SectorName(sector)), nil, 0o600))
	idx := newRecorder()
	idx.refuse = &api.ErrPermission{Method: "StorageDeclareSector", Need: api.PermWorker}
	l, err := Open(Config{}, Deps{Index: idx})
	require.NoError(t, err)
	require.NoError(t, l.Add(t.Context(), dir))
	require.NoError(t, l.Add(t.Context(), dir))
	require.Equal(t, 1, idx.declared[api.SectorFile{Sector: sector, Type: api.FileSealed, Storage: "p"}], "asked once only")
}

func TestMissingDiskComesBack(t *testing.T) {
	base := t.TempDir()
	dir, file := filepath.Join(base, "p"), filepath.Join(base, "storage.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"StoragePaths":[{"Path":"p"}]}`), 0o600))
	synctest.Test(t, func(t *testing.T) {
		l, err := Open(Config{File: file}, Deps{Index: newRecorder()})
		require.NoError(t, err, "a disk that is not mounted must not stop the process")
		require.Empty(t, l.Paths())
		require.Equal(t, []string{dir}, l.Unopened(), "a relative path is relative to the file")
		require.Len(t, l.Troubles(), 1)
		require.Contains(t, l.Troubles()[0].Err, "no such file")
		run(t, l)
		require.NoError(t, InitDir(dir, api.PathMeta{ID: "p"}))
		time.Sleep(11 * time.Second)
		require.Len(t, l.Paths(), 1)
		require.Empty(t, l.Unopened())
		require.Empty(t, l.Troubles())
	})
	require.NoError(t, os.WriteFile(file, []byte(`{`), 0o600))
	_, err := Open(Config{File: file}, Deps{Index: newRecorder()})
	require.Error(t, err)
}

func TestSameIDTwice(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	require.NoError(t, InitDir(a, api.PathMeta{ID: "p"}))
	require.NoError(t, InitDir(b, api.PathMeta{ID: "p"}))
	l, err := Open(Config{}, Deps{Index: newRecorder()})
	require.NoError(t, err)
	require.NoError(t, l.Add(t.Context(), a))
	require.ErrorContains(t, l.Add(t.Context(), b), "already attached")
}

func TestSpace(t *testing.T) {
	seal, store := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	require.NoError(t, InitDir(seal, api.PathMeta{ID: "seal", Weight: 1, CanSeal: true, MaxStorage: 1 << 20}))
	require.NoError(t, InitDir(store, api.PathMeta{ID: "store", Weight: 0, CanStore: true}))
	l, err := Open(Config{}, Deps{Index: newRecorder()})
	require.NoError(t, err)
	require.NoError(t, l.Add(t.Context(), seal))
	require.NoError(t, l.Add(t.Context(), store))

	p, release, err := l.Alloc(t.Context(), Want{What: "x", Need: 600 << 10, Sealing: true})
	require.NoError(t, err)
	require.Equal(t, api.StorageID("seal"), p.Meta.ID)
	var full *api.ErrNoSpace
	_, _, err = l.Alloc(t.Context(), Want{What: "y", Need: 600 << 10, Sealing: true})
	require.ErrorAs(t, err, &full, "the first reservation counts")
	release()
	release()
	_, release, err = l.Alloc(t.Context(), Want{What: "y", Need: 600 << 10, Sealing: true})
	require.NoError(t, err)
	release()
	_, _, err = l.Alloc(t.Context(), Want{What: "z", Need: 1})
	require.ErrorAs(t, err, &full, "weight 0 takes no new files")
	require.Equal(t, uint64(2048*151/10), Need(api.FileCache|api.FileSealed, 2048, true))
	require.Equal(t, uint64(2048*11/10), Need(api.FileCache|api.FileSealed, 2048, false))
}

func TestPublishAndRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	require.NoError(t, InitDir(dir, api.PathMeta{ID: "p"}))
	idx := newRecorder()
	l, err := Open(Config{}, Deps{Index: idx})
	require.NoError(t, err)
	require.NoError(t, l.Add(t.Context(), dir))
	p := l.Paths()[0]
	for range 2 { // the second replaces the first, directories too
		tmp, err := p.TempPath(sector, api.FileCache)
		require.NoError(t, err)
		c := CacheDir(tmp)
		require.NoError(t, os.MkdirAll(tmp, 0o750))
		f, err := c.Create("p_aux", 64)
		require.NoError(t, err)
		n, err := f.Size()
		require.NoError(t, err)
		require.Equal(t, int64(64), n)
		require.NoError(t, f.Close())
		require.NoError(t, p.Publish(sector, api.FileCache))
	}
	_, found := l.Find(t.Context(), sector, api.FileCache)
	require.True(t, found)
	require.NoError(t, l.Remove(t.Context(), sector, api.FileCache, "p"))
	_, found = l.Find(t.Context(), sector, api.FileCache)
	require.True(t, found, "kept")
	require.NoError(t, l.Remove(t.Context(), sector, api.FileCache))
	require.NoError(t, l.Remove(t.Context(), sector, api.FileCache))
	_, found = l.Find(t.Context(), sector, api.FileCache)
	require.False(t, found)
}

func TestCacheDirNames(t *testing.T) {
	c := CacheDir(t.TempDir())
	for _, bad := range []string{"", ".", "..", "a/b", "../x", "a\x00"} {
		_, err := c.Create(bad, 1)
		require.Error(t, err)
		_, err = c.Open(bad)
		require.Error(t, err)
		require.Error(t, c.Remove(bad))
	}
	require.NoError(t, c.Remove("missing"))
	_, err := c.Open("missing")
	require.True(t, errors.Is(err, os.ErrNotExist))
}

// run looks after the paths for the length of a test, from a settled start.
func run(t *testing.T, l *Local) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	synctest.Wait()
}
