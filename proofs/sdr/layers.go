package sdr

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// MaxNodes is the largest graph that GenerateLayers takes. It holds two layers
// and the expansion parents in memory: 96 bytes for each node, 1.5 GiB in all
// for a 512 MiB sector.
const MaxNodes = 1 << 24

// LayerSink takes a finished layer (from 1), its labels in node order. It must
// not keep the slice.
type LayerSink func(layer int, labels []byte) error

// GenerateLayers computes layers layers of labels and hands each to sink. done,
// which may be nil, hears how many nodes over all layers are computed. The last
// layer is also returned. It stops with ctx's error.
func GenerateLayers(ctx context.Context, g *Graph, replicaID Node, layers int, sink LayerSink, done func(uint64)) ([]byte, error) {
	if g.nodes > MaxNodes {
		return nil, fmt.Errorf("sdr: labels of %d nodes need more memory than this implementation plans for (at most %d nodes)", g.nodes, MaxNodes)
	}
	exp, err := g.expansion(ctx)
	if err != nil {
		return nil, err
	}
	prev, cur := make([]byte, g.nodes*nodeSize), make([]byte, g.nodes*nodeSize)
	for layer := 1; layer <= layers; layer++ {
		err := g.labelLayer(ctx, replicaID, layer, cur, prev, exp, func(n uint64) {
			if done != nil {
				done(uint64(layer-1)*g.nodes + n)
			}
		})
		if err != nil {
			return nil, err
		}
		if sink != nil {
			if err := sink(layer, cur); err != nil {
				return nil, err
			}
		}
		prev, cur = cur, prev
	}
	return prev, nil
}

// reportEvery is how many nodes lie between two looks at the context.
const reportEvery = 1 << 14

func (g *Graph) labelLayer(ctx context.Context, replicaID Node, layer int, cur, prev []byte, exp []uint32, done func(uint64)) error {
	var msg [msgSize]byte
	var base [BaseDegree]uint32
	putHeader(&msg, replicaID, layer, 0)
	first := sum254(msg[:headerSize])
	copy(cur, first[:])
	for n := uint64(1); n < g.nodes; n++ {
		if n%reportEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			done(n)
		}
		putHeader(&msg, replicaID, layer, n)
		g.BaseParents(n, &base)
		body := msg[headerSize:]
		if layer == 1 {
			for i, p := range base {
				copy(body[i*nodeSize:(i+1)*nodeSize], cur[uint64(p)*nodeSize:])
			}
			repeat(body, BaseDegree*nodeSize)
		} else {
			for i, p := range base {
				copy(body[i*nodeSize:(i+1)*nodeSize], cur[uint64(p)*nodeSize:])
			}
			for i, p := range exp[n*ExpDegree : (n+1)*ExpDegree] {
				copy(body[(BaseDegree+i)*nodeSize:(BaseDegree+i+1)*nodeSize], prev[uint64(p)*nodeSize:])
			}
			repeat(body, Degree*nodeSize)
		}
		label := sum254(msg[:])
		copy(cur[n*nodeSize:], label[:])
	}
	done(g.nodes)
	return ctx.Err()
}

// repeat fills b with its first n bytes, again and again.
func repeat(b []byte, n int) {
	for filled := n; filled < len(b); {
		filled += copy(b[filled:], b[:n])
	}
}

// expansionCache keeps the expansion parents of small graphs: every sector of a
// seal proof shares them, and they cost more than the labels themselves.
var expansionCache = struct {
	sync.Mutex
	tables map[Graph][]uint32
}{tables: map[Graph][]uint32{}}

const (
	cachedNodes  = 1 << 18 // 8 MiB of table
	cachedTables = 4
)

// expansion is the expansion parents of all nodes, computed on all CPUs.
func (g *Graph) expansion(ctx context.Context) ([]uint32, error) {
	if g.nodes <= cachedNodes {
		expansionCache.Lock()
		t := expansionCache.tables[*g]
		expansionCache.Unlock()
		if t != nil {
			return t, nil
		}
	}
	table := make([]uint32, g.nodes*ExpDegree)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	const part = 1 << 12
	for start := uint64(0); start < g.nodes; start += part {
		group.Go(func() error {
			for n := start; n < min(start+part, g.nodes); n++ {
				g.ExpParents(n, (*[ExpDegree]uint32)(table[n*ExpDegree:]))
			}
			return gctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if g.nodes <= cachedNodes {
		expansionCache.Lock()
		defer expansionCache.Unlock()
		if len(expansionCache.tables) >= cachedTables {
			clear(expansionCache.tables)
		}
		expansionCache.tables[*g] = table
	}
	return table, nil
}
