package paths

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"quarry/api"
)

// disk is an OS whose directories can hang, be unmounted, lose their space or
// become read only.
type disk struct {
	OS
	mu       sync.Mutex
	hung     map[string]chan struct{}
	away     map[string]bool
	readOnly map[string]bool
	probe    map[string]error
	free     map[string]int64
	names    map[api.FileType][]string // listed instead of what is there
}

func newDisk() *disk {
	return &disk{
		hung:     map[string]chan struct{}{},
		away:     map[string]bool{},
		readOnly: map[string]bool{},
		probe:    map[string]error{},
		free:     map[string]int64{},
		names:    map[api.FileType][]string{},
	}
}

func (d *disk) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// at waits while a directory hangs.
func (d *disk) at(dir string) {
	d.mu.Lock()
	gate := d.hung[dir]
	d.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (d *disk) Meta(dir string) (api.PathMeta, []string, error) {
	d.at(dir)
	d.mu.Lock()
	away := d.away[dir]
	d.mu.Unlock()
	if away {
		return api.PathMeta{}, nil, &os.PathError{Op: "open", Path: dir, Err: os.ErrNotExist}
	}
	return d.OS.Meta(dir)
}

func (d *disk) Space(dir string) (Space, error) {
	d.at(dir)
	d.mu.Lock()
	defer d.mu.Unlock()
	free, ok := d.free[dir]
	if !ok {
		free = 1 << 30
	}
	return Space{Capacity: 1 << 40, Available: free, ReadOnly: d.readOnly[dir]}, nil
}

func (d *disk) Probe(dir string) error {
	d.at(dir)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.probe[dir]
}

func (d *disk) Exists(name string) (bool, error) {
	d.at(filepath.Dir(filepath.Dir(name)))
	return d.OS.Exists(name)
}

func (d *disk) List(dir string, t api.FileType) ([]string, error) {
	d.at(dir)
	if names := d.names[t]; names != nil {
		return names, nil
	}
	return d.OS.List(dir, t)
}

// paths makes directories with an ID each and a Local that has them.
func twoPaths(t *testing.T, d *disk) (l *Local, idx *recorder, a, b string) {
	t.Helper()
	idx = newRecorder()
	l, err := Open(Config{File: filepath.Join(t.TempDir(), "storage.json"), URL: "http://h/remote"}, Deps{Index: idx, Disk: d})
	require.NoError(t, err)
	for _, id := range []api.StorageID{"a", "b"} {
		dir := filepath.Join(t.TempDir(), string(id))
		require.NoError(t, InitDir(dir, api.PathMeta{ID: id, Weight: 1, CanSeal: true, CanStore: true}))
		require.NoError(t, l.Add(t.Context(), dir))
	}
	a, _ = l.Dir("a")
	b, _ = l.Dir("b")
	return l, idx, a, b
}

func want(need uint64) Want { return Want{What: "x", Types: api.FileSealed, Need: need, Sealing: true} }

// TestHungPathHoldsUpNothingElse: the heartbeats of the others go on, new files go
// to them, and the hung one is named and comes back by itself.
func TestHungPathHoldsUpNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l, idx, a, b := twoPaths(t, d)
		require.NoError(t, os.WriteFile(Path{Dir: a}.FilePath(sector, api.FileSealed), nil, 0o600))
		run(t, l)
		gate := make(chan struct{})
		d.set(func() { d.hung[a] = gate })
		time.Sleep(45 * time.Second)
		require.Empty(t, idx.of("b").Err)
		require.Contains(t, idx.of("a").Err, "has not answered since")
		require.Contains(t, idx.of("a").Err, a)
		require.Len(t, l.Troubles(), 1)
		start := time.Now()
		p, release, err := l.Alloc(t.Context(), want(1))
		require.NoError(t, err)
		require.Equal(t, b, p.Dir)
		release()
		_, found := l.Find(t.Context(), sector, api.FileSealed)
		require.False(t, found, "its files are away, and nobody waits for them")
		require.Zero(t, time.Since(start))
		d.set(func() { delete(d.hung, a) })
		close(gate)
		time.Sleep(25 * time.Second)
		require.Empty(t, idx.of("a").Err)
		require.Empty(t, l.Troubles())
		_, found = l.Find(t.Context(), sector, api.FileSealed)
		require.True(t, found)
	})
}

