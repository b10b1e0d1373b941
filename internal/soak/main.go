package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"quarry/internal/interrupt"
	"quarry/internal/printable"
)

// options are the command line.
type options struct {
	bin   string
	dir   string
	only  *regexp.Regexp
	seed  int64
	short bool          // seconds in place of minutes
	pace  time.Duration // of an epoch while nothing is done to anybody
	slack int           // times which every limit is longer, for machines with much else to do
}

func main() {
	var o options
	pattern := flag.String("run", "", "run only the scenarios whose name matches this regular expression")
	list := flag.Bool("list", false, "list the scenarios and end")
	flag.StringVar(&o.bin, "bin", "bin", "directory with the built commands")
	flag.StringVar(&o.dir, "dir", "out/soak",
		"directory for everything the run makes, one below it for each scenario; those are emptied first")
	flag.Int64Var(&o.seed, "seed", time.Now().UnixNano(), "seed of all that is random, printed so that a run can be repeated")
	flag.BoolVar(&o.short, "short", false, "outages of 5 and 40 s in place of 30 s and 10 min, and less of everything")
	flag.DurationVar(&o.pace, "pace", 200*time.Millisecond, "wall-clock time of an epoch while nothing is done to anybody")
	flag.IntVar(&o.slack, "slack", 1, "how many times longer to wait for anything, on a machine with much else to do")
	flag.Parse()

	var err error
	if o.only, err = regexp.Compile(*pattern); err != nil {
		fmt.Fprintln(os.Stderr, "soak: -run:", err)
		os.Exit(2)
	}
	if *list {
		for _, s := range scenarios(o) {
			fmt.Printf("%-20s %s\n", s.name, s.about)
		}
		return
	}
	ctx, stop := interrupt.Context(context.Background())
	defer stop()
	if err := runAll(ctx, printable.NewWriter(os.Stdout), o); err != nil {
		fmt.Fprintln(printable.NewWriter(os.Stderr), "\nsoak failed:", err)
		os.Exit(1)
	}
}

// runAll runs the chosen scenarios one after the other; one that fails does not
// keep the others from being run.
func runAll(ctx context.Context, out io.Writer, o options) error {
	return runThese(ctx, out, o, scenarios(o), func(ctx context.Context, o options, s scenario) error { return runOne(ctx, out, o, s) })
}

// runThese is runAll of any scenarios, each of which is run by try.
func runThese(ctx context.Context, out io.Writer, o options, all []scenario, try func(context.Context, options, scenario) error) error {
	var failed []error
	ran := 0
	for _, s := range all {
		if !o.only.MatchString(s.name) {
			continue
		}
		ran++
		fmt.Fprintf(out, "== %s: %s (seed %d)\n", s.name, s.about, o.seed)
		began := time.Now()
		err := try(ctx, o, s)
		took := time.Since(began).Round(time.Second)
		var cannot *cannotRun
		switch {
		case err == nil:
			fmt.Fprintf(out, "ok %s, %s\n", s.name, took)
		case errors.As(err, &cannot):
			fmt.Fprintf(out, "NOT RUN %s: %s\n", s.name, cannot.why)
			failed = append(failed, fmt.Errorf("%s could not be run here: %s", s.name, cannot.why))
		default:
			fmt.Fprintf(out, "FAILED %s after %s: %v\nits logs are in %s\n", s.name, took, err, filepath.Join(o.dir, s.name, "logs"))
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
		}
		if ctx.Err() != nil {
			return errors.Join(append(failed, ctx.Err())...)
		}
	}
	if ran == 0 {
		return fmt.Errorf("no scenario matches %q; -list names them", o.only)
	}
	return errors.Join(failed...)
}

// cannotRun is the end of a scenario that this machine does not allow; that is
// told apart from a fault, and never taken for success.
type cannotRun struct{ why string }

func (c *cannotRun) Error() string { return "cannot be run here: " + c.why }
