package printable

import (
	"encoding"
	"encoding/json"
	"reflect"
)

// maxDepth bounds how deep a value is looked into.
const maxDepth = 64

// Value gives v with Line applied to every text in it: strings, in exported
// fields, slices, maps, behind pointers and interfaces. What pointers, slices and
// maps of v refer to is changed in place. Types that know their own text form
// (time, addresses, CIDs) are left alone, and so are bytes.
func Value(v reflect.Value) reflect.Value {
	if !v.IsValid() {
		return v
	}
	return copied(v, maxDepth)
}

// copied cleans a copy of v, which need not be settable.
func copied(v reflect.Value, depth int) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	clean(out, depth)
	return out
}

// Clean is Value for what p points to.
func Clean(p any) {
	v := reflect.ValueOf(p)
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		clean(v.Elem(), maxDepth)
	}
}

var ownText = []reflect.Type{
	reflect.TypeFor[encoding.TextMarshaler](),
	reflect.TypeFor[json.Marshaler](),
	reflect.TypeFor[encoding.BinaryMarshaler](),
}

// hasOwnText tells whether a type of strings writes itself, so that its value is
// no text.
func hasOwnText(t reflect.Type) bool {
	for _, i := range ownText {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}

func clean(v reflect.Value, depth int) {
	if depth == 0 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() && !hasOwnText(v.Type()) {
			if s := v.String(); Line(s) != s {
				v.SetString(Line(s))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			clean(v.Elem(), depth-1)
		}
	case reflect.Interface:
		if !v.IsNil() && v.CanSet() {
			v.Set(copied(v.Elem(), depth-1))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				clean(v.Field(i), depth-1)
			}
		}
	case reflect.Array, reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			clean(v.Index(i), depth-1)
		}
	case reflect.Map:
		cleanMap(v, depth-1)
	}
}

// cleanMap replaces the entries one by one; keys that become equal keep one of
// their values.
func cleanMap(m reflect.Value, depth int) {
	for _, k := range m.MapKeys() {
		key, value := copied(k, depth), copied(m.MapIndex(k), depth)
		if key.Kind() == reflect.String && key.String() != k.String() {
			m.SetMapIndex(k, reflect.Value{})
		}
		m.SetMapIndex(key, value)
	}
}
