package sdr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// layerStore keeps every layer of every sector.
type layerStore struct {
	mu       sync.Mutex
	layers   map[[2]int][]byte
	finished map[[2]int]bool
}

func newLayerStore() *layerStore {
	return &layerStore{layers: map[[2]int][]byte{}, finished: map[[2]int]bool{}}
}

func (s *layerStore) WriteLabels(sector, layer int, off int64, labels []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := [2]int{sector, layer}
	if int64(len(s.layers[k])) != off {
		return fmt.Errorf("write at %d of a layer that has %d bytes", off, len(s.layers[k]))
	}
	s.layers[k] = append(s.layers[k], labels...)
	return nil
}

func (s *layerStore) FinishLayer(sector, layer int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished[[2]int{sector, layer}] = true
	return nil
}

func (s *layerStore) ReadLabels(sector, layer int, off int64, labels []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.layers[[2]int{sector, layer}]
	if off+int64(len(labels)) > int64(len(l)) {
		return fmt.Errorf("read of %d at %d of a layer that has %d bytes", len(labels), off, len(l))
	}
	copy(labels, l[off:])
	return nil
}

// eachKernel runs f with every kernel that this CPU has, also the slower ones.
func eachKernel(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	all := kernels
	defer func() { kernels = all }()
	for i, k := range all {
		kernels = all[i:]
		t.Run(k.name, f)
	}
}

// reference labels with the function that a verifier uses.
func reference(g *Graph, replica Node, layers int) [][]byte {
	var out [][]byte
	for l := 1; l <= layers; l++ {
		cur := make([]byte, g.nodes*nodeSize)
		for n := range g.nodes {
			b, e := g.Parents(n)
			var base [BaseDegree]Node
			var exp [ExpDegree]Node
			for i, p := range b {
				base[i] = Node(cur[uint64(p)*nodeSize:])
			}
			for i, p := range e {
				if l > 1 {
					exp[i] = Node(out[l-2][uint64(p)*nodeSize:])
				}
			}
			parents := RepeatParents(l, &base, &exp)
			label := Label(replica, l, n, &parents)
			copy(cur[n*nodeSize:], label[:])
		}
		out = append(out, cur)
	}
	return out
}

// Batches of any size give every sector the labels that it has alone, by every
// kernel.
func TestKernels(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			nodes := uint64(1) << rapid.IntRange(1, 9).Draw(t, "log nodes")
			if rapid.Bool().Draw(t, "odd") {
				nodes += rapid.Uint64Range(0, nodes).Draw(t, "more")
			}
			g, err := NewGraph(rapid.Custom(drawNode).Draw(t, "porep id"), nodes, rapid.Bool().Draw(t, "legacy"))
			if err != nil {
				t.Fatal(err)
			}
			b := Batch{Graph: g, Layers: rapid.IntRange(1, 4).Draw(t, "layers")}
			b.Replicas = rapid.SliceOfN(rapid.Custom(drawNode), 1, 5).Draw(t, "replica ids")
			s := newLayerStore()
			if err := generateBy(rapid.SampledFrom(ways).Draw(t, "way"), b, s); err != nil {
				t.Fatal(err)
			}
			for i, id := range b.Replicas {
				for l, want := range reference(g, id, b.Layers) {
					k := [2]int{i, l + 1}
					if !s.finished[k] || !bytes.Equal(s.layers[k], want) {
						t.Fatalf("sector %d of %d, layer %d of %d nodes differs", i, len(b.Replicas), l+1, nodes)
					}
				}
			}
		})
	})
}

// The ways in which an engine can hold labels and parents.
const (
	withTable = iota
	withRuns  // both layers in memory, parents read once a layer
	withPages // a window of labels
)

var ways = []int{withTable, withRuns, withPages}

// generateBy forces a way that GenerateLayersBatch chooses for large graphs.
func generateBy(way int, b Batch, s Store) error {
	return generateUntil(context.Background(), way, b, s)
}

func generateUntil(ctx context.Context, way int, b Batch, s Store) error {
	e, err := newEngine(context.Background(), &b, s)
	if err != nil {
		return err
	}
	defer e.release()
	if way != withTable {
		e.table = nil
	}
	if way == withPages {
		e.release()
		e.lanes = nil
		for i := 0; i < len(b.Replicas); i += 2 {
			e.pages = append(e.pages, newPaged(i, b.Replicas[i:min(i+2, len(b.Replicas))], leastWindow))
		}
	}
	return e.run(ctx)
}

// Graphs of several runs and windows, in every way.
func TestWays(t *testing.T) {
	g, err := NewGraph(Node{5}, 3*leastWindow+17, false)
	if err != nil {
		t.Fatal(err)
	}
	b := Batch{Graph: g, Layers: 3, Replicas: []Node{{1}, {2}, {3}}}
	want := newLayerStore()
	if err := generateBy(withTable, b, want); err != nil {
		t.Fatal(err)
	}
	if got := reference(g, b.Replicas[0], 1); !bytes.Equal(got[0], want.layers[[2]int{0, 1}]) {
		t.Error("layer 1 differs from the verifier's labels")
	}
	for _, way := range ways[1:] {
		for _, first := range []int{1, 3} {
			s := newLayerStore()
			for i := range b.Replicas {
				if first > 1 {
					s.layers[[2]int{i, first - 1}] = want.layers[[2]int{i, first - 1}]
				}
			}
			b.First = first
			if err := generateBy(way, b, s); err != nil {
				t.Fatal(err)
			}
			for k := range s.finished {
				if !bytes.Equal(s.layers[k], want.layers[k]) {
					t.Errorf("way %d from layer %d: %v differs", way, first, k)
				}
			}
		}
	}
}

