package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/urfave/cli/v2"

	"quarry/internal/bench"
	"quarry/internal/command"
	"quarry/internal/inputfile"
	"quarry/proofs/fr32"
)

const (
	flagOut      = "out"
	flagData     = "data"
	flagDataSeed = "data-seed"
	flagMemory   = "memory"
)

func benchSeal() *cli.Command {
	return &cli.Command{
		Name:  "seal",
		Usage: "seal a sector, prove it, check the proof and unseal it",
		Description: "Which sectors: either --proof, or --sector-size with --porep-id, --api-version and --features.\n" +
			"All values in hex are in the byte order of the proofs (little-endian).",
		Flags: []cli.Flag{
			&command.SizeFlag{StringFlag: cli.StringFlag{Name: flagSize,
				Usage: "2KiB, 4KiB, 16KiB, 32KiB, 8MiB, 16MiB, 512MiB, 1GiB, 32GiB or 64GiB"}},
			&cli.StringFlag{Name: "proof", Usage: "name or number of a registered seal proof"},
			&cli.StringFlag{Name: "porep-id", Usage: "32 bytes of hex; default: that of the registered proof"},
			&cli.StringFlag{Name: "api-version", Usage: "1.0.0, 1.1.0 (default) or 1.2.0"},
			&cli.StringFlag{Name: "features", Usage: bench.FeatureSynthetic + " or " + bench.FeatureNonInteractive},
			&cli.StringFlag{Name: flagData, Usage: "`FILE` with the sector's payload, not padded; zeros follow it; default: zeros"},
			&cli.Uint64Flag{Name: flagDataSeed, Usage: "fill the sector with a stream that depends on this number"},
			&cli.StringFlag{Name: "prover-id", Usage: "32 bytes of hex; default: that of f01000"},
			&cli.Uint64Flag{Name: "sector", Value: 1, Usage: "sector number"},
			&cli.StringFlag{Name: "ticket", Value: strings.Repeat("11", 32), Usage: "32 bytes of hex"},
			&cli.StringFlag{Name: "seed", Value: strings.Repeat("22", 32), Usage: "32 bytes of hex"},
			&cli.StringFlag{Name: flagOut, Usage: "new `DIR`ectory to work in and to keep; default: a temporary one"},
			&command.SizeFlag{StringFlag: cli.StringFlag{Name: flagMemory,
				Usage: "limit for labels, for example 1GiB; slow below what they need"}, Least: 1},
			&cli.BoolFlag{Name: "no-unseal", Usage: "leave unsealing out, which takes as long as PC1"},
			jsonFlag,
		},
		Action: runBenchSeal,
	}
}

// sealInput reads all flags.
func sealInput(c *cli.Context) (in bench.SealInput, closeData func(), err error) {
	closeData = func() {}
	size, err := sectorSize(c)
	if err != nil {
		return in, closeData, err
	}
	way := bench.Way{
		Proof:      c.String("proof"),
		Size:       size,
		PorepID:    c.String("porep-id"),
		APIVersion: c.String("api-version"),
		ProverID:   c.String("prover-id"),
	}
	if s := c.String("features"); s != "" {
		way.Features = strings.Split(s, ",")
	}
	if in.Way, err = way.Parse(); err != nil {
		return in, closeData, err
	}
	in.Number, in.NoUnseal = abi.SectorNumber(c.Uint64("sector")), c.Bool("no-unseal")
	if in.Ticket, err = bench.Hex32("--ticket", c.String("ticket")); err != nil {
		return in, closeData, err
	}
	if in.Seed, err = bench.Hex32("--seed", c.String("seed")); err != nil {
		return in, closeData, err
	}
	memory, err := command.Bytes(c, flagMemory)
	if err != nil {
		return in, closeData, err
	}
	if memory > math.MaxInt64 {
		return in, closeData, fmt.Errorf("--%s %q is more than can be counted", flagMemory, c.String(flagMemory))
	}
	in.Memory = int64(memory)
	if err := in.Check(); err != nil {
		return in, closeData, err
	}
	return sealData(c, in)
}

// sealData opens what the sector is filled with.
func sealData(c *cli.Context, in bench.SealInput) (bench.SealInput, func(), error) {
	name := c.String(flagData)
	switch {
	case name != "" && c.IsSet(flagDataSeed):
		return in, func() {}, fmt.Errorf("give --%s or --%s, not both", flagData, flagDataSeed)
	case c.IsSet(flagDataSeed):
		in.Data = bench.Stream(c.Uint64(flagDataSeed))
	case name != "":
		f, st, err := inputfile.Open(name)
		if err != nil {
			return in, func() {}, fmt.Errorf("--%s: %w", flagData, err)
		}
		if room := fr32.UnpaddedLen(uint64(in.Way.Size)); uint64(st.Size()) > room {
			return in, func() {}, errors.Join(fmt.Errorf("--%s %s has more than %d bytes, which is what a sector of %s holds",
				flagData, name, room, bench.SizeName(in.Way.Size)), f.Close())
		}
		in.Data = f
		return in, func() { _ = f.Close() }, nil
	}
	return in, func() {}, nil
}

func runBenchSeal(c *cli.Context) error {
	in, closeData, err := sealInput(c)
	if err != nil {
		return err
	}
	defer closeData()
	need, err := in.Need()
	if err != nil {
		return err
	}
	dir, remove, err := workDir(c.String(flagOut))
	if err != nil {
		return err
	}
	defer remove()
	m := bench.ThisMachine()
	fmt.Fprintf(c.App.ErrWriter, "sealing takes %s of memory and %s of disk in %s\n", bench.Bytes(need.Memory), bench.Bytes(need.Disk), dir)
	if err := need.Check(m, dir); err != nil {
		return err
	}
	deps, done := benchDeps()
	r, err := bench.Seal(c.Context, in, dir, deps)
	done()
	if err != nil {
		return err
	}
	return report(c, m, struct {
		Need bench.Need `json:"need"`
		bench.SealReport
	}{need, r}, func(w io.Writer) { printSeal(w, r) })
}

func printSeal(w io.Writer, r bench.SealReport) {
	say(w, "sector size     %s", bench.SizeName(abi.SectorSize(r.SectorSize)))
	say(w, "porep id        %s", r.PorepID)
	say(w, "api version     %s %s", r.APIVersion, strings.Join(r.Features, " "))
	say(w, "prover id       %s", r.ProverID)
	say(w, "sector          %d", r.SectorNumber)
	say(w, "ticket          %s", r.Ticket)
	say(w, "seed            %s", r.Seed)
	say(w, "piece           %s", r.PieceCID)
	say(w, "comm_d          %s", r.CommD)
	say(w, "comm_r          %s", r.CommR)
	say(w, "comm_c          %s", r.CommC)
	say(w, "comm_r_last     %s", r.CommRLast)
	say(w, "replica id      %s", r.ReplicaID)
	say(w, "replica SHA-256 %s", r.ReplicaSHA256)
	say(w, "vanilla proof   %d bytes, SHA-256 %s", r.ProofBytes, r.ProofSHA256)
	if len(r.Challenges) == 1 {
		say(w, "challenges      %v", r.Challenges[0])
	} else {
		for i, p := range r.Challenges {
			say(w, "challenges %4d %v", i, p)
		}
	}
	say(w, "")
	printPhases(w, r.Phases)
	verdict := "the vanilla proof verifies"
	if r.Unsealed {
		verdict += "; unsealed, the sector has its data again"
	}
	say(w, "\n%s", verdict)
}
