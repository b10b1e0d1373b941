package paths

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"quarry/api"
)

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
