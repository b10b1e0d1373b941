package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"
)

// listing is how the entries of a long list are read and printed.
type listing[T any] struct {
	header []any
	row    func(T) []any
	// page reads the entries behind a cursor, empty at first; the cursor it gives
	// is empty at the end.
	page func(cursor string) (entries []T, next string, err error)
}

// stream prints a list page by page as it comes: what is in memory is one page,
// however long the list is. Where a page cannot be read the list ends with the
// error, and JSON without its closing bracket.
func stream[T any](c *cli.Context, l listing[T]) error {
	var p interface {
		page(entries []T) error
		end() error
	} = &tablePages[T]{w: c.App.Writer, listing: l}
	if c.Bool(flagJSON) {
		p = &jsonPages[T]{w: c.App.Writer}
	}
	for cursor := ""; ; {
		entries, next, err := l.page(cursor)
		if err != nil {
			return err
		}
		if err := p.page(entries); err != nil {
			return err
		}
		if cursor = next; cursor == "" {
			return p.end()
		}
	}
}

// jsonPages writes one indented array.
type jsonPages[T any] struct {
	w   io.Writer
	any bool
}

func (j *jsonPages[T]) page(entries []T) error {
	for _, e := range entries {
		b, err := json.MarshalIndent(e, "  ", "  ")
		if err != nil {
			return err
		}
		before := "[\n  "
		if j.any {
			before = ",\n  "
		}
		j.any = true
		if _, err := fmt.Fprintf(j.w, "%s%s", before, b); err != nil {
			return err
		}
	}
	return nil
}

func (j *jsonPages[T]) end() error {
	after := "\n]"
	if !j.any {
		after = "[]"
	}
	_, err := fmt.Fprintln(j.w, after)
	return err
}

// tablePages writes one table, whose columns may grow wider from page to page but
// never narrower.
type tablePages[T any] struct {
	listing[T]
	w      io.Writer
	widths []int
	begun  bool
}

func (t *tablePages[T]) page(entries []T) error {
	if len(entries) == 0 && t.begun {
		return nil
	}
	if t.widths == nil {
		t.widths = make([]int, len(t.header))
		t.widen(t.header)
	}
	rows := make([]table.Row, 0, len(entries))
	for _, e := range entries {
		r := t.row(e)
		t.widen(r)
		rows = append(rows, r)
	}
	out := newTable(t.w, t.header...)
	if t.begun {
		out.ResetHeaders()
	}
	t.begun = true
	columns := make([]table.ColumnConfig, 0, len(t.widths))
	for i, w := range t.widths {
		columns = append(columns, table.ColumnConfig{Number: i + 1, WidthMin: w})
	}
	out.SetColumnConfigs(columns)
	out.AppendRows(rows)
	out.Render()
	return nil
}

func (t *tablePages[T]) end() error { return nil }

func (t *tablePages[T]) widen(row []any) {
	for i, cell := range row {
		t.widths[i] = max(t.widths[i], text.LongestLineLen(fmt.Sprint(cell)))
	}
}
