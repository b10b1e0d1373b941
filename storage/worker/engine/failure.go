package engine

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"quarry/api"
)

// Bounds of what a failure may say, in bytes.
const (
	maxText   = 4 << 10
	maxDetail = 8 << 10
)

// failure records why a task failed, short enough for a report.
func failure(err error) *api.Failure {
	f := api.NewFailure(err, retryable(err))
	if len(f.Text) > maxText {
		f.Text = f.Text[:maxText] + " ..."
	}
	if len(f.Detail) > maxDetail {
		f.Code, f.Detail = 0, nil
	}
	return f
}

// retryable tells whether the same task can succeed later, here or elsewhere:
// whatever hangs on contact, room, files at hand or a disk can; what the data or
// the parameters are wrong about cannot.
func retryable(err error) bool {
	_, typed := api.Typed(err)
	switch typed.(type) { //nolint:errorlint // Typed has unwrapped it
	case *api.ErrUnreachable, *api.ErrBusy, *api.ErrNoSpace, *api.ErrLocked, *api.ErrLeaseLost, *api.ErrNotFound, *api.ErrNotServedHere,
		*api.ErrInUse:
		return true
	case nil:
		var path *fs.PathError
		var errno syscall.Errno
		return errors.As(err, &path) || errors.As(err, &errno) || errors.Is(err, context.DeadlineExceeded) ||
			errors.Is(err, context.Canceled)
	}
	return false
}
