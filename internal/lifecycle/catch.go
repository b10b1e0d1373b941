package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// PanicError is a panic that was caught where it could be named. The stack is in
// the log.
type PanicError struct {
	What  string // what was being done
	Value any    // of the panic
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("internal error in %s (a bug; the log has the details): %v", e.What, e.Value)
}

// Catcher is the one way in which the goroutines of a part are kept from ending
// the process: a panic becomes an error of whoever owns the goroutine, who gives
// up that sector, deal or request, tries again later, or ends the part.
type Catcher struct {
	log *slog.Logger

	mu   sync.Mutex
	told map[string]bool // whose stack is in the log
}

// maxTold bounds how many different things a Catcher remembers to have told.
const maxTold = 1000

// NewCatcher makes a Catcher that tells log; nil: nobody.
func NewCatcher(log *slog.Logger) *Catcher {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Catcher{log: log, told: map[string]bool{}}
}

// Do calls f. A panic in it is *PanicError, and in the log, with its stack the
// first time for each what.
func (c *Catcher) Do(what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{What: what, Value: v}
			c.tell(what, v)
		}
	}()
	return f()
}

func (c *Catcher) tell(what string, v any) {
	args := []any{"in", what, "panic", v}
	if c.first(what) {
		args = append(args, "stack", string(debug.Stack()))
	}
	c.log.Error("panic caught", args...)
}

func (c *Catcher) first(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told[what] {
		return false
	}
	if len(c.told) == maxTold {
		clear(c.told)
	}
	c.told[what] = true
	return true
}

// Again calls run until it returns nil or ctx ends. After a panic or an error it
// is begun again, with the pauses of a kept part; what it left under its context
// has been told to end.
func (c *Catcher) Again(ctx context.Context, what string, run func(ctx context.Context) error) {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := c.life(ctx, what, run)
		if err == nil || ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			pause = firstPause
		}
		var caught *PanicError
		if !errors.As(err, &caught) { // that one is told
			c.log.Error("work of a part failed", "in", what, "err", err)
		}
		c.log.Warn("work of a part is begun again", "work", what, "after", pause)
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, lastPause)
	}
}

func (c *Catcher) life(ctx context.Context, what string, run func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return c.Do(what, func() error { return run(ctx) })
}
