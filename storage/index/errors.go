package index

import (
	"errors"

	"quarry/api"
)

func isLost(err error) bool {
	var lost *api.ErrLeaseLost
	return errors.As(err, &lost)
}

func isLocked(err error) bool {
	var locked *api.ErrLocked
	return errors.As(err, &locked)
}
