package circuit

import (
	"context"
	"testing"
)

func benchmark(b *testing.B, s *statement) {
	b.Helper()
	circuits, _ := s.fill(b)
	n := new(counter)
	b.ReportAllocs()
	for b.Loop() {
		*n = counter{}
		if err := circuits[0].Synthesize(context.Background(), n); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n.constraints), "ns/constraint")
}

func BenchmarkPoRep2KiB(b *testing.B)   { benchmark(b, porepStatement(b, seal2KiB)) }
func BenchmarkWinning2KiB(b *testing.B) { benchmark(b, winningStatement(b, seal2KiB)) }
func BenchmarkUpdate2KiB(b *testing.B)  { benchmark(b, updateStatement(b, 0)) }
