package paths

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
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

// TestReserveIsOneStep: however many ask at once, no byte is given twice.
func TestReserveIsOneStep(t *testing.T) {
	d := newDisk()
	l, _, a, b := twoPaths(t, d)
	d.set(func() { d.free[a], d.free[b] = 1000, 1000 })
	var wg sync.WaitGroup
	var mu sync.Mutex
	var releases []func()
	for range 64 {
		wg.Go(func() {
			_, release, err := l.Alloc(context.Background(), want(100))
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			releases = append(releases, release)
		})
	}
	wg.Wait()
	require.Len(t, releases, 20)
	st, err := l.Stat("a")
	require.NoError(t, err)
	require.Equal(t, int64(1000), st.Reserved)
	require.Zero(t, st.Available)
	for _, r := range releases {
		r()
		r()
	}
	st, err = l.Stat("a")
	require.NoError(t, err)
	require.Zero(t, st.Reserved)
	require.Equal(t, int64(1000), st.Available)
	release, err := l.Reserve(t.Context(), "a", 1000)
	require.NoError(t, err)
	release()
	_, err = l.Reserve(t.Context(), "a", 1001)
	var full *api.ErrNoSpace
	require.ErrorAs(t, err, &full)
	_, err = l.Reserve(t.Context(), "a", 1<<63)
	require.ErrorAs(t, err, &full)
	var missing *api.ErrNotFound
	_, err = l.Reserve(t.Context(), "c", 1)
	require.ErrorAs(t, err, &missing)
}

// TestManyFilesAreDeclaredInBatches, each file once.
func TestManyFilesAreDeclaredInBatches(t *testing.T) {
	const sectors = 12_500
	dir := filepath.Join(t.TempDir(), "p")
	require.NoError(t, InitDir(dir, api.PathMeta{ID: "p", Weight: 1, CanStore: true}))
	d := newDisk()
	for n := range abi.SectorNumber(sectors) {
		name := api.SectorName(abi.SectorID{Miner: 1000, Number: n})
		d.names[api.FileSealed] = append(d.names[api.FileSealed], name)
		d.names[api.FileCache] = append(d.names[api.FileCache], name)
	}
	idx := newRecorder()
	l, err := Open(Config{}, Deps{Index: idx, Disk: d})
	require.NoError(t, err)
	start := time.Now()
	require.NoError(t, l.Add(t.Context(), dir))
	t.Logf("declared in %s", time.Since(start))
	require.Len(t, idx.declared, 2*sectors)
	require.Equal(t, 2*sectors/api.MaxDeclare, idx.batches)
	for f, n := range idx.declared {
		require.Equal(t, 1, n, f)
	}
}

