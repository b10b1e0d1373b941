package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every package says what it is for; one of several files does so in doc.go.
func TestPackagesDocumented(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		if len(p.Doc) < 20 {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		if p.Name != "main" && len(p.GoFiles) > 1 && !slices.Contains(p.GoFiles, "doc.go") {
			t.Errorf("%s has several files but no doc.go", p.ImportPath)
		}
		if slices.Contains([]string{"util", "utils", "common", "types", "helpers"}, p.Name) {
			t.Errorf("%s: the name says nothing", p.ImportPath)
		}
	}
}

// Exported symbols are documented, contexts are real.
func TestSourceRules(t *testing.T) {
	fset := token.NewFileSet()
	for _, path := range sources(t, ".go") {
		if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_gen.go") {
			continue
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		for _, d := range f.Decls {
			undocumented(t, fset, d)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "context" && s.Sel.Name == "TODO" {
					t.Errorf("%s: context.TODO", fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

func undocumented(t *testing.T, fset *token.FileSet, d ast.Decl) {
	t.Helper()
	switch d := d.(type) {
	case *ast.FuncDecl:
		// Methods of an interface are documented there.
		if d.Recv == nil && d.Name.IsExported() && d.Doc == nil {
			t.Errorf("%s: %s has no comment", fset.Position(d.Pos()), d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil && ts.Comment == nil {
				t.Errorf("%s: type %s has no comment", fset.Position(ts.Pos()), ts.Name)
			}
		}
	}
}

// Files speak of the project alone: a path of somebody's machine helps nobody.
func TestNoMachinePaths(t *testing.T) {
	workshop := "/wo" + "rk/"
	for _, path := range append(sources(t, ".go", ".md", ".toml", ".yml", ".yaml", ".sh"), filepath.Join(root, "Makefile")) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(b), "\n") {
			if strings.Contains(line, workshop) {
				t.Errorf("%s:%d: names %s", path, i+1, workshop)
			}
		}
	}
}
