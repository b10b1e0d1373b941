package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"quarry/internal/interrupt"
)

func main() {
	os.Exit(interrupt.Main(func(ctx context.Context) error { return run(ctx, os.Args[1:], os.Stdout) }))
}

type options struct {
	gremlins, logs, name string
	coefficient          int
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	f := flag.NewFlagSet("mutate", flag.ContinueOnError)
	f.StringVar(&o.gremlins, "gremlins", "", "the tool that changes the code")
	f.StringVar(&o.logs, "logs", "out/mutate", "directory for what the tool says")
	f.StringVar(&o.name, "pkg", "", "one package of the list; empty: all")
	f.IntVar(&o.coefficient, "patience", 15, "how many times as long as on unchanged code the tests may take")
	if err := f.Parse(args); err != nil {
		return err
	}
	list, err := choose(".", o.name, packages)
	if err != nil {
		return err
	}
	if o.gremlins, err = filepath.Abs(o.gremlins); err != nil {
		return err
	}
	if err := os.MkdirAll(o.logs, 0o750); err != nil {
		return err
	}
	scores, err := o.tryAll(ctx, list, out)
	failures, printed := table(out, scores)
	if err := errors.Join(err, printed); err != nil {
		return err
	}
	if failures > 0 {
		return fmt.Errorf("%d of %d packages are below their bounds; what the tool said is in %s", failures, len(scores), o.logs)
	}
	return nil
}

// tryAll tries package after package. One that cannot be tried does not keep the
// others from it.
func (o options) tryAll(ctx context.Context, list []held, out io.Writer) ([]score, error) {
	work, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
	src := filepath.Join(work, "src")
	if err := errors.Join(os.Mkdir(src, 0o700), copySources(".", src)); err != nil {
		return nil, err
	}
	var scores []score
	var errs []error
	for _, h := range list {
		if ctx.Err() != nil {
			return scores, errors.Join(append(errs, ctx.Err())...)
		}
		_, _ = fmt.Fprintf(out, "%s %s\n", time.Now().Format(time.TimeOnly), h.Dir) // the table tells of an error
		s, err := o.try(ctx, h, work, src)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		scores = append(scores, s...)
	}
	return scores, errors.Join(errs...)
}

// try runs the tool over one package. It copies the sources into TMPDIR, which is
// ours, so that nothing is left of a run that is broken off.
func (o options) try(ctx context.Context, h held, work, src string) ([]score, error) {
	name := strings.ReplaceAll(h.Dir, "/", "-")
	logPath, result := filepath.Join(o.logs, name+".txt"), filepath.Join(work, name+".json")
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, o.gremlins, "unleash", "--workers", "1",
		"--timeout-coefficient", strconv.Itoa(o.coefficient), "--output", result, "./"+h.Dir)
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "TMPDIR="+work)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err = errors.Join(cmd.Run(), log.Close())
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: broken off: %w", h.Dir, ctx.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: gremlins: %w; do its tests pass? see %s", h.Dir, err, logPath)
	}
	raw, err := os.ReadFile(result)
	if err != nil {
		return nil, fmt.Errorf("%s: gremlins wrote no report; see %s: %w", h.Dir, logPath, err)
	}
	return read(h, raw)
}
