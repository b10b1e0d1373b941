package sdr

import (
	"encoding/binary"
	"unsafe"
)

const (
	parentBlocks  = 18 // SHA-256 blocks of two parents each; the 37th shares the last block with the padding
	pairsLayer1   = BaseDegree / 2
	pairsAbove    = Degree / 2
	scheduleSize  = 64 * 4
	prefetchNodes = 6 // how far ahead of their use labels are fetched into the CPU's cache
)

// job is a run of nodes of one layer, for one sector or for two that share the
// graph. Of two sectors, the labels of a node lie side by side in every buffer.
type job struct {
	parents  *uint32 // Degree entries for each node, and for prefetchNodes nodes more
	cur      *byte   // what base parents count from
	prev     *byte   // what expansion parents count from
	out      *byte   // label of the first node, in cur's allocation
	node     uint64  // first node to label, at least 1
	count    uint64  // nodes to label, at least 1
	distinct uint64  // different blocks of parents of a node
	layer    uint32
	scratch  *scratch
}

// routine computes labels. There is one for each kind of CPU; all give the same
// labels.
type routine struct {
	name   string
	single func(*job) // one sector
	pair   func(*job) // two sectors, which should take little longer than one
}

// kernels are those that this CPU can run, the fastest first.
var kernels = append(nativeKernels(), routine{"portable", portableSingle, portablePair})

// Kernel names the code that computes labels on this CPU.
func Kernel() string { return kernels[0].name }

func (k *routine) run(j *job, sectors int) {
	j.distinct = pairsAbove
	if j.layer == 1 {
		j.distinct = pairsLayer1
	}
	if sectors == 2 {
		k.pair(j)
	} else {
		k.single(j)
	}
}

// scratch is a kernel's memory, aligned to a cache line. It holds no pointers
// that the collector follows: out and pairs are addresses in memory that the
// job keeps alive.
type scratch struct {
	schedules [pairsAbove + 2][2 * scheduleSize]byte // scheduled words plus round constants
	pairs     [pairsAbove + 2][2]uintptr             // addresses of the halves of each block
	pad       [2][32]byte                            // second half of the last block
	id        [2]Node                                // first half of the header
	head      [2][32]byte                            // its second half: layer and node
	save      [4][16]byte
	out       uintptr
}

// newScratch is the scratch for one sector or two.
func newScratch(replicas []Node) *scratch {
	const line = 64
	room := make([]byte, unsafe.Sizeof(scratch{})+line)
	at := (line - uintptr(unsafe.Pointer(&room[0]))%line) % line
	s := (*scratch)(unsafe.Pointer(&room[at])) // no pointers inside
	for i := range s.pad {
		s.pad[i][0] = 0x80
		binary.BigEndian.PutUint16(s.pad[i][30:], msgSize*8)
		s.id[i] = replicas[min(i, len(replicas)-1)]
	}
	return s
}
