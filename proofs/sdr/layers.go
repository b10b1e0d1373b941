package sdr

import (
	"context"
	"errors"
	"fmt"

	"quarry/proofs/kernel"
)

// Store takes the layers of labels as they are made, and gives them back where
// that is asked for. Sectors count in the order of Batch.Replicas.
type Store = kernel.LabelStore

// Batch is what to label: one sector or several that share a graph. Parents are
// read once for all of them, and two sectors take hardly longer than one.
type Batch struct {
	Graph *Graph
	// Parents may be nil: then they are computed, which takes longer than the
	// labels of two layers.
	Parents  Parents
	Replicas []Node // replica ids
	Layers   int
	// First is the first layer to compute; 0 and 1 are the same. A later one
	// needs layer First-1 from the store.
	First int
	// Memory is how many bytes the labels may take, 0 for no limit. Where two
	// layers do not fit, labels are read from the store one by one, which is
	// slow, and bound by the disk's random reads: ten a node and sector.
	Memory int64
	// Done, which may be nil, hears how many nodes over all layers of a sector
	// are labelled; it starts at those of the layers before First.
	Done func(uint64)
	// Kernel computes the labels; nil is CPU. What it refuses, CPU does.
	Kernel kernel.Labels
}

// MaxBatch is how many sectors one Batch may have.
const MaxBatch = kernel.MaxSectors

func (b *Batch) check() error {
	switch {
	case b.Graph == nil:
		return errors.New("sdr: a batch needs a graph")
	case len(b.Replicas) == 0 || len(b.Replicas) > MaxBatch:
		return fmt.Errorf("sdr: a batch of %d sectors; want 1 to %d", len(b.Replicas), MaxBatch)
	case b.Memory < 0 || b.Memory > 0 && b.Memory < LeastMemory(len(b.Replicas)):
		return fmt.Errorf("sdr: %d bytes of memory are too few for labels of %d sectors; at least %d", b.Memory, len(b.Replicas),
			LeastMemory(len(b.Replicas)))
	case b.Layers < 1 || b.First < 0 || b.First > b.Layers:
		return fmt.Errorf("sdr: layers %d to %d are none", b.First, b.Layers)
	}
	return nil
}

// overhead is the buffers of one thread, rounded up.
const overhead = 4 << 20

// MemoryNeed is how many bytes GenerateLayersBatch takes without a limit, for
// sectors sectors over nodes nodes: two layers of each, and for graphs up to 2^24
// nodes the parents.
func MemoryNeed(nodes uint64, sectors int) int64 {
	need := layersNeed(nodes, sectors)
	if nodes <= maxTable {
		need += tableNeed(nodes)
	}
	return need
}

// LeastMemory is the smallest limit that GenerateLayersBatch keeps to.
func LeastMemory(sectors int) int64 {
	return int64(lanesOf(sectors))*pagedNeed(leastWindow) + overhead
}

func lanesOf(sectors int) int { return (sectors + 1) / 2 }

func layersNeed(nodes uint64, sectors int) int64 {
	return int64(2*nodes*nodeSize)*int64(sectors) + overhead*int64(lanesOf(sectors)+1) // at most 2^32 nodes
}

func tableNeed(nodes uint64) int64 { return int64((nodes + prefetchNodes) * recordSize) } // at most 2^24 nodes

// GenerateLayersBatch computes the layers of a batch and hands all of them to
// store. It stops with ctx's error; layers that were finished are good.
func GenerateLayersBatch(ctx context.Context, b Batch, store Store) error {
	if err := b.check(); err != nil {
		return err
	}
	if b.Parents == nil {
		b.Parents = b.Graph
	}
	return kernel.LabelsOr(b.Kernel, CPU{}).Label(ctx, kernel.LabelJob{
		Nodes:    b.Graph.nodes,
		Parents:  b.Parents,
		Replicas: b.Replicas,
		Layers:   b.Layers,
		First:    b.First,
		Memory:   b.Memory,
		Done:     b.Done,
	}, store)
}

// LayerSink takes a finished layer (from 1), its labels in node order. It must
// not keep the slice.
type LayerSink func(layer int, labels []byte) error

// GenerateLayers computes layers layers of labels of one sector and hands each
// to sink. done, which may be nil, hears how many nodes over all layers are
// computed. The last layer is also returned. It stops with ctx's error.
func GenerateLayers(ctx context.Context, g *Graph, replicaID Node, layers int, sink LayerSink, done func(uint64)) ([]byte, error) {
	b := Batch{Graph: g, Replicas: []Node{replicaID}, Layers: layers, Done: done}
	if err := b.check(); err != nil {
		return nil, err
	}
	s := &memoryStore{sink: sink, labels: make([]byte, g.nodes*nodeSize)}
	if err := GenerateLayersBatch(ctx, b, s); err != nil {
		return nil, err
	}
	return s.labels, nil
}

// memoryStore keeps the newest layer.
type memoryStore struct {
	sink   LayerSink
	labels []byte
}

func (s *memoryStore) WriteLabels(_, _ int, off int64, labels []byte) error {
	copy(s.labels[off:], labels)
	return nil
}

func (s *memoryStore) FinishLayer(_, layer int) error {
	if s.sink == nil {
		return nil
	}
	return s.sink(layer, s.labels)
}

func (s *memoryStore) ReadLabels(_, layer int, _ int64, _ []byte) error {
	return fmt.Errorf("sdr: layer %d is not kept", layer)
}
