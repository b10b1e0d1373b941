package commp

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
	"sync"
)

// Node is a 32-byte tree node.
type Node = [32]byte

// maxLevel bounds the height of a tree: 2^62 bytes is more than any sector.
const maxLevel = 57

var zeroNodes = sync.OnceValue(func() *[maxLevel + 1]Node {
	var z [maxLevel + 1]Node
	for i := 1; i <= maxLevel; i++ {
		z[i] = HashPair(&z[i-1], &z[i-1])
	}
	return &z
})

// HashPair is the inner node over two children: SHA-256 with the two top bits
// of the last byte cleared, so that the result is a field element.
func HashPair(left, right *Node) Node {
	var msg [64]byte
	copy(msg[:32], left[:])
	copy(msg[32:], right[:])
	h := sha256.Sum256(msg[:])
	h[31] &= 0x3f
	return h
}

// HashRow replaces src, a row of nodes, by the row above it, written to dst.
// len(dst) must be a multiple of 32 and len(src) twice as much, otherwise it
// panics; dst may be the start of src. Where the CPU has SHA instructions two
// nodes are hashed side by side, with the schedule of the constant second block
// of their messages worked out beforehand.
func HashRow(dst, src []byte) {
	if len(dst)%32 != 0 || len(src) != 2*len(dst) {
		panic(fmt.Sprintf("commp: a row of %d bytes does not hash to one of %d", len(src), len(dst)))
	}
	for i := hashRowFast(dst, src); i < len(dst); i += 32 {
		h := sha256.Sum256(src[2*i : 2*i+64])
		h[31] &= 0x3f
		copy(dst[i:], h[:])
	}
}

// reduce returns the root over padded bytes (a power of two of at least one
// node), destroying them.
func reduce(padded []byte) (n Node) {
	for len(padded) > 32 {
		HashRow(padded[:len(padded)/2], padded)
		padded = padded[:len(padded)/2]
	}
	copy(n[:], padded)
	return n
}

// level is log2 of the number of nodes in size bytes, a power of two >= 32.
func level(size uint64) int { return bits.Len64(size/32) - 1 }

// fold is a binary counter of subtree roots: slot i holds a root over 2^i nodes
// when bit i of the number of nodes so far is set.
type fold struct {
	nodes uint64
	slots [maxLevel + 1]Node
}

// push appends a subtree root over 2^lvl nodes; nodes must be a multiple of it.
func (f *fold) push(n Node, lvl int) {
	added := uint64(1) << lvl
	for f.nodes>>lvl&1 == 1 {
		n = HashPair(&f.slots[lvl], &n)
		f.nodes -= 1 << lvl
		added = 1 << (lvl + 1)
		lvl++
	}
	f.slots[lvl] = n
	f.nodes += added
}

// root is the root over 2^lvl nodes, zero-extending what was pushed. Nothing
// more than 2^lvl nodes may have been pushed.
func (f *fold) root(lvl int) Node {
	if f.nodes == 1<<lvl {
		return f.slots[lvl]
	}
	z := zeroNodes()
	acc, started := Node{}, false
	for i := 0; i < lvl; i++ {
		set := f.nodes>>i&1 == 1
		switch {
		case set && started:
			acc = HashPair(&f.slots[i], &acc)
		case set:
			acc, started = HashPair(&f.slots[i], &z[i]), true
		case started:
			acc = HashPair(&acc, &z[i])
		}
	}
	if !started {
		return z[lvl]
	}
	return acc
}
