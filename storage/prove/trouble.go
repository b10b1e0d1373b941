package prove

import (
	"context"
	"errors"
	"io/fs"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/breaker"
	"quarry/proofs/post"
)

// trouble is why a copy could not be read, and at which place.
type trouble struct {
	at     place
	reason api.FaultReason // empty: by err
	err    error
}

// Error is the cause.
func (t *trouble) Error() string { return t.err.Error() }

// Unwrap gives the cause.
func (t *trouble) Unwrap() error { return t.err }

// fault is the trouble as the API says it.
func (t *trouble) fault(n abi.SectorNumber) api.SectorFault {
	f := api.SectorFault{Sector: n, Reason: t.reason, Path: t.at.path, Detail: t.err.Error()}
	var hung *breaker.ErrHung
	if errors.As(t.err, &hung) {
		f.Since = hung.Since
		if f.Path == "" {
			f.Path = hung.Key
		}
	}
	return f
}

// asTrouble sorts an error. One that was sorted before keeps its place.
func asTrouble(at place, err error) *trouble {
	var t *trouble
	if errors.As(err, &t) {
		at = t.at
		if t.reason != "" {
			return &trouble{at: at, reason: t.reason, err: err}
		}
	}
	return &trouble{at: at, reason: reasonOf(err), err: err}
}

// reasonOf tells the sector's own faults from what may be a trouble of ours. What
// is not known to be the sector's is taken for ours.
func reasonOf(err error) api.FaultReason {
	var hung *breaker.ErrHung
	var slow *breaker.ErrSlow
	var gone *api.ErrUnreachable
	var denied *api.ErrPermission
	var none *api.ErrNotFound
	switch {
	case errors.As(err, &hung):
		return api.FaultHung
	case errors.As(err, &slow), errors.Is(err, errTime), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return api.FaultSlow
	case errors.As(err, &gone), errors.As(err, &denied), errors.Is(err, errNotMounted):
		return api.FaultAway
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &none), errors.Is(err, post.ErrMissing):
		return api.FaultMissing
	case errors.Is(err, errRead):
		return api.FaultUnreadable
	case errors.Is(err, post.ErrOtherSeal):
		return api.FaultOtherSeal
	case errors.Is(err, post.ErrDamaged):
		return api.FaultDamaged
	}
	return api.FaultUnreadable
}

// weight orders reasons: what leaves a doubt outweighs what is certain, and a copy
// that is there outweighs one that is not.
var weight = map[api.FaultReason]int{
	api.FaultMissing:    1,
	api.FaultOtherSeal:  2,
	api.FaultDamaged:    3,
	api.FaultSlow:       4,
	api.FaultUnreadable: 5,
	api.FaultAway:       6,
	api.FaultHung:       7,
}

// graver is the one of two troubles that says more about the sector.
func graver(a, b *trouble) *trouble {
	if a == nil || weight[b.reason] > weight[a.reason] {
		return b
	}
	return a
}
