package sdr

import "golang.org/x/sys/unix"

// newRoom is zeroed memory for labels, and what gives it back. Reads all over a
// layer miss the CPU's table of pages, so large ones are asked for; where the
// system has none, ordinary pages do.
func newRoom(size uint64) (b []byte, release func()) {
	const least = 8 << 20
	if size < least || size > 1<<46 {
		return make([]byte, size), func() {}
	}
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) //nolint:gosec // checked above
	if err != nil {
		return make([]byte, size), func() {}
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // only speed depends on it
	return b, func() { _ = unix.Munmap(b) } // it was mapped just so
}
