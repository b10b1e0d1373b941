package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/urfave/cli/v2"

	"quarry/internal/command"
	"quarry/internal/paramcache"
	"quarry/internal/progress"
	"quarry/proofs/circuit"
	"quarry/proofs/r1cs"
)

const (
	flagSize = "sector-size"
	flagKind = "kind"
	flagDir  = "dir"

	flagProofs = "max-proofs"
)

func paramsCommand() *cli.Command {
	size := &command.SizeFlag{StringFlag: cli.StringFlag{Name: flagSize, Usage: "2KiB, 8MiB, 512MiB, 32GiB or 64GiB", Required: true}}
	dir := &cli.StringFlag{Name: flagDir, EnvVars: []string{paramcache.EnvDir},
		Usage: "directory of the parameters; default: in the user's cache"}
	kind := &cli.StringFlag{Name: flagKind, Value: "porep,winning,window", Usage: "circuits, of porep, winning, window, update; or all"}
	return &cli.Command{Name: "params", Usage: "parameters of Groth16 proofs on this machine", Subcommands: []*cli.Command{
		{Name: "list", Usage: "what is there", Action: paramsList, Flags: []cli.Flag{
			&command.SizeFlag{StringFlag: cli.StringFlag{Name: flagSize, Usage: "only this sector size"}}, dir, jsonFlag}},
		{Name: "generate", Usage: "make parameters for an embedded devnet; interrupted, it goes on when called again",
			Flags: []cli.Flag{size, kind, dir}, Action: paramsGenerate},
		{Name: "generate-srs", Usage: "make the string that aggregates of seal proofs need, for an embedded devnet",
			Action: paramsGenerateSRS,
			Flags:  []cli.Flag{dir, &cli.IntFlag{Name: flagProofs, Value: 1024, Usage: "most proofs in one aggregate, a power of two"}}},
		{Name: "check-srs", Usage: "read that string whole and test it", Flags: []cli.Flag{dir}, Action: paramsCheckSRS},
		{Name: "check", Usage: "read parameter files whole and test every point", Flags: []cli.Flag{size, kind, dir}, Action: paramsCheck},
	}}
}

// sizes are the sector sizes with their lowest seal proof of API version 1.1.
var sizes = []struct {
	name string
	seal abi.RegisteredSealProof
}{
	{"2KiB", abi.RegisteredSealProof_StackedDrg2KiBV1_1},
	{"8MiB", abi.RegisteredSealProof_StackedDrg8MiBV1_1},
	{"512MiB", abi.RegisteredSealProof_StackedDrg512MiBV1_1},
	{"32GiB", abi.RegisteredSealProof_StackedDrg32GiBV1_1},
	{"64GiB", abi.RegisteredSealProof_StackedDrg64GiBV1_1},
}

// circuitOf is one circuit that has parameters.
type circuitOf struct {
	Size  string
	Kind  string
	Name  string
	blank func() (r1cs.Circuit, error)
}

