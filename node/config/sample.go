package config

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"sync"
)

//go:embed types.go
var typesSource string

// docs are the comments of the keys ("Section.Field") and sections ("Section"),
// read from the source of this package so that they cannot drift.
var docs = sync.OnceValue(func() map[string]string {
	f, err := parser.ParseFile(token.NewFileSet(), "types.go", typesSource, parser.ParseComments)
	if err != nil { // the compiler has read the same file
		panic(err)
	}
	out, tables := map[string]string{}, map[string]string{} // tables within sections by their type
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		spec := g.Specs[0].(*ast.TypeSpec)
		out[spec.Name.Name] = strings.TrimSpace(g.Doc.Text())
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			key := spec.Name.Name + "." + field.Names[0].Name
			out[key] = strings.TrimSpace(field.Doc.Text())
			if typ, ok := field.Type.(*ast.Ident); ok && spec.Name.Name != "Config" {
				tables[key] = typ.Name
			}
		}
	}
	for key, typ := range tables {
		for k, text := range out {
			if name, ok := strings.CutPrefix(k, typ+"."); ok {
				out[key+"."+name] = text
			}
		}
	}
	return out
})

// Sample is a config file with every key documented and commented out at its
// default.
func Sample() string { return Render(Default(), true) }

// Render writes c as a file: keys that equal the default are commented out.
// With comments every key carries its documentation.
func Render(c Config, comments bool) string {
	def := Default()
	defaults := fields(&def)
	var b strings.Builder
	if comments {
		b.WriteString("# Configuration of the miner. Keys behind # have their default.\n# An environment variable " +
			"MINER_<SECTION>_<KEY>, in capitals, overrides a key.\n")
	}
	section := ""
	for i, f := range fields(&c) {
		if f.section != section {
			section = f.section
			if b.Len() > 0 {
				b.WriteString("\n")
			}
			if comments {
				comment(&b, "", docs()[section])
			}
			fmt.Fprintf(&b, "[%s]\n", section)
		}
		if comments {
			comment(&b, "  ", docs()[f.key()])
		}
		mark := ""
		if f.toml() == defaults[i].toml() {
			mark = "#"
		}
		fmt.Fprintf(&b, "  %s%s = %s\n", mark, f.name, f.toml())
		if comments {
			b.WriteString("\n")
		}
	}
	return b.String()
}

func comment(b *strings.Builder, indent, text string) {
	for _, line := range strings.Split(text, "\n") {
		fmt.Fprintf(b, "%s# %s\n", indent, line)
	}
}
