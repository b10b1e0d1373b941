package main

import (
	"context"
	"fmt"
	"math/rand"
	"time"

	"quarry/internal/testnet"
)

// victims of the chaos: all that keep state. Only the client, who would have to
// ask again, is spared.
func (d *demo) victims() []*testnet.Proc {
	return []*testnet.Proc{d.DevnetProc, d.MinerProc, d.MarketsProc, d.WorkerProc}
}

// chaos kills devnet, miners and worker without warning, one at a time and in a
// new order each round, until the rounds are over or ctx ends. What it does is on the screen and in
// the summary; the story above it does not know.
func (d *demo) chaos(ctx context.Context) error {
	rng := rand.New(rand.NewSource(d.o.seed))
	victims := d.victims()
	for range d.o.rounds {
		for _, i := range rng.Perm(len(victims)) {
			wait := d.o.every/2 + time.Duration(rng.Int63n(int64(d.o.every)))
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
			v := victims[i]
			if err := v.Kill9(); err != nil {
				return err
			}
			d.screen.footer(fmt.Sprintf("killed -9: %s (%d times), seed %d", v.Name, v.Killed(), d.o.seed))
		}
	}
	return nil
}

// allDied tells whether everybody was killed at least once.
func (d *demo) allDied() bool {
	for _, v := range d.victims() {
		if v.Killed() == 0 {
			return false
		}
	}
	return true
}
