package update

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
	"quarry/proofs/poseidon"
)

// params is what a sector size fixes (storage-proofs-update/src/constants.rs).
type params struct {
	shape      merkle.Shape
	log2       int // of the number of nodes
	partitions int
	challenges int // per partition
	h          int // log2 of the number of rhos
	apex       int // apex leaves per partition
}

// firstV1_1 is the seal proof of the smallest sector; update proofs count from
// zero in the same order of sizes.
const firstV1_1 = abi.RegisteredSealProof_StackedDrg2KiBV1_1

func paramsFor(p abi.RegisteredUpdateProof) (params, error) {
	if p < 0 || p > abi.RegisteredUpdateProof_StackedDrg64GiBV1 {
		return params{}, fmt.Errorf("update: update proof %d is not known", p)
	}
	size, err := (firstV1_1 + abi.RegisteredSealProof(p)).SectorSize()
	if err != nil {
		return params{}, fmt.Errorf("update: update proof %d: %w", p, err)
	}
	return newParams(uint64(size) / merkle.NodeSize)
}

func newParams(nodes uint64) (params, error) {
	shape, err := merkle.ShapeOf(nodes)
	if err != nil {
		return params{}, err
	}
	p := geometry(bits.Len64(nodes) - 1)
	p.shape = shape
	return p, nil
}

// geometry is everything but the tree shape for 2^log2 nodes.
func geometry(log2 int) params {
	p := params{log2: log2, challenges: 86, h: 10, apex: 128}
	switch {
	case p.log2 <= 8:
		p.partitions, p.apex = 1, 8
	case p.log2 <= 10:
		p.partitions = 2
	case p.log2 <= 19:
		p.partitions = 4
	default:
		p.partitions = 16
	}
	if p.log2 <= 10 {
		p.h = 1
	}
	if p.log2 <= 19 {
		p.challenges = 10
	}
	return p
}

func (p *params) size() uint64 { return p.shape.Nodes * merkle.NodeSize }

// partitionBits is log2 of the number of partitions.
func (p *params) partitionBits() int { return bits.Len(uint(p.partitions)) - 1 }

// apexRow is the row of tree-d, counted from the leaves, that the apex leaves
// of all partitions are in.
func (p *params) apexRow() int { return p.log2 - p.partitionBits() - (bits.Len(uint(p.apex)) - 1) }

// hashPair is Poseidon of two with the domain tag of SnapDeals.
func hashPair(a, b poseidon.Element) poseidon.Element {
	h, err := poseidon.NewCustom(2, 1)
	if err != nil {
		panic("update: arity 2 exists: " + err.Error())
	}
	return h.Hash([]poseidon.Element{a, b})
}

func hashNodes(a, b [32]byte) (poseidon.Element, error) {
	x, err := poseidon.Decode(&a)
	if err != nil {
		return x, fmt.Errorf("%x: %w", a, err)
	}
	y, err := poseidon.Decode(&b)
	if err != nil {
		return x, fmt.Errorf("%x: %w", b, err)
	}
	return hashPair(x, y), nil
}

// rhos are the factors of all 2^h stretches of the sector.
func (p *params) rhos(commDNew, commROld [32]byte) ([]poseidon.Element, error) {
	phi, err := hashNodes(commDNew, commROld)
	if err != nil {
		return nil, err
	}
	out := make([]poseidon.Element, 1<<p.h)
	for i := range out {
		var high poseidon.Element
		high.SetUint64(uint64(i))
		out[i] = hashPair(phi, high)
	}
	return out, nil
}

// rho is the factor of node i.
func (p *params) rho(rhos []poseidon.Element, i uint64) *poseidon.Element {
	return &rhos[i>>(p.log2-p.h)]
}

// leaves are the challenged nodes of partition k. They lie in the k-th part of
// the sector (storage-proofs-update/src/challenges.rs).
func (p *params) leaves(commRNew [32]byte, k int) ([]uint64, error) {
	commR, err := poseidon.Decode(&commRNew)
	if err != nil {
		return nil, fmt.Errorf("%x: %w", commRNew, err)
	}
	const capacity = 254 // whole bits of a field element
	width := p.log2 - p.partitionBits()
	perDigest := capacity / width
	digests := (p.challenges + perDigest - 1) / perDigest
	out := make([]uint64, 0, p.challenges)
	for j := 0; len(out) < p.challenges; j++ {
		var index poseidon.Element
		index.SetUint64(uint64(k*digests + j))
		digest := poseidon.Encode(hashPair(commR, index))
		for g := 0; g < perDigest && len(out) < p.challenges; g++ {
			out = append(out, takeBits(&digest, g*width, width)|uint64(k)<<width)
		}
	}
	return out, nil
}

// takeBits is the number in bits from … from+n-1 of a little-endian node, n at
// most 56.
func takeBits(b *[32]byte, from, n int) uint64 {
	var room [40]byte
	copy(room[:], b[:])
	return binary.LittleEndian.Uint64(room[from/8:]) >> (from % 8) & (1<<n - 1)
}
