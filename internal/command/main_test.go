package command

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestMain is also the program under test: this binary, told by its environment.
func TestMain(m *testing.M) {
	if os.Getenv("COMMAND_TEST") == "" {
		os.Exit(m.Run())
	}
	app := program(os.Stdout, new(ran))
	app.Commands = append(app.Commands,
		&cli.Command{Name: "fail", Action: func(*cli.Context) error { return errors.New("no luck") }},
		&cli.Command{Name: "find", Action: func(*cli.Context) error { return &ActError{Reason: "one thing waits for you"} }})
	os.Exit(Main(app))
}

// A process ends with the exit code that is stated, its results on standard output
// and everything about a mistake on standard error.
func TestExitCodes(t *testing.T) {
	for line, want := range map[string]struct {
		code           int
		stdout, stderr string // beginnings
	}{
		"stop":        {code: 0},
		"stop --help": {code: 0, stdout: "NAME:\n   prog stop"},
		"fail":        {code: 1, stderr: "error: no luck\n"},
		"find":        {code: 2, stderr: "one thing waits for you\n"},
		"stop now":    {code: 2, stderr: "error: `prog stop` takes no arguments"},
		"deals":       {code: 2, stderr: "error: `prog deals` is a group of commands"},
		"":            {code: 2, stderr: "error: name a command: "},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(line)...)
		cmd.Env = append(os.Environ(), "COMMAND_TEST=yes")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != want.code {
			t.Errorf("%q ends with %d, want %d", line, code, want.code)
		}
		for what, out := range map[string][2]string{"output": {stdout.String(), want.stdout}, "error": {stderr.String(), want.stderr}} {
			if got, begin := out[0], out[1]; !strings.HasPrefix(got, begin) || begin == "" && got != "" {
				t.Errorf("%q: standard %s %q", line, what, got)
			}
		}
	}
}
