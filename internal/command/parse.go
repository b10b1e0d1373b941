package command

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"quarry/internal/spelling"
)

// given is a flag on the line.
type given struct {
	flag  cli.Flag
	name  string // as it was written
	value string // as the library reads it
	depth int    // of the command it belongs to: 0 is the program
}

// line is a command line that was understood.
type line struct {
	app   *cli.App
	path  []*cli.Command
	flags []given
	args  []string
	help  bool // was asked for
	show  bool // the version was asked for
}

// helpNames are those of the flag that every program and command has.
var helpNames = []string{"help", "h"}

// parse reads a line to its end. Errors: *UsageError.
func parse(app *cli.App, args []string) (*line, error) {
	l := &line{app: app}
	rest := args[min(1, len(args)):]
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		var err error
		switch {
		case word == "--":
			l.args = append(l.args, rest...)
			rest = nil
		case isFlag(word):
			rest, err = l.takeFlag(word, rest)
		default:
			err = l.takeWord(word)
		}
		if err != nil {
			return nil, err
		}
	}
	if l.help || l.show {
		return l, nil
	}
	return l, l.complete()
}

// isFlag tells flags from arguments: a dash alone is standard input, and a dash
// before a digit is a number.
func isFlag(word string) bool {
	return len(word) > 1 && word[0] == '-' && (word[1] < '0' || word[1] > '9')
}

func (l *line) name() string {
	name := l.app.Name
	for _, c := range l.path {
		name += " " + c.Name
	}
	return name
}

func (l *line) commands() []*cli.Command {
	if len(l.path) == 0 {
		return l.app.Commands
	}
	return l.path[len(l.path)-1].Subcommands
}

func (l *line) refuse(format string, args ...any) error {
	usage := hint(l.name())
	if n := len(l.path); n > 0 && len(l.path[n-1].Subcommands) == 0 {
		usage = strings.TrimRight("usage: "+l.name()+" [flags] "+l.path[n-1].ArgsUsage, " ") + "\n" + usage
	}
	return &UsageError{Reason: fmt.Sprintf(format, args...), Usage: usage}
}

// takeWord is a command as long as there are some to name, then an argument.
func (l *line) takeWord(word string) error {
	list := l.commands()
	if len(list) == 0 {
		l.args = append(l.args, word)
		return nil
	}
	if word == helpNames[0] {
		l.help = true
		return nil
	}
	var known []string
	for _, c := range list {
		if c.HasName(word) {
			l.path = append(l.path, c)
			return nil
		}
		if !c.Hidden {
			known = append(known, c.Name)
		}
	}
	if near := spelling.Nearest(word, known); near != "" {
		return l.refuse("`%s` has no command %q; did you mean `%s %s`?", l.name(), word, l.name(), near)
	}
	return l.refuse("`%s` has no command %q; it has %s", l.name(), word, strings.Join(known, ", "))
}

// takeFlag takes a flag with its value, which may be the next word.
func (l *line) takeFlag(word string, rest []string) ([]string, error) {
	name, value, has := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
	f, depth := l.find(name)
	switch {
	case slices.Contains(helpNames, name):
		l.help = true
		return rest, nil
	case f == nil:
		return nil, l.unknownFlag(name)
	case f == cli.VersionFlag:
		l.show = true
		return rest, nil
	}
	if _, yes := f.(*cli.BoolFlag); !has && yes {
		value, has = "true", true
	}
	if !has {
		if len(rest) == 0 || strings.HasPrefix(rest[0], "--") {
			return nil, l.refuse("--%s needs a value; where that begins with a dash, write --%s=VALUE", name, name)
		}
		value, rest = rest[0], rest[1:]
	}
	read, err := checked(f, value)
	if err != nil {
		return nil, l.refuse("--%s %q: %s", name, value, err)
	}
	l.flags = append(l.flags, given{flag: f, name: name, value: read, depth: depth})
	return rest, nil
}

// find looks for a flag with the present command first, then with those it
// belongs to.
func (l *line) find(name string) (f cli.Flag, depth int) {
	for i, c := range slices.Backward(l.path) {
		if f := among(c.Flags, name); f != nil {
			return f, i + 1
		}
	}
	return among(l.app.Flags, name), 0
}

