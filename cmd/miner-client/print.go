package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"quarry/internal/printable"
)

// show prints v as JSON when asked, else calls text, which prints what v points to
// as it is fit for a terminal.
func show(c *cli.Context, v any, text func(w io.Writer)) error {
	if !c.Bool("json") {
		printable.Clean(v) // a provider wrote it
		text(c.App.Writer)
		return nil
	}
	enc := json.NewEncoder(c.App.Writer)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// say prints one line of progress to stderr, so that stdout stays clean.
func say(c *cli.Context, format string, args ...any) {
	fmt.Fprintln(c.App.ErrWriter, printable.Line(fmt.Sprintf(format, args...)))
}

// bar is a progress bar on a terminal and nothing elsewhere.
func bar(total int64, what string) *progressbar.ProgressBar {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return progressbar.DefaultBytesSilent(total, what)
	}
	return progressbar.DefaultBytes(total, what)
}
