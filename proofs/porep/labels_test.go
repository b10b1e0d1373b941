package porep

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"pgregory.net/rapid"

	"quarry/proofs/sdr"
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

// manyLayers is a small sector with as many layers as a large one.
func manyLayers(t testing.TB) *params {
	t.Helper()
	par, err := newParams(5, 64, false, interactive)
	if err != nil {
		t.Fatal(err)
	}
	par.layers = 11
	return &par
}

// tasks are n sectors of par, and their CommDs.
func tasks(t testing.TB, par *params, n int, cache func(int) Files) ([]PreCommit1Task, [][32]byte) {
	t.Helper()
	data := bytes.NewReader(vectorData(uint64(par.size())))
	commD, err := par.buildTreeD(context.Background(), data, newMemFiles(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, wants := make([]PreCommit1Task, n), make([][32]byte, n)
	for i := range out {
		out[i] = PreCommit1Task{
			Sector: Sector{Miner: 1000, Number: abi.SectorNumber(i)}, Ticket: bytes.Repeat([]byte{7}, 32),
			Unsealed: data, Cache: cache(i),
		}
		wants[i] = commD
	}
	return out, wants
}

// A first phase that is killed again and again, anywhere, with any part of the
// unsynced bytes lost, ends in the same files, and does not begin at the first
// layer each time.
func TestPreCommit1Resumes(t *testing.T) {
	par := manyLayers(t)
	var want []*memFiles
	ts, wants := tasks(t, par, 2, func(int) Files { want = append(want, newMemFiles()); return want[len(want)-1] })
	outs, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	resumed := false
	rapid.Check(t, func(t *rapid.T) {
		dirs := []*crashFiles{{files: map[string]*crashFile{}}, {files: map[string]*crashFile{}}}
		for i := range ts {
			ts[i].Cache = dirs[i]
		}
		for try := 0; ; try++ {
			for _, d := range dirs {
				d.left = rapid.IntRange(0, 90).Draw(t, "operations")
				if try == 5 {
					d.left = 1 << 30
				}
			}
			first := int64(-1)
			got, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, func(stage string, done, _ int64) {
				if stage == StageLabels && first < 0 {
					first = done
				}
			})
			resumed = resumed || first > int64(par.nodes)
			if err == nil {
				if !slices.Equal(got, outs) {
					t.Fatalf("result %v want %v", got, outs)
				}
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			for _, d := range dirs {
				d.crash(func() bool { return rapid.Bool().Draw(t, "kept") })
			}
		}
		for i, d := range dirs {
			if names, _ := want[i].List(); !slices.Equal(d.names(), names) {
				t.Fatalf("files %v want %v", d.names(), names)
			}
			for name, f := range d.files {
				if !bytes.Equal(f.live, want[i].m[name].b) || !bytes.Equal(f.durable, f.live) {
					t.Fatalf("%s of sector %d differs or is not durable", name, i)
				}
			}
		}
	})
	if !resumed {
		t.Error("no run went on where another had stopped")
	}
}

// Layers of another replica, and layers that changed since, are not believed.
func TestPreCommit1Distrusts(t *testing.T) {
	par := manyLayers(t)
	good := newMemFiles()
	ts, wants := tasks(t, par, 1, func(int) Files { return good })
	if _, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	for what, harm := range map[string]func(d *crashFiles){
		"a flipped bit":      func(d *crashFiles) { d.files[layerName(3)].live[100] ^= 1 },
		"a short layer":      func(d *crashFiles) { f := d.files[layerName(3)]; f.live = f.live[:2000] },
		"a mark cut":         func(d *crashFiles) { f := d.files[wholeName(3)]; f.live = f.live[:95] },
		"a mark changed":     func(d *crashFiles) { d.files[wholeName(3)].live[40] ^= 1 },
		"a mark of another":  func(d *crashFiles) { d.files[wholeName(3)].live = d.files[wholeName(2)].live },
		"another replica id": func(*crashFiles) { ts[0].Ticket = bytes.Repeat([]byte{8}, 32) },
	} {
		d := &crashFiles{files: map[string]*crashFile{}, left: 60}
		ts[0].Cache, ts[0].Ticket = d, bytes.Repeat([]byte{7}, 32)
		if _, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil); !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if d.files[wholeName(4)] == nil {
			t.Fatalf("%s: only %v were made", what, d.names())
		}
		harm(d)
		d.left = 1 << 30
		out, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := good
		if out[0].Ticket[0] != 7 {
			want = newMemFiles()
			ts[0].Cache = want
			if _, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil); err != nil {
				t.Fatal(err)
			}
		}
		for name, f := range d.files {
			if !bytes.Equal(f.live, want.m[name].b) {
				t.Errorf("%s: %s differs", what, name)
			}
		}
	}
}

// All vector sectors once more, with the least memory, as a batch that shares
// the graph, and with parents from a file.
func TestLabelOptions(t *testing.T) {
	for _, v := range sectorVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			if v.Size > 1<<20 && os.Getenv("QUARRY_LONG") == "" {
				t.Skip("ten seconds, with -race minutes; run with QUARRY_LONG=1")
			}
			v.checkLabelOptions(t)
		})
	}
}

