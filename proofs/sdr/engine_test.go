package sdr

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// Labelling ends with its context, whichever way labels and parents are held,
// and no layer is taken for whole then.
func TestLabellingStops(t *testing.T) {
	g, err := NewGraph(Node{5}, 3*leastWindow+17, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range ways {
		ctx, cancel := context.WithCancel(context.Background())
		s := newLayerStore()
		b := Batch{Graph: g, Layers: 2, Replicas: []Node{{1}, {2}, {3}}, Done: func(uint64) { cancel() }}
		if err := generateUntil(ctx, way, b, s); !errors.Is(err, context.Canceled) {
			t.Errorf("way %d: %v", way, err)
		}
		if len(s.finished) != 0 {
			t.Errorf("way %d: finished %v", way, s.finished)
		}
		cancel()
	}
}

// brokenParents fail from node 4000 on.
type brokenParents struct{ *Graph }

var errBroken = errors.New("bad sector")

func (p brokenParents) ReadParents(ctx context.Context, start uint64, dst []uint32) error {
	if start+uint64(len(dst)/Degree) > 4000 {
		return errBroken
	}
	return p.Graph.ReadParents(ctx, start, dst)
}

// Parents that cannot be read are told as such: not as the end of a context that
// the caller never ended.
func TestBrokenParents(t *testing.T) {
	g, err := NewGraph(Node{5}, 3*leastWindow+17, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []int{withRuns, withPages} {
		b := Batch{Graph: g, Layers: 1, Replicas: []Node{{1}}}
		e, err := newEngine(context.Background(), &b, newLayerStore())
		if err != nil {
			t.Fatal(err)
		}
		e.table, e.Parents = nil, brokenParents{g}
		if way == withPages {
			e.release()
			e.lanes, e.pages = nil, []*paged{newPaged(0, b.Replicas, leastWindow)}
		}
		if err := e.run(context.Background()); !errors.Is(err, errBroken) || errors.Is(err, context.Canceled) {
			t.Errorf("way %d: %v", way, err)
		}
		e.release()
	}
	b := Batch{Graph: g, Parents: brokenParents{g}, Layers: 1, Replicas: []Node{{1}}}
	if err := GenerateLayersBatch(context.Background(), b, newLayerStore()); !errors.Is(err, errBroken) {
		t.Errorf("a table of them: %v", err)
	}
}

// Parents that a caller gives with a graph are not kept for those who give none.
func TestParentsOfOthersAreNotKept(t *testing.T) {
	g, err := NewGraph(Node{77}, 64, false)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewGraph(Node{78}, 64, false)
	if err != nil {
		t.Fatal(err)
	}
	b := Batch{Graph: g, Parents: other, Layers: 1, Replicas: []Node{{1}}}
	if err := GenerateLayersBatch(context.Background(), b, newLayerStore()); err != nil {
		t.Fatal(err)
	}
	b.Parents = nil
	s := newLayerStore()
	if err := GenerateLayersBatch(context.Background(), b, s); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.layers[[2]int{0, 1}], reference(g, Node{1}, 1)[0]) {
		t.Error("labels follow the parents of another graph")
	}
}

func TestGenerateLayersRefuses(t *testing.T) {
	if _, err := GenerateLayers(context.Background(), nil, Node{}, 1, nil, nil); err == nil {
		t.Error("labels without a graph")
	}
}

// Room for labels is zeroed, whole and writable to its end.
func TestRoom(t *testing.T) {
	b, release, err := newRoom(16 << 20)
	if err != nil || len(b) != 16<<20 || !bytes.Equal(b, make([]byte, 16<<20)) {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	b[len(b)-1] = 1
	release()
}