// A limit on memory decides the way.
func TestMemory(t *testing.T) {
	g, err := NewGraph(Node{5}, 1<<18, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		memory       int64
		table, pages bool
	}{
		{0, true, false},
		{MemoryNeed(1<<18, 1), true, false},
		{MemoryNeed(1<<18, 1) - 1, false, false},
		{MemoryNeed(1<<18, 1) - tableNeed(1<<18), false, false},
		{MemoryNeed(1<<18, 1) - tableNeed(1<<18) - 1, false, true},
		{LeastMemory(1), false, true},
	} {
		e, err := newEngine(context.Background(), &Batch{Graph: g, Replicas: []Node{{}}, Layers: 1, Memory: c.memory}, nowhere{})
		if err != nil {
			t.Fatal(err)
		}
		e.release()
		if got := e.table != nil; got != c.table {
			t.Errorf("%d bytes: table %v", c.memory, got)
		}
		if got := e.pages != nil; got != c.pages {
			t.Errorf("%d bytes: paged %v", c.memory, got)
		}
		for _, p := range e.pages {
			if used := int64(len(p.cur) + len(p.exp)); used > c.memory {
				t.Errorf("%d bytes: a lane takes %d", c.memory, used)
			}
		}
	}
}

func drawNode(t *rapid.T) Node {
	return Node(rapid.SliceOfN(rapid.Byte(), nodeSize, nodeSize).Draw(t, "bytes"))
}

// A batch that starts later takes the layer below from the store.
func TestFirstLayer(t *testing.T) {
	g, err := NewGraph(Node{5}, 100, false)
	if err != nil {
		t.Fatal(err)
	}
	b := Batch{Graph: g, Layers: 5, Replicas: []Node{{1}, {2}, {3}}}
	whole := newLayerStore()
	if err := GenerateLayersBatch(context.Background(), b, whole); err != nil {
		t.Fatal(err)
	}
	for first := 2; first <= 5; first++ {
		part := newLayerStore()
		for i := range b.Replicas {
			k := [2]int{i, first - 1}
			part.layers[k] = whole.layers[k]
		}
		b.First = first
		if err := GenerateLayersBatch(context.Background(), b, part); err != nil {
			t.Fatal(err)
		}
		for k := range part.finished {
			if !bytes.Equal(part.layers[k], whole.layers[k]) {
				t.Errorf("from layer %d: sector %d, layer %d differs", first, k[0], k[1])
			}
		}
		if want := 3 * (6 - first); len(part.finished) != want {
			t.Errorf("from layer %d: %d layers finished, want %d", first, len(part.finished), want)
		}
		if err := GenerateLayersBatch(context.Background(), b, newLayerStore()); err == nil {
			t.Errorf("from layer %d: no error without the layer below", first)
		}
	}
}

func TestBatchRefusals(t *testing.T) {
	g, err := NewGraph(Node{5}, 64, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []Batch{
		{Replicas: []Node{{}}, Layers: 1},
		{Graph: g, Layers: 1},
		{Graph: g, Layers: 1, Replicas: make([]Node, MaxBatch+1)},
		{Graph: g, Replicas: []Node{{}}},
		{Graph: g, Replicas: []Node{{}}, Layers: 2, First: 3},
		{Graph: g, Replicas: []Node{{}}, Layers: 2, First: -1},
		{Graph: g, Replicas: []Node{{}}, Layers: 2, Memory: LeastMemory(1) - 1},
	} {
		if err := GenerateLayersBatch(context.Background(), b, newLayerStore()); err == nil {
			t.Errorf("accepted: %+v", b)
		}
	}
}

// failingStore fails at the given write.
type failingStore struct {
	*layerStore
	left int
}

var errFull = errors.New("disk full")

func (s *failingStore) WriteLabels(sector, layer int, off int64, labels []byte) error {
	if s.left--; s.left < 0 {
		return errFull
	}
	return s.layerStore.WriteLabels(sector, layer, off, labels)
}

func TestStoreFails(t *testing.T) {
	g, err := NewGraph(Node{5}, 64, false)
	if err != nil {
		t.Fatal(err)
	}
	for left := range 6 {
		s := &failingStore{newLayerStore(), left}
		err := GenerateLayersBatch(context.Background(), Batch{Graph: g, Replicas: []Node{{1}, {2}}, Layers: 3}, s)
		if !errors.Is(err, errFull) {
			t.Errorf("after %d writes: %v", left, err)
		}
		if len(s.finished) > left {
			t.Errorf("%d layers finished after %d writes", len(s.finished), left)
		}
	}
}
