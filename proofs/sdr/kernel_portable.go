package sdr

import "unsafe"

func portableSingle(j *job) { portable(j, 1) }

func portablePair(j *job) { portable(j, 2) }

// portable copies the parents into one message and leaves the rest to
// crypto/sha256.
func portable(j *job, sectors uint64) {
	var msg [msgSize]byte
	span := Degree * nodeSize
	if j.layer == 1 {
		span = BaseDegree * nodeSize
	}
	stride := uintptr(sectors * nodeSize)
	for s := range sectors {
		for k := range j.count {
			parents := (*[Degree]uint32)(unsafe.Add(unsafe.Pointer(j.parents), k*Degree*4))
			putHeader(&msg, j.scratch.id[s], int(j.layer), j.node+k)
			body := msg[headerSize:]
			for i, p := range parents[:span/nodeSize] {
				from := j.cur
				if i >= BaseDegree {
					from = j.prev
				}
				copy(body[i*nodeSize:], label(from, uintptr(p)*stride+uintptr(s*nodeSize))[:])
			}
			repeat(body, span)
			*label(j.out, uintptr(k)*stride+uintptr(s*nodeSize)) = sum254(msg[:])
		}
	}
}

func label(base *byte, off uintptr) *Node {
	return (*Node)(unsafe.Add(unsafe.Pointer(base), off)) // the caller's parents are inside its layers
}

// repeat fills b with its first n bytes, again and again.
func repeat(b []byte, n int) {
	for filled := n; filled < len(b); {
		filled += copy(b[filled:], b[:n])
	}
}
