package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"quarry/internal/bench"
	"quarry/internal/progress"
	"quarry/proofs/porep"
	"quarry/storage/paths"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure the proofs on this machine",
		Description: "Every report names the machine. Progress goes to standard error, results to standard output, with --json as JSON.",
		Subcommands: []*cli.Command{benchMachine(), benchSeal(), benchCommP(), benchPoseidon(), benchPoSt(), benchGroth16(), benchVerify()},
	}
}

func benchMachine() *cli.Command {
	return &cli.Command{Name: "machine", Usage: "what figures depend on", Flags: []cli.Flag{jsonFlag}, Action: func(c *cli.Context) error {
		m := bench.ThisMachine()
		if c.Bool(flagJSON) {
			return printJSON(c.App.Writer, m)
		}
		say(c.App.Writer, "%s", m)
		return nil
	}}
}

// benchDeps are files on disk and progress on standard error; done ends the
// last line of it.
func benchDeps() (d bench.Deps, done func()) {
	p := progress.New(os.Stderr)
	return bench.Deps{
		Cache:    func(dir string) porep.Files { return paths.CacheDir(dir) },
		Open:     paths.OpenFile,
		Progress: p.Step,
	}, p.Done
}

// workDir makes the directory to work in: the one asked for, which stays, or a
// temporary one, which remove removes.
func workDir(out string) (dir string, remove func(), err error) {
	if out == "" {
		dir, err = os.MkdirTemp("", "bench-")
		return dir, func() { _ = os.RemoveAll(dir) }, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil { // as sector directories are
		return "", nil, err
	}
	names, err := os.ReadDir(out)
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("--out %s is not empty; name a new directory", out)
	}
	return out, func() {}, err
}

// report prints a result: as JSON together with the machine, or as text below it.
func report(c *cli.Context, m bench.Machine, result any, text func(w io.Writer)) error {
	if c.Bool(flagJSON) {
		return printJSON(c.App.Writer, map[string]any{"machine": m, "result": result})
	}
	say(c.App.Writer, "%s\n", m)
	text(c.App.Writer)
	return nil
}

func printPhases(w io.Writer, phases []bench.Phase) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "phase\tseconds\tCPU seconds\tpeak memory\t")
	for _, p := range phases {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", p.Name, seconds(p.Seconds), seconds(p.CPU), bench.Bytes(p.Peak))
	}
	_ = t.Flush() // the caller's writer reports errors itself
}

func seconds(s float64) string {
	switch {
	case s < 0.01:
		return fmt.Sprintf("%.6f", s)
	case s < 10:
		return fmt.Sprintf("%.3f", s)
	default:
		return fmt.Sprintf("%.1f", s)
	}
}

func since(start time.Time) float64 { return time.Since(start).Seconds() }
