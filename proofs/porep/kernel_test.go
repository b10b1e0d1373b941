package porep

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/kernel"
	"quarry/proofs/merkle"
	"quarry/proofs/poseidon"
	"quarry/proofs/sdr"
)

// device is the CPU with sizes of its own; it counts its calls.
type device struct {
	labels sdr.CPU
	trees  merkle.CPU
	sizes  kernel.TreeSizes
	fault  map[string]error

	mu    sync.Mutex
	calls map[string]int
	most  int // columns in one call
}

func newDevice(sizes kernel.TreeSizes) *device {
	return &device{sizes: sizes, fault: map[string]error{}, calls: map[string]int{}}
}

func (d *device) note(what string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[what]++
	return d.fault[what]
}

func (d *device) Sizes() kernel.TreeSizes { return d.sizes }

func (d *device) Label(ctx context.Context, job kernel.LabelJob, store kernel.LabelStore) error {
	if err := d.note("labels"); err != nil {
		return err
	}
	return d.labels.Label(ctx, job, store)
}

func (d *device) HashColumns(ctx context.Context, width int, dst, src []poseidon.Element) error {
	if err := d.note("columns"); err != nil {
		return err
	}
	d.mu.Lock()
	d.most = max(d.most, len(dst))
	d.mu.Unlock()
	return d.trees.HashColumns(ctx, width, dst, src)
}

func (d *device) HashPoseidon(ctx context.Context, rows [][]poseidon.Element) error {
	if err := d.note("poseidon"); err != nil {
		return err
	}
	return d.trees.HashPoseidon(ctx, rows)
}

func (d *device) HashSHA256(ctx context.Context, rows [][]byte) error {
	if err := d.note("sha256"); err != nil {
		return err
	}
	return d.trees.HashSHA256(ctx, rows)
}

// sealOn seals a vector's sector with a kernel.
func sealOn(t *testing.T, v *sectorVector, d *device) (*memFiles, *memFile, error) {
	t.Helper()
	ctx, ticket := context.Background(), node(t, v.Ticket)
	par, cache, sealed := v.params(t), newMemFiles(), &memFile{make([]byte, v.Size)}
	data, set := vectorData(v.Size), kernel.Set{Labels: d, Trees: d}
	task := PreCommit1Task{Sector: v.sector(), Ticket: ticket[:], Unsealed: bytes.NewReader(data), Cache: cache}
	pc1, err := par.preCommit1Batch(ctx, []PreCommit1Task{task}, [][32]byte{node(t, v.CommD)}, LabelOptions{Kernel: set}, nil)
	if err != nil {
		return nil, nil, err
	}
	_, err = par.preCommit2(ctx, &PreCommit2Task{
		PC1:      pc1[0],
		Unsealed: bytes.NewReader(data),
		Sealed:   sealed,
		Cache:    cache,
		Kernel:   d,
	}, nil)
	return cache, sealed, err
}

// Sealing uses a kernel for everything that there is a seam for, and the files
// are the same whatever sizes it wants.
func TestSealingOnAKernel(t *testing.T) {
	for _, v := range sectorVectors(t)[1:5] {
		plain := seal(t, &v)
		for _, sizes := range []kernel.TreeSizes{
			{},
			{Leaves: 8, Nodes: 4, Columns: 1},
			{Leaves: 64, Nodes: 32, Columns: 5},
			{Leaves: kernel.MaxLeaves, Nodes: kernel.MaxLeaves, Columns: kernel.MaxColumns},
		} {
			d := newDevice(sizes)
			cache, sealed, err := sealOn(t, &v, d)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(sealed.b, plain.sealed.b) {
				t.Errorf("%s, %+v: another replica", v.Name, sizes)
			}
			names, err := plain.cache.List()
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if !bytes.Equal(content(t, cache, name), content(t, plain.cache, name)) {
					t.Errorf("%s, %+v: %s differs", v.Name, sizes, name)
				}
			}
			if got := slices.Sorted(maps.Keys(d.calls)); !slices.Equal(got, []string{"columns", "labels", "poseidon", "sha256"}) {
				t.Errorf("%s, %+v: only %v went to the kernel", v.Name, sizes, got)
			}
			if n := sizes.Columns; n > 0 && d.most > n {
				t.Errorf("%s: %d columns at once for a kernel that wants %d", v.Name, d.most, n)
			}
		}
	}
}

func content(t *testing.T, files *memFiles, name string) []byte {
	t.Helper()
	f, err := files.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if err := merkle.ReadFullAt(f, b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// A kernel that fails in the middle ends the phase with its error.
func TestSealingOnAKernelThatFails(t *testing.T) {
	v := sectorVectors(t)[1]
	for _, what := range []string{"columns", "labels", "poseidon", "sha256"} {
		broken := errors.New("out of order")
		d := newDevice(kernel.TreeSizes{})
		d.fault[what] = broken
		if _, _, err := sealOn(t, &v, d); !errors.Is(err, broken) {
			t.Errorf("%s: %v", what, err)
		}
		d.fault[what] = kernel.ErrUnsupported
		if _, _, err := sealOn(t, &v, d); err != nil || d.calls[what] < 2 {
			t.Errorf("%s refused: %v", what, err)
		}
	}
}

// The memory of a kernel that wants more at once is counted.
func TestMemoryOnAKernel(t *testing.T) {
	const proof, workers = abi.RegisteredSealProof_StackedDrg32GiBV1_1, 4
	plain, err := PreCommit2Memory(proof, workers)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sizes kernel.TreeSizes
		more  uint64 // a worker, at least
	}{
		{kernel.TreeSizes{}, 0},
		{kernel.TreeSizes{Leaves: 1 << 21}, 64 << 20},
		{kernel.TreeSizes{Leaves: 1 << 21, Columns: 1 << 20}, 64<<20 + 11*32<<20},
		{kernel.TreeSizes{Leaves: 1 << 21, Columns: 1 << 24}, 64<<20 + 11*32<<20},
	} {
		got, err := PreCommit2MemoryOn(proof, workers, newDevice(c.sizes))
		if err != nil || got < plain+workers*c.more || got > plain+workers*c.more*3/2 {
			t.Errorf("%+v: %d bytes (%v); the CPU takes %d, and %d more a worker are wanted", c.sizes, got, err, plain, c.more)
		}
	}
	if _, err := PreCommit2MemoryOn(99, 1, nil); err == nil {
		t.Error("an unknown seal proof was accepted")
	}
}
