package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/urfave/cli/v2"

	"quarry/internal/bench"
	"quarry/internal/command"
	"quarry/internal/paramcache"
)

func benchPoSt() *cli.Command {
	return &cli.Command{
		Name:  "post",
		Usage: "make and check vanilla winning and window proofs of a sector",
		Description: "A sector is sealed first, which is not part of the figures. Window proofs over several sectors read its " +
			"files as often.",
		Flags: []cli.Flag{
			&command.SizeFlag{StringFlag: cli.StringFlag{Name: flagSize, Value: "2KiB", Usage: "2KiB, 8MiB, 512MiB, 32GiB or 64GiB"}},
			&cli.IntFlag{Name: "sectors", Value: 1, Usage: "sectors in the window proof"},
			&cli.StringFlag{Name: flagOut, Usage: "new `DIR`ectory to work in and to keep; default: a temporary one"},
			jsonFlag,
		},
		Action: runBenchPoSt,
	}
}

// maxPoStSectors is more than the largest partition has.
const maxPoStSectors = 10_000

// benchSize is the sector size that the flag gives.
func benchSize(c *cli.Context) (abi.SectorSize, error) {
	name, err := sectorSize(c)
	if err != nil {
		return 0, err
	}
	return bench.ParseSize(name)
}

// sealRoom parses the sector size, makes the directory and says what sealing
// there takes.
func sealRoom(c *cli.Context) (size abi.SectorSize, dir string, remove func(), err error) {
	if size, err = benchSize(c); err != nil {
		return 0, "", nil, err
	}
	need, err := bench.NeedReady(size)
	if err != nil {
		return 0, "", nil, err
	}
	if dir, remove, err = workDir(c.String(flagOut)); err != nil {
		return 0, "", nil, err
	}
	fmt.Fprintf(c.App.ErrWriter, "sealing takes %s of memory and %s of disk in %s\n", bench.Bytes(need.Memory), bench.Bytes(need.Disk), dir)
	if err := need.Check(bench.ThisMachine(), dir); err != nil {
		remove()
		return 0, "", nil, err
	}
	return size, dir, remove, nil
}

func runBenchPoSt(c *cli.Context) error {
	n := c.Int("sectors")
	if n < 1 || n > maxPoStSectors {
		return fmt.Errorf("--sectors %d is not between 1 and %d", n, maxPoStSectors)
	}
	size, dir, remove, err := sealRoom(c)
	if err != nil {
		return err
	}
	defer remove()
	m := bench.ThisMachine()
	deps, done := benchDeps()
	r, err := bench.PoSt(c.Context, size, n, dir, deps)
	done()
	if err != nil {
		return err
	}
	return report(c, m, r, func(w io.Writer) {
		for _, run := range r.Runs {
			from := "files in memory"
			if run.Cold {
				from = "files from the disk"
			}
			say(w, "%s proof of %d sectors of %s, %s: %d bytes", run.Kind, run.Sectors, bench.SizeName(size), from, run.Proof)
			say(w, "%d reads, %s", run.Reads, bench.Bytes(uint64(run.Bytes)))
			printPhases(w, run.Phases)
			say(w, "")
		}
	})
}

func benchGroth16() *cli.Command {
	return &cli.Command{
		Name:  "groth16",
		Usage: "make and check Groth16 proofs of a sector",
		Description: "A sector is sealed and its vanilla proofs are made first, which is not part of the figures.\n" +
			"The first use of parameters reads them whole, to check them. With --out, statements for `bench verify` are kept.",
		Flags: []cli.Flag{
			&command.SizeFlag{StringFlag: cli.StringFlag{Name: flagSize, Value: "2KiB", Usage: "2KiB, 8MiB, 512MiB, 32GiB or 64GiB"}},
			&cli.StringFlag{Name: flagKind, Value: "winning,window", Usage: "of porep, winning, window, update; or all"},
			&cli.StringFlag{Name: flagDir, EnvVars: []string{paramcache.EnvDir},
				Usage: "directory of the parameters; default: in the user's cache"},
			&cli.BoolFlag{Name: "generate", Usage: "make parameters that are missing, good for measuring and embedded devnets only"},
			&cli.StringFlag{Name: flagOut, Usage: "new `DIR`ectory to work in and to keep; default: a temporary one"},
			jsonFlag,
		},
		Action: runBenchGroth16,
	}
}

func runBenchGroth16(c *cli.Context) error {
	names, err := kinds(c.String(flagKind))
	if err != nil {
		return err
	}
	size, err := benchSize(c)
	if err != nil {
		return err
	}
	list, err := circuits(bench.SizeName(size), names)
	if err != nil {
		return err
	}
	made, err := benchParams(c, list)
	if err != nil {
		return err
	}
	size, dir, remove, err := sealRoom(c)
	if err != nil {
		return err
	}
	defer remove()
	m := bench.ThisMachine()
	deps, done := benchDeps()
	r, err := bench.Groth16(c.Context, size, proofKinds(names), dir, func() (bench.CloseKeys, error) { return cacheOf(c) }, deps)
	done()
	if err != nil {
		return err
	}
	result := struct {
		bench.SnarkReport
		Generated []bench.Phase `json:"generated,omitempty"`
	}{r, made}
	return report(c, m, result, func(w io.Writer) {
		if len(made) > 0 {
			say(w, "parameters made")
			printPhases(w, made)
			say(w, "")
		}
		for _, run := range r.Runs {
			say(w, "%s of %s: %d bytes\n%s", run.Kind, bench.SizeName(size), run.Proof, run.Name)
			printPhases(w, run.Phases)
			say(w, "")
		}
	})
}

// proofKinds are the names that statements have for what circuits are called
// after.
func proofKinds(circuits []string) []string {
	out := make([]string, len(circuits))
	for i, k := range circuits {
		if out[i] = k; k == "porep" {
			out[i] = bench.KindSeal
		}
	}
	return out
}

// benchParams sees to it that all parameters are there before anything starts.
func benchParams(c *cli.Context, list []circuitOf) (made []bench.Phase, err error) {
	cache, err := cacheOf(c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	rec := bench.Recorder{}
	for _, l := range list {
		missing := cache.Need(l.Name)
		if missing == nil {
			continue
		}
		if !c.Bool("generate") {
			return nil, fmt.Errorf("%w\n(or give --generate)", missing)
		}
		blank, err := l.blank()
		if err != nil {
			return nil, err
		}
		deps, done := benchDeps()
		err = rec.Do(c.Context, "generate "+l.Kind, func(ctx context.Context) error {
			return cache.Generate(ctx, l.Name, blank, paramcache.Progress(deps.Progress))
		})
		done()
		if err != nil {
			return nil, err
		}
	}
	return rec.Phases, nil
}
