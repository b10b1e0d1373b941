package sdr

import (
	"cmp"
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// feeder gives the parents of the nodes start … end-1, followed by those that
// the kernels look ahead to. The slice is good until the next call. It must be
// asked for consecutive runs as they are made by nextRun.
type feeder func(start, end uint64) ([]uint32, error)

// nextRun is the end of the run that begins at start.
func nextRun(start, nodes uint64) uint64 { return min((start/runNodes+1)*runNodes, nodes) }

// maxReaders bounds how many runs of parents are computed or read at once. With
// vector code two threads keep up with one that hashes, with portable code
// sixteen do.
const maxReaders = 16

// errNoParents is the answer to a run beyond the end of the graph.
var errNoParents = errors.New("sdr: no more parents")

// promise is a run of parents that is on its way.
type promise struct {
	run  []uint32
	done chan struct{}
}

// feed is the feeder of one layer: the table, or runs that are read ahead on
// threads of their own. stop ends those.
func (e *engine) feed(ctx context.Context) (next feeder, stop func()) {
	if e.table != nil {
		return func(start, _ uint64) ([]uint32, error) { return e.table[start*Degree:], nil }, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	readers := min(runtime.GOMAXPROCS(0), maxReaders)
	queue, empty := make(chan promise, 2*readers), make(chan []uint32, 2*readers)
	for range cap(empty) {
		empty <- make([]uint32, (runNodes+prefetchNodes)*Degree)
	}
	group.SetLimit(readers + 1)
	group.Go(func() error {
		defer close(queue)
		return e.readAhead(ctx, group, queue, empty)
	})
	// failure is why reading ended early. A failed read ends ctx too, so that
	// ctx's own error would say that the caller had stopped.
	failure := func() error {
		stopped := ctx.Err()
		cancel()
		return cmp.Or(group.Wait(), stopped, errNoParents)
	}
	var last []uint32
	next = func(_, _ uint64) ([]uint32, error) {
		if last != nil {
			empty <- last
		}
		p, ok := <-queue
		if !ok {
			return nil, failure()
		}
		last = p.run
		select {
		case <-p.done:
			return p.run, nil
		case <-ctx.Done():
			return nil, failure()
		}
	}
	return next, func() {
		cancel()
		_ = group.Wait() // an error was told by next, or nobody needs it any more
	}
}

// readAhead starts the reading of all runs in order, as buffers become free.
func (e *engine) readAhead(ctx context.Context, group *errgroup.Group, queue chan<- promise, empty <-chan []uint32) error {
	for start := uint64(1); start < e.Graph.nodes; {
		end := nextRun(start, e.Graph.nodes)
		var p promise
		select {
		case p.run = <-empty:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.done = make(chan struct{})
		from := start
		group.Go(func() error {
			if err := e.readRun(ctx, from, end, p.run); err != nil {
				return err
			}
			close(p.done)
			return nil
		})
		queue <- p
		start = end
	}
	return nil
}

func (e *engine) readRun(ctx context.Context, start, end uint64, run []uint32) error {
	n := (min(end+prefetchNodes, e.Graph.nodes) - start) * Degree
	if err := e.Parents.ReadParents(ctx, start, run[:n]); err != nil {
		return err
	}
	clear(run[n:])
	return e.Graph.checkParents(start, run[:n])
}
