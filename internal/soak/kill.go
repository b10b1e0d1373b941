package main

import (
	"context"
	"fmt"
	"time"

	"quarry/internal/testnet"
)

// killTime is how long the killing goes on.
func killTime(o options) time.Duration {
	if o.short {
		return 90 * time.Second
	}
	return 45 * time.Minute
}

// kill9 kills somebody every few seconds while deals are made and sectors are
// sealed, and lets all come to an end.
func kill9(ctx context.Context, r *run) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	if err := r.setPace(ctx, slowEpoch); err != nil {
		return err
	}
	victims := []*testnet.Proc{r.DevnetProc, r.MinerProc, r.MarketsProc, r.WorkerProc}
	end := time.Now().Add(killTime(r.o))
	most := 4 // deals and pledges; the rest of the time only kills
	if !r.o.short {
		most = 40
	}
	for n := 0; time.Now().Before(end); n++ {
		if n < 6*most && n%6 == 0 {
			if err := r.more(ctx, n/6); err != nil {
				return err
			}
		}
		v := victims[r.rng.Intn(len(victims))]
		if err := wait(ctx, 2*time.Second+time.Duration(r.rng.Int63n(int64(4*time.Second)))); err != nil {
			return err
		}
		r.say("killed -9: %s", v.Name)
		if err := v.Kill9(); err != nil {
			return err
		}
	}
	for _, v := range victims { // nobody reaches the end unharmed
		if v.Killed() == 0 {
			if err := v.Kill9(); err != nil {
				return err
			}
		}
	}
	return r.comeToRest(ctx)
}

// more makes a deal or pledges a sector. Nobody is killed meanwhile: a client who
// heard no answer would have to ask again, and there would be two deals.
func (r *run) more(ctx context.Context, n int) error {
	if n%2 == 1 {
		_, err := r.pledge(ctx)
		return err
	}
	return r.deal(ctx)
}

// comeToRest waits until all is sealed, and for one more proof.
func (r *run) comeToRest(ctx context.Context) error {
	if err := r.Until(ctx, "the devnet", func(ctx context.Context) (bool, error) {
		err := r.usualPace(ctx)
		return err == nil, err
	}); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	open, err := r.toDeadline(ctx)
	if err != nil {
		return err
	}
	_, err = r.proven(ctx, open)
	if err != nil {
		return fmt.Errorf("after all had come to rest: %w", err)
	}
	return nil
}
