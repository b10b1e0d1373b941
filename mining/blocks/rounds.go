package blocks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

const (
	// behindFrom is the number of epochs between a head and the open round from
	// which the chain counts as silent. Below it round after round is tried; above
	// it rounds are left out on purpose, and the node is asked whether it is in
	// sync. It is less than the 80 epochs between the challenge and the close of a
	// deadline, so that no deadline is skipped unseen.
	behindFrom = 40
	// mostNulls is what a header has room for (lotus: at most 8192 elements of an
	// array, and a beacon entry for every round since the parent).
	mostNulls    = 8191
	defaultNulls = 2000
	// retryPause is how soon a round is tried again that could not be tried.
	retryPause = time.Second
	// leastPause keeps questions to a network without a pace apart.
	leastPause = 10 * time.Millisecond
)

// pursuit is what was tried on one base. The rounds (floor, low) and those above
// high are left, unless they were left out on purpose.
type pursuit struct {
	base    *api.TipSet
	arrived time.Time // of the base here

	floor, low, high abi.ChainEpoch // low..high were tried; low > high: nothing yet

	open abi.ChainEpoch // newest round known to be open

	next  time.Duration // pause before the next step; 0: when the next round is due
	again bool          // every round was tried once
}

func newPursuit(base *api.TipSet, arrived time.Time) *pursuit {
	h := base.Height
	return &pursuit{
		base:    base,
		arrived: arrived,
		floor:   h,
		low:     h + 1,
		high:    h,
	}
}

// jump leaves out rounds: to is tried next, then those below it, then those above.
func (c *pursuit) jump(to abi.ChainEpoch) { c.floor, c.low, c.high = c.high, to+1, to }

// jumped tells whether the round that was jumped to is still to be tried.
func (c *pursuit) jumped() bool { return c.low > c.high && c.high > c.floor }

// nextRound is the round to try next.
func (c *pursuit) nextRound() abi.ChainEpoch {
	if c.low-1 > c.floor {
		return c.low - 1
	}
	return c.high + 1
}

// tried moves past a round that nextRound gave.
func (c *pursuit) tried(r abi.ChainEpoch) {
	if r < c.low {
		c.low = r
		return
	}
	c.high = r
}

// reading is when the network last told which epoch is open.
type reading struct {
	open abi.ChainEpoch
	at   time.Time
}

// step tries the next round on the base, if there is reason to.
func (p *Producer) step(ctx context.Context, c *pursuit) {
	c.next = 0
	if p.taken(attempt{base: c.base}) {
		c.next = p.epochLength() // the news of it is on its way
		return
	}
	open, err := p.openRound(ctx, c)
	if err != nil {
		p.stepFailed(ctx, c, 0, err)
		return
	}
	if c.high > open+1 { // the clock was set back, or the devnet was started again
		*c = *newPursuit(c.base, c.arrived)
	}
	if p.waits(ctx, c, open) {
		return
	}
	a := attempt{base: c.base, epoch: c.nextRound()}
	c.open = open
	if early := a.epoch - open; early > 1 || (early == 1 && p.cfg.OpenEpoch == nil) {
		c.next = max(p.epochLength()/4, leastPause)
		return
	}
	if a.nulls() > mostNulls {
		p.startOver(c)
		return
	}
	v, err := p.attempt(ctx, a, open)
	if err != nil {
		p.stepFailed(ctx, c, a.epoch, err)
		return
	}
	p.refrain = ""
	c.tried(a.epoch)
	if c.again || v != lost && a.epoch < open {
		c.next = p.epochLength() // no hurry: the next round would bring the same
	}
}

// startOver is for a head on which every round that a block can have was tried.
// Those that were lost are lost again, but some may have failed for a reason that
// has passed, such as a store that was away. They are taken slowly.
func (p *Producer) startOver(c *pursuit) {
	if !c.again {
		p.deps.Log.Warn("block production: the head has as many null rounds after it as a block can bridge, and none was won; "+
			"trying them again",
			"head", c.base.Height, "rounds", mostNulls+1)
	}
	fresh := newPursuit(c.base, c.arrived)
	fresh.open, fresh.again, fresh.next = c.open, true, p.epochLength()
	*c = *fresh
}

// stepFailed reports, and decides whether the round is to be tried again.
func (p *Producer) stepFailed(ctx context.Context, c *pursuit, round abi.ChainEpoch, err error) {
	if ctx.Err() != nil {
		return
	}
	var away *api.ErrUnreachable
	early := round == 0 || errors.As(err, &notTried{})
	if early || errors.As(err, &away) {
		c.next = min(retryPause, p.epochLength())
	} else {
		c.tried(round)
		if c.nextRound() <= c.open { // a past round has no hurry
			c.next = min(retryPause, p.epochLength())
		}
	}
	switch {
	case early && errors.Is(err, errTaken): // nothing was lost by it
	case early && err.Error() == p.refrain:
		p.deps.Log.Debug("block production", "error", err)
	case early:
		p.refrain = err.Error()
		p.failed(err)
	default:
		p.failed(fmt.Errorf("epoch %d: %w", round, err))
	}
}

// openRound is the newest round that takes blocks now, at least the height of the
// base; less than the first round on it when that is not due.
func (p *Producer) openRound(ctx context.Context, c *pursuit) (abi.ChainEpoch, error) {
	pace := p.pace()
	switch {
	case pace == 0:
		since := time.Since(time.Unix(int64(c.base.MinTimestamp()), 0)) - p.cfg.Propagation
		return c.base.Height + rounds(since, p.delay), nil
	case p.cfg.OpenEpoch == nil:
		// The head's arrival opens the next epoch, and a quarter of the pace is left
		// for the news that an epoch was not null.
		return c.base.Height + max(1, rounds(time.Since(c.arrived)-pace/4, pace)), nil
	}
	first := c.base.Height + 1
	age := time.Since(p.clock.at)
	near := age < max(time.Second, 10*pace) && p.clock.open+abi.ChainEpoch(age/pace)-first < behindFrom
	if near && c.high < first {
		return first, nil // it opened with the head, as far as is known
	}
	open, err := p.cfg.OpenEpoch(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask which epoch is open: %w", err)
	}
	p.answered()
	p.clock = reading{open: open, at: time.Now()}
	return max(open, first), nil
}

// rounds is how many rounds have opened, the first at since 0.
func rounds(since, length time.Duration) abi.ChainEpoch {
	if since < 0 {
		return 0
	}
	return abi.ChainEpoch(since/length) + 1
}

// pause is how long to sleep before the next step. It is bounded by the length of
// an epoch, because the clock may be set, or the process stopped, meanwhile.
func (p *Producer) pause(c *pursuit) time.Duration {
	if c.next > 0 || c.nextRound() <= c.open {
		return c.next
	}
	tried := time.Duration(c.nextRound() - c.base.Height - 1)
	if pace := p.pace(); pace > 0 {
		due := c.arrived
		if tried > 0 {
			due = due.Add(tried*pace + pace/4)
		}
		return p.bounded(due)
	}
	return p.bounded(time.Unix(int64(c.base.MinTimestamp()), 0).Add(tried*p.delay + p.cfg.Propagation))
}

func (p *Producer) bounded(due time.Time) time.Duration {
	return max(0, min(time.Until(due), p.epochLength()))
}
