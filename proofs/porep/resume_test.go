package porep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

var errPower = errors.New("the power fails")

// failing is a directory, with a sealed file, that fails for good after some
// operations; then a part of what was not synced is lost.
type failing struct {
	*memFiles
	rnd     *rand.Rand
	mu      sync.Mutex
	left    int
	dirty   map[*memFile]bool
	created map[string]int
}

func (f *failing) spend() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	return f.left >= 0
}

func (f *failing) Create(name string, size int64) (File, error) {
	if !f.spend() {
		return nil, errPower
	}
	f.created[name]++
	file, err := f.memFiles.Create(name, size)
	if err != nil {
		return nil, err
	}
	f.touch(file.(*memFile), true)
	return &failingFile{memFile: file.(*memFile), dir: f}, nil
}

func (f *failing) Open(name string) (File, error) {
	if !f.spend() {
		return nil, errPower
	}
	file, err := f.memFiles.Open(name)
	if err != nil {
		return nil, err
	}
	return &failingFile{memFile: file.(*memFile), dir: f}, nil
}

func (f *failing) Remove(name string) error {
	if !f.spend() {
		return errPower
	}
	return f.memFiles.Remove(name)
}

func (f *failing) touch(file *memFile, dirty bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirty[file] = dirty
}

// crash loses a random part of every file that was not synced, and gives power
// for some more operations.
func (f *failing) crash() {
	for file, dirty := range f.dirty {
		if n := len(file.b); dirty && n > 0 {
			from := f.rnd.IntN(n)
			clear(file.b[from : from+f.rnd.IntN(n-from)+1])
		}
	}
	clear(f.dirty)
	f.left = 1 + f.rnd.IntN(400)
}

type failingFile struct {
	*memFile
	dir *failing
}

func (f *failingFile) ReadAt(p []byte, off int64) (int, error) {
	if !f.dir.spend() {
		return 0, errPower
	}
	return f.memFile.ReadAt(p, off)
}

func (f *failingFile) WriteAt(p []byte, off int64) (int, error) {
	f.dir.touch(f.memFile, true)
	if !f.dir.spend() {
		n, err := f.memFile.WriteAt(p[:len(p)/2], off) // torn
		return n, errors.Join(err, errPower)
	}
	return f.memFile.WriteAt(p, off)
}

func (f *failingFile) Sync() error {
	if !f.dir.spend() {
		return errPower
	}
	f.dir.touch(f.memFile, false)
	return nil
}

// However often and wherever PreCommit2 is interrupted, it ends with the same
// bytes. The larger sector needs more operations than there ever are at once, so
// it would not end if it began anew each time.
func TestPreCommit2Interrupted(t *testing.T) {
	ctx := context.Background()
	for _, nodes := range []uint64{1 << 7, 1 << 10} {
		want := sealedOf(t, nodes, interactive)
		for seed := range uint64(8) {
			s := sealedOf(t, nodes, interactive) // layers
			for name := range s.cache.m {
				if strings.Contains(name, "tree-c") || strings.Contains(name, "tree-r") || strings.HasSuffix(name, "_aux") {
					delete(s.cache.m, name)
				}
			}
			clear(s.sealed.b)
			dir := &failing{memFiles: s.cache, rnd: rand.New(rand.NewPCG(seed, nodes)), dirty: map[*memFile]bool{},
				created: map[string]int{}}
			sealed := &failingFile{memFile: s.sealed, dir: dir}
			tries := 0
			for ; ; tries++ {
				dir.crash()
				task := s.task2()
				task.Sealed, task.Cache = sealed, dir
				com, err := s.par.preCommit2(ctx, task, nil)
				if err == nil {
					if com != want.req.Commitments {
						t.Errorf("%d nodes, seed %d: other commitments", nodes, seed)
					}
					break
				}
				if !errors.Is(err, errPower) {
					t.Fatal(err)
				}
				if tries > 10_000 {
					t.Fatal("it never ends")
				}
			}
			same(t, fmt.Sprintf("%d nodes, seed %d", nodes, seed), want, s)
		}
	}
}

