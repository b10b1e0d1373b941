package sdr

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

const (
	runNodes   = 1 << 11 // nodes labelled between two looks at the context, 1.5 ms
	writeNodes = 1 << 15 // nodes handed to the store at once, 1 MiB
)

// engine computes the layers of a batch in memory.
type engine struct {
	*Batch
	store Store
	table []uint32 // nil for graphs beyond maxTable
	lanes []*lane
}

// lane is one sector, or two that are labelled in step by one thread.
type lane struct {
	first     int // sector
	replicas  []Node
	cur, prev []byte
	scratch   *scratch
	apart     []byte // room to part the labels of two sectors
}

func newEngine(ctx context.Context, b *Batch, store Store) (*engine, error) {
	e := &engine{Batch: b, store: store}
	if e.Parents == nil {
		e.Parents = b.Graph
	}
	if b.Graph.nodes <= maxTable {
		var err error
		if e.table, err = b.Graph.table(ctx, e.Parents); err != nil {
			return nil, err
		}
	}
	for i := 0; i < len(b.Replicas); i += 2 {
		e.lanes = append(e.lanes, newLane(i, b.Replicas[i:min(i+2, len(b.Replicas))], b.Graph.nodes))
	}
	return e, nil
}

func newLane(first int, replicas []Node, nodes uint64) *lane {
	size := nodes * nodeSize * uint64(len(replicas))
	return &lane{
		first: first, replicas: replicas, scratch: newScratch(replicas),
		cur: make([]byte, size), prev: make([]byte, size),
		apart: make([]byte, min(nodes, writeNodes)*nodeSize),
	}
}

func (e *engine) run(ctx context.Context) error {
	first := max(e.First, 1)
	if first > 1 {
		for _, l := range e.lanes {
			if err := l.load(ctx, e.store, first-1); err != nil {
				return err
			}
		}
	}
	for layer := first; layer <= e.Layers; layer++ {
		if err := e.layer(ctx, layer); err != nil {
			return err
		}
	}
	return nil
}

// layer computes one layer of all sectors. Labels go to the store while the
// next ones are computed.
func (e *engine) layer(ctx context.Context, layer int) error {
	group, gctx := errgroup.WithContext(ctx)
	ready := make(chan uint64, e.Graph.nodes/writeNodes+1) // nodes that are labelled
	group.Go(func() error { return e.write(gctx, layer, ready) })
	group.Go(func() error {
		defer close(ready)
		return e.hash(gctx, layer, ready)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	for _, l := range e.lanes {
		for i := range l.replicas {
			if err := e.store.FinishLayer(l.first+i, layer); err != nil {
				return err
			}
		}
		l.cur, l.prev = l.prev, l.cur
	}
	return ctx.Err()
}

func (e *engine) hash(ctx context.Context, layer int, ready chan<- uint64) error {
	nodes := e.Graph.nodes
	for _, l := range e.lanes {
		l.zero(layer)
	}
	feed, stop := e.feed(ctx)
	defer stop()
	for start := uint64(1); start < nodes; {
		end := min((start/runNodes+1)*runNodes, nodes)
		parents, err := feed(start, end)
		if err != nil {
			return err
		}
		if err := e.each(func(l *lane) { l.label(layer, start, end-start, parents) }); err != nil {
			return err
		}
		if end%writeNodes == 0 && end < nodes {
			ready <- end
		}
		if e.Done != nil {
			e.Done(uint64(layer-1)*nodes + end)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		start = end
	}
	ready <- nodes
	return nil
}

// each does the same on all lanes, each on a thread of its own.
func (e *engine) each(f func(*lane)) error {
	if len(e.lanes) == 1 {
		f(e.lanes[0])
		return nil
	}
	var group errgroup.Group
	for _, l := range e.lanes {
		group.Go(func() error { f(l); return nil })
	}
	return group.Wait()
}

// zero puts the labels of node 0, which has no parents.
func (l *lane) zero(layer int) {
	for i, id := range l.replicas {
		n := Label(id, layer, 0, nil)
		copy(l.cur[i*nodeSize:], n[:])
	}
}

// label computes the labels of count nodes from start. parents are those nodes'.
func (l *lane) label(layer int, start, count uint64, parents []uint32) {
	stride := uint64(len(l.replicas) * nodeSize)
	kernels[0].run(&job{
		parents: &parents[0], cur: &l.cur[0], prev: &l.prev[0], out: &l.cur[start*stride],
		node: start, count: count, layer: uint32(layer), scratch: l.scratch, //nolint:gosec // few layers
	}, len(l.replicas))
}

// write hands labels to the store up to each node that it hears of.
func (e *engine) write(ctx context.Context, layer int, ready <-chan uint64) error {
	written := uint64(0)
	for upto := range ready {
		for written < upto {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(writeNodes, upto-written)
			for _, l := range e.lanes {
				if err := l.write(e.store, layer, written, n); err != nil {
					return err
				}
			}
			written += n
		}
	}
	return nil
}

func (l *lane) write(store Store, layer int, start, n uint64) error {
	sectors := uint64(len(l.replicas))
	labels := l.cur[start*nodeSize*sectors : (start+n)*nodeSize*sectors]
	for i := range sectors {
		part := labels
		if sectors > 1 {
			part = l.apart[:n*nodeSize]
			for k := range n {
				copy(part[k*nodeSize:(k+1)*nodeSize], labels[(k*sectors+i)*nodeSize:])
			}
		}
		if err := store.WriteLabels(l.first+int(i), layer, int64(start)*nodeSize, part); err != nil {
			return fmt.Errorf("layer %d at node %d: %w", layer, start, err)
		}
	}
	return nil
}

// load fills the layer below from the store.
func (l *lane) load(ctx context.Context, store Store, layer int) error {
	sectors := uint64(len(l.replicas))
	nodes := uint64(len(l.prev)) / nodeSize / sectors
	for i := range sectors {
		for start := uint64(0); start < nodes; start += writeNodes {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := l.apart[:min(writeNodes, nodes-start)*nodeSize]
			if err := store.ReadLabels(l.first+int(i), layer, int64(start)*nodeSize, part); err != nil {
				return fmt.Errorf("layer %d at node %d: %w", layer, start, err)
			}
			for k := uint64(0); k*nodeSize < uint64(len(part)); k++ {
				copy(l.prev[((start+k)*sectors+i)*nodeSize:], part[k*nodeSize:(k+1)*nodeSize])
			}
		}
	}
	return nil
}
