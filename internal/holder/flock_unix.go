//go:build unix

package holder

import (
	"errors"
	"os"
	"syscall"
)

// errTaken says that the lock is somebody else's.
var errTaken = errors.New("locked")

// tryLock takes the advisory lock of an open file without waiting. Linux passes
// it on to the server of a network file system.
func tryLock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errTaken
		default:
			return err
		}
	}
}
