//go:build amd64 && !purego

package commp

import (
	"math/bits"

	"golang.org/x/sys/cpu"
)

// shaUnit tells whether the CPU has SHA instructions and what else pairsSHA
// uses. Tests clear it.
var shaUnit = cpu.X86.HasAVX && cpu.X86.HasSSSE3 && cpu.X86.HasSSE41 && leaf7()>>29&1 == 1

func leaf7() (ebx uint32)

//go:noescape
func pairsSHA(dst, src *byte, n int, k, final *[64]uint32)

// hashRowFast is HashRow for as many bytes of dst as the CPU has instructions
// for; it returns how many.
func hashRowFast(dst, src []byte) int {
	n := len(dst) / 64
	if !shaUnit || n == 0 {
		return 0
	}
	_ = src[n*128-1]
	pairsSHA(&dst[0], &src[0], n, &roundK, &secondBlock)
	return n * 64
}

// roundK are the round constants of SHA-256 (FIPS 180-4, 4.2.2).
var roundK = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

// secondBlock are the round constants with the message schedule of the second
// block of every 64-byte message added: a set bit, zeros, and the length of 512
// bits.
var secondBlock = func() (out [64]uint32) {
	w := [64]uint32{0: 1 << 31, 15: 512}
	for i := 16; i < len(w); i++ {
		a, b := w[i-15], w[i-2]
		s0 := bits.RotateLeft32(a, -7) ^ bits.RotateLeft32(a, -18) ^ a>>3
		s1 := bits.RotateLeft32(b, -17) ^ bits.RotateLeft32(b, -19) ^ b>>10
		w[i] = w[i-16] + s0 + w[i-7] + s1
	}
	for i := range out {
		out[i] = roundK[i] + w[i]
	}
	return out
}()
