package prove

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
	"quarry/storage/paths"
)

const (
	miner = abi.ActorID(1000)
	seal  = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	limit = time.Minute
	retry = 10 * time.Second
)

var draw = abi.PoStRandomness(strings.Repeat("\x33", 32))

// sealed is one sector; the chain of these tests has its CommR for every number.
var sealed = sync.OnceValue(func() *poreptest.Sealed { return mustSeal(7) })

// other is a sector of another seal.
var other = sync.OnceValue(func() *poreptest.Sealed { return mustSeal(8) })

func mustSeal(n abi.SectorNumber) *poreptest.Sealed {
	s, err := poreptest.Seal(context.Background(), porep.Sector{Proof: seal, Miner: miner, Number: n})
	if err != nil {
		panic(err)
	}
	return s
}

// disks is a file system of paths with sectors, an index, and the paths themselves.
type disks struct {
	mu       sync.Mutex
	replicas map[string]porep.File
	caches   map[string]porep.Files
	dirs     []string
	unopened []string
	declared map[string][]api.SectorLocationInfo // by kind and sector
	silent   error                               // the index's
	hangs    map[string]chan struct{}            // by directory: closed when it is back
	fails    map[string]error                    // by directory
	gone     map[string]bool                     // unmounted
	touched  map[string]time.Time                // by name of the sector's replica
	open     int
	most     int // open at the same time
	reads    int
}

func newDisks(dirs ...string) *disks {
	return &disks{
		replicas: map[string]porep.File{},
		caches:   map[string]porep.Files{},
		dirs:     dirs,
		declared: map[string][]api.SectorLocationInfo{},
		hangs:    map[string]chan struct{}{},
		fails:    map[string]error{},
		gone:     map[string]bool{},
		touched:  map[string]time.Time{},
	}
}

func id(n abi.SectorNumber) abi.SectorID { return abi.SectorID{Miner: miner, Number: n} }

func fileKey(s abi.SectorID, t api.FileType) string { return t.String() + "/" + api.SectorName(s) }

// put lays a copy of a sector on a path and declares it.
func (d *disks) put(dir string, n abi.SectorNumber, f form, s *poreptest.Sealed) {
	d.lay(dir, n, f.replica, s)
	d.lay(dir, n, f.cache, s)
	d.declare(dir, n, f.replica)
	d.declare(dir, n, f.cache)
}

func (d *disks) lay(dir string, n abi.SectorNumber, t api.FileType, s *poreptest.Sealed) {
	name := dir + "/" + fileKey(id(n), t)
	if t == api.FileSealed || t == api.FileUpdate {
		d.replicas[name] = s.Sealed
	} else {
		d.caches[name] = s.Cache
	}
}

func (d *disks) declare(dir string, n abi.SectorNumber, t api.FileType) {
	l := api.SectorLocationInfo{Storage: storageID(dir)}
	if strings.HasPrefix(dir, "http") {
		l.URLs = []string{dir + "/" + fileKey(id(n), t)}
	}
	d.declared[fileKey(id(n), t)] = append(d.declared[fileKey(id(n), t)], l)
}

func storageID(dir string) api.StorageID {
	return api.StorageID(strings.TrimPrefix(filepath.Base(dir), "http://"))
}

func (d *disks) StorageFindSector(_ context.Context, s abi.SectorID, t api.FileType) ([]api.SectorLocationInfo, error) {
	return d.declared[fileKey(s, t)], d.silent
}

func (d *disks) StorageList(context.Context) (out []api.StoragePath, err error) {
	for _, dir := range d.dirs {
		out = append(out, api.StoragePath{PathMeta: api.PathMeta{ID: storageID(dir)}})
	}
	return out, d.silent
}

func (d *disks) Paths() (out []paths.Path) {
	for _, dir := range d.dirs {
		if filepath.IsAbs(dir) {
			out = append(out, paths.Path{Meta: api.PathMeta{ID: storageID(dir)}, Dir: dir})
		}
	}
	return out
}

func (d *disks) Unopened() []string { return d.unopened }

// touch is every access of a file: it hangs or fails as its path does.
func (d *disks) touch(name string) error {
	d.mu.Lock()
	var wait chan struct{}
	var err error
	for _, dir := range d.dirs {
		if strings.HasPrefix(name, dir+"/") {
			wait, err = d.hangs[dir], d.fails[dir]
			if d.gone[dir] {
				err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
		}
	}
	d.reads++
	d.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return err
}

func (d *disks) count(by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open += by
	d.most = max(d.most, d.open)
}

// file is an open file of a path.
type file struct {
	porep.File
	d    *disks
	name string
}

func (f file) ReadAt(b []byte, off int64) (int, error) {
	if err := f.d.touch(f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

func (f file) Close() error { f.d.count(-1); return f.File.Close() }

func (d *disks) Open(name string) (porep.File, error) {
	if err := d.touch(name); err != nil {
		return nil, err
	}
	f, ok := d.replicas[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	d.count(1)
	return file{f, d, name}, nil
}

// cache is a cache directory of a path.
type cache struct {
	d    *disks
	name string
}

func (c cache) Create(string, int64) (porep.File, error) { return nil, errors.ErrUnsupported }
func (c cache) Remove(string) error                      { return errors.ErrUnsupported }

func (c cache) files() porep.Files {
	if f := c.d.caches[c.name]; f != nil {
		return f
	}
	return poreptest.NewFiles()
}

func (c cache) Open(name string) (porep.File, error) {
	if err := c.d.touch(c.name); err != nil {
		return nil, err
	}
	f, err := c.files().Open(name)
	if err != nil {
		return nil, err
	}
	c.d.count(1)
	return file{f, c.d, c.name}, nil
}

func (c cache) List() ([]string, error) {
	if err := c.d.touch(c.name); err != nil {
		return nil, err
	}
	return c.files().List()
}

func (d *disks) Cache(dir string) porep.Files { return cache{d, dir} }

func (d *disks) Stat(name string) (fs.FileInfo, error) {
	if err := d.touch(name); err != nil {
		return nil, err
	}
	for n := range d.replicas {
		if n == name {
			return info{at: d.touched[n]}, nil
		}
	}
	for n := range d.caches {
		if n == name || filepath.Dir(name) == n {
			return info{at: d.touched[n]}, nil
		}
	}
	if filepath.Base(name) == paths.MetaFile {
		return info{}, nil
	}
	return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
}

type info struct {
	fs.FileInfo
	at time.Time
}

func (i info) ModTime() time.Time { return i.at }

// far is the disks as another process serves them.
type far struct{ *disks }

func (f far) Open(_ context.Context, url string) (porep.File, error) { return f.disks.Open(url) }
func (f far) Dir(_ context.Context, url string) porep.Files          { return f.Cache(url) }