// circuits lists those of a sector size; empty for all sizes.
func circuits(size string, kinds []string) ([]circuitOf, error) {
	var out []circuitOf
	for _, s := range sizes {
		if size != "" && !strings.EqualFold(size, s.name) {
			continue
		}
		of, err := circuitsOf(s.name, s.seal)
		if err != nil {
			return nil, err
		}
		for _, c := range of {
			if slices.Contains(kinds, c.Kind) {
				out = append(out, c)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no circuits for --%s %q and --%s %s", flagSize, size, flagKind, strings.Join(kinds, ","))
	}
	return out, nil
}

func circuitsOf(size string, seal abi.RegisteredSealProof) ([]circuitOf, error) {
	winning, err := seal.RegisteredWinningPoStProof()
	if err != nil {
		return nil, err
	}
	window, err := seal.RegisteredWindowPoStProof()
	if err != nil {
		return nil, err
	}
	update, err := seal.RegisteredUpdateProof()
	if err != nil {
		return nil, err
	}
	out := []circuitOf{
		{size, "porep", "", func() (r1cs.Circuit, error) { return circuit.BlankPoRep(seal) }},
		{size, "winning", "", func() (r1cs.Circuit, error) { return circuit.BlankWinning(winning) }},
		{size, "window", "", func() (r1cs.Circuit, error) { return circuit.BlankWindow(window) }},
		{size, "update", "", func() (r1cs.Circuit, error) { return circuit.BlankUpdate(update) }},
	}
	for i, name := range []func() (string, error){
		func() (string, error) { return circuit.PoRepName(seal) }, func() (string, error) { return circuit.WinningName(winning) },
		func() (string, error) { return circuit.WindowName(window) }, func() (string, error) { return circuit.UpdateName(update) },
	} {
		if out[i].Name, err = name(); err != nil {
			return nil, fmt.Errorf("%s %s: %w", size, out[i].Kind, err)
		}
	}
	return out, nil
}

var allKinds = []string{"porep", "winning", "window", "update"}

func kinds(s string) ([]string, error) {
	if s == "all" {
		return allKinds, nil
	}
	list := strings.Split(s, ",")
	for _, k := range list {
		if !slices.Contains(allKinds, k) {
			return nil, fmt.Errorf("--%s %q is none of %s", flagKind, k, strings.Join(allKinds, ", "))
		}
	}
	return list, nil
}

// cacheOf opens the directory; commands see generated and published files.
func cacheOf(c *cli.Context) (*paramcache.Cache, error) {
	return paramcache.New(paramcache.Config{Dir: c.String(flagDir), Devnet: true}, paramcache.Deps{})
}

func paramsList(c *cli.Context) error {
	cache, err := cacheOf(c)
	if err != nil {
		return err
	}
	size, err := sectorSize(c)
	if err != nil {
		return err
	}
	list, err := circuits(size, allKinds)
	if err != nil {
		return err
	}
	type row struct {
		SectorSize, Kind string
		paramcache.Status
	}
	rows := make([]row, 0, len(list))
	for _, l := range list {
		st, err := cache.Status(l.Name)
		if err != nil {
			return err
		}
		rows = append(rows, row{l.Size, l.Kind, st})
	}
	if c.Bool(flagJSON) {
		return printJSON(c.App.Writer, rows)
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "directory: %s\n\nSIZE\tCIRCUIT\tSTATE\tBYTES\tNAME\n", cache.Dir())
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.SectorSize, r.Kind, r.State, humanize.IBytes(uint64(r.Bytes)), r.Name)
	}
	return w.Flush()
}

// sectorSize is the name of the size that the flag gives, empty for none.
func sectorSize(c *cli.Context) (string, error) {
	n, err := command.Bytes(c, flagSize)
	if err != nil || n == 0 {
		return "", err
	}
	return command.SizeText(n), nil
}

// eachCircuit calls do for every circuit that the flags name.
func eachCircuit(c *cli.Context, do func(*paramcache.Cache, circuitOf, *progress.Printer) error) (err error) {
	k, err := kinds(c.String(flagKind))
	if err != nil {
		return err
	}
	size, err := sectorSize(c)
	if err != nil {
		return err
	}
	list, err := circuits(size, k)
	if err != nil {
		return err
	}
	cache, err := cacheOf(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	for _, l := range list {
		p := progress.New(os.Stderr)
		err := do(cache, l, p)
		p.Done()
		if err != nil {
			return err
		}
	}
	return nil
}

func paramsGenerate(c *cli.Context) error {
	return eachCircuit(c, func(cache *paramcache.Cache, l circuitOf, p *progress.Printer) error {
		blank, err := l.blank()
		if err != nil {
			return err
		}
		say(c.App.Writer, "%s %s: %s", l.Size, l.Kind, l.Name)
		err = cache.Generate(c.Context, l.Name, blank, p.Step)
		if errors.Is(err, paramcache.ErrPresent) {
			say(c.App.Writer, "  there already")
			return nil
		}
		return err
	})
}

func paramsCheck(c *cli.Context) error {
	return eachCircuit(c, func(cache *paramcache.Cache, l circuitOf, p *progress.Printer) error {
		if err := cache.Check(c.Context, l.Name, p.Step); err != nil {
			return err
		}
		say(c.App.Writer, "%s %s: good", l.Size, l.Kind)
		return nil
	})
}

func paramsGenerateSRS(c *cli.Context) error {
	cache, err := cacheOf(c)
	if err != nil {
		return err
	}
	err = cache.GenerateSRS(c.Context, c.Int(flagProofs))
	if errors.Is(err, paramcache.ErrPresent) {
		say(c.App.Writer, "there already")
		return nil
	}
	return err
}

func paramsCheckSRS(c *cli.Context) error {
	cache, err := cacheOf(c)
	if err != nil {
		return err
	}
	if err := cache.CheckSRS(c.Context, nil); err != nil {
		return errors.Join(err, cache.Close())
	}
	say(c.App.Writer, "good")
	return cache.Close()
}

func say(w io.Writer, format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
