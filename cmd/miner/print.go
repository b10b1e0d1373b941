package main

import (
	"encoding/json"
	"io"

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