// TestFiltersAreObeyed: what the lists of a path say of kinds and miners.
func TestFiltersAreObeyed(t *testing.T) {
	for name, c := range map[string]struct {
		meta api.PathMeta
		want Want
		why  string // empty: taken
	}{
		"no lists":            {api.PathMeta{}, Want{Types: api.FileSealed, Miner: 1002}, ""},
		"kind denied":         {api.PathMeta{DenyTypes: []string{"sealed"}}, Want{Types: api.FileSealed}, "DenyTypes names sealed"},
		"another kind denied": {api.PathMeta{DenyTypes: []string{"cache"}}, Want{Types: api.FileSealed}, ""},
		"one of two denied":   {api.PathMeta{DenyTypes: []string{"cache"}}, Want{Types: api.FileSealed | api.FileCache}, "DenyTypes names cache"},
		"kind allowed":        {api.PathMeta{AllowTypes: []string{"sealed"}}, Want{Types: api.FileSealed}, ""},
		"kind not allowed":    {api.PathMeta{AllowTypes: []string{"sealed"}}, Want{Types: api.FileUnsealed}, "AllowTypes does not name unsealed"},
		"deny beats allow": {api.PathMeta{AllowTypes: []string{"sealed"}, DenyTypes: []string{"sealed"}},
			Want{Types: api.FileSealed}, "DenyTypes names sealed"},
		"miner denied":      {api.PathMeta{DenyMiners: []string{"f01002"}}, Want{Types: api.FileSealed, Miner: 1002}, "DenyMiners names f01002"},
		"on a test network": {api.PathMeta{DenyMiners: []string{"t01002"}}, Want{Types: api.FileSealed, Miner: 1002}, "DenyMiners names f01002"},
		"another denied":    {api.PathMeta{DenyMiners: []string{"f01003"}}, Want{Types: api.FileSealed, Miner: 1002}, ""},
		"miner not allowed": {api.PathMeta{AllowMiners: []string{"f01003"}}, Want{Types: api.FileSealed, Miner: 1002}, "AllowMiners does not name f01002"},
		"miner allowed":     {api.PathMeta{AllowMiners: []string{"f01002"}}, Want{Types: api.FileSealed, Miner: 1002}, ""},
		"group allowed": {api.PathMeta{Groups: []string{"g"}},
			Want{Types: api.FileSealed, From: []api.PathMeta{{ID: "src", AllowTo: []string{"h", "g"}}}}, ""},
		"group not allowed": {api.PathMeta{Groups: []string{"g"}},
			Want{Types: api.FileSealed, From: []api.PathMeta{{ID: "src", AllowTo: []string{"h"}}}}, "AllowTo of storage path src names none of its groups"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "p")
			c.meta.ID, c.meta.Weight, c.meta.CanSeal = "p", 10, true
			require.NoError(t, InitDir(dir, c.meta))
			l, err := Open(Config{}, Deps{Index: newRecorder()})
			require.NoError(t, err)
			require.NoError(t, l.Add(t.Context(), dir))
			c.want.What, c.want.Need, c.want.Sealing = "x", 1, true
			_, release, err := l.Alloc(t.Context(), c.want)
			if c.why != "" {
				require.ErrorContains(t, err, c.why)
				return
			}
			require.NoError(t, err)
			release()
		})
	}
}

// TestSectorstoreIsUnderstood: what Lotus writes is read, what means nothing is
// named, and what is wrong is refused.
func TestSectorstoreIsUnderstood(t *testing.T) {
	lotus := `{"ID":"p","Weight":10,"CanSeal":true,"CanStore":true,"MaxStorage":0,"Groups":["g"],"AllowTo":["h"],
		"AllowTypes":["sealed"],"DenyTypes":["unsealed","update-cache"],"AllowMiners":["f01000"],"DenyMiners":["t01002"]}`
	for name, c := range map[string]struct{ text, why string }{
		"Lotus":         {lotus, ""},
		"case":          {`{"id":"p","weight":1}`, ""},
		"unknown keys":  {`{"ID":"p","DenyTypez":[],"Allow":1}`, `keys that mean nothing here: ["Allow" "DenyTypez"]`},
		"unknown kind":  {`{"ID":"p","DenyTypes":["seal"]}`, `names the kind of file "seal"`},
		"unknown miner": {`{"ID":"p","AllowMiners":["1000"]}`, `names the miner "1000"`},
		"key address":   {`{"ID":"p","AllowMiners":["f1abjxfbp274xpdqcpuaykwkfb43omjotacm2p3za"]}`, "ID address"},
		"no ID":         {`{"Weight":1}`, "no ID"},
		"no JSON":       {`{`, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, MetaFile), []byte(c.text), 0o600))
			l, err := Open(Config{}, Deps{Index: newRecorder()})
			require.NoError(t, err)
			err = l.Add(t.Context(), dir)
			if c.why == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.why)
			require.Empty(t, l.Paths())
			require.Empty(t, l.Troubles(), "what was refused is forgotten")
		})
	}
}

