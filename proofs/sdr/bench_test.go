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
// step, of layer 2. Runs all over the layer are labelled, and for each the best
// of several rounds counts, since other work on the machine only ever slows a
// run down. 512 MiB takes up to 2 GiB of memory and is run with QUARRY_LONG=1.
func BenchmarkLabels(b *testing.B) {
	for _, size := range []struct {
		name  string
		nodes uint64
	}{{"8MiB", 1 << 18}, {"512MiB", 1 << 24}} {
		for sectors := 1; sectors <= 2; sectors++ {
			for _, k := range kernels {
				b.Run(fmt.Sprintf("%s/sectors=%d/%s", size.name, sectors, k.name), func(b *testing.B) {
					if size.nodes > 1<<20 && os.Getenv("QUARRY_LONG") == "" {
						b.Skip("needs 2 GiB; run with QUARRY_LONG=1")
					}
					benchmarkLabels(b, k, size.nodes, sectors)
				})
			}
		}
	}
}

func benchmarkLabels(b *testing.B, k routine, nodes uint64, sectors int) {
	const runs, slice = 64, 256 // a slice is shorter than what the scheduler gives
	g, err := NewGraph(Node{6}, nodes, false)
	if err != nil {
		b.Fatal(err)
	}
	l, err := newLane(0, make([]Node, sectors), nodes)
	if err != nil {
		b.Fatal(err)
	}
	defer l.release()
	for i := range l.cur {
		l.cur[i], l.prev[i] = byte(i), byte(i)
	}
	parents := make([][]uint32, runs)
	start := func(i int) uint64 { return nodes - runNodes*2 - uint64(i)*(nodes/runs/2) }
	for i := range parents {
		parents[i] = make([]uint32, (runNodes+prefetchNodes)*Degree)
		if err := g.ReadParents(context.Background(), start(i), parents[i]); err != nil {
			b.Fatal(err)
		}
	}
	all := kernels
	defer func() { kernels = all }()
	kernels = []routine{k}
	var least [runs * runNodes / slice]time.Duration
	for b.Loop() {
		for i := range least {
			run, off := i*slice/runNodes, i*slice%runNodes
			begin := time.Now()
			l.label(2, start(run)+uint64(off), slice, parents[run][off*Degree:])
			if d := time.Since(begin); least[i] == 0 || d < least[i] {
				least[i] = d
			}
		}
	}
	sum := time.Duration(0)
	for _, d := range least {
		sum += d
	}
	b.ReportMetric(float64(runs*runNodes*sectors)/sum.Seconds(), "labels/s")
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
