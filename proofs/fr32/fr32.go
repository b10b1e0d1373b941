package fr32

import (
	"encoding/binary"
	"fmt"
)

const (
	// QuadUnpadded is the payload length, in bytes, of one quad.
	QuadUnpadded = 127
	// QuadPadded is the padded length, in bytes, of one quad.
	QuadPadded = 128

	nodeMask = 0x3fffffffffffffff // the top word of a node keeps 62 bits
)

// PaddedLen is the padded length in bytes of n payload bytes, rounded up to
// whole quads.
func PaddedLen(n uint64) uint64 {
	quads := n / QuadUnpadded
	if n%QuadUnpadded != 0 {
		quads++
	}
	return quads * QuadPadded
}

// UnpaddedLen is the payload length in bytes of n padded bytes; n is rounded
// down to whole quads.
func UnpaddedLen(n uint64) uint64 { return n / QuadPadded * QuadUnpadded }

// Pad writes the padded form of in to out. len(in) must be a multiple of
// QuadUnpadded and len(out) the matching multiple of QuadPadded, otherwise Pad
// panics: both are under the caller's control. in and out must not overlap.
func Pad(in, out []byte) {
	quads := len(in) / QuadUnpadded
	if len(in) != quads*QuadUnpadded || len(out) != quads*QuadPadded {
		panic(fmt.Sprintf("fr32.Pad: %d bytes do not pad to %d bytes", len(in), len(out)))
	}
	for q := 0; q < quads; q++ {
		padQuad((*[QuadUnpadded]byte)(in[q*QuadUnpadded:]), (*[QuadPadded]byte)(out[q*QuadPadded:]))
	}
}

// Unpad writes the payload inside the padded bytes in to out, dropping the two
// top bits of every node. Lengths as for Pad, reversed. in and out must not
// overlap.
func Unpad(in, out []byte) {
	quads := len(in) / QuadPadded
	if len(in) != quads*QuadPadded || len(out) != quads*QuadUnpadded {
		panic(fmt.Sprintf("fr32.Unpad: %d bytes do not unpad to %d bytes", len(in), len(out)))
	}
	for q := 0; q < quads; q++ {
		unpadQuad((*[QuadPadded]byte)(in[q*QuadPadded:]), (*[QuadUnpadded]byte)(out[q*QuadUnpadded:]))
	}
}

// loadWord reads word i of a payload quad; the last word has seven bytes only.
func loadWord(in *[QuadUnpadded]byte, i int) uint64 {
	if i < 15 {
		return binary.LittleEndian.Uint64(in[i*8 : i*8+8])
	}
	return binary.LittleEndian.Uint64(in[119:127]) >> 8
}

func padQuad(in *[QuadUnpadded]byte, out *[QuadPadded]byte) {
	var w [16]uint64
	for i := range w {
		w[i] = loadWord(in, i)
	}
	put := func(i int, v uint64) { binary.LittleEndian.PutUint64(out[i*8:i*8+8], v) }
	put(0, w[0])
	put(1, w[1])
	put(2, w[2])
	put(3, w[3]&nodeMask)
	put(4, w[3]>>62|w[4]<<2)
	put(5, w[4]>>62|w[5]<<2)
	put(6, w[5]>>62|w[6]<<2)
	put(7, (w[6]>>62|w[7]<<2)&nodeMask)
	put(8, w[7]>>60|w[8]<<4)
	put(9, w[8]>>60|w[9]<<4)
	put(10, w[9]>>60|w[10]<<4)
	put(11, (w[10]>>60|w[11]<<4)&nodeMask)
	put(12, w[11]>>58|w[12]<<6)
	put(13, w[12]>>58|w[13]<<6)
	put(14, w[13]>>58|w[14]<<6)
	put(15, w[14]>>58|w[15]<<6)
}

func unpadQuad(in *[QuadPadded]byte, out *[QuadUnpadded]byte) {
	var p [16]uint64
	for i := range p {
		p[i] = binary.LittleEndian.Uint64(in[i*8 : i*8+8])
	}
	p[3] &= nodeMask
	p[7] &= nodeMask
	p[11] &= nodeMask
	p[15] &= nodeMask
	put := func(i int, v uint64) { binary.LittleEndian.PutUint64(out[i*8:i*8+8], v) }
	put(0, p[0])
	put(1, p[1])
	put(2, p[2])
	put(3, p[3]|p[4]<<62)
	put(4, p[4]>>2|p[5]<<62)
	put(5, p[5]>>2|p[6]<<62)
	put(6, p[6]>>2|p[7]<<62)
	put(7, p[7]>>2|p[8]<<60)
	put(8, p[8]>>4|p[9]<<60)
	put(9, p[9]>>4|p[10]<<60)
	put(10, p[10]>>4|p[11]<<60)
	put(11, p[11]>>4|p[12]<<58)
	put(12, p[12]>>6|p[13]<<58)
	put(13, p[13]>>6|p[14]<<58)
	put(14, p[14]>>6|p[15]<<58)
	last := p[15] >> 6
	for i := 0; i < 7; i++ {
		out[120+i] = byte(last >> (8 * i))
	}
}
