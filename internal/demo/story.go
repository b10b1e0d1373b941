package main

import (
	"context"
	"fmt"
	"sync"
)

// step is a part of the story.
type step struct {
	name string
	run  func(context.Context) error
}

// steps are what the options ask for, and which of them makes the deals.
func (d *demo) steps() (all []step, deal int) {
	if d.o.form == formGroth16 {
		all = append(all, step{"make the parameters of the proofs", d.makeParameters})
	}
	all = append(all, step{"start the devnet", d.StartDevnet},
		step{"create a miner on chain", d.CreateMiner},
		step{"start miner, markets, worker", d.StartNodes})
	if d.o.snap {
		all = append(all, step{"seal an empty sector, prove it", d.makeRoom})
	}
	deal = len(all)
	return append(all, step{"client proposes " + countDeals(d.o.deals), d.propose},
		step{"transfer and publish", d.waitPublished},
		step{"seal and activate", d.waitActive},
		step{"retrieve and compare", d.retrieve},
		step{"prove on chain, win a block", d.waitProven}), deal
}

// story is the demo from beginning to end.
func (d *demo) story(ctx context.Context) error {
	steps, deal := d.steps()
	chaosCtx, stopChaos := context.WithCancel(ctx)
	var chaos sync.WaitGroup // whoever stops the processes must be the last to start any
	defer chaos.Wait()
	defer stopChaos()
	chaosDone := make(chan error, 1)
	for i, s := range steps {
		d.screen.begin(s.name)
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if i == deal && d.o.chaos {
			chaos.Go(func() { chaosDone <- d.chaos(chaosCtx) })
		}
		if i == len(steps)-2 && d.o.chaos {
			// Whatever else happens, nobody reaches the end unharmed.
			if err := d.Until(ctx, "everybody to have died once",
				func(context.Context) (bool, error) { return d.allDied(), nil }); err != nil {
				return err
			}
		}
	}
	stopChaos()
	if d.o.chaos {
		return <-chaosDone
	}
	return nil
}

func countDeals(n int) string {
	if n == 1 {
		return "a deal"
	}
	return fmt.Sprintf("%d deals", n)
}
