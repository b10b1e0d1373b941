package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"quarry/api"
)

// definite tells whether an answer of the private node settles the matter.
// Everything else is waited out: no answer, a late one, a node that starts or is
// overloaded, a full disk there, a token that it does not know today.
func definite(err error) bool {
	_, typed := api.Typed(err)
	switch typed.(type) { // Typed has unwrapped it
	case *api.ErrInvalid, *api.ErrNotFound, *api.ErrLeaseLost, *api.ErrPieceMismatch, *api.ErrUnsupportedProof:
		return true
	}
	return false
}

func isLeaseLost(err error) bool {
	var lost *api.ErrLeaseLost
	return errors.As(err, &lost)
}

// outage is a time without answers. It is told when it begins and when it ends.
type outage struct {
	log   *slog.Logger
	heard func()
	what  string // what cannot be done
	since time.Time
	next  time.Duration
}

func (e *Engine) newOutage(what string) outage {
	return outage{log: e.log, heard: e.hear, what: what}
}

// failed notes an attempt without an answer, and says how long to wait before
// the next one.
func (o *outage) failed(err error, first, most time.Duration) time.Duration {
	if o.since.IsZero() {
		o.since, o.next = time.Now(), first
		o.log.Warn("waits for the private node: "+o.what+"; it is tried again until it is answered, and nothing is lost meanwhile",
			"err", err)
	}
	wait := min(o.next, most)
	o.next = min(2*o.next, most)
	return wait
}

// over notes an answer.
func (o *outage) over() {
	if !o.since.IsZero() {
		o.log.Info("the private node answers again: "+o.what, "after", time.Since(o.since).Round(time.Second))
		o.heard()
	}
	o.since = time.Time{}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// ask calls until the answer is definite or ctx ended. waiting is told when
// waiting begins and ends.
func (e *Engine) ask(ctx context.Context, what string, waiting func(bool), call func(context.Context) error) error {
	o := e.newOutage(what)
	for {
		err := e.once(ctx, call)
		if err == nil || definite(err) {
			o.over()
			waiting(false)
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		waiting(true)
		e.rest(ctx, o.failed(err, e.cfg.Retry, e.cfg.RetryMax))
	}
}

// once is one call under a time limit.
func (e *Engine) once(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTime)
	defer cancel()
	return call(ctx)
}

// rest is the pause before a call is repeated: for d, but no longer than until
// another call is answered that was not before, which says that the private node
// is back. It lasts Config.Retry at least, so that calls that fail for reasons of
// their own do not hurry each other.
func (e *Engine) rest(ctx context.Context, d time.Duration) {
	e.mu.Lock()
	heard := e.heard
	e.mu.Unlock()
	least := min(d, e.cfg.Retry)
	sleep(ctx, least)
	t := time.NewTimer(d - least)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-heard:
	case <-t.C:
	}
}

// hear wakes those that rest.
func (e *Engine) hear() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.heard)
	e.heard = make(chan struct{})
}
