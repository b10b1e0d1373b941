package sdr

import (
	"encoding/binary"
	"math/bits"
)

// chacha8 is the first ten u64 of the generator that samples base parents: the
// original ChaCha with eight rounds and a 64-bit counter (rand_chacha
// ChaCha8Rng), keyed with the graph seed and the node. The generator of that
// name in math/rand/v2 is another one.
func chacha8(seed *[28]byte, node uint32) (out [10]uint64) {
	var key [8]uint32
	for i := range 7 {
		key[i] = binary.LittleEndian.Uint32(seed[i*4:])
	}
	key[7] = node
	a, b := chachaBlock(&key, 0), chachaBlock(&key, 1)
	for i := range 8 {
		out[i] = uint64(a[2*i]) | uint64(a[2*i+1])<<32
	}
	for i := range 2 {
		out[8+i] = uint64(b[2*i]) | uint64(b[2*i+1])<<32
	}
	return out
}

func chachaBlock(key *[8]uint32, counter uint32) [16]uint32 {
	in := [16]uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}
	copy(in[4:12], key[:])
	in[12] = counter
	s := in
	quarter := func(a, b, c, d int) {
		s[a] += s[b]
		s[d] = bits.RotateLeft32(s[d]^s[a], 16)
		s[c] += s[d]
		s[b] = bits.RotateLeft32(s[b]^s[c], 12)
		s[a] += s[b]
		s[d] = bits.RotateLeft32(s[d]^s[a], 8)
		s[c] += s[d]
		s[b] = bits.RotateLeft32(s[b]^s[c], 7)
	}
	for range 4 {
		quarter(0, 4, 8, 12)
		quarter(1, 5, 9, 13)
		quarter(2, 6, 10, 14)
		quarter(3, 7, 11, 15)
		quarter(0, 5, 10, 15)
		quarter(1, 6, 11, 12)
		quarter(2, 7, 8, 13)
		quarter(3, 4, 9, 14)
	}
	for i := range s {
		s[i] += in[i]
	}
	return s
}
