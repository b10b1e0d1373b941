package main

import (
	"context"
	"fmt"
	"time"

	"quarry/api"
	"quarry/internal/testnet"
)

// latency makes a deal, serves it and proves it twice over slow links.
func latency(ctx context.Context, r *run) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	if err := r.setPace(ctx, slowEpoch/2); err != nil {
		return err
	}
	if err := r.deal(ctx); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	for range 2 {
		open, err := r.toDeadline(ctx)
		if err != nil {
			return err
		}
		r.say("waiting for the proof of the deadline that opens at %d", open)
		rec, err := r.proven(ctx, open)
		if err != nil {
			return err
		}
		r.say("proven within %s: %d sectors", rec.Elapsed.Round(time.Millisecond), rec.Sectors)
	}
	return nil
}

// ways of being away.
var ways = []struct {
	name  string
	begin func(r *run, p *testnet.Proc) error
	end   func(r *run, p *testnet.Proc) error
}{
	{"hangs", func(_ *run, p *testnet.Proc) error { return p.Pause() }, func(_ *run, p *testnet.Proc) error { return p.Resume() }},
	{"is dead", func(_ *run, p *testnet.Proc) error { return p.Kill() }, func(_ *run, p *testnet.Proc) error { return p.Start() }},
	{"is cut off", func(r *run, p *testnet.Proc) error { return r.links(p, true) }, func(r *run, p *testnet.Proc) error { return r.links(p, false) }},
}

// links cuts or heals all links of a process.
func (r *run) links(p *testnet.Proc, cut bool) error {
	all := r.Links(p.Name)
	if len(all) == 0 {
		return fmt.Errorf("%s has no links to cut", p.Name)
	}
	for _, l := range all {
		if cut {
			l.Cut()
		} else {
			l.Heal()
		}
	}
	return nil
}

// outageOf lets one process be away, in each way once, at a bad moment: a
// sector's layers are being computed, a deal is under way, and a window PoSt is
// owed within the next minutes.
func outageOf(who string, away time.Duration) func(context.Context, *run) error {
	return func(ctx context.Context, r *run) error {
		if err := r.open(ctx); err != nil {
			return err
		}
		p := map[string]*testnet.Proc{"miner": r.MinerProc, "worker": r.WorkerProc, "markets": r.MarketsProc, "fullnode": r.DevnetProc}[who]
		if err := r.deal(ctx); err != nil {
			return err
		}
		if err := r.settle(ctx); err != nil {
			return err
		}
		for _, way := range ways {
			end := func() error { return way.end(r, p) }
			if err := r.outage(ctx, away, who+" "+way.name, func() error { return way.begin(r, p) }, end); err != nil {
				return fmt.Errorf("%s %s: %w", who, way.name, err)
			}
		}
		return nil
	}
}

// outage is one of them, and the wait until all is well again.
func (r *run) outage(ctx context.Context, away time.Duration, what string, begin, end func() error) error {
	open, err := r.toDeadline(ctx)
	if err != nil {
		return err
	}
	// An operator's deadline outlasts an outage of ten minutes three times; so does
	// this one.
	pace := max(away/20, slowEpoch)
	if err := r.setPace(ctx, slowEpoch/4); err != nil {
		return err
	}
	if err := r.toEpoch(ctx, open-3); err != nil {
		return err
	}
	if err := r.setPace(ctx, pace); err != nil {
		return err
	}
	if _, err := r.pledge(ctx); err != nil {
		return err
	}
	if err := r.deal(ctx); err != nil {
		return err
	}
	if err := r.sealing(ctx); err != nil {
		return err
	}
	r.say("%s for %s", what, away)
	if err := begin(); err != nil {
		return err
	}
	if err := wait(ctx, away); err != nil {
		return err
	}
	r.say("it is back")
	if err := end(); err != nil {
		return err
	}
	if err := r.Until(ctx, "the devnet to answer", func(ctx context.Context) (bool, error) {
		err := r.setPace(ctx, pace) // a devnet that was started again has forgotten it
		return err == nil, err
	}); err != nil {
		return err
	}
	if _, err := r.proven(ctx, open); err != nil {
		return err
	}
	if err := r.usualPace(ctx); err != nil {
		return err
	}
	return r.settle(ctx)
}

// sealing waits until layers are being computed somewhere.
func (r *run) sealing(ctx context.Context) error {
	return r.Until(ctx, "PC1 to run", func(ctx context.Context) (bool, error) {
		list, _, err := r.Miner.TaskList(ctx, "", 1000)
		if err != nil {
			return false, err
		}
		for _, t := range list {
			if t.Spec.Type == api.TaskPreCommit1 && t.State == api.TaskRunning {
				r.say("%s runs: %s %.0f%%", t.Spec.Key, t.Stage, t.Percent)
				return true, nil
			}
		}
		return false, nil
	})
}

// workers are the processes that do tasks.
func (r *run) workers() (out []*testnet.Proc) {
	for _, p := range []*testnet.Proc{r.MinerProc, r.WorkerProc} {
		if p != nil {
			out = append(out, p)
		}
	}
	return out
}
