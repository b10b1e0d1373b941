package poseidon

import (
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// HashRow hashes each group of Arity elements of src to one element of dst:
// one row of a tree to the row above. len(src) must be len(dst)*Arity,
// otherwise it panics. dst may be the start of src.
func (h *Hasher) HashRow(dst, src []Element) {
	ar := h.Arity()
	if len(src) != len(dst)*ar {
		panic(fmt.Sprintf("poseidon: %d elements do not hash to %d at arity %d", len(src), len(dst), ar))
	}
	n := h.hashLanes(dst, src)
	for i := n; i < len(dst); i++ {
		dst[i] = h.Hash(src[i*ar : (i+1)*ar])
	}
}

// Numbers in lanes are never reduced fully. In units of r, how large they get
// depends on how many are summed; a number of 2^260/r units or more would lose
// its top bits.
const laneLimit = 35.33 // 2^260/r, rounded down

// lanesFit tells whether the numbers of a permutation of this width stay below
// the limit.
func lanesFit(width int, batches []int) bool {
	worst := 0.0
	see := func(x float64) float64 { worst = max(worst, x); return x }
	product := func(a, b float64) float64 { return see(a*b/laneLimit + 1) }
	fifth := func(x float64) float64 {
		y := product(x, x)
		return see(product(product(y, y), x) + 1) // and a constant
	}
	t := float64(width)
	x := fifth(16) // reduced inputs shifted by four bits
	state := see(t*x/laneLimit + 1)
	for range fullRounds/2 - 1 {
		state = see(t*fifth(state)/laneLimit + 1)
	}
	first, others := state, state
	for _, n := range batches {
		var results float64
		for range n {
			results += fifth(first)
			first = see(((t-1)*others+results)/laneLimit + 1)
		}
		others = see(others + results/laneLimit + 1)
	}
	state = max(first, others)
	for range fullRounds / 2 {
		state = see(t*fifth(state)/laneLimit + 1)
	}
	return worst < laneLimit && state < 20 // what settle takes
}

// split is the shift of e by four bits in limbs of 52 bits.
func split(e *fr.Element) [5]uint64 {
	const mask = 1<<52 - 1
	return [5]uint64{
		e[0] << 4 & mask,
		(e[0]>>48 | e[1]<<16) & mask,
		(e[1]>>36 | e[2]<<28) & mask,
		(e[2]>>24 | e[3]<<40) & mask,
		e[3] >> 12,
	}
}

// splitRaw is e, unshifted, in limbs of 52 bits.
func splitRaw(e *fr.Element) [5]uint64 {
	const mask = 1<<52 - 1
	return [5]uint64{
		e[0] & mask,
		(e[0]>>52 | e[1]<<12) & mask,
		(e[1]>>40 | e[2]<<24) & mask,
		(e[2]>>28 | e[3]<<36) & mask,
		e[3] >> 16,
	}
}

// join reduces a number below 20*r in limbs of 52 bits.
func join(dst *fr.Element, l0, l1, l2, l3, l4 uint64) {
	settle(dst, words{l0 | l1<<52, l1>>12 | l2<<40, l2>>24 | l3<<28, l3>>36 | l4<<16}, l4>>48)
}
