package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// ran is what an action of the test program saw.
type ran struct {
	name    string
	args    []string
	repo    string
	listen  string
	json    bool
	bytes   uint64
	timeout time.Duration
	list    []string
	typed   bool
}

// program is a program with everything that a line can have.
func program(out io.Writer, saw *ran) *cli.App {
	see := func(c *cli.Context) error {
		size, err := Bytes(c, "size")
		*saw = ran{
			name:    c.Command.Name,
			args:    c.Args().Slice(),
			repo:    c.String("repo"),
			listen:  c.String("listen"),
			json:    c.Bool("json"),
			bytes:   size,
			timeout: c.Duration("timeout"),
			list:    c.StringSlice("announce"),
			typed:   Typed(c, "repo"),
		}
		return err
	}
	json := func() cli.Flag { return &cli.BoolFlag{Name: "json"} }
	return &cli.App{
		Name:    "prog",
		Version: "1.2.3",
		Writer:  out,
		Flags:   []cli.Flag{&cli.StringFlag{Name: "repo", EnvVars: []string{"PROG_REPO"}, Value: "home"}},
		Commands: []*cli.Command{
			{Name: "stop", Action: see},
			{
				Name: "init", Action: see,
				Flags: []cli.Flag{&cli.StringFlag{Name: "owner"}, &cli.StringFlag{Name: "listen"}},
				Subcommands: []*cli.Command{{Name: "service", Action: see, Flags: []cli.Flag{
					&cli.StringFlag{Name: "listen", Value: "here"}, &cli.StringSliceFlag{Name: "announce"}}}},
			},
			{Name: "deals", Subcommands: []*cli.Command{
				{Name: "list", Action: see, Flags: []cli.Flag{json()}},
				{Name: "get", ArgsUsage: "UUID", Action: see, Flags: []cli.Flag{json(), &cli.BoolFlag{Name: "log", Value: true}}},
				{Name: "many", ArgsUsage: "<sector>...", Action: see},
			}},
			{Name: "pack", ArgsUsage: "<file> [output]", Action: see, Flags: []cli.Flag{
				&SizeFlag{StringFlag: cli.StringFlag{Name: "size", EnvVars: []string{"PROG_SIZE"}, Aliases: []string{"s"}},
					Least: 128, Power: true},
				&cli.DurationFlag{Name: "timeout", EnvVars: []string{"PROG_TIMEOUT"}}, &cli.IntFlag{Name: "cpus"},
				&cli.Uint64Flag{Name: "weight"},
				&cli.StringFlag{Name: "kind", Required: true, EnvVars: []string{"PROG_KIND"}}}},
		},
	}
}

func TestLinesThatAreUnderstood(t *testing.T) {
	t.Setenv("PROG_REPO", "")
	for text, want := range map[string]ran{
		"stop":                        {name: "stop", repo: "home"},
		"--repo x stop":               {name: "stop", repo: "x", typed: true},
		"stop --repo=x":               {name: "stop", repo: "x", typed: true},
		"init service --listen a":     {name: "service", repo: "home", listen: "a"},
		"init --listen a service":     {name: "service", repo: "home", listen: "a"},
		"init service":                {name: "service", repo: "home", listen: "here"},
		"init service --announce a,b": {name: "service", repo: "home", listen: "here", list: []string{"a", "b"}},
		"init --listen a --repo r":    {name: "init", repo: "r", listen: "a", typed: true},
		"deals get 7 --json":          {name: "get", args: []string{"7"}, repo: "home", json: true},
		"deals get --json 7 --repo x": {
			name:  "get",
			args:  []string{"7"},
			repo:  "x",
			json:  true,
			typed: true,
		},
		"deals get -json -- --json":         {name: "get", args: []string{"--json"}, repo: "home", json: true},
		"deals get help":                    {name: "get", args: []string{"help"}, repo: "home"},
		"deals get list --json=false":       {name: "get", args: []string{"list"}, repo: "home"},
		"deals many 1 2 3":                  {name: "many", args: []string{"1", "2", "3"}, repo: "home"},
		"pack - --kind a":                   {name: "pack", args: []string{"-"}, repo: "home"},
		"pack f -5 --kind a":                {name: "pack", args: []string{"f", "-5"}, repo: "home"},
		"pack f --kind a --size 1KiB":       {name: "pack", args: []string{"f"}, repo: "home", bytes: 1024},
		"pack -s 256 f --kind a":            {name: "pack", args: []string{"f"}, repo: "home", bytes: 256},
		"pack f --timeout 2d --kind a":      {name: "pack", args: []string{"f"}, repo: "home", timeout: 48 * time.Hour},
		"pack f --timeout 1m30s --kind=":    {name: "pack", args: []string{"f"}, repo: "home", timeout: 90 * time.Second},
		"pack f --cpus -1 --kind a":         {name: "pack", args: []string{"f"}, repo: "home"},
		"pack --kind a --kind=--b f":        {name: "pack", args: []string{"f"}, repo: "home"},
		"pack --kind a --weight 7 f second": {name: "pack", args: []string{"f", "second"}, repo: "home"},
	} {
		var saw ran
		err := Run(context.Background(), program(io.Discard, &saw), append([]string{"prog"}, strings.Fields(text)...))
		if err != nil || !equal(saw, want) {
			t.Errorf("%s: %v\nsaw  %+v\nwant %+v", text, err, saw, want)
		}
	}
}

