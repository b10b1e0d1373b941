package command

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// yes is the flag of every command that destroys something; --really-do-it is
// what Lotus calls it.
const yes = "yes"

// YesFlag is for a command that asks before it destroys something, see [Confirm].
func YesFlag() cli.Flag {
	return &cli.BoolFlag{Name: yes, Aliases: []string{"really-do-it"}, Usage: "do it without asking"}
}

// Confirm asks whether to go on, unless --yes was given. What would happen is
// given as "would remove sector 7 ...". Where nobody is there to be asked it
// refuses.
func Confirm(c *cli.Context, format string, args ...any) error {
	if c.Bool(yes) {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if f, ok := c.App.Reader.(*os.File); ok && !term.IsTerminal(int(f.Fd())) {
		return &UsageError{Reason: "this " + what + "; add --" + yes, Usage: ""}
	}
	return ask(c.App.Reader, c.App.ErrWriter, what)
}

func ask(in io.Reader, out io.Writer, what string) error {
	fmt.Fprintf(out, "This %s.\nType yes to go on: ", what)
	answer, err := bufio.NewReader(io.LimitReader(in, 100)).ReadString('\n')
	if err != nil && answer == "" {
		return &UsageError{Reason: "this " + what + ", and nobody answered; add --" + yes, Usage: ""}
	}
	if strings.TrimSpace(answer) != "yes" {
		return &UsageError{Reason: "nothing was done", Usage: ""}
	}
	return nil
}
