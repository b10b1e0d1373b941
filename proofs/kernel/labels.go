package kernel

import (
	"context"
	"fmt"
)

const (
	// NodeSize is the length of a label and of a node of a tree in bytes.
	NodeSize = 32
	// Degree is the number of parents of a node: BaseDegree in its own layer,
	// the others in the layer below.
	Degree = 14
	// BaseDegree is the number of parents in the node's own layer.
	BaseDegree = 6
	// MaxSectors is how many sectors one LabelJob may have.
	MaxSectors = 256
)

// Labels computes the layers of labels of sectors that share a graph.
type Labels interface {
	// Label computes the layers First to Layers of a job, all nodes of one layer
	// after the other, and hands them to store as its comment says. The label
	// of a node is SHA-256, with the two top bits of the last byte cleared, of the
	// replica id, the layer (4 bytes, big-endian), the node (8 bytes, big-endian),
	// 20 zeros and, but for node 0, 37 labels: in layer 1 those of the base
	// parents, above it those of the base parents and of the parents in the layer
	// below, again and again in this order.
	Label(ctx context.Context, job LabelJob, store LabelStore) error
}

// LabelJob is what to label.
type LabelJob struct {
	Nodes    uint64     // of a layer, 2 to 2^32
	Parents  Parents    // of every node
	Replicas [][32]byte // the sectors' replica ids, 1 to MaxSectors
	Layers   int        // of a sector, from 1
	First    int        // the first layer to compute; 0 is 1. A later one needs layer First-1 from the store
	Memory   int64      // bytes of the host that labels may take, 0 for no limit
	// Done, which may be nil, hears from one goroutine at a time how many nodes
	// over all layers of a sector are labelled. It starts at those of the layers
	// before First and ends at Layers times Nodes.
	Done func(nodes uint64)
}

// Check refuses a job that makes no sense with an ErrInput.
func (j *LabelJob) Check(store LabelStore) error {
	switch {
	case j.Nodes < 2 || j.Nodes > 1<<32:
		return fmt.Errorf("%w: labels of layers of %d nodes; want 2 to 2^32", ErrInput, j.Nodes)
	case j.Parents == nil || store == nil:
		return fmt.Errorf("%w: labels without parents or without a store", ErrInput)
	case len(j.Replicas) == 0 || len(j.Replicas) > MaxSectors:
		return fmt.Errorf("%w: labels of %d sectors; want 1 to %d", ErrInput, len(j.Replicas), MaxSectors)
	case j.Layers < 1 || j.First < 0 || j.First > j.Layers:
		return fmt.Errorf("%w: layers %d to %d are none", ErrInput, j.First, j.Layers)
	case j.Memory < 0:
		return fmt.Errorf("%w: a limit of %d bytes of memory", ErrInput, j.Memory)
	}
	return nil
}

// Parents gives the parents of every node of a graph. It is safe for concurrent
// use.
type Parents interface {
	// ReadParents fills dst with the parents of the nodes start, start+1, …:
	// Degree entries each, base parents first. Base parents are nodes before the
	// node (0 for node 0), the others any nodes. dst holds whole nodes and does
	// not reach beyond the graph. The backend checks what it gets before it uses
	// it as an address: parents may come from a file.
	ReadParents(ctx context.Context, start uint64, dst []uint32) error
}

// LabelStore takes the layers of labels as they are made, and gives them back
// where that is asked for. Sectors count from 0 in the order of Replicas, layers
// from 1; labels are in node order, NodeSize bytes each. It is called from one
// goroutine at a time for each sector, except for ReadLabels.
type LabelStore interface {
	// WriteLabels takes the labels at byte off of a layer, in order and without
	// gaps, whole nodes and best a megabyte at once. It does not keep the slice.
	WriteLabels(sector, layer int, off int64, labels []byte) error
	// FinishLayer hears that the layer is whole.
	FinishLayer(sector, layer int) error
	// ReadLabels gives labels that were written before, of the same layer or of
	// the one below. It may be called from many goroutines.
	ReadLabels(sector, layer int, off int64, labels []byte) error
}

// LabelsOr is first, and second where first is nil or refuses.
func LabelsOr(first, second Labels) Labels {
	if first == nil {
		return second
	}
	if second == nil {
		return first
	}
	return labelsOr{first, second}
}

type labelsOr struct{ first, second Labels }

func (l labelsOr) Label(ctx context.Context, job LabelJob, store LabelStore) error {
	return or(l.first.Label(ctx, job, store), func() error { return l.second.Label(ctx, job, store) })
}