// same compares all files of two sectors.
func same(t *testing.T, what string, want, got *sealedSector) {
	t.Helper()
	if !bytes.Equal(got.sealed.b, want.sealed.b) {
		t.Errorf("%s: another replica", what)
	}
	for name, f := range want.cache.m {
		if g := got.cache.m[name]; g == nil || !bytes.Equal(f.b, g.b) {
			t.Errorf("%s: %s is not the same", what, name)
		}
	}
	if len(got.cache.m) != len(want.cache.m) {
		t.Errorf("%s: %d files, not %d", what, len(got.cache.m), len(want.cache.m))
	}
}

// Files that are no longer what their marks say are built again; nothing else is.
func TestPreCommit2Trusts(t *testing.T) {
	ctx := context.Background()
	want := sealedOf(t, 1<<10, interactive)
	for name, x := range map[string]struct {
		damage  func(*sealedSector)
		rebuilt int
	}{
		"nothing":          {func(*sealedSector) {}, 0},
		"tree-c":           {func(s *sealedSector) { s.cache.m["sc-02-data-tree-c-3.dat"].b[77] ^= 1 }, 1},
		"tree-c cut":       {func(s *sealedSector) { f := s.cache.m["sc-02-data-tree-c-3.dat"]; f.b = f.b[:len(f.b)-32] }, 1},
		"tree-r-last":      {func(s *sealedSector) { s.cache.m["sc-02-data-tree-r-last-15.dat"].b[0] ^= 1 }, 1},
		"tree-r-last lost": {func(s *sealedSector) { delete(s.cache.m, "sc-02-data-tree-r-last-0.dat") }, 1},
		"mark":             {func(s *sealedSector) { s.cache.m["sc-02-data-tree-c-0.dat.done"].b[20] ^= 1 }, 1},
		"mark of another": {func(s *sealedSector) {
			s.cache.m["sc-02-data-tree-c-0.dat.done"].b = bytes.Clone(s.cache.m["sc-02-data-tree-c-1.dat.done"].b)
		}, 1},
		"sealed byte": {func(s *sealedSector) { s.sealed.b[5000] ^= 1 }, 1},
		"sealed new":  {func(s *sealedSector) { clear(s.sealed.b) }, 16},
		"other replica": {func(s *sealedSector) {
			for name, f := range s.cache.m {
				if m, ok := parseMark(f.b); ok {
					m.id[0] ^= 1
					s.cache.m[name].b = m.bytes()
				}
			}
		}, 32},
	} {
		s := sealedOf(t, 1<<10, interactive)
		clear(s.sealed.b)
		stop, cancel := context.WithCancel(ctx)
		stopped := s.task2()
		stopped.Sealed = &stopping{s.sealed, cancel, 17}
		_, err := s.par.preCommit2(stop, stopped, nil)
		if !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		x.damage(s)
		dir := &failing{memFiles: s.cache, left: 1 << 30, dirty: map[*memFile]bool{}, created: map[string]int{}}
		var last int64
		again := s.task2()
		again.Cache = dir
		if _, err := s.par.preCommit2(ctx, again, func(stage string, done, total int64) {
			if stage == StageTreeR && total == 1<<10 {
				last = done
			}
		}); err != nil {
			t.Fatal(err)
		}
		same(t, name, want, s)
		rebuilt := 0
		for name, n := range dir.created {
			if strings.HasSuffix(name, ".dat") {
				rebuilt += n
			}
		}
		if rebuilt != x.rebuilt || last != 1<<10 {
			t.Errorf("%s: %d trees were built again, not %d; progress ends at %d", name, rebuilt, x.rebuilt, last)
		}
	}
}

// stopping is a sealed file that fails on its n-th sync, after all trees.
type stopping struct {
	*memFile
	cancel func()
	n      int
}

func (s *stopping) Sync() error {
	if s.n--; s.n == 0 {
		s.cancel()
		return errPower
	}
	return nil
}

func FuzzMark(f *testing.F) {
	f.Add((&mark{root: [32]byte{1}}).bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := parseMark(b); ok && !bytes.Equal(m.bytes(), b) {
			t.Error("what was read is not what is written")
		}
	})
}
