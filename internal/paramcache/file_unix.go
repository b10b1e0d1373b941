//go:build unix

package paramcache

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openNonblock keeps the opening of a pipe from waiting for its other end.
const openNonblock = unix.O_NONBLOCK

func identify(f *os.File) (identity, error) {
	st, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	var sys unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &sys); err != nil { //nolint:gosec // file descriptors are small
		return identity{}, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	sec, nsec := sys.Ctim.Unix()
	return identity{Size: st.Size(), ModTime: st.ModTime(), Changed: time.Unix(sec, nsec), Inode: uint64(sys.Ino)},
		nil //nolint:unconvert // other systems have other widths
}

// private tells whether only this user writes into a directory.
func private(dir string) bool {
	st, err := os.Stat(dir)
	if err != nil || !st.IsDir() || st.Mode().Perm()&0o022 != 0 {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int64(sys.Uid) == int64(os.Geteuid())
}

// mapSource maps a file read-only and closes it: the mapping outlives the
// descriptor. The file is closed on errors too.
func mapSource(f *os.File, size int64) (*source, error) {
	defer f.Close() //nolint:errcheck // read only
	if size <= 0 || int64(int(size)) != size {
		return nil, &DamagedError{Path: f.Name(), Reason: fmt.Sprintf("%d bytes do not fit this machine's address space", size)}
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED) //nolint:gosec // file descriptors are small
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", f.Name(), err)
	}
	return &source{name: f.Name(), mem: mem, size: size, close: func() error { return unix.Munmap(mem) }}, nil
}
