package main

import (
	"context"
	"fmt"
	"time"
)

// Forms of proof, as the config key Proving.Form knows them.
const (
	formVanilla = "vanilla"
	formGroth16 = "groth16"
)

// complete fills in what was not said. Where proofs take long the sectors are the
// smallest.
func (o *options) complete() error {
	switch o.form {
	case "":
		o.form = formVanilla
	case formVanilla, formGroth16:
	default:
		return fmt.Errorf("form %q of proofs: there are %s and %s", o.form, formVanilla, formGroth16)
	}
	switch {
	case o.sectorSize != "":
	case o.form == formGroth16:
		o.sectorSize = "2KiB"
	default:
		o.sectorSize = "8MiB"
	}
	return nil
}

// makeParameters takes a minute the first time and nothing later: they are kept
// for this user.
func (d *demo) makeParameters(ctx context.Context) error {
	d.screen.note("kept for later runs; the first takes a minute or two")
	args := []string{"params", "generate", "--sector-size", d.o.sectorSize}
	if d.o.snap {
		args = append(args, "--kind", "all")
	}
	_, err := d.Cmd(ctx, "miner-worker", nil, args...)
	return err
}

// slowDown gives an epoch the time that a winning proof takes here: a block that
// is ready when its epoch is over wins nothing. It begins with four seconds and
// doubles as long as nothing is won.
func (d *demo) slowDown(ctx context.Context) error {
	switch {
	case d.pace == 0:
		d.pace = 4 * time.Second
	case time.Since(d.slowed) > 8*d.pace:
		d.pace *= 2
	default:
		return nil
	}
	d.slowed = time.Now()
	return d.Chain.DevnetSetPace(ctx, d.pace.Milliseconds())
}
