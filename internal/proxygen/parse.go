package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// interfaces lists what is proxied, in the order of the output.
var interfaces = []string{
	"Chain", "ChainTools", "Node", "Devnet", "Common", "Net", "Index", "Leases", "Tasks", "Fleet", "Prover", "Sealing", "Mining", "Markets",
	"Link",
}

// method is one method of a proxied interface.
type method struct {
	Name   string
	Perm   string
	Params []param // without the context
	Result string  // type of the value, empty when only an error is returned
	Page   string  // element type when the results are a slice and a cursor
}

type param struct{ Name, Type string }

type iface struct {
	Name    string
	Methods []method
}

type parsed struct {
	Ifaces  []iface
	Imports []string // import specs the types need
}

func parseDir(dir string) (*parsed, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	fset := token.NewFileSet()
	found := map[string]*ast.InterfaceType{}
	imports := map[string]string{} // package name -> spec
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, "_gen.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(fset, name, src, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		collect(f, found, imports)
	}
	out := &parsed{}
	used := map[string]bool{"context": true}
	for _, n := range interfaces {
		it, ok := found[n]
		if !ok {
			return nil, fmt.Errorf("interface %s not found in %s", n, dir)
		}
		x, err := readInterface(fset, n, it, used)
		if err != nil {
			return nil, err
		}
		out.Ifaces = append(out.Ifaces, x)
	}
	for n := range used {
		spec, ok := imports[n]
		if !ok {
			return nil, fmt.Errorf("package %s is used in an interface but imported nowhere", n)
		}
		out.Imports = append(out.Imports, spec)
	}
	sort.Strings(out.Imports)
	return out, nil
}

func collect(f *ast.File, found map[string]*ast.InterfaceType, imports map[string]string) {
	for _, im := range f.Imports {
		path := strings.Trim(im.Path.Value, `"`)
		name, spec := packageName(path), im.Path.Value
		if im.Name != nil {
			name, spec = im.Name.Name, im.Name.Name+" "+im.Path.Value
		}
		imports[name] = spec
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if ts, ok := n.(*ast.TypeSpec); ok {
			if it, ok := ts.Type.(*ast.InterfaceType); ok {
				found[ts.Name.Name] = it
			}
		}
		return true
	})
}

// packageName guesses the package name of an import path: the last element
// without the usual go- prefix.
func packageName(path string) string {
	base := path[strings.LastIndex(path, "/")+1:]
	return strings.TrimPrefix(base, "go-")
}

func readInterface(fset *token.FileSet, name string, it *ast.InterfaceType, used map[string]bool) (iface, error) {
	out := iface{Name: name}
	for _, field := range it.Methods.List {
		ft, ok := field.Type.(*ast.FuncType)
		if !ok || len(field.Names) != 1 {
			return out, fmt.Errorf("%s: %s embeds something; only plain methods are understood", fset.Position(field.Pos()), name)
		}
		m, err := readMethod(fset, field, ft, used)
		if err != nil {
			return out, fmt.Errorf("%s: %s.%s: %w", fset.Position(field.Pos()), name, field.Names[0].Name, err)
		}
		out.Methods = append(out.Methods, m)
	}
	return out, nil
}

func readMethod(fset *token.FileSet, field *ast.Field, ft *ast.FuncType, used map[string]bool) (method, error) {
	m := method{Name: field.Names[0].Name}
	if field.Comment != nil {
		for _, c := range field.Comment.List {
			if p, ok := strings.CutPrefix(c.Text, "//perm:"); ok {
				m.Perm = strings.TrimSpace(p)
			}
		}
	}
	if m.Perm == "" {
		return m, fmt.Errorf("no //perm: comment")
	}
	var params []param
	for _, p := range ft.Params.List {
		t := typeText(fset, p.Type, used)
		if len(p.Names) == 0 {
			return m, fmt.Errorf("unnamed parameter of type %s", t)
		}
		for _, n := range p.Names {
			params = append(params, param{n.Name, t})
		}
	}
	if len(params) == 0 || params[0].Type != "context.Context" {
		return m, fmt.Errorf("the first parameter is not a context")
	}
	m.Params = params[1:]
	return m, readResults(fset, ft, used, &m)
}

func readResults(fset *token.FileSet, ft *ast.FuncType, used map[string]bool, m *method) error {
	var res []string
	if ft.Results != nil {
		for _, r := range ft.Results.List {
			for range max(1, len(r.Names)) {
				res = append(res, typeText(fset, r.Type, used))
			}
		}
	}
	if len(res) == 0 || res[len(res)-1] != "error" {
		return fmt.Errorf("the last result is not an error")
	}
	switch {
	case len(res) == 1:
	case len(res) == 2:
		m.Result = res[0]
	case len(res) == 3 && strings.HasPrefix(res[0], "[]") && res[1] == "string":
		m.Page = strings.TrimPrefix(res[0], "[]")
		m.Result = "Page[" + m.Page + "]"
	default:
		return fmt.Errorf("results (%s) are not understood", strings.Join(res, ", "))
	}
	return nil
}

func typeText(fset *token.FileSet, e ast.Expr, used map[string]bool) string {
	ast.Inspect(e, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok {
				used[id.Name] = true
			}
		}
		return true
	})
	var b bytes.Buffer
	_ = printer.Fprint(&b, fset, e) // a bytes.Buffer does not fail
	return b.String()
}
