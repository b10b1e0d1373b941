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
)

// options are the command line.
type options struct {
	bin      string
	dir      string
	sockets  int
	rounds   int
	patience time.Duration
	budget   time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "directory with the built commands")
	flag.StringVar(&o.dir, "dir", "out/attack", "directory for everything the run makes; emptied first")
	flag.IntVar(&o.sockets, "sockets", 300, "connections that keep a listener waiting at the same time")
	flag.IntVar(&o.rounds, "rounds", 1, "how often everything is tried")
	flag.DurationVar(&o.patience, "patience", time.Second,
		"how long an honest caller may wait while others misbehave; more on a busy machine")
	flag.DurationVar(&o.budget, "budget", 20*time.Minute, "give up after this long")
	flag.Parse()

	ctx, stop := interrupt.Context(context.Background())
	defer stop()
	if err := attackNetwork(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "\nattack:", err)
		fmt.Fprintln(os.Stderr, "logs are in", filepath.Join(o.dir, "logs"))
		os.Exit(1)
	}
}

// attackNetwork makes a network, attacks it, and looks whether it still works.
func attackNetwork(ctx context.Context, o options) (err error) {
	ctx, cancel := context.WithTimeout(ctx, o.budget)
	defer cancel()
	w, err := newWorld(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close(20*time.Second)) }()
	if err := w.begin(ctx); err != nil {
		return fmt.Errorf("make a network to attack: %w", err)
	}
	var sum outcome
	for range o.rounds {
		one, err := w.attacked(ctx, o)
		if err != nil {
			return err
		}
		sum.refused, sum.got = sum.refused+one.refused, sum.got+one.got
	}
	fmt.Printf("\n%d tries were refused, %d were not\n", sum.refused, sum.got)
	if err := w.works(ctx); err != nil {
		return fmt.Errorf("the network does not work any more: %w", err)
	}
	fmt.Println("the network works: the file comes back, sectors are proven, none is faulty")
	if sum.got > 0 {
		return fmt.Errorf("%d tries were not refused", sum.got)
	}
	return nil
}