// TestMovedPathTakesItsOldPlace; a copy of one that is well does not.
func TestMovedPathTakesItsOldPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, idx, a, b := twoPaths(t, newDisk())
		run(t, l)
		moved := filepath.Join(t.TempDir(), "moved")
		require.NoError(t, os.Rename(a, moved))
		require.NoError(t, l.Add(t.Context(), moved))
		dir, _ := l.Dir("a")
		require.Equal(t, moved, dir)
		require.Len(t, l.Paths(), 2)
		configured, err := l.configured()
		require.NoError(t, err)
		require.Equal(t, []string{b, moved}, configured)
		time.Sleep(11 * time.Second)
		require.Empty(t, idx.of("a").Err)

		copied := filepath.Join(t.TempDir(), "copied")
		require.NoError(t, InitDir(copied, api.PathMeta{ID: "a", CanSeal: true}))
		require.ErrorContains(t, l.Add(t.Context(), copied), "already attached from "+moved)
		dir, _ = l.Dir("a")
		require.Equal(t, moved, dir)
	})
}

// TestPathMovedWhileItHangs: a place that does not answer is given up for one that
// does.
func TestPathMovedWhileItHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l, _, a, _ := twoPaths(t, d)
		run(t, l)
		gate := make(chan struct{})
		defer close(gate)
		d.set(func() { d.hung[a] = gate })
		fresh := filepath.Join(t.TempDir(), "fresh")
		require.NoError(t, InitDir(fresh, api.PathMeta{ID: "a", Weight: 1, CanSeal: true}))
		require.NoError(t, l.Add(t.Context(), fresh))
		dir, _ := l.Dir("a")
		require.Equal(t, fresh, dir)
	})
}

// TestDetach forgets a path everywhere but on its disk.
func TestDetach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, idx, a, b := twoPaths(t, newDisk())
		run(t, l)
		release, err := l.Reserve(t.Context(), "a", 10)
		require.NoError(t, err)
		var busy *api.ErrBusy
		require.ErrorAs(t, l.Detach(t.Context(), "a"), &busy)
		release()
		require.NoError(t, l.Detach(t.Context(), "a"))
		require.Equal(t, []api.StorageID{"a"}, idx.detached)
		require.Equal(t, []api.StorageID{"b"}, l.IDs())
		configured, err := l.configured()
		require.NoError(t, err)
		require.Equal(t, []string{b}, configured)
		_, err = os.Stat(filepath.Join(a, MetaFile))
		require.NoError(t, err)
		var missing *api.ErrNotFound
		require.ErrorAs(t, l.Detach(t.Context(), "a"), &missing)
		idx.forget()
		time.Sleep(time.Minute)
		require.Zero(t, idx.attaches("a"), "nobody looks after it any more")
		require.NotZero(t, idx.attaches("b"))
		require.NoError(t, l.Add(t.Context(), a), "and it can come back")
	})
}

// TestDetachOfWhatWasNeverOpened.
func TestDetachOfWhatWasNeverOpened(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "storage.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"StoragePaths":[{"Path":"gone"},{"Path":"~/x"}]}`), 0o600))
	l, err := Open(Config{File: file}, Deps{Index: newRecorder()})
	require.NoError(t, err)
	require.NoError(t, l.DetachDir(t.Context(), filepath.Join(base, "gone")))
	require.Len(t, l.Unopened(), 1)
	var sf storageFile
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &sf))
	require.Equal(t, []storageEntry{{Path: "~/x"}}, sf.StoragePaths)
	var missing *api.ErrNotFound
	require.ErrorAs(t, l.DetachDir(t.Context(), filepath.Join(base, "gone")), &missing)
}

