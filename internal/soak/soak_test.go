package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A result of 12 MB and a path of 25,000 files, with real processes.
func TestLargeThings(t *testing.T) {
	if testing.Short() {
		t.Skip("runs four processes, twice, for most of a minute")
	}
	dir := t.TempDir()
	args := []string{"build", "-ldflags=-s -w", "-o", dir + "/"}
	for _, c := range []string{"miner", "miner-worker", "miner-devnet", "miner-client"} {
		args = append(args, "quarry/cmd/"+c)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("build the commands: %v\n%s", err, out)
	}
	var out bytes.Buffer
	o := options{
		bin:   dir,
		dir:   filepath.Join(t.TempDir(), "run"),
		only:  regexp.MustCompile(`^(big-result|many-files)$`),
		seed:  1,
		short: true,
		pace:  200 * time.Millisecond,
		slack: 4,
	}
	if err := runAll(t.Context(), &out, o); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), ends(t, o.dir))
	}
}

// ends are the last lines of every log.
func ends(t *testing.T, dir string) (out string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "logs", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Error(err)
		}
		lines := strings.Split(string(b), "\n")
		out += f + ":\n" + strings.Join(lines[max(len(lines)-25, 0):], "\n")
	}
	return out
}

// Every scenario has a name of its own by which it can be chosen; one that cannot
// be run is no success, and neither is a pattern that chooses none.
func TestChoosing(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios(options{}) {
		if seen[s.name] || s.about == "" || s.limit <= 0 || s.do == nil {
			t.Errorf("scenario %+v", s)
		}
		seen[s.name] = true
	}
	for _, name := range []string{"latency", "outage-30s-miner", "outage-10m-fullnode", "hanging-mount", "unmounted-disk",
		"big-result", "many-files", "wrong-peers", "kill9", "second-process"} {
		if !seen[name] {
			t.Errorf("there is no scenario %s", name)
		}
	}
	err := runAll(t.Context(), &bytes.Buffer{}, options{only: regexp.MustCompile("^none$")})
	if err == nil || !strings.Contains(err.Error(), "no scenario") {
		t.Errorf("no scenario was chosen: %v", err)
	}
	long := func(o options) time.Duration { _, l := outages(o); return l }
	if s, f := long(options{short: true}), long(options{}); s != 40*time.Second || f != 10*time.Minute {
		t.Errorf("the long outage takes %s and %s", s, f)
	}
}

func TestOutcomes(t *testing.T) {
	var out bytes.Buffer
	wrong := errors.New("it went wrong")
	all := []scenario{
		{plan: plan{name: "well", do: func(context.Context, *run) error { return nil }}},
		{plan: plan{name: "wrong", do: func(context.Context, *run) error { return wrong }}},
		{plan: plan{name: "elsewhere", do: func(context.Context, *run) error { return fmt.Errorf("mount: %w", &cannotRun{"no mounts"}) }}},
	}
	try := func(ctx context.Context, _ options, s scenario) error { return s.do(ctx, nil) }
	err := runThese(t.Context(), &out, options{only: regexp.MustCompile("")}, all, try)
	if !errors.Is(err, wrong) || !strings.Contains(err.Error(), "elsewhere could not be run here: no mounts") {
		t.Errorf("the outcome is %v", err)
	}
	for _, want := range []string{"ok well", "FAILED wrong", "NOT RUN elsewhere: no mounts"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
