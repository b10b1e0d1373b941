//go:build !purego

package sdr

import (
	"math/bits"

	"golang.org/x/sys/cpu"
)

// permuters are the vector codes that this CPU can run, the fastest first.
var permuters = func() []permuter {
	var p []permuter
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW {
		p = append(p, permuter{"AVX-512", func(x []uint64, half uint, keys *[3]uint64) {
			permuteAVX512(&x[0], len(x)/8, uint64(half), keys)
		}})
	}
	if cpu.X86.HasAVX2 {
		p = append(p, permuter{"AVX2", func(x []uint64, half uint, keys *[3]uint64) {
			permuteAVX2(&x[0], len(x)/4, uint64(half), keys)
		}})
	}
	for i, q := range p {
		p[i].permute = func(x []uint64, half uint, keys *[3]uint64) {
			swapped := [3]uint64{bits.ReverseBytes64(keys[0]), bits.ReverseBytes64(keys[1]), bits.ReverseBytes64(keys[2])}
			q.permute(x, half, &swapped)
		}
	}
	return p
}()

//go:noescape
func permuteAVX512(x *uint64, groups int, half uint64, keys *[3]uint64)

//go:noescape
func permuteAVX2(x *uint64, groups int, half uint64, keys *[3]uint64)