func equal(a, b ran) bool {
	args := strings.Join(a.args, " ") == strings.Join(b.args, " ") && strings.Join(a.list, " ") == strings.Join(b.list, " ")
	rest := a.name == b.name && a.repo == b.repo && a.listen == b.listen && a.json == b.json && a.typed == b.typed
	return args && rest && a.bytes == b.bytes && a.timeout == b.timeout
}

// A line that is not understood is refused with what would have been right, and
// nothing runs.
func TestLinesThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "name a command: stop, init, deals, pack",
		"stop now":                          "`prog stop` takes no arguments, so that \"now\" is one too many",
		"stap":                              "`prog` has no command \"stap\"; did you mean `prog stop`?",
		"frobnicate":                        "`prog` has no command \"frobnicate\"; it has stop, init, deals, pack",
		"init restore FILE":                 "`prog init` has no command \"restore\"; it has service",
		"init servise":                      "did you mean `prog init service`?",
		"init --owner x service":            "--owner is a flag of `prog init`, not of `prog init service`",
		"init service --owner x":            "--owner is a flag of `prog init`, not of `prog init service`",
		"deals":                             "`prog deals` is a group of commands; name one: list, get, many",
		"deals lst":                         "did you mean `prog deals list`?",
		"deals get 7 8":                     "`prog deals get` takes one argument (UUID), so that \"8\" is one too many",
		"deals list x":                      "`prog deals list` takes no arguments",
		"deals get 7 --jsn":                 "`prog deals get` has no flag --jsn; did you mean --json?",
		"deals get 7 --frobnicate":          "`prog deals get` has no flag --frobnicate",
		"deals --json list":                 "`prog deals` has no flag --json; a flag of one of its commands goes behind that",
		"--rep x stop":                      "`prog` has no flag --rep; did you mean --repo?",
		"deals get 7 --json=maybe":          "--json \"maybe\": it is true or false",
		"pack f":                            "--kind is missing",
		"pack a b c --kind a":               "`prog pack` takes 2 arguments (<file> [output]), so that \"c\" is one too many",
		"pack f --kind":                     "--kind needs a value",
		"pack f --kind --cpus 1":            "--kind needs a value; where that begins with a dash, write --kind=VALUE",
		"pack f --kind a --cpus much":       "--cpus \"much\": it is not a whole number",
		"pack f --kind a --weight -1":       "--weight \"-1\": it is not a whole number of zero or more",
		"pack f --kind a --size 100":        "--size \"100\": it is less than 128 bytes",
		"pack f --kind a --size 192":        "--size \"192\": it is no power of two",
		"pack f --kind a --size -5GiB":      "--size \"-5GiB\": it is negative",
		"pack f --kind a --size 10G":        "--size \"10G\": say which: 10GiB (powers of 1024) or 10GB (powers of 1000)",
		"pack f --kind a --size=":           "--size \"\": it is not a size such as",
		"pack f --kind a --timeout -1s":     "--timeout \"-1s\": it is negative",
		"pack f --kind a --timeout 5":       "--timeout \"5\": it is not a span of time such as \"90s\", \"1h30m\" or \"30d\"",
		"pack f --kind a --timeout 1.5d":    "--timeout \"1.5d\": it is not a whole number of days",
		"pack f --kind a --timeout -2d":     "--timeout \"-2d\": it is negative",
		"pack f --kind a --timeout 106752d": "--timeout \"106752d\": it is longer than can be counted",
		"-- stop":                           "name a command",
	} {
		var saw ran
		var out bytes.Buffer
		err := Run(context.Background(), program(&out, &saw), append([]string{"prog"}, strings.Fields(text)...))
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) || saw.name != "" || out.Len() > 0 {
			t.Errorf("%s: %v\nwant %s\nran %q, printed %q", text, err, want, saw.name, out.String())
		}
	}
}

