package poseidon

import (
	"fmt"
	"testing"
)

// BenchmarkHash and BenchmarkRow print ns/hash for single hashes and for rows
// of 4096, on each path.
func BenchmarkHash(b *testing.B) { benchmark(b, 1) }
func BenchmarkRow(b *testing.B)  { benchmark(b, 4096) }

func benchmark(b *testing.B, n int) {
	mul, lanes := wideMul, wideLanes
	defer func() { wideMul, wideLanes = mul, lanes }()
	for _, path := range []string{"best", "plain"} {
		for _, arity := range []int{2, 8, 11} {
			b.Run(fmt.Sprintf("%s/%d", path, arity), func(b *testing.B) {
				wideMul, wideLanes = mul && path == "best", lanes && path == "best"
				h := MustNew(arity)
				src, dst := counting(n*arity), make([]Element, n)
				b.ReportAllocs()
				for b.Loop() {
					h.HashRow(dst, src)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/hash")
			})
		}
	}
}
