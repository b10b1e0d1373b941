package sdr

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// crashFile is a file in memory that loses what was not synced when it crashes,
// as a disk may: any of the bytes, not only the last.
type crashFile struct {
	mu            sync.Mutex
	durable, live []byte
	left          *int // operations until everything fails
}

var errCrash = errors.New("power failure")

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.NewReader(f.live).ReadAt(p, off)
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *f.left--; *f.left < 0 {
		return 0, errCrash
	}
	if end := int(off) + len(p); end > len(f.live) {
		f.live = append(f.live, make([]byte, end-len(f.live))...)
	}
	return copy(f.live[off:], p), nil
}

func (f *crashFile) Sync() error {
	if *f.left--; *f.left < 0 {
		return errCrash
	}
	f.durable = bytes.Clone(f.live)
	return nil
}

// crash keeps an arbitrary part of what was written since the last sync.
func (f *crashFile) crash(keep func(i int) bool) {
	for i := range f.live {
		if i >= len(f.durable) {
			f.durable = append(f.durable, 0)
		}
		if keep(i) {
			f.durable[i] = f.live[i]
		}
	}
	f.live = bytes.Clone(f.durable)
}

// builtFile is the parent cache file in memory.
func builtFile(t testing.TB, g *Graph) ([]byte, [32]byte) {
	t.Helper()
	left := 1 << 30
	f, j := &crashFile{left: &left}, &crashFile{left: &left}
	last := uint64(0)
	sum, err := BuildParentFile(context.Background(), g, f, j, func(n uint64) { last = n })
	if err != nil || last != g.nodes {
		t.Fatal(err, last)
	}
	return f.live, sum
}

func TestParentFile(t *testing.T) {
	ctx := context.Background()
	for _, id := range []byte{0, 5, 10} {
		g, err := NewGraph(Node{id}, 64, id == 0)
		if err != nil {
			t.Fatal(err)
		}
		b, sum := builtFile(t, g)
		if want, known := g.ParentFileDigest(); known != (id < 10) || known && want != sum {
			t.Errorf("id %d: SHA-256 %x, published %v %x", id, sum, known, want)
		}
		f, err := OpenParentFile(ctx, g, bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Verify(ctx, sum), f.Verify(ctx, [32]byte{})); err != nil {
			t.Error(err)
		}
		batch := Batch{Graph: g, Parents: f, Replicas: []Node{{1}, {2}, {3}}, Layers: 3}
		s, want := newLayerStore(), newLayerStore()
		if err := GenerateLayersBatch(ctx, batch, s); err != nil {
			t.Fatal(err)
		}
		batch.Parents = nil
		if err := GenerateLayersBatch(ctx, batch, want); err != nil {
			t.Fatal(err)
		}
		for k := range want.layers {
			if !bytes.Equal(s.layers[k], want.layers[k]) {
				t.Errorf("id %d: %v differs with parents from a file", id, k)
			}
		}
	}
}

func TestParentFileNames(t *testing.T) {
	var v struct {
		Graphs []struct {
			File   string `json:"parent_cache_file"`
			SHA256 string `json:"parent_cache_sha256"`
			Nodes  uint64 `json:"nodes"`
			Legacy bool   `json:"legacy_v1_0"`
			ID     byte   `json:"porep_id_first_byte"`
		} `json:"graphs"`
	}
	load(t, "graph.json", &v)
	if len(v.Graphs) != 20 {
		t.Fatalf("%d graphs", len(v.Graphs))
	}
	for _, w := range v.Graphs {
		g, err := NewGraph(Node{w.ID}, w.Nodes, w.Legacy)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.ParentFileName(); got != w.File {
			t.Errorf("id %d: %s, want %s", w.ID, got, w.File)
		}
		want := ""
		if sum, known := g.ParentFileDigest(); known {
			want = hexOf(sum)
		}
		if want != w.SHA256 {
			t.Errorf("id %d: digest %s, want %s", w.ID, want, w.SHA256)
		}
	}
}