func among(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func (l *line) unknownFlag(name string) error {
	var known []string
	add := func(flags []cli.Flag) {
		for _, f := range flags {
			known = append(known, f.Names()[0])
		}
	}
	add(l.app.Flags)
	for _, c := range l.path {
		add(c.Flags)
	}
	if near := spelling.Nearest(name, known); near != "" {
		return l.refuse("`%s` has no flag --%s; did you mean --%s?", l.name(), name, near)
	}
	if len(l.commands()) > 0 {
		return l.refuse("`%s` has no flag --%s; a flag of one of its commands goes behind that", l.name(), name)
	}
	return l.refuse("`%s` has no flag --%s", l.name(), name)
}

// complete looks at the line as a whole: is it the name of something that can be
// run, with everything that belongs to it and nothing else?
func (l *line) complete() error {
	if len(l.path) == 0 {
		return l.refuse("name a command: %s", l.visible())
	}
	last := l.path[len(l.path)-1]
	if last.Action == nil {
		return l.refuse("`%s` is a group of commands; name one: %s", l.name(), l.visible())
	}
	if err := l.settle(last); err != nil {
		return err
	}
	if err := l.countArgs(last); err != nil {
		return err
	}
	for _, f := range last.Flags {
		if need, ok := f.(cli.RequiredFlag); ok && need.IsRequired() && !l.has(f) {
			return l.refuse("--%s is missing", f.Names()[0])
		}
	}
	return nil
}

func (l *line) visible() string {
	var out []string
	for _, c := range l.commands() {
		if !c.Hidden {
			out = append(out, c.Name)
		}
	}
	return strings.Join(out, ", ")
}

// settle gives every flag to the command that is run. One of a command before it
// would have no effect there.
func (l *line) settle(last *cli.Command) error {
	for i, g := range l.flags {
		if own := among(last.Flags, g.name); own != nil {
			l.flags[i].flag, l.flags[i].depth = own, len(l.path)
			continue
		}
		if g.depth == 0 {
			continue
		}
		return l.refuse("--%s is a flag of `%s`, not of `%s`", g.name, (&line{app: l.app, path: l.path[:g.depth]}).name(), l.name())
	}
	return nil
}

// has tells whether a flag has a value from the line or the environment.
func (l *line) has(f cli.Flag) bool {
	if slices.ContainsFunc(l.flags, func(g given) bool { return g.flag == f }) {
		return true
	}
	doc, ok := f.(cli.DocGenerationFlag)
	return ok && slices.ContainsFunc(doc.GetEnvVars(), func(name string) bool { return os.Getenv(name) != "" })
}

func (l *line) countArgs(last *cli.Command) error {
	want := argsOf(last.ArgsUsage)
	n := len(l.args)
	switch {
	case want.most == 0 && n > 0:
		return l.refuse("`%s` takes no arguments, so that %q is one too many", l.name(), l.args[0])
	case want.most >= 0 && n > want.most:
		return l.refuse("`%s` takes %s (%s), so that %q is one too many", l.name(), counted(want.most), last.ArgsUsage, l.args[want.most])
	}
	return nil
}

func counted(n int) string {
	if n == 1 {
		return "one argument"
	}
	return strconv.Itoa(n) + " arguments"
}

// ordered is the line as the library reads it: flags directly behind the command
// they belong to, arguments behind everything.
func (l *line) ordered() []string {
	out := []string{l.app.Name}
	for depth := 0; depth <= len(l.path); depth++ {
		if depth > 0 {
			out = append(out, l.path[depth-1].Name)
		}
		for _, g := range l.flags {
			if g.depth == depth && !l.help && !l.show {
				out = append(out, "--"+g.flag.Names()[0]+"="+g.value)
			}
		}
	}
	switch {
	case l.help:
		return append(out, "--help")
	case l.show:
		return append(out[:1], "--version")
	case len(l.args) > 0:
		out = append(append(out, "--"), l.args...)
	}
	return out
}
