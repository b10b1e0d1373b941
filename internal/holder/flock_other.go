//go:build !unix

package holder

import (
	"errors"
	"os"
)

// errTaken says that the lock is somebody else's.
var errTaken = errors.New("locked")

func tryLock(*os.File) error { return errors.New("locks of files are not built for this system yet") }
