package sdr

// permuter is vector code for the permutation of expansion parents.
type permuter struct {
	name string
	// permute applies the permutation to all of x, once: the results may be
	// outside the domain. len(x) is a multiple of 8.
	permute func(x []uint64, halfBits uint, keys *[3]uint64)
}

// expRun computes the expansion parents of the nodes from start on, into dst,
// Degree entries a node.
func (g *Graph) expRun(start uint64, dst []uint32) {
	if len(permuters) == 0 {
		for i := 0; i < len(dst); i += Degree {
			g.ExpParents(start+uint64(i/Degree), (*[ExpDegree]uint32)(dst[i+BaseDegree:]))
		}
		return
	}
	const most = 256 // nodes at a time
	var x [most * ExpDegree]uint64
	var at [most * ExpDegree]uint32 // the places of the values in dst
	for len(dst) > 0 {
		nodes := min(len(dst)/Degree, most)
		n := nodes * ExpDegree
		for i := range n {
			x[i] = start*ExpDegree + uint64(i)
			at[i] = uint32(i/ExpDegree*Degree + BaseDegree + i%ExpDegree)
		}
		for n > 0 {
			for n%8 != 0 {
				x[n], at[n] = x[n-1], at[n-1] // fill up the last group
				n++
			}
			permuters[0].permute(x[:n], g.halfBits, (*[3]uint64)(g.keys[:]))
			n = g.settle(x[:n], at[:n], dst)
		}
		dst, start = dst[nodes*Degree:], start+uint64(nodes)
	}
}

// settle stores the parents of values inside the domain and moves the others,
// which must be permuted again, to the front.
func (g *Graph) settle(x []uint64, at, dst []uint32) int {
	left, elements := 0, g.nodes*ExpDegree
	for i, y := range x {
		if y >= elements {
			x[left], at[left] = y, at[i]
			left++
			continue
		}
		dst[at[i]] = g.expParent(y)
	}
	return left
}

// expParent is the node that a permuted slot belongs to.
func (g *Graph) expParent(y uint64) uint32 {
	if g.legacy {
		// Version 1.0 cut to 32 bits first; old sectors depend on it.
		return uint32(y) / ExpDegree
	}
	return uint32(y / ExpDegree)
}
