package sdr

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"quarry/proofs/kernel"
)

// Parents gives the parents of every node of one graph. A Graph computes them,
// a ParentFile reads them.
type Parents = kernel.Parents

// ReadParents computes parents; it implements Parents.
func (g *Graph) ReadParents(ctx context.Context, start uint64, dst []uint32) error {
	if err := checkRun(start, dst, g.nodes); err != nil {
		return err
	}
	for len(dst) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		run := dst[:min(len(dst), runNodes*Degree)]
		for i := 0; i < len(run); i += Degree {
			g.BaseParents(start+uint64(i/Degree), (*[BaseDegree]uint32)(run[i:]))
		}
		g.expRun(start, run)
		dst, start = dst[len(run):], start+uint64(len(run)/Degree)
	}
	return nil
}

func checkRun(start uint64, dst []uint32, nodes uint64) error {
	n := uint64(len(dst)) / Degree
	if len(dst)%Degree != 0 || start > nodes || n > nodes-start {
		return fmt.Errorf("sdr: parents of %d entries from node %d in a graph of %d nodes", len(dst), start, nodes)
	}
	return nil
}

const (
	// maxTable is the largest graph whose parents are kept in memory while it
	// is labelled: 896 MiB for a 512 MiB sector. For a larger one they are read
	// once a layer.
	maxTable = 1 << 24
	// Parents of small graphs are kept for ever: every sector of a seal proof
	// shares them, and they cost more than the labels themselves.
	keptNodes  = 1 << 18 // 14 MiB of table
	keptTables = 4
)

var kept = struct {
	sync.Mutex
	tables map[Graph][]uint32
}{tables: map[Graph][]uint32{}}

// table is the parents of all nodes, computed or read on all CPUs, and room for
// what the kernels look ahead. Only what g itself computed is kept: another
// source of the caller's may give parents of another graph.
func (g *Graph) table(ctx context.Context, from Parents) ([]uint32, error) {
	keep := from == Parents(g) && g.nodes <= keptNodes
	if keep {
		kept.Lock()
		t := kept.tables[*g]
		kept.Unlock()
		if t != nil {
			return t, nil
		}
	}
	table := make([]uint32, (g.nodes+prefetchNodes)*Degree)
	err := g.inParts(ctx, 0, g.nodes, func(ctx context.Context, start, end uint64) error {
		run := table[start*Degree : end*Degree]
		if err := from.ReadParents(ctx, start, run); err != nil {
			return err
		}
		return g.checkParents(start, run)
	})
	if err != nil {
		return nil, err
	}
	if keep {
		kept.Lock()
		defer kept.Unlock()
		if len(kept.tables) >= keptTables {
			clear(kept.tables)
		}
		kept.tables[*g] = table
	}
	return table, nil
}

// inParts calls f for parts of the nodes start … end-1, on all CPUs.
func (g *Graph) inParts(ctx context.Context, start, end uint64, f func(ctx context.Context, start, end uint64) error) error {
	const part = 1 << 12
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for at := start; at < end && gctx.Err() == nil; at += part {
		group.Go(func() error { return f(gctx, at, min(at+part, end)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
