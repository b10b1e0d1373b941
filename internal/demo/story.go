package main

import (
	"context"
	"fmt"
	"path/filepath"

	"quarry/api/client"
)

// story is the demo from beginning to end.
func (d *demo) story(ctx context.Context) error {
	type step struct {
		name string
		run  func(context.Context) error
	}
	var steps []step
	if d.o.form == formGroth16 {
		steps = append(steps, step{"make the parameters of the proofs", d.makeParameters})
	}
	deal := len(steps) + 3
	steps = append(steps, []step{
		{"start the devnet", d.startDevnet},
		{"create a miner on chain", d.createMiner},
		{"start miner, markets, worker", d.startNodes},
		{"client proposes " + countDeals(d.o.deals), d.propose},
		{"transfer and publish", d.waitPublished},
		{"seal and activate", d.waitActive},
		{"retrieve and compare", d.retrieve},
		{"prove on chain, win a block", d.waitProven},
	}...)
	chaosCtx, stopChaos := context.WithCancel(ctx)
	defer stopChaos()
	chaosDone := make(chan error, 1)
	for i, s := range steps {
		d.screen.begin(s.name)
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if i == deal && d.o.chaos {
			go func() { chaosDone <- d.chaos(chaosCtx) }()
		}
		if i == len(steps)-2 && d.o.chaos {
			// Whatever else happens, nobody reaches the end unharmed.
			if err := d.until(ctx, "everybody to have died once", func(context.Context) (bool, error) { return d.allDied(), nil }); err != nil {
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

func (d *demo) startDevnet(ctx context.Context) (err error) {
	if d.devnetProc, err = d.runDevnet(); err != nil {
		return err
	}
	return d.awaitDevnet(ctx)
}

func (d *demo) runDevnet() (*proc, error) {
	return d.procs.start("devnet", filepath.Join(d.o.bin, "miner-devnet"), []string{
		"--repo", d.repo("devnet"), "run", "--listen", fmt.Sprintf("127.0.0.1:%d", d.ports.devnet), "--sector-size", d.o.sectorSize,
	}, nil)
}

// awaitDevnet connects to the devnet and waits until its chain grows.
func (d *demo) awaitDevnet(ctx context.Context) error {
	var info string
	if err := d.until(ctx, "the devnet's API", func(context.Context) (bool, error) {
		var err error
		info, err = d.apiInfo("devnet")
		return err == nil, err
	}); err != nil {
		return err
	}
	var err error
	if d.chain, err = client.Chain(ctx, client.Config{Info: info}); err != nil {
		return err
	}
	return d.until(ctx, "the first epochs", func(ctx context.Context) (bool, error) {
		h, err := d.chain.ChainHead(ctx)
		if err != nil {
			return false, err
		}
		d.screen.note("epoch %d", h.Height)
		return h.Height >= 2, nil
	})
}
