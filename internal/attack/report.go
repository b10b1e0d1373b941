package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// tryTime bounds one try.
const tryTime = 2 * time.Minute

// group is tries of one kind.
type group struct {
	name  string
	tries []try
}

// groups are all tries, in the order in which they are made; those that are loud
// come last.
func (a *attack) groups(sockets int) []group {
	return []group{
		{"methods", a.methods()},
		{"files", a.files()},
		{"paths and URLs", a.paths()},
		{"routes", a.routes()},
		{"bearers", a.bearers()},
		{"tokens", a.tokens()},
		{"listeners", append(a.listeners(sockets), a.strangers()...)},
	}
}

// outcome counts tries.
type outcome struct{ refused, got int }

// run makes the tries and prints a line for each.
func run(ctx context.Context, w io.Writer, groups []group) (outcome, error) {
	var sum outcome
	for _, g := range groups {
		slices.SortStableFunc(g.tries, func(x, y try) int { return strings.Compare(x.name, y.name) })
		for _, t := range g.tries {
			if err := ctx.Err(); err != nil {
				return sum, err
			}
			one, cancel := context.WithTimeout(ctx, tryTime)
			err := t.run(one)
			cancel()
			if err != nil {
				sum.got++
				fmt.Fprintf(w, "GOT IN   %s: %s: %s\n", g.name, t.name, oneLine(err))
				continue
			}
			sum.refused++
			fmt.Fprintf(w, "refused  %s: %s\n", g.name, t.name)
		}
	}
	return sum, nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
