package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"quarry/internal/bench"
	"quarry/internal/inputfile"
	"quarry/internal/paramcache"
)

func benchVerify() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "check a proof from a file; the exit code is 1 when it is wrong",
		ArgsUsage: "FILE",
		Description: `FILE is JSON (- for standard input):
  {"kind": "seal" | "winning" | "window" | "update",
   "form": "vanilla" | "groth16",
   "info": what the proof is about, as Lotus writes SealVerifyInfo, WinningPoStVerifyInfo,
           WindowPoStVerifyInfo or ReplicaUpdateInfo; proofs of spacetime name their type in Proofs,
   "proof": base64 of the proof; left out, the one in info is checked}`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: flagDir, EnvVars: []string{paramcache.EnvDir}, Usage: "directory of the parameters, for Groth16 proofs"},
			jsonFlag,
		},
		Action: runBenchVerify,
	}
}

// errWrongProof ends the command with exit code 1.
var errWrongProof = errors.New("the proof is wrong: it does not prove this statement")

func runBenchVerify(c *cli.Context) (err error) {
	if c.NArg() == 0 {
		return errors.New("name one file with a statement and its proof")
	}
	s, err := readStatement(c.Args().First())
	if err != nil {
		return err
	}
	cache, err := cacheOf(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	start := time.Now()
	ok, err := s.Check(c.Context, cache)
	if err != nil {
		return fmt.Errorf("the proof could not be checked: %w", err)
	}
	result := struct {
		Kind    string  `json:"kind"`
		Form    string  `json:"form"`
		Valid   bool    `json:"valid"`
		Seconds float64 `json:"seconds"`
	}{s.Kind, s.Form, ok, since(start)}
	if err := report(c, bench.ThisMachine(), result, func(w io.Writer) {
		if ok {
			say(w, "the %s %s proof is right (checked in %s s)", s.Form, s.Kind, seconds(result.Seconds))
		}
	}); err != nil || ok {
		return err
	}
	return errWrongProof
}

func readStatement(name string) (bench.Statement, error) {
	if name == "-" {
		return bench.ReadStatement(os.Stdin)
	}
	f, _, err := inputfile.Open(name)
	if err != nil {
		return bench.Statement{}, err
	}
	defer func() { _ = f.Close() }()
	s, err := bench.ReadStatement(f)
	if err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}
