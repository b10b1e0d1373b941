package sdr

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"golang.org/x/crypto/blake2b"

	"quarry/proofs/kernel"
)

const (
	// BaseDegree is the number of base parents of a node.
	BaseDegree = kernel.BaseDegree
	// ExpDegree is the number of expansion parents of a node.
	ExpDegree = 8
	// Degree is the number of distinct parent slots of a node.
	Degree = BaseDegree + ExpDegree
	// HashedParents is how many parent labels are hashed: the slots repeated.
	HashedParents = 37
)

// Graph is the graph of one porep id and sector size. It is safe for concurrent
// use.
type Graph struct {
	nodes    uint64
	legacy   bool // api version 1.0: other base order, truncated expansion
	seed     [28]byte
	keys     [4]uint64
	halfBits uint
}

// NewGraph is the graph over nodes nodes (at least 2, at most 2^32). legacy is
// set for proofs of api version 1.0, registered seal proofs 0 to 4.
func NewGraph(porepID [32]byte, nodes uint64, legacy bool) (*Graph, error) {
	if nodes < 2 || nodes > 1<<32 {
		return nil, fmt.Errorf("sdr: no graph over %d nodes", nodes)
	}
	g := &Graph{nodes: nodes, legacy: legacy, halfBits: halfBits(nodes * ExpDegree)}
	drg := sha256.Sum256(append([]byte("Filecoin_DRSample"), porepID[:]...))
	copy(g.seed[:], drg[:])
	feistel := sha256.Sum256(append([]byte("Filecoin_Feistel"), porepID[:]...))
	for i := range g.keys {
		g.keys[i] = binary.LittleEndian.Uint64(feistel[i*8:])
	}
	return g, nil
}

// Nodes is the number of nodes of one layer.
func (g *Graph) Nodes() uint64 { return g.nodes }

// BaseParents gives the six parents of node n in its own layer.
func (g *Graph) BaseParents(n uint64, out *[BaseDegree]uint32) {
	if n < 2 {
		*out = [BaseDegree]uint32{}
		return
	}
	const samples = BaseDegree - 1
	first, predecessor := 1, 0
	if g.legacy {
		first, predecessor = 0, BaseDegree-1
	}
	words := chacha8(&g.seed, uint32(n))
	meta := n * samples
	// The reference rounds up the logarithm in floating point, which for such
	// small numbers is the same.
	buckets := uint64(bits.Len64(meta - 1))
	for k := range samples {
		i := words[2*k]%buckets + 1
		largest := min(meta, 1<<i)
		smallest := max(2, largest/2)
		d := smallest + words[2*k+1]%(largest-smallest+1)
		parent := (meta - d) / samples
		if parent == n {
			parent--
		}
		out[first+k] = uint32(parent)
	}
	out[predecessor] = uint32(n - 1)
}

// ExpParents gives the eight parents of node n in the layer below.
func (g *Graph) ExpParents(n uint64, out *[ExpDegree]uint32) {
	for i := range out {
		out[i] = g.expParent(g.permute(n*ExpDegree + uint64(i)))
	}
}

// Parents gives all fourteen parent slots of node n, base parents first.
func (g *Graph) Parents(n uint64) (base [BaseDegree]uint32, exp [ExpDegree]uint32) {
	g.BaseParents(n, &base)
	g.ExpParents(n, &exp)
	return base, exp
}

func (g *Graph) permute(x uint64) uint64 {
	return feistelPermute(x, g.nodes*ExpDegree, g.halfBits, &g.keys)
}

// halfBits is the smallest h of at least 1 with 4^h >= elements.
func halfBits(elements uint64) uint {
	h := uint(1)
	for h < 32 && uint64(1)<<(2*h) < elements {
		h++
	}
	return h
}

// feistelPermute is a permutation of 0 … elements-1: three Feistel rounds,
// repeated until the result is inside the domain.
func feistelPermute(x, elements uint64, h uint, keys *[4]uint64) uint64 {
	for {
		mask := uint64(1)<<h - 1
		left, right := x>>h&mask, x&mask
		for _, k := range keys[:3] {
			left, right = right, left^feistelRound(right, k)&mask
		}
		if x = left<<h | right; x < elements {
			return x
		}
	}
}

func feistelRound(v, key uint64) uint64 {
	var msg [16]byte
	binary.BigEndian.PutUint64(msg[:8], v)
	binary.BigEndian.PutUint64(msg[8:], key)
	d := blake2b.Sum512(msg[:])
	return binary.BigEndian.Uint64(d[:8])
}
