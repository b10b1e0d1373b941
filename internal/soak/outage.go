package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

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
	{"is cut off", func(r *run, p *testnet.Proc) error { return r.links(p, true) },
		func(r *run, p *testnet.Proc) error { return r.links(p, false) }},
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
			r.say("next: %s %s", who, way.name)
			open, err := r.armed(ctx, away)
			if err != nil {
				return err
			}
			if err := errors.Join(way.begin(r, p), wait(ctx, away), way.end(r, p)); err != nil {
				return err
			}
			r.say("it was away for %s", away)
			if err := r.recovered(ctx, open, away); err != nil {
				return fmt.Errorf("%s %s: %w", who, way.name, err)
			}
		}
		return nil
	}
}

// outagePace is that of a chain on which an outage does not outlast a deadline: an
// operator's deadline outlasts one of ten minutes three times, and so does this.
func outagePace(away time.Duration) time.Duration { return max(away/20, slowEpoch) }

// armed brings about the bad moment, and tells which deadline is about to open.
func (r *run) armed(ctx context.Context, away time.Duration) (open abi.ChainEpoch, err error) {
	if open, err = r.toDeadline(ctx); err != nil {
		return 0, err
	}
	if err := r.setPace(ctx, slowEpoch/4); err != nil {
		return 0, err
	}
	if err := r.toEpoch(ctx, open-3); err != nil {
		return 0, err
	}
	if err := r.setPace(ctx, outagePace(away)); err != nil {
		return 0, err
	}
	if err := r.deal(ctx); err != nil {
		return 0, err
	}
	if _, err := r.pledge(ctx); err != nil {
		return 0, err
	}
	return open, r.sealing(ctx)
}

// recovered requires the proof to come while the deadline is open, and all else
// to come to its end.
func (r *run) recovered(ctx context.Context, open abi.ChainEpoch, away time.Duration) error {
	if err := r.Until(ctx, "the devnet to answer", func(ctx context.Context) (bool, error) {
		err := r.setPace(ctx, outagePace(away)) // a devnet that was started again has forgotten it
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
