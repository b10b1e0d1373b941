package sdr

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Labelling with a window of the newest labels in memory. For each run of nodes
// the other parents are read from the store first, all at once, and put where
// the kernel finds them: base parents before the window, expansion parents in a
// buffer of their own.

const (
	farSlots    = runNodes * BaseDegree // base parents outside the window, at most
	expSlots    = runNodes * ExpDegree
	leastWindow = 2 * runNodes
	readers     = 64 // reads under way for each lane: random reads of a disk need depth
)

// paged is a share with a window of labels in memory.
type paged struct {
	share
	cur    []byte   // farSlots, then the window
	exp    []byte   // expSlots
	base   uint64   // node at the start of the window
	window uint64   // nodes that have room in it
	local  []uint32 // parents as places in cur and exp
	wanted []want
}

// want is a label to read from the store.
type want struct {
	layer int
	node  uint64
	at    []byte // of the first sector, the second's behind it
}

// pagedNeed is the memory of one lane with a window of so many nodes.
func pagedNeed(window int64) int64 {
	const places = (runNodes+prefetchNodes)*Degree*4 + runNodes*Degree*48
	return (farSlots+expSlots+window)*2*nodeSize + places + runNodes*nodeSize
}

// window is how many nodes a lane's window has under a limit.
func window(memory int64, sectors int) uint64 {
	left := (memory-overhead)/int64(lanesOf(sectors)) - pagedNeed(0)
	return uint64(max(left/(2*nodeSize), leastWindow)) / runNodes * runNodes
}

func newPaged(first int, replicas []Node, window uint64) *paged {
	stride := len(replicas) * nodeSize
	return &paged{
		share:  newShare(first, replicas, runNodes),
		window: window,
		cur:    make([]byte, (farSlots+int(window))*stride), // within the limit
		exp:    make([]byte, expSlots*stride),
		local:  make([]uint32, (runNodes+prefetchNodes)*Degree),
	}
}

// pagedLayer computes one layer of all sectors, run after run.
func (e *engine) pagedLayer(ctx context.Context, layer int) error {
	for _, p := range e.pages {
		p.base = 0
		putZero(p.cur[farSlots*p.stride():], p.replicas, layer)
	}
	feed, stop := e.feed(ctx)
	defer stop()
	nodes := e.Graph.nodes
	for start := uint64(1); start < nodes; {
		end := nextRun(start, nodes)
		if err := ctx.Err(); err != nil {
			return err
		}
		parents, err := feed(start, end)
		if err != nil {
			return err
		}
		err = each(e.pages, func(p *paged) error { return p.run(ctx, e.store, layer, start, end, parents) })
		if err != nil {
			return err
		}
		if e.Done != nil {
			e.Done(uint64(layer-1)*nodes + end)
		}
		start = end
	}
	for _, p := range e.pages {
		if err := p.finish(e.store, layer); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (p *paged) stride() int { return len(p.replicas) * nodeSize }

// place is the label of a node in the window.
func (p *paged) place(node uint64) uint64 { return farSlots + node - p.base }

// run labels the nodes start … end-1 and hands them to the store.
func (p *paged) run(ctx context.Context, store Store, layer int, start, end uint64, parents []uint32) error {
	p.slide(start, end)
	p.localize(layer, parents[:(end-start)*Degree])
	if err := p.read(ctx, store); err != nil {
		return err
	}
	stride := uint64(p.stride()) // 32 or 64
	kernels[0].run(&job{
		parents: &p.local[0],
		cur:     &p.cur[0],
		prev:    &p.exp[0],
		out:     &p.cur[p.place(start)*stride],
		node:    start,
		count:   end - start,
		layer:   uint32(layer),
		scratch: p.scratch,
	}, len(p.replicas))
	from := start
	if start == 1 {
		from = 0 // node 0 is nobody's run
	}
	return p.put(store, layer, from, p.cur[p.place(from)*stride:p.place(end)*stride])
}

// slide makes room for the nodes up to end; the newest half of the window stays.
func (p *paged) slide(start, end uint64) {
	if end-p.base <= p.window {
		return
	}
	stride := uint64(p.stride())           // 32 or 64
	next := start - min(start, p.window/2) // first node that stays
	copy(p.cur[farSlots*stride:], p.cur[p.place(next)*stride:p.place(start)*stride])
	p.base = next
}

// localize turns the parents of a run into places, and lists what is to be read.
func (p *paged) localize(layer int, parents []uint32) {
	p.wanted = p.wanted[:0]
	clear(p.local)
	stride, far := p.stride(), 0
	for i, parent := range parents {
		node, slot := uint64(parent), i%Degree
		switch {
		case slot < BaseDegree && node >= p.base:
			p.local[i] = uint32(p.place(node)) // inside cur
		case slot < BaseDegree:
			p.local[i] = uint32(far) // below farSlots
			p.wanted = append(p.wanted, want{layer, node, p.cur[far*stride : (far+1)*stride]})
			far++
		case layer > 1:
			at := i/Degree*ExpDegree + slot - BaseDegree
			p.local[i] = uint32(at) // below expSlots
			p.wanted = append(p.wanted, want{layer - 1, node, p.exp[at*stride : (at+1)*stride]})
		}
	}
}

// read fetches what localize listed.
func (p *paged) read(ctx context.Context, store Store) error {
	group, gctx := errgroup.WithContext(ctx)
	share := (len(p.wanted) + readers - 1) / readers
	for rest := p.wanted; len(rest) > 0; {
		part := rest[:min(share, len(rest))]
		rest = rest[len(part):]
		group.Go(func() error {
			for _, w := range part {
				if err := gctx.Err(); err != nil {
					return err
				}
				for i := range p.replicas {
					to := w.at[i*nodeSize : (i+1)*nodeSize]
					if err := store.ReadLabels(p.first+i, w.layer, int64(w.node)*nodeSize, to); err != nil {
						return fmt.Errorf("sdr: reading the label of node %d in layer %d of sector %d of the batch: %w", w.node,
							w.layer, p.first+i, err)
					}
				}
			}
			return nil
		})
	}
	return group.Wait()
}
