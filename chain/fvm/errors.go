package fvm

import (
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/exitcode"

	"quarry/chain/fvm/gas"
)

// errno numbers returned to actors (ref-fvm shared/src/error/mod.rs).
type errno uint32

const (
	illegalArgument   errno = 1
	illegalOperation  errno = 2
	limitExceeded     errno = 3
	assertionFailed   errno = 4
	insufficientFunds errno = 5
	notFound          errno = 6
	invalidHandle     errno = 7
	illegalCid        errno = 8
	illegalCodec      errno = 9
	serialization     errno = 10
	forbidden         errno = 11
	bufferTooSmall    errno = 12
	readOnly          errno = 13
)

// syscallError is a failure that the calling actor sees as a number.
type syscallError struct {
	no  errno
	msg string
}

func (e *syscallError) Error() string { return fmt.Sprintf("%s (error %d)", e.msg, e.no) }

func sysErr(no errno, format string, args ...any) error {
	return &syscallError{no, fmt.Sprintf(format, args...)}
}

// exitOf is the receipt exit code of a call that returned an error.
func exitOf(err error) exitcode.ExitCode {
	var se *syscallError
	switch {
	case errors.Is(err, gas.ErrOutOfGas):
		return exitcode.SysErrOutOfGas
	case errors.As(err, &se) && se.no == insufficientFunds:
		return exitcode.SysErrInsufficientFunds
	case errors.As(err, &se) && se.no == notFound:
		return exitcode.SysErrInvalidReceiver
	}
	return exitcode.SysErrFatal
}
