package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/urfave/cli/v2"

	"quarry/api"
)

// maxNamed is how many faulty sectors `info` names.
const maxNamed = 10

func faultsCommand() *cli.Command {
	return &cli.Command{
		Name: "faults", Usage: "list faulty sectors: since when, why, and what to do", Flags: []cli.Flag{jsonFlag},
		Action: func(c *cli.Context) error {
			n, err := dialMiner(c)
			if err != nil {
				return err
			}
			defer n.Close()
			all, err := n.SectorsFaults(c.Context)
			if err != nil {
				return err
			}
			return show(c, all, func(w io.Writer) { printFaults(w, all) })
		},
	}
}

func printFaults(w io.Writer, all []api.ChainFault) {
	if len(all) == 0 {
		fmt.Fprintln(w, "no sector is faulty")
		return
	}
	t := newTable(w, "Sector", "Deadline", "Partition", "State", "Since", "Why", "What to do")
	for _, f := range all {
		t.AppendRow([]any{f.Sector, f.Deadline, f.Partition, faultWord(f), since(f), f.Why, f.Do})
	}
	t.Render()
}

func faultWord(f api.ChainFault) string {
	if f.Recovering {
		return "recovering"
	}
	return "faulty"
}

// since says when a fault was seen first, and whether it is older.
func since(f api.ChainFault) string {
	s := fmt.Sprintf("epoch %d (%s)", f.Since, f.Time.UTC().Format(time.RFC3339))
	if f.Earlier {
		s += " or before"
	}
	return s
}

// stateWord is a sector's state as it is shown: a faulty one is never just
// Proving.
func stateWord(s api.SectorInfo) string {
	if s.Fault == nil {
		return string(s.State)
	}
	return fmt.Sprintf("%s (%s)", s.State, faultWord(*s.Fault))
}

// sectorNote is the last column of the list: what runs, what is wrong.
func sectorNote(s api.SectorInfo) string {
	var out []string
	if f := s.Fault; f != nil {
		out = append(out, fmt.Sprintf("%s since %s: %s", faultWord(*f), since(*f), f.Why))
	}
	switch {
	case s.Task != nil:
		out = append(out, fmt.Sprintf("%s %.0f%%", s.Task.Stage, s.Task.Percent))
	case s.LastErr != "":
		out = append(out, s.LastErr)
	}
	return strings.Join(out, "; ")
}

// faultLine is that of `info`.
func faultLine(all []api.ChainFault) string {
	var named []string
	for _, f := range all[:min(len(all), maxNamed)] {
		named = append(named, fmt.Sprintf("%d since %s", f.Sector, since(f)))
	}
	if n := len(all) - len(named); n > 0 {
		named = append(named, fmt.Sprintf("and %d more", n))
	}
	return fmt.Sprintf("%d of the sectors: %s (see miner proving faults)", len(all), strings.Join(named, ", "))
}

// epochOrNot is an epoch of something that may not exist yet.
func epochOrNot(e abi.ChainEpoch) string {
	if e <= 0 {
		return ""
	}
	return fmt.Sprint(e)
}
