package httpx

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"quarry/internal/printable"
)

// Fault says whose trouble an error is, and so what to do about it.
type Fault string

const (
	// FaultCaller is a request that cannot be made: repeat it differently.
	FaultCaller Fault = "caller"
	// FaultNetwork is a connection that did not come about or broke: wait.
	FaultNetwork Fault = "network"
	// FaultServer is an answer that is no use: go elsewhere.
	FaultServer Fault = "server"
	// FaultLocal is trouble of this machine's disk: mend it; the bytes so far stay.
	FaultLocal Fault = "local disk"
)

var (
	// ErrDigest says that bytes changed on the way.
	ErrDigest = errors.New("checksum of fetched bytes does not match")
	// ErrLength says that the server has another number of bytes than agreed.
	ErrLength = errors.New("length differs")
	// ErrChanged says that the bytes behind the URL are no longer those of before.
	ErrChanged = errors.New("the bytes at the source changed while they were read")
)

// maxText is how much of an error is shown, in bytes. Strangers write parts of it.
const maxText = 600

// Error is what went wrong with one source.
type Error struct {
	Fault     Fault
	Host      string // host:port of the URL
	Offset    int64  // bytes that are good so far
	Status    int    // of HTTP; 0 = no answer, or the answer's body was at fault
	Permanent bool   // repeating cannot help
	Err       error

	verdict  string        // not "": a refusal that counts when it is repeated; what is compared
	again    bool          // worth another try without waiting
	answered bool          // there was an answer, whose body broke
	after    time.Duration // what Retry-After asked for
}

// Error implements error. It holds no control characters, whatever the server
// wrote, and is bounded.
func (e *Error) Error() string {
	where := e.Host
	if e.Offset > 0 {
		where += " at byte " + strconv.FormatInt(e.Offset, 10)
	}
	return printable.Escape(fmt.Sprintf("%s: %s (fault: %s)", where, e.Err, e.Fault), maxText)
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// stopped puts in front why a context ended; errors.Is still finds its Err.
func stopped(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != ctx.Err() { //nolint:errorlint // a cause of its own
		return fmt.Errorf("%w (%w): %w", ctx.Err(), cause, err)
	}
	return fmt.Errorf("%w: %w", ctx.Err(), err)
}
