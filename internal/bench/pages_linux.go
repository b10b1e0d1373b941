package bench

import (
	"errors"

	"golang.org/x/sys/unix"

	"quarry/proofs/porep"
)

// dropPages gives the system's copy of a file up, so that the next read goes to
// the disk. Only what is on the disk already can be dropped.
func dropPages(f porep.File) error {
	d, ok := f.(interface{ Fd() uintptr })
	if !ok {
		return errKept
	}
	fd := int(d.Fd()) // file descriptors are small
	return errors.Join(unix.Fdatasync(fd), unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED))
}
