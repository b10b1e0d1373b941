package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// printPage prints a list that has one page.
func printPage[T any](t *testing.T, w io.Writer, l listing[T], entries []T) {
	t.Helper()
	l.page = func(string) ([]T, string, error) { return entries, "", nil }
	if err := stream(cliContext(w, false), l); err != nil {
		t.Error(err)
	}
}

func cliContext(w io.Writer, asJSON bool) *cli.Context {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.Bool(flagJSON, asJSON, "")
	return cli.NewContext(&cli.App{Writer: w}, set, nil)
}

// pages is a list of n entries in pages of size; after gives what was written
// before each page was asked for.
func pages(n, size int, after func()) listing[int] {
	from := 0
	return listing[int]{
		header: []any{"Number", "Word"},
		row:    func(i int) []any { return []any{i, strings.Repeat("x", i)} },
		page: func(string) (out []int, next string, err error) {
			after()
			for ; len(out) < size && from < n; from++ {
				out = append(out, from)
			}
			if from < n {
				next = "more"
			}
			return out, next, nil
		},
	}
}

// A list is printed as its pages come, as one table with one header, and as one
// array of JSON however many pages there are.
func TestListsArePrintedPageByPage(t *testing.T) {
	for n := range 8 {
		var buf bytes.Buffer
		var seen []int
		note := func() { seen = append(seen, strings.Count(buf.String(), "\n")) }
		if err := stream(cliContext(&buf, false), pages(n, 3, note)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(buf.String(), "\n"); got != n+1 || strings.Count(strings.ToLower(buf.String()), "number") != 1 {
			t.Errorf("%d entries are printed as:\n%s", n, buf.String())
		}
		for i, lines := range seen {
			if want := 3*i + 1; i > 0 && lines != want {
				t.Errorf("before page %d of %d entries %d lines were printed, not %d", i, n, lines, want)
			}
		}
		buf.Reset()
		if err := stream(cliContext(&buf, true), pages(n, 3, func() {})); err != nil {
			t.Fatal(err)
		}
		got := []int{}
		if err := json.Unmarshal(buf.Bytes(), &got); err != nil || len(got) != n || !strings.HasSuffix(buf.String(), "]\n") {
			t.Errorf("%d entries as JSON: %v, %q", n, err, buf.String())
		}
	}
}

// A page that cannot be read is an error, after what could be.
func TestListThatBreaks(t *testing.T) {
	boom := errors.New("boom")
	l := pages(9, 2, func() {})
	read := l.page
	l.page = func(cursor string) ([]int, string, error) {
		if cursor != "" {
			return nil, "", boom
		}
		return read(cursor)
	}
	var buf bytes.Buffer
	if err := stream(cliContext(&buf, true), l); !errors.Is(err, boom) || buf.String() != "[\n  0,\n  1" {
		t.Errorf("%v, %q", err, buf.String())
	}
	if err := stream(cliContext(failing{}, true), pages(1, 1, func() {})); err == nil {
		t.Error("a terminal that is gone is no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("gone") }
