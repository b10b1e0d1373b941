package sdr

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
)

// feedAhead is how many runs of parents are read before they are needed.
const feedAhead = 4

// feeder gives the parents of the nodes start … end-1, followed by those that
// the kernels look ahead to. The slice is good until the next call. It must be
// asked for consecutive runs as engine.hash makes them.
type feeder func(start, end uint64) ([]uint32, error)

// feed is the feeder of one layer: the table, or runs read ahead in a goroutine
// of its own. stop ends that goroutine.
func (e *engine) feed(ctx context.Context) (next feeder, stop func()) {
	if e.table != nil {
		return func(start, _ uint64) ([]uint32, error) { return e.table[start*Degree:], nil }, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	full, empty := make(chan []uint32, feedAhead), make(chan []uint32, feedAhead)
	for range feedAhead {
		empty <- make([]uint32, (runNodes+prefetchNodes)*Degree)
	}
	group.Go(func() error {
		defer close(full)
		return e.readRuns(ctx, full, empty)
	})
	var last []uint32
	next = func(_, _ uint64) ([]uint32, error) {
		if last != nil {
			empty <- last
		}
		var ok bool
		if last, ok = <-full; !ok {
			if err := group.Wait(); err != nil {
				return nil, err
			}
			return nil, errors.New("sdr: more parents asked for than the graph has")
		}
		return last, nil
	}
	return next, func() {
		cancel()
		_ = group.Wait() // an error was told by next, or nobody needs it any more
	}
}

func (e *engine) readRuns(ctx context.Context, full chan<- []uint32, empty <-chan []uint32) error {
	nodes := e.Graph.nodes
	for start := uint64(1); start < nodes; {
		end := min((start/runNodes+1)*runNodes, nodes)
		var buf []uint32
		select {
		case buf = <-empty:
		case <-ctx.Done():
			return ctx.Err()
		}
		n := (min(end+prefetchNodes, nodes) - start) * Degree
		if err := e.Parents.ReadParents(ctx, start, buf[:n]); err != nil {
			return err
		}
		if err := e.Graph.checkParents(start, buf[:n]); err != nil {
			return err
		}
		clear(buf[n:])
		full <- buf
		start = end
	}
	return nil
}
