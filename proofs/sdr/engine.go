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

// engine computes the layers of a batch.
type engine struct {
	*Batch
	store Store
	table []uint32 // nil when parents are read once a layer
	lanes []*lane  // with both layers in memory
	pages []*paged // or with a window of them
}

// share is the part of a batch that one thread labels: one sector, or two in step.
type share struct {
	first    int    // of the sectors, in the batch
	replicas []Node // ids
	scratch  *scratch
	apart    []byte // room to part the labels of two sectors
}

func newShare(first int, replicas []Node, nodes uint64) share {
	return share{first: first, replicas: replicas, scratch: newScratch(replicas), apart: make([]byte, nodes*nodeSize)}
}

// lane is a share with two layers in memory.
type lane struct {
	share
	cur, prev []byte
	release   func() // of cur and prev
}

// newEngine decides what is kept in memory: as much as the limit allows.
func newEngine(ctx context.Context, b *Batch, store Store) (*engine, error) {
	e := &engine{Batch: b, store: store}
	if e.Parents == nil {
		e.Parents = b.Graph
	}
	fits := func(need int64) bool { return b.Memory == 0 || need <= b.Memory }
	nodes, layers := b.Graph.nodes, layersNeed(b.Graph.nodes, len(b.Replicas))
	if nodes <= maxTable && fits(layers+tableNeed(nodes)) {
		var err error
		if e.table, err = b.Graph.table(ctx, e.Parents); err != nil {
			return nil, err
		}
	}
	for i := 0; i < len(b.Replicas); i += 2 {
		ids := b.Replicas[i:min(i+2, len(b.Replicas))]
		if fits(layers) {
			l, err := newLane(i, ids, nodes)
			if err != nil {
				e.release()
				return nil, err
			}
			e.lanes = append(e.lanes, l)
		} else {
			e.pages = append(e.pages, newPaged(i, ids, window(b.Memory, len(b.Replicas))))
		}
	}
	return e, nil
}

func newLane(first int, replicas []Node, nodes uint64) (*lane, error) {
	size := nodes * nodeSize * uint64(len(replicas))
	cur, freeCur, err := newRoom(size)
	if err != nil {
		return nil, err
	}
	prev, freePrev, err := newRoom(size)
	if err != nil {
		freeCur()
		return nil, err
	}
	return &lane{
		share:   newShare(first, replicas, min(nodes, writeNodes)),
		cur:     cur,
		prev:    prev,
		release: func() { freeCur(); freePrev() },
	}, nil
}

// release gives the memory of the layers back. The engine is of no use then.
func (e *engine) release() {
	for _, l := range e.lanes {
		l.release()
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
	if e.pages != nil {
		return e.pagedLayer(ctx, layer)
	}
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
		if err := l.finish(e.store, layer); err != nil {
			return err
		}
		l.cur, l.prev = l.prev, l.cur
	}
	return ctx.Err()
}

func (e *engine) hash(ctx context.Context, layer int, ready chan<- uint64) error {
	nodes := e.Graph.nodes
	for _, l := range e.lanes {
		putZero(l.cur, l.replicas, layer)
	}
	feed, stop := e.feed(ctx)
	defer stop()
	for start := uint64(1); start < nodes; {
		end := nextRun(start, nodes)
		parents, err := feed(start, end)
		if err != nil {
			return err
		}
		if err := each(e.lanes, func(l *lane) error { l.label(layer, start, end-start, parents); return nil }); err != nil {
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
func each[L any](lanes []L, f func(L) error) error {
	if len(lanes) == 1 {
		return f(lanes[0])
	}
	var group errgroup.Group
	for _, l := range lanes {
		group.Go(func() error { return f(l) })
	}
	return group.Wait()
}

// putZero puts the labels of node 0, which has no parents, at the start of cur.
func putZero(cur []byte, replicas []Node, layer int) {
	for i, id := range replicas {
		n := Label(id, layer, 0, nil)
		copy(cur[i*nodeSize:], n[:])
	}
}

// label computes the labels of count nodes from start. parents are those nodes'.
func (l *lane) label(layer int, start, count uint64, parents []uint32) {
	stride := uint64(len(l.replicas) * nodeSize)
	kernels[0].run(&job{
		parents: &parents[0],
		cur:     &l.cur[0],
		prev:    &l.prev[0],
		out:     &l.cur[start*stride],
		node:    start,
		count:   count,
		layer:   uint32(layer),
		scratch: l.scratch,
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
	stride := uint64(len(l.replicas) * nodeSize)
	return l.put(store, layer, start, l.cur[start*stride:(start+n)*stride])
}

// put hands the labels of each sector to the store, from node start on. No more
// come at once than apart has room for.
func (s *share) put(store Store, layer int, start uint64, labels []byte) error {
	part, sectors := labels, len(s.replicas)
	for i := range sectors {
		if sectors > 1 {
			part = s.apart[:len(labels)/sectors]
			for k := 0; k < len(part); k += nodeSize {
				copy(part[k:k+nodeSize], labels[k*sectors+i*nodeSize:])
			}
		}
		if err := store.WriteLabels(s.first+i, layer, int64(start)*nodeSize, part); err != nil {
			return fmt.Errorf("sdr: storing labels from node %d of layer %d of sector %d of the batch: %w", start, layer, s.first+i, err)
		}
	}
	return nil
}

// finish tells the store that a layer of each sector is whole.
func (s *share) finish(store Store, layer int) error {
	for i := range s.replicas {
		if err := store.FinishLayer(s.first+i, layer); err != nil {
			return fmt.Errorf("sdr: finishing layer %d of sector %d of the batch: %w", layer, s.first+i, err)
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
				return fmt.Errorf("sdr: reading labels from node %d of layer %d of sector %d of the batch: %w", start, layer,
					l.first+int(i), err)
			}
			for k := uint64(0); k*nodeSize < uint64(len(part)); k++ {
				copy(l.prev[((start+k)*sectors+i)*nodeSize:], part[k*nodeSize:(k+1)*nodeSize])
			}
		}
	}
	return nil
}
