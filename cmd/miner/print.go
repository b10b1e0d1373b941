package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"
)

// printJSON writes one indented object.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// show prints v as JSON when asked, else calls text.
func show(c *cli.Context, v any, text func(w io.Writer)) error {
	if c.Bool(flagJSON) {
		return printJSON(c.App.Writer, v)
	}
	text(c.App.Writer)
	return nil
}

// minerOf is the ID address of a sector's miner: sectors of several miners have
// the same numbers.
func minerOf(id abi.SectorID) string { return fmt.Sprintf("f0%d", id.Miner) }

// sectorOf names a sector with its miner.
func sectorOf(id abi.SectorID) string { return fmt.Sprintf("%d of %s", id.Number, minerOf(id)) }

// newTable makes a borderless table, readable in a pipe too.
func newTable(w io.Writer, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	t.SetStyle(style)
	t.AppendHeader(header)
	return t
}
