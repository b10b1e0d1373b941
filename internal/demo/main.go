package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"quarry/internal/interrupt"
	"quarry/internal/printable"
)

// options are the command line.
type options struct {
	bin        string
	dir        string
	file       string
	sectorSize string
	form       string // of the proofs sent on chain
	snap       bool   // the deal goes into a sector that exists already
	deals      int
	proofs     uint64 // window PoSts to see accepted
	keep       bool
	chaos      bool
	every      time.Duration // mean time between two kills
	rounds     int           // in each of which everybody is killed
	seed       int64
	budget     time.Duration
	marketsEnv []string // more of the markets node's environment
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "directory with the built commands")
	flag.StringVar(&o.dir, "dir", "out/demo", "directory for everything the run makes; emptied first")
	flag.StringVar(&o.file, "file", "", "file to store, at most 7 MiB (default: the miner binary's beginning)")
	flag.StringVar(&o.form, "form", formVanilla, "form of the proofs on chain: vanilla, or groth16 (parameters are made at the first run)")
	flag.BoolVar(&o.snap, "snap", false, "seal an empty sector first, and put the deal into it")
	flag.StringVar(&o.sectorSize, "sector-size", "", "2KiB or 8MiB (default: 8MiB, with groth16 2KiB)")
	flag.IntVar(&o.deals, "deals", 1, "how many deals to make")
	flag.Uint64Var(&o.proofs, "proofs", 2, "how many window PoSts to see accepted before the end")
	flag.BoolVar(&o.keep, "keep", false, "leave the processes running at the end, until Ctrl-C")
	flag.BoolVar(&o.chaos, "chaos", false, "kill -9 the devnet, both miners and the worker at random moments")
	flag.DurationVar(&o.every, "every", 4*time.Second, "mean time between two kills")
	flag.IntVar(&o.rounds, "rounds", 3, "how often everybody is killed, at most")
	flag.Int64Var(&o.seed, "seed", time.Now().UnixNano(), "seed of the random moments, printed so that a run can be repeated")
	flag.DurationVar(&o.budget, "budget", 10*time.Minute, "give up after this long; --keep does not count")
	flag.Parse()

	ctx, stop := interrupt.Context(context.Background())
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(printable.NewWriter(os.Stderr), "\ndemo failed:", err)
		fmt.Fprintln(os.Stderr, "logs are in", filepath.Join(o.dir, "logs"))
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	d, err := newDemo(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close(20*time.Second)) }()
	defer d.screen.close()

	if err := d.told(ctx); err != nil {
		return err
	}
	d.screen.close()
	d.summary(os.Stdout)
	if o.keep {
		d.printEnvironment(os.Stdout)
		<-ctx.Done()
	}
	return nil
}

// told is the story within its budget.
func (d *demo) told(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.o.budget)
	defer cancel()
	return d.story(ctx)
}