// TestHeldDirectoryWaits: a directory that somebody else holds is not used, says
// so, and is used when it is free.
func TestHeldDirectoryWaits(t *testing.T) {
	base := t.TempDir()
	dir, file := filepath.Join(base, "p"), filepath.Join(base, "storage.json")
	require.NoError(t, InitDir(dir, api.PathMeta{ID: "p"}))
	require.NoError(t, os.WriteFile(file, []byte(`{"StoragePaths":[{"Path":"p"}]}`), 0o600))
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		held, holds := true, 0
		hold := func(got string) (func(), error) {
			mu.Lock()
			defer mu.Unlock()
			if held {
				return nil, fmt.Errorf("%s is in use by process 4711", got)
			}
			holds++
			return func() { mu.Lock(); defer mu.Unlock(); holds-- }, nil
		}
		l, err := Open(Config{File: file}, Deps{Index: newRecorder(), Hold: hold})
		require.NoError(t, err)
		run(t, l)
		require.Empty(t, l.Paths())
		require.Contains(t, l.Troubles()[0].Err, "process 4711")
		mu.Lock()
		held = false
		mu.Unlock()
		time.Sleep(11 * time.Second)
		require.Len(t, l.Paths(), 1)
		require.Equal(t, 1, holds)
		time.Sleep(time.Minute)
		require.Equal(t, 1, holds, "once")
		l.Release()
		require.Zero(t, holds)
		l.Release()
		require.Zero(t, holds)
	})
}

// TestDeletionOnAPathThatIsAwayIsPutOff: work does not wait for the path; what was
// to go is not declared when it is back, and goes then, unless it is the last copy
// that is known.
func TestDeletionOnAPathThatIsAwayIsPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, idx, a, b := twoPaths(t, newDisk())
		run(t, l)
		file := Path{Dir: a}.FilePath(sector, api.FileSealed)
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, os.WriteFile(Path{Dir: a}.FilePath(sector, api.FileUnsealed), nil, 0o600))
		here := api.SectorFile{Sector: sector, Type: api.FileSealed, Storage: "a", Primary: true}
		other := api.SectorFile{Sector: sector, Type: api.FileSealed, Storage: "b", Primary: true}
		require.NoError(t, l.Declare(t.Context(), here, other))
		aside := filepath.Join(t.TempDir(), "aside")
		unmount := func() {
			require.NoError(t, os.Rename(a, aside))
			require.NoError(t, os.Mkdir(a, 0o700))
		}
		mount := func() {
			require.NoError(t, os.Remove(a), "nothing was written below the mount")
			require.NoError(t, os.Rename(aside, a))
		}
		unmount()
		require.NoError(t, os.WriteFile(Path{Dir: b}.FilePath(sector, api.FileSealed), nil, 0o600))
		require.NoError(t, l.Remove(t.Context(), sector, api.FileSealed, "b"))
		require.NoError(t, l.Remove(t.Context(), sector, api.FileSealed, "b"), "again")
		require.NoError(t, l.Remove(t.Context(), sector, api.FileUnsealed))
		require.False(t, idx.knows(here))
		require.Len(t, l.owes("a"), 2)

		again, err := Open(l.cfg, Deps{Index: idx}) // the process is restarted meanwhile
		require.NoError(t, err)
		require.Equal(t, l.owes("a"), again.owes("a"))

		require.NoError(t, os.Remove(Path{Dir: b}.FilePath(sector, api.FileSealed)))
		require.NoError(t, idx.StorageDropSectors(t.Context(), []api.SectorFile{other}))
		mount()
		time.Sleep(6 * time.Minute)
		_, err = os.Stat(file)
		require.NoError(t, err, "it may be the last copy")
		require.False(t, idx.knows(here), "but it is not used")
		_, err = os.Stat(Path{Dir: a}.FilePath(sector, api.FileUnsealed))
		require.ErrorIs(t, err, os.ErrNotExist, "no copy of that was to stay")

		require.NoError(t, os.WriteFile(Path{Dir: b}.FilePath(sector, api.FileSealed), nil, 0o600))
		require.NoError(t, l.Declare(t.Context(), other))
		time.Sleep(6 * time.Minute)
		_, err = os.Stat(file)
		require.ErrorIs(t, err, os.ErrNotExist)
		require.Empty(t, l.owes("a"))

		unmount()
		require.NoError(t, l.Remove(t.Context(), sector, api.FileSealed, "b"))
		mount()
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, l.Declare(t.Context(), here), "a new file in its place is another one")
		time.Sleep(6 * time.Minute)
		require.True(t, idx.knows(here))
		_, err = os.Stat(file)
		require.NoError(t, err)
	})
}
