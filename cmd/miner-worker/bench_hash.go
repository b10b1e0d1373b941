package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"quarry/internal/bench"
	"quarry/internal/command"
	"quarry/internal/inputfile"
)

const flagAmount = "size"

// maxAmount bounds a payload that is made up, in bytes.
const maxAmount = 1 << 50

func benchCommP() *cli.Command {
	return &cli.Command{
		Name:      "commp",
		Usage:     "compute a piece commitment, on one core and on all",
		ArgsUsage: "[FILE]",
		Flags: []cli.Flag{
			&command.SizeFlag{StringFlag: cli.StringFlag{Name: flagAmount,
				Usage: "without a file: payload to make up, for example 1GiB; default 512MiB"}, Least: 1},
			jsonFlag,
		},
		Action: runBenchCommP,
	}
}

func runBenchCommP(c *cli.Context) error {
	open, size, err := commPInput(c)
	if err != nil {
		return err
	}
	deps, done := benchDeps()
	r, err := bench.CommP(c.Context, open, size, deps.Progress)
	done()
	if err != nil {
		return err
	}
	return report(c, bench.ThisMachine(), r, func(w io.Writer) {
		say(w, "piece   %s\npayload %d bytes in a piece of %s\n", r.PieceCID, r.Payload, bench.Bytes(r.Padded))
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "cores\tseconds\tCPU seconds\tGB/s\tGB per CPU second\t")
		for _, s := range r.Speeds {
			fmt.Fprintf(t, "%d\t%s\t%s\t%.3f\t%.3f\t\n", s.Cores, seconds(s.Seconds), seconds(s.CPU), s.GBps, s.PerCPU)
		}
		_ = t.Flush() // the caller's writer reports errors itself
	})
}

func commPInput(c *cli.Context) (open func() (io.ReadCloser, error), size int64, err error) {
	n, err := command.Bytes(c, flagAmount)
	switch {
	case err != nil:
		return nil, 0, err
	case c.NArg() == 1 && n > 0:
		return nil, 0, fmt.Errorf("give one file, or --%s", flagAmount)
	case c.NArg() == 1:
		name := c.Args().First()
		st, err := inputfile.Check(name)
		if err != nil {
			return nil, 0, err
		}
		if st.Size() == 0 {
			return nil, 0, fmt.Errorf("%s is empty; name a file with something in it", name)
		}
		return func() (io.ReadCloser, error) {
			f, _, err := inputfile.Open(name)
			return f, err
		}, st.Size(), nil
	case n == 0:
		n = 512 << 20
	case n > maxAmount:
		return nil, 0, fmt.Errorf("--%s %q is more than %s", flagAmount, c.String(flagAmount), command.SizeText(maxAmount))
	}
	return func() (io.ReadCloser, error) { return io.NopCloser(bench.Repeat(int64(n))), nil }, int64(n), nil
}

func benchPoseidon() *cli.Command {
	return &cli.Command{
		Name: "poseidon", Usage: "time Poseidon hashes on one thread, one after the other and in rows",
		Flags:  []cli.Flag{&cli.StringFlag{Name: "arity", Usage: "of 2, 4, 8, 11; default: all"}, jsonFlag},
		Action: runBenchPoseidon,
	}
}

func runBenchPoseidon(c *cli.Context) error {
	if c.NArg() > 0 {
		return errors.New("no arguments are expected, only flags")
	}
	arities := bench.PoseidonArities
	if s := c.String("arity"); s != "" {
		arities = nil
		for _, x := range strings.Split(s, ",") {
			n, err := strconv.Atoi(x)
			if err != nil {
				return fmt.Errorf("--arity %q is no number", x)
			}
			arities = append(arities, n)
		}
	}
	var out []bench.PoseidonSpeed
	for _, a := range arities {
		s, err := bench.Poseidon(c.Context, a)
		if err != nil {
			return err
		}
		out = append(out, s)
	}
	return report(c, bench.ThisMachine(), out, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "arity\tone by one, µs\tin rows, µs\tratio\t")
		for _, s := range out {
			fmt.Fprintf(t, "%d\t%.2f\t%.2f\t%.2f\t\n", s.Arity, s.Scalar, s.Row, s.Ratio)
		}
		_ = t.Flush() // the caller's writer reports errors itself
	})
}
