package main

import (
	"context"
	"fmt"
	"math/rand"
	"time"
)

// chaos kills the miners and the worker without warning, one at a time, until
// each has died at least once and ctx ends. What it does is on the screen and
// in the summary; the story above it does not know.
func (d *demo) chaos(ctx context.Context) error {
	rng := rand.New(rand.NewSource(d.o.seed))
	victims := []*proc{d.minerProc, d.marketsProc, d.workerProc}
	for round := 0; ; round++ {
		order := rng.Perm(len(victims))
		for _, i := range order {
			wait := time.Duration(2500+rng.Intn(4500)) * time.Millisecond
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
			v := victims[i]
			if err := v.kill9(); err != nil {
				return err
			}
			d.screen.footer(fmt.Sprintf("killed -9: %s (%d times), seed %d", v.name, v.killed(), d.o.seed))
		}
		if round >= 2 {
			return nil
		}
	}
}
