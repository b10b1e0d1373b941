package sdr

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// newRoom is zeroed memory for labels, and what gives it back. Reads all over a
// layer miss the CPU's table of pages, so large ones are asked for; where the
// system has none, ordinary pages do. A system that refuses the memory is an
// error: from the heap the same request would end the process.
func newRoom(size uint64) (b []byte, release func(), err error) {
	const least = 8 << 20
	if size < least {
		return make([]byte, size), func() {}, nil
	}
	if size > 1<<46 {
		return nil, nil, fmt.Errorf("sdr: a layer of %d bytes is more than any sector has", size)
	}
	b, err = unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) // the size was checked above
	if err != nil {
		return nil, nil, fmt.Errorf("sdr: %d bytes of memory for a layer of labels: %w; label fewer sectors at once or set a "+
			"limit on memory", size, err)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE)      // only speed depends on it
	return b, func() { _ = unix.Munmap(b) }, nil // it was mapped just so
}
