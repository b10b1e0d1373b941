package sdr

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

// nowhere is a Store that drops everything.
type nowhere struct{}

func (nowhere) WriteLabels(int, int, int64, []byte) error { return nil }
func (nowhere) FinishLayer(int, int) error                { return nil }
func (nowhere) ReadLabels(int, int, int64, []byte) error  { return nil }

// BenchmarkLabels measures labels per second and thread: one sector, and two in
// step. The parents are in memory. It reports the best of all rounds, since
// other work on the machine only ever slows a round down. 512 MiB takes 3 GiB
// of memory and is run with QUARRY_LONG=1.
func BenchmarkLabels(b *testing.B) {
	for _, size := range []struct {
		name  string
		nodes uint64
	}{{"8MiB", 1 << 18}, {"512MiB", 1 << 24}} {
		for sectors := 1; sectors <= 2; sectors++ {
			for _, k := range kernels {
				b.Run(fmt.Sprintf("%s/sectors=%d/%s", size.name, sectors, k.name), func(b *testing.B) {
					if size.nodes > 1<<20 && os.Getenv("QUARRY_LONG") == "" {
						b.Skip("needs 3 GiB and minutes; run with QUARRY_LONG=1")
					}
					benchmarkLabels(b, k, size.nodes, sectors)
				})
			}
		}
	}
}

// best reports the nanoseconds of each of n things in the fastest round: other
// work on the machine only ever slows a round down.
func best(b *testing.B, unit string, n int, f func()) {
	least := time.Duration(1<<63 - 1)
	for b.Loop() {
		start := time.Now()
		f()
		least = min(least, time.Since(start))
	}
	b.ReportMetric(float64(least.Nanoseconds())/float64(n), unit)
}

var benchTable struct {
	graph *Graph
	table []uint32
}

func benchmarkLabels(b *testing.B, k kernel, nodes uint64, sectors int) {
	ctx := context.Background()
	g, err := NewGraph(Node{6}, nodes, false)
	if err != nil {
		b.Fatal(err)
	}
	if benchTable.graph == nil || *benchTable.graph != *g {
		benchTable.table = nil
		if benchTable.table, err = g.table(ctx, g); err != nil {
			b.Fatal(err)
		}
		benchTable.graph = g
	}
	all := kernels
	defer func() { kernels = all }()
	kernels = []kernel{k}
	e := &engine{Batch: &Batch{Graph: g, Layers: 2, Replicas: make([]Node, sectors)}, store: nowhere{}, table: benchTable.table}
	e.lanes = []*lane{newLane(0, e.Replicas, nodes)}
	best := time.Duration(1<<63 - 1)
	for b.Loop() {
		for layer := 1; layer <= 2; layer++ {
			start := time.Now()
			if err := e.layer(ctx, layer); err != nil {
				b.Fatal(err)
			}
			if layer == 2 {
				best = min(best, time.Since(start))
			}
		}
	}
	b.ReportMetric(float64(nodes)*float64(sectors)/best.Seconds(), "labels/s")
}
