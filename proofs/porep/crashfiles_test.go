package porep

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"sync"
)

// crashFiles are files that lose on a crash any part of what was not synced, and
// fail everything once left operations are done.
type crashFiles struct {
	mu    sync.Mutex
	files map[string]*crashFile
	left  int
}

type crashFile struct {
	dir           *crashFiles
	durable, live []byte
	synced        bool
}

var errCrash = errors.New("power failure")

func (d *crashFiles) step() error {
	if d.left--; d.left < 0 {
		return errCrash
	}
	return nil
}

// crash loses what was not synced, except where keep says otherwise.
func (d *crashFiles) crash(keep func() bool) {
	for _, name := range d.names() {
		f := d.files[name]
		if !f.synced && !keep() {
			delete(d.files, name)
			continue
		}
		const sector = 512
		for at := 0; at < len(f.live); at += sector {
			end := min(at+sector, len(f.live))
			if !bytes.Equal(f.live[at:end], f.durable[at:end]) && !keep() {
				copy(f.live[at:end], f.durable[at:end])
			}
		}
		f.durable, f.synced = bytes.Clone(f.live), true
	}
}

func (d *crashFiles) names() []string {
	var names []string
	for n := range d.files {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (d *crashFiles) Create(name string, size int64) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return nil, err
	}
	f := &crashFile{dir: d, live: make([]byte, size), durable: make([]byte, size)}
	d.files[name] = f
	return f, nil
}

func (d *crashFiles) Open(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil {
		return f, nil
	}
	return nil, fs.ErrNotExist
}

func (d *crashFiles) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	delete(d.files, name)
	return nil
}

func (d *crashFiles) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names(), nil
}

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	f.dir.mu.Lock()
	defer f.dir.mu.Unlock()
	return bytes.NewReader(f.live).ReadAt(p, off)
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	f.dir.mu.Lock()
	defer f.dir.mu.Unlock()
	if err := f.dir.step(); err != nil {
		copy(f.live[off:], p[:len(p)/2]) // torn
		return 0, err
	}
	return copy(f.live[off:], p), nil
}

func (f *crashFile) Sync() error {
	f.dir.mu.Lock()
	defer f.dir.mu.Unlock()
	if err := f.dir.step(); err != nil {
		return err
	}
	copy(f.durable, f.live)
	f.synced = true
	return nil
}

func (f *crashFile) Close() error         { return nil }
func (f *crashFile) Size() (int64, error) { return int64(len(f.live)), nil }
