package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"go/format"
	"strings"
	"text/template"
)

// proxies is the source of the proxy file, to be executed with a parsed package.
//
//go:embed proxies.tmpl
var proxies string

// Generate returns the formatted source of the proxy file for the package in
// dir.
func Generate(dir string) ([]byte, error) {
	p, err := parseDir(dir)
	if err != nil {
		return nil, err
	}
	t, err := template.New("proxies").Funcs(template.FuncMap{"late": func(name string) bool { return lates[name] }}).Parse(proxies)
	if err != nil {
		return nil, fmt.Errorf("template of the proxies: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("template of the proxies: %w", err)
	}
	src, err := format.Source(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("generated source does not parse: %w", err)
	}
	return src, nil
}

// lates are the interfaces of parts that may be built anew while the process
// runs.
var lates = map[string]bool{"Net": true, "Sealing": true, "Mining": true, "Markets": true}

// Std are the imports of the standard library.
func (p *parsed) Std() []string { return p.imports(false) }

// Others are the imports of other modules.
func (p *parsed) Others() []string { return p.imports(true) }

func (p *parsed) imports(dotted bool) []string {
	var out []string
	for _, im := range p.Imports {
		if strings.Contains(im, ".") == dotted {
			out = append(out, im)
		}
	}
	return out
}

// ParamList are the parameters of a method with their types.
func (m method) ParamList() string {
	parts := []string{"ctx context.Context"}
	for _, p := range m.Params {
		parts = append(parts, paramName(p.Name)+" "+p.Type)
	}
	return strings.Join(parts, ", ")
}

// ArgList are the parameters of a method as arguments of a call.
func (m method) ArgList() string {
	parts := []string{"ctx"}
	for _, p := range m.Params {
		parts = append(parts, paramName(p.Name))
	}
	return strings.Join(parts, ", ")
}

// paramName keeps parameters clear of the names the generated bodies use.
func paramName(n string) string {
	switch n {
	case "s", "r", "err", "next", "page", "impl":
		return n + "_"
	}
	return n
}

// Wire are the results as they are sent.
func (m method) Wire() string {
	if m.Result == "" {
		return "error"
	}
	return "(" + m.Result + ", error)"
}

// Served are the results as they are sent, with names.
func (m method) Served() string {
	if m.Result == "" {
		return "(err error)"
	}
	return "(r " + m.Result + ", err error)"
}

// Results are those of the interface, with names.
func (m method) Results() string {
	if m.Page != "" {
		return "(r []" + m.Page + ", next string, err error)"
	}
	return m.Served()
}

// Values is what comes before the error in a return of Results.
func (m method) Values() string {
	switch {
	case m.Page != "":
		return "r, next, "
	case m.Result != "":
		return "r, "
	}
	return ""
}

// Taken is where a server puts the values of the implementation.
func (m method) Taken() string {
	if m.Page != "" {
		return "r.Items, r.Next, "
	}
	return m.Values()
}

// Tag is the tag of the method's field.
func (m method) Tag() string { return fmt.Sprintf("`perm:%q`", m.Perm) }
