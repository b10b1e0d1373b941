package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/testnet"
)

// plan is one kind of harm.
type plan struct {
	name  string
	about string
	// config is what the network differs by; Bin and Dir are filled in.
	config testnet.Config
	do     func(context.Context, *run) error
}

// scenario is a plan with its time, to be multiplied by the slack.
type scenario struct {
	plan
	limit time.Duration
}

// run is a scenario under way.
type run struct {
	*testnet.Network
	o      options
	rng    *rand.Rand
	out    io.Writer
	began  time.Time
	size   string // of sectors
	wallet address.Address
	deals  []*testnet.Deal
	// sick are the sectors that lie on disks which were harmed: they may be faulty.
	sick map[abi.SectorNumber]bool
}

// runOne runs a scenario on a network of its own, and then the checks that all
// have in common.
func runOne(ctx context.Context, out io.Writer, o options, s scenario) (err error) {
	r := &run{
		o:     o,
		rng:   rand.New(rand.NewSource(o.seed)),
		out:   out,
		began: time.Now(),
		size:  s.config.SectorSize,
		sick:  map[abi.SectorNumber]bool{},
	}
	cfg := s.config
	cfg.Bin, cfg.Dir = o.bin, filepath.Join(o.dir, s.name)
	leftovers(cfg.Dir)
	if r.Network, err = testnet.New(cfg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close(time.Minute)) }()
	limit := s.limit * time.Duration(max(o.slack, 1))
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the scenario took longer than %s", limit))
	defer cancel()
	if err := s.do(ctx, r); err != nil {
		return err
	}
	r.say("checking")
	return r.check(ctx)
}

// say tells what is done now.
func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.out, "   %6.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// open starts the processes, with time running at its usual pace.
func (r *run) open(ctx context.Context) error {
	r.say("starting devnet, miner, markets, worker")
	for _, start := range []func(context.Context) error{r.StartDevnet, r.usualPace, r.CreateMiner, r.StartNodes} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	var err error
	r.wallet, err = r.NewClient(ctx)
	return err
}

// usualPace is the one of the command line.
func (r *run) usualPace(ctx context.Context) error { return r.setPace(ctx, r.o.pace) }

func (r *run) setPace(ctx context.Context, epoch time.Duration) error {
	return r.Chain.DevnetSetPace(ctx, epoch.Milliseconds())
}

// answering waits until all who take part in a deal answer: a client whose call
// fails would have to ask again, and there might be two deals.
func (r *run) answering(ctx context.Context) error {
	return r.Until(ctx, "the nodes to answer", func(ctx context.Context) (bool, error) {
		if _, err := r.Markets.MarketGetAsk(ctx); err != nil {
			return false, err
		}
		_, err := r.Chain.ChainHead(ctx)
		return err == nil, err
	})
}

// deal proposes one more deal, of random bytes.
func (r *run) deal(ctx context.Context) error {
	size := int64(1400)
	if r.size == "8MiB" {
		size = 5 << 20
	}
	one, err := r.NewDeal(strconv.Itoa(len(r.deals)), io.LimitReader(r.rng, size))
	if err != nil {
		return err
	}
	if err := r.answering(ctx); err != nil {
		return err
	}
	r.say("deal %d is proposed", len(r.deals))
	if err := r.Propose(ctx, r.wallet, one); err != nil {
		return err
	}
	r.deals = append(r.deals, one)
	return nil
}

// pledge begins a sector of zeros.
func (r *run) pledge(ctx context.Context) (abi.SectorNumber, error) {
	var id abi.SectorID
	err := r.Until(ctx, "a sector to be pledged", func(ctx context.Context) (done bool, err error) {
		id, err = r.Miner.PledgeSector(ctx)
		return err == nil, err
	})
	if err == nil {
		r.say("sector %d is pledged", id.Number)
	}
	return id.Number, err
}

// settle waits until every deal is active on chain and every sector rests.
func (r *run) settle(ctx context.Context) error {
	r.say("waiting until %d deals are active and all sectors proving", len(r.deals))
	last := ""
	return r.Until(ctx, "all deals to be active and all sectors to be proving", func(ctx context.Context) (bool, error) {
		var todo []string
		for i, one := range r.deals {
			if err := r.Refresh(ctx, one); err != nil {
				return false, err
			}
			ok, err := r.Active(ctx, one)
			if err != nil {
				return false, err
			}
			if !ok {
				todo = append(todo, strings.TrimSpace(fmt.Sprintf("deal %d is %s %s", i, one.Last.Checkpoint, one.Last.Err)))
			}
		}
		sectors, err := r.sectors(ctx)
		if err != nil {
			return false, err
		}
		for _, s := range sectors {
			if !resting(s) {
				todo = append(todo, fmt.Sprintf("sector %d is %s%s", s.Sector.ID.Number, s.State, trouble(s)))
			}
		}
		r.note(&last, "%s", strings.Join(todo, "; "))
		if len(todo) > 0 {
			return false, errors.New(strings.Join(todo, "; ")) // said when the time is over
		}
		return true, nil
	})
}

// note says what has changed.
func (r *run) note(last *string, format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != *last && text != "" {
		*last = text
		r.say("%s", text)
	}
}

func trouble(s api.SectorInfo) string {
	if s.LastErr == "" {
		return ""
	}
	return ": " + s.LastErr
}

// sectors are all there are: far fewer than fit into one page.
func (r *run) sectors(ctx context.Context) ([]api.SectorInfo, error) {
	return r.Miner.SectorsList(ctx, 0, 0)
}

// resting tells whether nothing is to be done for a sector.
func resting(s api.SectorInfo) bool {
	return s.State == api.SectorProving || s.State == api.SectorRemoved
}

// wait lets wall-clock time pass: the length of an accident.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
