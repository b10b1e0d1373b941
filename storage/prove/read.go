package prove

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/api"
	"quarry/internal/breaker"
	"quarry/proofs/post"
)

// errTime ends the reading of sectors when the time for all of them is over.
var errTime = errors.New("the time for reading these sectors was over")

// within is ctx with a limit on the wall clock; 0 is none.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit, errTime)
}

// sector is what to read.
type sector struct {
	id   abi.SectorID
	info proof.SectorInfo
	// thorough asks for every file of the cache.
	thorough bool
}

// work is done with the open files of a sector, in a call that may be abandoned.
type work[T any] func(ctx context.Context, o *opened) (T, error)

// forms in the order in which they are tried: while a sector is being updated there
// are two, and the commitment tells which the chain has.
var forms = []form{asUpdated, asSealed}

// read does work with the first copy of the sector that allows it: those that were
// declared first, and when these are not what the chain has, those that are found
// on the local paths.
func read[T any](ctx context.Context, p *Prover, s sector, do work[T]) (T, *trouble) {
	v, worst := readAny(ctx, p, s, p.replicas, do)
	if worst != nil && (worst.reason == api.FaultMissing || worst.reason == api.FaultOtherSeal) && ctx.Err() == nil {
		var again *trouble
		if v, again = readAny(ctx, p, s, p.found, do); again != nil {
			worst = graver(worst, again)
		} else {
			worst = nil
		}
	}
	if worst != nil && worst.reason == api.FaultMissing {
		if wait := p.deps.Local.Unopened(); len(wait) > 0 {
			worst = &trouble{reason: api.FaultAway, err: fmt.Errorf("%w, and not yet opened: %s", worst, strings.Join(wait, ", "))}
		}
	}
	p.note(s.id, worst == nil)
	return v, worst
}

// lister gives the copies of a sector in one form.
type lister func(ctx context.Context, id abi.SectorID, f form) ([]replica, error)

// readAny tries the copies that list gives. Without any it is missing.
func readAny[T any](ctx context.Context, p *Prover, s sector, list lister, do work[T]) (v T, worst *trouble) {
	for _, f := range forms {
		copies, err := list(ctx, s.id, f)
		if err != nil {
			worst = graver(worst, asTrouble(place{}, err))
		}
		for _, c := range copies {
			if err := context.Cause(ctx); err != nil {
				return v, graver(worst, asTrouble(c.sealed, err))
			}
			v, err := readCopy(ctx, p, s, c, do)
			if err == nil {
				return v, nil
			}
			worst = graver(worst, err)
		}
	}
	if worst == nil {
		worst = &trouble{reason: api.FaultMissing, err: fmt.Errorf("replica and cache of sector %s: no path has both",
			api.SectorName(s.id))}
	}
	return v, worst
}

// readCopy does work with one copy, in a call of its path.
func readCopy[T any](ctx context.Context, p *Prover, s sector, c replica, do work[T]) (T, *trouble) {
	var zero T
	key, apart := c.key()
	if apart {
		for _, at := range []place{c.sealed, c.cached} {
			if hung := p.deps.Breaker.Hung(at.key); hung != nil {
				return zero, asTrouble(at, hung)
			}
		}
	}
	v, err := breaker.Get(ctx, p.deps.Breaker, key, p.cfg.SectorLimit, func(ctx context.Context) (T, error) {
		o, err := p.open(ctx, s, c)
		if err != nil {
			return zero, err
		}
		defer o.close()
		v, err := do(ctx, o)
		return v, o.blame(err)
	})
	if err == nil {
		return v, nil
	}
	var hung *breaker.ErrHung
	if apart && errors.As(err, &hung) {
		return zero, p.whichHangs(ctx, c, err)
	}
	return zero, asTrouble(c.sealed, err)
}

// whichHangs finds out which of the two paths of a copy does not answer.
func (p *Prover) whichHangs(ctx context.Context, c replica, err error) *trouble {
	for _, at := range []place{c.sealed, c.cached} {
		if at.dir == "" {
			continue
		}
		e := p.deps.Breaker.Do(ctx, at.key, p.cfg.Probe, func(context.Context) error {
			_, err := p.deps.FS.Stat(metaName(at.dir))
			return err
		})
		var hung *breaker.ErrHung
		if errors.As(e, &hung) {
			return asTrouble(at, e)
		}
	}
	return asTrouble(place{}, err)
}

// oneOf makes the vanilla window proof of one sector.
func oneOf(miner abi.ActorID, rand abi.PoStRandomness) work[[]byte] {
	return func(ctx context.Context, o *opened) ([]byte, error) {
		blob, faults, err := post.FindFaults(ctx, miner, rand, []post.SectorAccess{o.SectorAccess})
		if err != nil {
			return nil, err
		}
		if len(faults) > 0 {
			return nil, faults[0]
		}
		return blob, nil
	}
}