// TestUnmountedDiskGetsNothing, before anybody noticed at a heartbeat: what would
// be written would lie below the mount.
func TestUnmountedDiskGetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l, idx, a, b := twoPaths(t, d)
		run(t, l)
		d.set(func() { d.free[b] = 10; d.away[a] = true })
		_, _, err := l.Alloc(t.Context(), want(100))
		var full *api.ErrNoSpace
		require.ErrorAs(t, err, &full)
		require.Contains(t, full.Hint, a+" has no sectorstore.json: its disk is not mounted")
		require.Contains(t, full.Hint, "10 bytes are free")
		_, err = l.Reserve(t.Context(), "a", 1)
		require.ErrorContains(t, err, "not mounted")
		time.Sleep(11 * time.Second)
		require.Contains(t, idx.of("a").Err, "not mounted")
		require.Empty(t, idx.of("b").Err)
		require.Empty(t, l.Unopened(), "it was opened once")
		_, err = l.Stat("a")
		require.ErrorContains(t, err, "not mounted")
		d.set(func() { d.away[a] = false })
		time.Sleep(11 * time.Second)
		require.Empty(t, idx.of("a").Err)
		p, release, err := l.Alloc(t.Context(), want(100))
		require.NoError(t, err)
		require.Equal(t, a, p.Dir)
		release()
	})
}

// TestNothingIsWrittenBelowAMount: every way to a file name looks first.
func TestNothingIsWrittenBelowAMount(t *testing.T) {
	d := newDisk()
	l, _, a, _ := twoPaths(t, d)
	p := l.Paths()[0]
	require.Equal(t, a, p.Dir)
	require.NoError(t, os.RemoveAll(a))
	require.NoError(t, os.Mkdir(a, 0o700)) // the mount point
	var busy *api.ErrBusy
	for name, err := range map[string]error{
		"fetch":   second(p.TempPath(sector, api.FileSealed)),
		"make":    second(p.MadePath(sector, api.FileSealed)),
		"publish": p.Publish(sector, api.FileSealed),
		"made":    p.PublishMade(sector, api.FileSealed),
	} {
		require.ErrorAs(t, err, &busy, name)
		require.ErrorContains(t, err, "not mounted", name)
	}
	left, err := os.ReadDir(a)
	require.NoError(t, err)
	require.Empty(t, left)
}

func second[T any](_ T, err error) error { return err }

// TestReadOnlyPathServesButGetsNothing: what is there can be read.
func TestReadOnlyPathServesButGetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l, idx, a, b := twoPaths(t, d)
		require.NoError(t, os.WriteFile(Path{Dir: a}.FilePath(sector, api.FileSealed), nil, 0o600))
		run(t, l)
		d.set(func() { d.readOnly[a] = true; d.probe[b] = errors.New("permission denied") })
		time.Sleep(61 * time.Second)
		require.Equal(t, "its file system is mounted read-only", idx.of("a").Stat.Unwritable)
		require.Equal(t, "a file cannot be written: permission denied", idx.of("b").Stat.Unwritable)
		require.Empty(t, idx.of("a").Err)
		_, found := l.Find(t.Context(), sector, api.FileSealed)
		require.True(t, found)
		_, _, err := l.Alloc(t.Context(), want(1))
		require.ErrorContains(t, err, "mounted read-only")
		require.ErrorContains(t, err, "permission denied")
		require.Len(t, l.Troubles(), 2)
		d.set(func() { d.readOnly[a] = false; d.probe[b] = unix.ENOSPC })
		time.Sleep(61 * time.Second)
		require.Empty(t, l.Troubles(), "a full disk is another matter")
	})
}

// TestAnotherDiskInThePlace is not the path.
func TestAnotherDiskInThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, idx, a, _ := twoPaths(t, newDisk())
		run(t, l)
		meta, err := os.ReadFile(filepath.Join(a, MetaFile))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(a, MetaFile), []byte(`{"ID":"other","CanSeal":true}`), 0o600))
		time.Sleep(11 * time.Second)
		require.Contains(t, idx.of("a").Err, "another storage path (other) is in "+a)
		require.NoError(t, os.WriteFile(filepath.Join(a, MetaFile), meta, 0o600))
		time.Sleep(11 * time.Second)
		require.Empty(t, idx.of("a").Err)
	})
}
