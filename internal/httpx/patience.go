package httpx

import (
	"context"
	"fmt"
	"time"
)

// patience decides whether and when a source is asked again.
type patience struct {
	cfg     Config
	best    int64 // the farthest byte ever reached
	failed  int   // in a row without a new farthest byte
	said    string
	refused int // the same refusal in a row
	wait    time.Duration
}

func newPatience(cfg Config, off int64) *patience {
	return &patience{cfg: cfg, best: off, wait: cfg.RetryMin}
}

// reached notes an offset; only a new farthest one is progress.
func (p *patience) reached(off int64) bool {
	if off <= p.best {
		return false
	}
	p.best, p.failed, p.refused = off, 0, 0
	p.wait = p.cfg.RetryMin
	return true
}

// next gives the wait before another attempt, or false. moved = the attempt that
// failed reached a new farthest byte and does not count.
func (p *patience) next(e *Error, moved bool) (time.Duration, bool) {
	if !moved {
		p.failed++
	}
	if e.verdict == "" || e.verdict != p.said {
		p.refused = 0
	}
	p.said = e.verdict
	if e.verdict != "" {
		p.refused++
	}
	if e.Permanent {
		return 0, false
	}
	if p.refused >= p.cfg.Refusals {
		e.Permanent = true
		return 0, false
	}
	if p.failed >= p.cfg.Attempts {
		// What never answered may be our own line; a server that answers and gets
		// no further is given up.
		e.Permanent = e.Fault == FaultServer || e.answered
		e.Err = fmt.Errorf("could not finish even after %d attempts, the last: %w", p.failed, e.Err)
		return 0, false
	}
	if e.again {
		return 0, true
	}
	w := p.wait
	p.wait = min(w+w/2, p.cfg.RetryMax)
	if e.after > 0 {
		w = max(p.cfg.RetryMin, min(e.after, p.cfg.RetryAfterMax))
	}
	return w, true
}

func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
