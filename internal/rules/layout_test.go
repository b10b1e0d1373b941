package rules

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a reader can take in at a glance.
const (
	mostColumns = 140 // of a line, a tab being four
	mostFields  = 4   // of a literal with names that stands in one line
)

// layout gives what is wrong with one file of Go, each with its line.
func layout(name string, src []byte) ([]string, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	c := &layoutCheck{fset: fset}
	lines := strings.Split(string(src), "\n")
	if !strings.HasSuffix(name, "_gen.go") {
		c.longLines(name, lines)
		ast.Inspect(f, c.node)
	}
	return c.bad, nil
}

type layoutCheck struct {
	fset *token.FileSet
	bad  []string
}

func (c *layoutCheck) add(at token.Pos, format string, args ...any) {
	c.bad = append(c.bad, fmt.Sprintf("%s: %s", c.fset.Position(at), fmt.Sprintf(format, args...)))
}

func (c *layoutCheck) longLines(name string, lines []string) {
	for i, l := range lines {
		if n := len([]rune(strings.ReplaceAll(l, "\t", "    "))); n > mostColumns {
			c.bad = append(c.bad, fmt.Sprintf("%s:%d: %d columns; most are %d", name, i+1, n, mostColumns))
		}
	}
}

func (c *layoutCheck) node(n ast.Node) bool {
	if lit, ok := n.(*ast.CompositeLit); ok {
		c.literal(lit)
	}
	return true
}

// literal finds fields with names that share a line in a literal of many.
func (c *layoutCheck) literal(n *ast.CompositeLit) {
	if _, isMap := n.Type.(*ast.MapType); isMap || len(n.Elts) <= mostFields {
		return
	}
	last := -1
	for _, e := range n.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return
		}
		if _, named := kv.Key.(*ast.Ident); !named {
			return
		}
		line := c.fset.Position(kv.Pos()).Line
		if line == last {
			c.add(kv.Pos(), "two of %d fields stand in one line", len(n.Elts))
			return
		}
		last = line
	}
}

func TestLayout(t *testing.T) {
	for _, path := range sources(t, ".go") {
		src, err := os.ReadFile(path)
		require.NoError(t, err)
		name, err := filepath.Rel(root, path)
		require.NoError(t, err)
		bad, err := layout(name, src)
		require.NoError(t, err)
		for _, b := range bad {
			t.Error(b)
		}
	}
}

// TestLayoutBites shows that the rules find what they are for, and no more.
func TestLayoutBites(t *testing.T) {
	for name, c := range map[string]struct {
		src  string
		want []string
	}{
		"good":        {"var a, b, c = 1, 2, 3\nfunc f(a, b, c, d, e, f int) { a, b, c = 1, 2, 3 }", nil},
		"four fields": {"var x = T{A: 1, B: 2, C: 3, D: 4}", nil},
		"five fields": {"var x = T{A: 1, B: 2, C: 3, D: 4, E: 5}", []string{"x.go:2:17: two of 5 fields stand in one line"}},
		"a map":       {"var x = map[T]int{A: 1, B: 2, C: 3, D: 4, E: 5}", nil},
		"a list":      {"var x = []int{1, 2, 3, 4, 5}", nil},
		"a line each": {"var x = T{\nA: 1,\nB: 2,\nC: 3,\nD: 4,\nE: 5,\n}", nil},
		"140 columns": {"//" + strings.Repeat("x", 138), nil},
		"141 columns": {"\t//" + strings.Repeat("ö", 135), []string{"x.go:2: 141 columns; most are 140"}},
	} {
		bad, err := layout("x.go", []byte("package x\n"+c.src))
		require.NoError(t, err, name)
		require.Equal(t, c.want, bad, name)
	}
	_, err := layout("x.go", []byte("package"))
	require.Error(t, err)
}
