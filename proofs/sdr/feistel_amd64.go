package sdr

import (
	"math/bits"

	"golang.org/x/sys/cpu"
)

// vectors is whether expansion parents are computed eight at a time.
var vectors = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW

//go:noescape
func permuteAVX512(x *uint64, groups int, half uint64, keys *[3]uint64)

// permuteOnce applies the permutation to all of x, once: the results may be
// outside the domain. len(x) is a multiple of 8.
func permuteOnce(x []uint64, half uint, keys *[4]uint64) {
	var swapped [3]uint64
	for i := range swapped {
		swapped[i] = bits.ReverseBytes64(keys[i])
	}
	permuteAVX512(&x[0], len(x)/8, uint64(half), &swapped)
}
