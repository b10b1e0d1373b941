package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"quarry/internal/spelling"
)

// field is one key of the file. Its section is that of the file: of a key in a
// table within a section, "Section.Table".
type field struct {
	section, name string
	value         reflect.Value
}

func (f field) key() string { return f.section + "." + f.name }

// env is the suffix of the environment variable.
func (f field) env() string {
	return strings.ToUpper(strings.ReplaceAll(f.section, ".", "_") + "_" + f.name)
}

// fields lists the keys of c in the order of the file, addressable.
func fields(c *Config) []field {
	var out []field
	root := reflect.ValueOf(c).Elem()
	for i := range root.NumField() {
		out = append(out, tableFields(root.Type().Field(i).Name, root.Field(i))...)
	}
	return out
}

// tableFields lists the keys of a table, those of tables within it last.
func tableFields(name string, v reflect.Value) (out []field) {
	var inner []field
	for i := range v.NumField() {
		key, f := v.Type().Field(i).Name, v.Field(i)
		if _, text := f.Addr().Interface().(encoding.TextUnmarshaler); f.Kind() == reflect.Struct && !text {
			inner = append(inner, tableFields(name+"."+key, f)...)
			continue
		}
		out = append(out, field{name, key, f})
	}
	return append(out, inner...)
}

// set parses text as the environment gives it; lists are separated by commas.
func (f field) set(text string) error {
	if u, ok := f.value.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch f.value.Kind() {
	case reflect.String:
		f.value.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", clip(text))
		}
		f.value.SetBool(b)
	case reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", clip(text))
		}
		f.value.SetInt(n)
	case reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number of zero or more", clip(text))
		}
		f.value.SetUint(n)
	case reflect.Slice:
		list := []string{}
		for _, s := range strings.Split(text, ",") {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
		f.value.Set(reflect.ValueOf(list))
	default:
		return fmt.Errorf("key %s has a type the environment cannot set", f.key())
	}
	return nil
}

// toml is the value as the file writes it.
func (f field) toml() string {
	if m, ok := f.value.Interface().(encoding.TextMarshaler); ok {
		b, _ := m.MarshalText() // ours, they do not fail
		return quote(string(b))
	}
	switch f.value.Kind() {
	case reflect.String:
		return quote(f.value.String())
	case reflect.Slice:
		var items []string
		for i := range f.value.Len() {
			items = append(items, quote(f.value.Index(i).String()))
		}
		return "[" + strings.Join(items, ", ") + "]"
	default:
		return fmt.Sprint(f.value.Interface())
	}
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// nearest finds the key a misspelt one probably meant; empty when none is near.
func nearest(key string, known []string) string {
	if len(key) > 120 {
		return ""
	}
	best, dist := "", 1+len(key)/3
	for _, k := range known {
		d := spelling.Distance(strings.ToLower(key), strings.ToLower(k))
		// The right word in the wrong section, or a beginning of it.
		if _, field, _ := strings.Cut(k, "."); strings.EqualFold(field, key[strings.LastIndex(key, ".")+1:]) {
			d = min(d, 1)
		}
		if d < dist {
			best, dist = k, d
		}
	}
	return best
}
