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
	return identity{Size: st.Size(), ModTime: st.ModTime(), Changed: time.Unix(sec, nsec), Inode: uint64(sys.Ino)}, nil //nolint:unconvert // other systems have other widths
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
