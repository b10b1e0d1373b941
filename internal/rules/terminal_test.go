package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mayDraw are the calls that take a standard stream as it is: those that put the
// escaping of package printable before it, and what draws on a terminal itself.
var mayDraw = []string{"printable.NewWriter", "newApp", "newLogger", "progress.New", "announce", "os.Stdin.Fd", "os.Stdout.Fd",
	"os.Stderr.Fd"}

// Commands write to a terminal through package printable only: strangers wrote
// parts of what they print.
func TestCommandsEscapeWhatTheyPrint(t *testing.T) {
	fset := token.NewFileSet()
	files := 0
	for _, path := range sources(t, ".go") {
		if !strings.HasPrefix(filepath.ToSlash(path), root+"/cmd/") || strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files++
		for _, p := range rawPrints(f) {
			t.Errorf("%s: writes to the terminal past package printable; use c.App.Writer or c.App.ErrWriter", fset.Position(p))
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.CompositeLit); ok && dotted(lit.Type) == "cli.App" && !escapes(lit) {
				t.Errorf("%s: its Writer and ErrWriter are not those of package printable", fset.Position(n.Pos()))
			}
			return true
		})
	}
	if files < 10 {
		t.Errorf("only %d files of commands were found", files)
	}
}

// rawPrints finds where a file names a standard stream outside of mayDraw, or
// prints to one.
func rawPrints(f *ast.File) (out []token.Pos) {
	allowed := map[token.Pos]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		name := dotted(call.Fun)
		if slices.Contains(mayDraw, name) {
			for _, a := range append(call.Args, call.Fun) {
				ast.Inspect(a, func(n ast.Node) bool {
					if n != nil {
						allowed[n.Pos()] = true
					}
					return true
				})
			}
		}
		if strings.HasPrefix(name, "fmt.Print") || name == "println" {
			out = append(out, call.Pos())
		}
		return true
	})
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && (dotted(s) == "os.Stdout" || dotted(s) == "os.Stderr") && !allowed[s.Pos()] {
			out = append(out, s.Pos())
		}
		return true
	})
	return out
}

// dotted is a name such as fmt.Println, empty for anything else.
func dotted(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if x := dotted(e.X); x != "" {
			return x + "." + e.Sel.Name
		}
	}
	return ""
}

// escapes tells whether both writers of a command are made by package printable.
func escapes(app *ast.CompositeLit) bool {
	found := 0
	for _, e := range app.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok || dotted(kv.Key) != "Writer" && dotted(kv.Key) != "ErrWriter" {
			continue
		}
		if call, ok := kv.Value.(*ast.CallExpr); ok && dotted(call.Fun) == "printable.NewWriter" {
			found++
		}
	}
	return found == 2
}

// The rule bites.
func TestRawPrintsAreFound(t *testing.T) {
	for src, want := range map[string]int{
		`fmt.Println("x")`: 1, `fmt.Printf("x")`: 1, `println("x")`: 1, `fmt.Fprintln(os.Stderr, "x")`: 1, `w := os.Stdout; _ = w`: 1,
		`fmt.Fprintln(printable.NewWriter(os.Stderr), "x")`: 0, `newApp(os.Stdout)`: 0, `term.IsTerminal(int(os.Stderr.Fd()))`: 0,
		`fmt.Sprint("x")`: 0, `fmt.Fprintln(c.App.Writer, "x")`: 0,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f() { "+src+" }", 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(rawPrints(f)); got != want {
			t.Errorf("%s: %d", src, got)
		}
	}
}

// secretFlags are the flags whose value may hold a token.
var secretFlags = []string{"--api-sealer", "--api-sector-index", "--miner-api-info", "--node", "--token"}

// Nothing of ours starts a process with a flag that takes a token: ps would show
// it. The environment and files do not.
func TestNoProcessIsGivenATokenInItsArguments(t *testing.T) {
	fset := token.NewFileSet()
	seen := 0
	for _, path := range append(sources(t, ".go"), filepath.Join(root, "Makefile")) {
		slash := filepath.ToSlash(path)
		if strings.HasSuffix(path, "_test.go") || !strings.HasPrefix(slash, root+"/internal/") || !strings.HasSuffix(path, ".go") {
			continue
		}
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				for _, flag := range secretFlags {
					if v := strings.Trim(lit.Value, "`\""); v == flag || strings.HasPrefix(v, flag+"=") {
						t.Errorf("%s: %s takes a token; give it by the environment", fset.Position(n.Pos()), flag)
					}
				}
			}
			return true
		})
	}
	if seen < 50 {
		t.Errorf("only %d files were looked at", seen)
	}
}