// A damaged file is refused: by Verify always, and by reading when a parent is
// outside the graph, which would have the kernels read outside their layers.
func TestParentFileDamage(t *testing.T) {
	ctx := context.Background()
	for _, id := range []byte{5, 10} {
		g, err := NewGraph(Node{id}, 64, false)
		if err != nil {
			t.Fatal(err)
		}
		good, sum := builtFile(t, g)
		rapid.Check(t, func(t *rapid.T) {
			b := bytes.Clone(good)
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= rapid.ByteRange(1, 255).Draw(t, "by")
			f := &ParentFile{g, bytes.NewReader(b)}
			if !errors.Is(f.Verify(ctx, sum), ErrParentFile) || !errors.Is(f.Verify(ctx, [32]byte{}), ErrParentFile) {
				t.Fatal("a damaged file was verified")
			}
			run := make([]uint32, 64*Degree)
			if err := f.ReadParents(ctx, 0, run); err == nil {
				if err := g.checkParents(0, run); err != nil {
					t.Fatal(err)
				}
			} else if !errors.Is(err, ErrParentFile) {
				t.Fatal(err)
			}
		})
		other, err := NewGraph(Node{id + 5}, 64, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenParentFile(ctx, other, bytes.NewReader(good), int64(len(good))); !errors.Is(err, ErrParentFile) {
			t.Errorf("a file of another graph: %v", err)
		}
		if _, err := OpenParentFile(ctx, g, bytes.NewReader(good), int64(len(good))-1); !errors.Is(err, ErrParentFile) {
			t.Errorf("a short file: %v", err)
		}
		if err := (&ParentFile{g, bytes.NewReader(good[:100])}).ReadParents(ctx, 0, make([]uint32, 64*Degree)); !errors.Is(err,
			io.ErrUnexpectedEOF) {
			t.Errorf("a file cut short: %v", err)
		}
	}
}

// A build that is interrupted again and again, anywhere, with any part of the
// unsynced bytes lost, ends in the same file.
func TestParentFileResume(t *testing.T) {
	g, err := NewGraph(Node{5}, 64, false)
	if err != nil {
		t.Fatal(err)
	}
	want, sum := builtFile(t, g)
	rapid.Check(t, func(t *rapid.T) {
		left := 0
		f, j := &crashFile{left: &left}, &crashFile{left: &left}
		keep := func(int) bool { return rapid.Bool().Draw(t, "kept") }
		for try := 0; ; try++ {
			left = rapid.IntRange(0, 12).Draw(t, "operations")
			if try == 6 {
				left = 1 << 30
			}
			got, err := g.buildParents(context.Background(), f, j, 8, nil)
			if err == nil {
				if got != sum || !bytes.Equal(f.live, want) {
					t.Fatal("another file")
				}
				return
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			f.crash(keep)
			j.crash(keep)
		}
	})
}

func TestParentBuildStops(t *testing.T) {
	g, err := NewGraph(Node{5}, 64, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	left := 100
	if _, err := BuildParentFile(ctx, g, &crashFile{left: &left}, &crashFile{left: &left}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Whatever a file holds, reading it gives parents inside the graph or an error.
func FuzzParentFile(f *testing.F) {
	g, err := NewGraph(Node{5}, 64, false)
	if err != nil {
		f.Fatal(err)
	}
	good, _ := builtFile(f, g)
	f.Add(good)
	f.Add(good[:1000])
	f.Add(bytes.Repeat([]byte{0xff}, len(good)))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := OpenParentFile(context.Background(), g, bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		err = GenerateLayersBatch(context.Background(), Batch{Graph: g, Parents: file, Replicas: []Node{{}}, Layers: 2}, nowhere{})
		if err != nil && !errors.Is(err, ErrParentFile) {
			t.Fatal(err)
		}
	})
}

func hexOf(b [32]byte) string { return hex.EncodeToString(b[:]) }

// discard is a ParentStore that keeps nothing.
type discard struct{}

func (discard) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (discard) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (discard) Sync() error                            { return nil }

// The parents of 512 MiB sectors have the digests that the reference publishes.
func TestParentFile512MiB(t *testing.T) {
	if os.Getenv("QUARRY_LONG") == "" {
		t.Skip("a minute on two CPUs; run with QUARRY_LONG=1")
	}
	for _, id := range []byte{2, 7} {
		t.Run(fmt.Sprint("id ", id), func(t *testing.T) {
			g, err := NewGraph(Node{id}, 1<<24, id == 2)
			if err != nil {
				t.Fatal(err)
			}
			if _, known := g.ParentFileDigest(); !known {
				t.Fatal("no digest is published")
			}
			if _, err := BuildParentFile(context.Background(), g, discard{}, discard{}, nil); err != nil {
				t.Error(err)
			}
		})
	}
}
