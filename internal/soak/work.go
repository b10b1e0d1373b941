package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"quarry/internal/testnet"
)

// unkept is how long after the end of a task its result may still be on its way
// to the disk: a process that is killed then does the task again.
const unkept = 10 * time.Second

// computing are the tasks that take time: what is done twice of them is lost.
var computing = map[string]bool{"PC1": true, "PC2": true, "C1": true, "C2": true, "RU": true, "PR1": true, "PR2": true}

// event is a line of a worker about a task.
type event struct {
	at   time.Time
	proc *testnet.Proc
	what string // begins, done, failed
	key  string
}

var line = regexp.MustCompile(`^time=(\S+) .*?msg="task (begins|done|failed)".*? task=(\S+)`)

// events reads what a process said of tasks, oldest first.
func events(p *testnet.Proc) (out []event, err error) {
	f, err := os.Open(p.Log())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := line.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil {
			return nil, fmt.Errorf("time in %s: %w", p.Log(), err)
		}
		out = append(out, event{at: at, proc: p, what: m[2], key: strings.Trim(m[3], `"`)})
	}
	return out, lines.Err()
}

// kind and sector of a task's key, s-t01000-7/PC1/...
func kindOf(key string) string {
	parts := strings.SplitN(key, "/", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}

func sectorOf(key string) string { s, _, _ := strings.Cut(key, "/"); return s }

// redone finds computing that was done twice, or begun a second time while
// nobody had failed or died who did it.
func redone(all []event, killed func(p *testnet.Proc, from, to time.Time) bool) error {
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })
	var errs []error
	last := map[string]event{}           // by key
	done := map[string]map[string]bool{} // keys by sector and kind
	for _, e := range all {
		kind := kindOf(e.key)
		if !computing[kind] {
			continue
		}
		if was, ok := last[e.key]; ok && e.what == "begins" {
			if why := again(was, e, killed); why != "" {
				errs = append(errs, fmt.Errorf("%s was %s", e.key, why))
			}
		}
		last[e.key] = e
		if e.what == "done" {
			what := kind + " of " + sectorOf(e.key)
			if done[what] == nil {
				done[what] = map[string]bool{}
			}
			if done[what][e.key] = true; len(done[what]) > 1 {
				errs = append(errs, fmt.Errorf("%s was computed again for another ticket or seed: %s at %s", what, e.key,
					e.at.Format(time.TimeOnly)))
			}
		}
	}
	return errors.Join(errs...)
}

// again tells what is wrong about beginning a task after something was said of
// it, empty for nothing.
func again(was, e event, killed func(p *testnet.Proc, from, to time.Time) bool) string {
	when := fmt.Sprintf("by %s at %s, after %s at %s", e.proc.Name, e.at.Format(time.TimeOnly), was.proc.Name, was.at.Format(time.TimeOnly))
	switch {
	case was.what == "failed":
		return ""
	case was.what == "done" && !killed(was.proc, was.at, was.at.Add(unkept)):
		return "begun again " + when + " had finished it"
	case was.what == "begins" && !killed(was.proc, was.at, e.at):
		return "begun a second time " + when + " had begun it and lived on"
	}
	return ""
}

// killedBetween tells whether a process was killed in a span of time.
func killedBetween(p *testnet.Proc, from, to time.Time) bool {
	return slices.ContainsFunc(p.Kills(), func(k time.Time) bool { return !k.Before(from) && !k.After(to) })
}
