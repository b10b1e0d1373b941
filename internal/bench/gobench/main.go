package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"quarry/internal/bench"
	"quarry/internal/interrupt"
)

func main() {
	os.Exit(interrupt.Main(func(ctx context.Context) error { return run(ctx, os.Args[1:], os.Stdout) }))
}

type options struct {
	goTool, worker, params string
	count                  int
	all, short             bool
}

// keyBenchmarks are those in the table, level by level; keyPackages is where they
// are.
const keyBenchmarks = "^(BenchmarkLabels|BenchmarkSideBySide|BenchmarkHash|BenchmarkRow)$/^(8MiB|ours|hashhash|best)$"

var keyPackages = []string{"./proofs/sdr", "./proofs/commp", "./proofs/poseidon"}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	f := flag.NewFlagSet("gobench", flag.ContinueOnError)
	f.StringVar(&o.goTool, "go", "go", "go tool")
	f.StringVar(&o.worker, "worker", "", "miner-worker, for Groth16 proofs and whole sectors; empty: without them")
	f.StringVar(&o.params, "params", "", "directory of Groth16 parameters; missing ones are made there")
	f.IntVar(&o.count, "count", 10, "rounds of the benchmarks in the table, of which the best counts")
	f.BoolVar(&o.all, "all", false, "all other benchmarks of ./proofs/... too")
	f.BoolVar(&o.short, "short", false, "leave out the 512 MiB sector, which takes minutes, 3 GiB of memory and 4 GiB of disk")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || o.count < 1 || o.params == "" && o.worker != "" {
		return errors.New("no arguments, -count of 1 or more, -params with -worker")
	}
	return o.measure(ctx, out)
}

func (o *options) measure(ctx context.Context, out io.Writer) error {
	m := bench.ThisMachine()
	fmt.Fprintf(out, "%s\n\n", m)
	found := best{}
	if err := o.goBench(ctx, found, out, append([]string{"-bench", keyBenchmarks, "-benchtime", "20ms", "-count",
		strconv.Itoa(o.count)}, keyPackages...)); err != nil {
		return err
	}
	if o.all {
		if err := o.goBench(ctx, best{}, out, []string{"-bench", ".", "-skip", keyBenchmarks, "-benchtime", "1s", "-timeout", "60m",
			"./proofs/..."}); err != nil {
			return err
		}
	}
	list := rows(found, m.Labels)
	if o.worker != "" {
		more, err := o.whole(ctx)
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	return printTable(out, m, list)
}

// goBench runs `go test` and takes the figures out of what it prints.
func (o *options) goBench(ctx context.Context, into best, echo io.Writer, args []string) error {
	cmd := exec.CommandContext(ctx, o.goTool, append([]string{"test", "-run", "^$"}, args...)...) // the tool that runs us
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the benchmarks: %w", err)
	}
	err = into.read(pipe, echo)
	if werr := cmd.Wait(); werr != nil {
		return fmt.Errorf("the benchmarks failed, see above: %w", werr)
	}
	return err
}

// whole measures whole proofs with the worker's own commands.
func (o *options) whole(ctx context.Context) (out []row, err error) {
	var groth16 bench.SnarkReport
	if err := o.workerJSON(ctx, &groth16, "groth16", "--sector-size", "2KiB", "--kind", "winning,window", "--generate", "--dir",
		o.params); err != nil {
		return nil, err
	}
	for _, r := range groth16.Runs {
		out = append(out, phaseRows("Groth16 "+r.Kind+" of 2 KiB", r.Phases)...)
	}
	if o.short {
		return append(out, row{"a whole 512 MiB sector", "left out: SHORT=1", ""}), nil
	}
	var sealed bench.SealReport
	if err := o.workerJSON(ctx, &sealed, "seal", "--sector-size", "512MiB", "--data-seed", "1"); err != nil {
		return nil, err
	}
	return append(out, phaseRows("512 MiB sector", sealed.Phases)...), nil
}

func (o *options) workerJSON(ctx context.Context, result any, args ...string) error {
	var b bytes.Buffer
	cmd := exec.CommandContext(ctx, o.worker, append([]string{"bench", args[0], "--json"}, args[1:]...)...) // built beside us
	cmd.Stdout, cmd.Stderr = &b, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s bench %s: %w", o.worker, args[0], err)
	}
	if err := json.Unmarshal(b.Bytes(), &struct{ Result any }{result}); err != nil {
		return fmt.Errorf("%s bench %s: its result: %w", o.worker, args[0], err)
	}
	return nil
}