func (v *sectorVector) checkLabelOptions(t *testing.T) {
	t.Helper()
	par := v.params(t)
	g, err := par.graph()
	if err != nil {
		t.Fatal(err)
	}
	file, journal := &memFile{make([]byte, g.ParentFileSize())}, &memFile{make([]byte, 4096)}
	if _, err := sdr.BuildParentFile(context.Background(), g, file, journal, nil); err != nil {
		t.Fatal(err)
	}
	parents, err := sdr.OpenParentFile(context.Background(), g, file, int64(len(file.b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []LabelOptions{{}, {Memory: LeastPreCommit1Memory(3)}, {Parents: parents}} {
		var caches []*memFiles
		ts, wants := tasks(t, par, 3, func(int) Files { caches = append(caches, newMemFiles()); return caches[len(caches)-1] })
		for i := range ts {
			ts[i].Sector, ts[i].Ticket = v.sector(), bytes.Clone(unhex(t, v.Ticket))
			wants[i] = node(t, v.CommD)
		}
		ts[0].Sector.Number += 5
		if _, err := par.preCommit1Batch(context.Background(), ts, wants, o, nil); err != nil {
			t.Fatal(err)
		}
		for _, c := range caches[1:] {
			c.check(t, v.After1)
		}
		if bytes.Equal(caches[0].m[layerName(1)].b, caches[1].m[layerName(1)].b) {
			t.Error("two sectors have the same labels")
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b := node(t, s)
	return b[:]
}

// Unsealing that is killed again and again gives the same bytes, and leaves
// nothing in its directory.
func TestUnsealResumes(t *testing.T) {
	par := manyLayers(t)
	cache := newMemFiles()
	ts, wants := tasks(t, par, 1, func(int) Files { return cache })
	outs, err := par.preCommit1Batch(context.Background(), ts, wants, LabelOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed := &memFile{make([]byte, par.size())}
	if _, err := par.preCommit2(context.Background(), &PreCommit2Task{PC1: outs[0], Unsealed: ts[0].Unsealed, Sealed: sealed, Cache: cache}, nil); err != nil {
		t.Fatal(err)
	}
	data := vectorData(uint64(par.size()))
	rapid.Check(t, func(t *rapid.T) {
		d := &crashFiles{files: map[string]*crashFile{}}
		o := LabelOptions{}
		if rapid.Bool().Draw(t, "little memory") {
			o.Memory = LeastPreCommit1Memory(1)
		}
		offset := 128 * rapid.Uint64Range(0, 15).Draw(t, "offset")
		size := 128 * rapid.Uint64Range(1, 16-offset/128).Draw(t, "size")
		for try := 0; ; try++ {
			if d.left = rapid.IntRange(0, 60).Draw(t, "operations"); try == 5 {
				d.left = 1 << 30
			}
			var out bytes.Buffer
			j := unsealing{par: par, sealed: sealed, out: &out, offset: offset, size: size}
			err := j.run(context.Background(), outs[0].ReplicaID, outs[0].CommD, d, o, nil)
			if err == nil {
				if !bytes.Equal(out.Bytes(), data[offset:offset+size]) {
					t.Fatal("other bytes")
				}
				if len(d.files) != 0 {
					t.Fatalf("left behind: %v", d.names())
				}
				return
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			if n := len(d.files); n > 6 { // two layers, one more being made, and their marks
				t.Fatalf("%d files: %v", n, d.names())
			}
			d.crash(func() bool { return rapid.Bool().Draw(t, "kept") })
		}
	})
}

func TestLabelRefusals(t *testing.T) {
	ctx, data := context.Background(), bytes.NewReader(vectorData(2048))
	s := Sector{Proof: test2KiB, Miner: 1000, Number: 1}
	task := PreCommit1Task{Sector: s, Ticket: make([]byte, 32), Unsealed: data, Cache: newMemFiles()}
	other := task
	other.Sector.Proof++
	for name, ts := range map[string][]PreCommit1Task{"empty": nil, "of two proofs": {task, other}, "too large": make([]PreCommit1Task, sdr.MaxBatch+1)} {
		if _, err := PreCommit1Batch(ctx, ts, LabelOptions{}, nil); err == nil {
			t.Errorf("a batch that is %s was accepted", name)
		}
	}
	_, info, _ := proved(t, test2KiB)
	if err := UnsealWith(ctx, s, make([]byte, 32), info.UnsealedCID, data, &bytes.Buffer{}, 0, 2048, nil, LabelOptions{Memory: LeastPreCommit1Memory(1)}, nil); err == nil {
		t.Error("unsealing with little memory and no directory was accepted")
	}
	if _, err := PreCommit1Memory(99, 1); err == nil {
		t.Error("memory of an unknown proof")
	}
	for proof, least := range map[abi.RegisteredSealProof]uint64{7: 1 << 30, 8: 64 << 30, 9: 128 << 30} {
		got, err := PreCommit1Memory(proof, 1)
		if err != nil || got < least || got > least+least/8+1<<30 {
			t.Errorf("seal proof %d: %d bytes, %v", proof, got, err)
		}
	}
}