// Values from the environment are checked like those of the line, and usage is
// not printed among results.
func TestEnvironmentIsChecked(t *testing.T) {
	for name, text := range map[string]string{"PROG_TIMEOUT": "soon", "PROG_SIZE": "large"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, text)
			var saw ran
			var out bytes.Buffer
			err := Run(context.Background(), program(&out, &saw), strings.Fields("prog pack f --kind a"))
			if err == nil || !strings.Contains(err.Error(), text) || out.Len() > 0 {
				t.Errorf("%v, printed %q", err, out.String())
			}
		})
	}
	t.Setenv("PROG_KIND", "a")
	t.Setenv("PROG_REPO", "there")
	var saw ran
	if err := Run(context.Background(), program(io.Discard, &saw), strings.Fields("prog pack f")); err != nil ||
		saw.repo != "there" || saw.typed {
		t.Errorf("%v, %+v", err, saw)
	}
}

func TestHelpIsPrintedWhereItIsAskedFor(t *testing.T) {
	for text, want := range map[string]string{
		"--help":               "COMMANDS:",
		"help":                 "COMMANDS:",
		"-h":                   "COMMANDS:",
		"stop --help":          "prog stop",
		"help deals get":       "UUID",
		"deals help get":       "UUID",
		"deals get 7 8 --help": "UUID",
		"deals get --log -h":   "--log",
		"--version":            "1.2.3",
		"-v":                   "1.2.3",
		"deals get --version":  "1.2.3",
	} {
		var saw ran
		var out bytes.Buffer
		err := Run(context.Background(), program(&out, &saw), append([]string{"prog"}, strings.Fields(text)...))
		if err != nil || saw.name != "" || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, ran %q, printed %s", text, err, saw.name, out.String())
		}
	}
}

func TestReport(t *testing.T) {
	for want, c := range map[string]struct {
		err  error
		code int
	}{
		"":                                 {nil, 0},
		"error: no luck\n":                 {errors.New("no luck"), 1},
		"error: bad line\nusage: prog x\n": {&UsageError{Reason: "bad line", Usage: "usage: prog x\n"}, 2},
		"two things wait for you\n":        {&ActError{Reason: "two things wait for you"}, 2},
	} {
		var out bytes.Buffer
		if code := Report(&out, c.err); code != c.code || out.String() != want {
			t.Errorf("%v: %d, %q", c.err, code, out.String())
		}
	}
	var saw ran
	err := Run(context.Background(), program(io.Discard, &saw), strings.Fields("prog deals get 1 2"))
	var out bytes.Buffer
	Report(&out, err)
	if want := "\nusage: prog deals get [flags] UUID\n`prog deals get --help` says what " +
		"it takes\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("printed %q", out.String())
	}
}

func TestArgsUsage(t *testing.T) {
	for usage, want := range map[string]arity{
		"":                          {0, 0},
		"UUID":                      {1, 1},
		"[ADDRESS]":                 {0, 1},
		"ADDRESS FIL":               {2, 2},
		"<provider f0 address>":     {1, 1},
		"<deal uuid> [output file]": {1, 2},
		"SECTOR...":                 {1, -1},
		"<sector number>...":        {1, -1},
		"[multiaddr...]":            {0, -1},
		"[multiaddr]...":            {0, -1},
		"FILE SECTOR...":            {2, -1},
		"<unclosed one":             {1, 1},
	} {
		if got := argsOf(usage); got != want {
			t.Errorf("%q: %+v, want %+v", usage, got, want)
		}
	}
}

// Whatever a line is, it is understood or refused; one that is understood means the
// same in the order in which the library gets it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"stop", "deals get 7 --json", "pack f --size 1KiB --kind a", "init --listen a service", "-- --",
		"--repo= -h", "pack -s=128 --"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		app := program(io.Discard, new(ran))
		prepare(app)
		first, err := parse(app, append([]string{"prog"}, strings.Fields(s)...))
		if err != nil {
			var usage *UsageError
			if !errors.As(err, &usage) || usage.Reason == "" {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		again, err := parse(app, first.ordered())
		if err != nil || strings.Join(again.ordered(), "\x00") != strings.Join(first.ordered(), "\x00") {
			t.Fatalf("%q: %q, then %v", s, first.ordered(), err)
		}
	})
}
