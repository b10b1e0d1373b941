//go:build !purego

package sdr

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// nativeKernels are the kernels of this CPU that are faster than the portable
// one.
func nativeKernels() []routine {
	if !cpu.ARM64.HasSHA2 {
		return nil
	}
	return []routine{{"ARMv8 SHA2", sha2Single, sha2Pair}}
}

//go:noescape
func blocksSHA2(state *[8]uint32, halves *[2]uintptr, n int)

//go:noescape
func blocks2SHA2(states *[2][8]uint32, halves *[2]uintptr, n int)

const blocks = 2 + parentBlocks // header, parents, and the 37th with the padding

var initial = [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}

func sha2Single(j *job) {
	j.each(1, func(halves *[blocks][2]uintptr, out *[2]Node) {
		state := initial
		blocksSHA2(&state, &halves[0], blocks)
		out[0] = labelOf(&state)
	})
}

func sha2Pair(j *job) {
	j.each(2, func(halves *[blocks][2]uintptr, out *[2]Node) {
		states := [2][8]uint32{initial, initial}
		blocks2SHA2(&states, &halves[0], blocks)
		out[0], out[1] = labelOf(&states[0]), labelOf(&states[1])
	})
}

func labelOf(state *[8]uint32) (n Node) {
	for i, w := range state {
		binary.BigEndian.PutUint32(n[i*4:], w)
	}
	n[31] &= 0x3f
	return n
}

// each lists the addresses of the blocks of each node and hands them to hash.
func (j *job) each(sectors uintptr, hash func(halves *[blocks][2]uintptr, out *[2]Node)) {
	var halves [blocks][2]uintptr
	var out [2]Node
	s, stride := j.scratch, sectors*nodeSize
	halves[0] = [2]uintptr{uintptr(unsafe.Pointer(&s.id)), uintptr(unsafe.Pointer(&s.head))}
	halves[blocks-1][1] = uintptr(unsafe.Pointer(&s.pad))
	flat := (*[2 * blocks]uintptr)(unsafe.Pointer(&halves))[2:]
	for k := range j.count {
		for i := range s.head {
			binary.BigEndian.PutUint32(s.head[i][:], j.layer)
			binary.BigEndian.PutUint64(s.head[i][4:], j.node+k)
		}
		parents := (*[Degree]uint32)(unsafe.Add(unsafe.Pointer(j.parents), k*recordSize))
		var at [Degree]uintptr
		used := int(2 * j.distinct) // 6 or 14
		for i, p := range parents[:used] {
			base := j.cur
			if i >= BaseDegree {
				base = j.prev
			}
			at[i] = uintptr(unsafe.Pointer(base)) + uintptr(p)*stride
		}
		for i := range HashedParents {
			flat[i] = at[i%used]
		}
		hash(&halves, &out)
		copy(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(j.out), uintptr(k)*stride)), stride), flatten(&out)[:stride])
	}
	runtime.KeepAlive(j)
}

func flatten(n *[2]Node) *[2 * nodeSize]byte { return (*[2 * nodeSize]byte)(unsafe.Pointer(n)) }
