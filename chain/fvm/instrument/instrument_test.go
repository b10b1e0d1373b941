package instrument

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"quarry/chain/fvm/bundle"
)

// section is one section of a hand-made module.
func section(id byte, content ...byte) []byte {
	return append(appendU32([]byte{id}, uint32(len(content))), content...)
}

func vec(items ...[]byte) []byte {
	return append(appendU32(nil, uint32(len(items))), bytes.Join(items, nil)...)
}

func name(s string) []byte { return appendName(nil, s) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// code is a body without locals; the end is added.
func code(ops ...byte) []byte {
	b := append(append([]byte{0}, ops...), opEnd)
	return append(appendU32(nil, uint32(len(b))), b...)
}

var (
	unary  = []byte{0x60, 1, 0x7f, 1, 0x7f} // func (i32) i32
	memory = section(5, 1, 0, 1)
)

// of assembles a module that exports function 0, which is unary, as "f".
func of(bodies ...[]byte) []byte {
	types := make([]byte, len(bodies))
	return join(magic, section(secType, vec(unary)...), section(secFunction,
		append(appendU32(nil, uint32(len(bodies))), types...)...), memory,
		section(secExport, vec(join(name("f"), []byte{0, 0}))...), section(secCode, vec(bodies...)...))
}

// invoke calls "f" of the metered module with so many milligas, and gives what is
// left of them.
func invoke(t *testing.T, raw []byte, arg uint64, milli int64) (out uint64, left int64, err error) {
	t.Helper()
	metered, err := Meter(raw)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	mod, err := r.Instantiate(ctx, metered)
	if err != nil {
		t.Fatal(err)
	}
	g, ok := mod.ExportedGlobal(GasGlobal).(api.MutableGlobal)
	if !ok {
		t.Fatal("the counter is not exported")
	}
	g.Set(uint64(milli))
	res, err := mod.ExportedFunction("f").Call(ctx, arg)
	if err == nil {
		out = res[0]
	}
	return out, int64(g.Get()), err
}

// thunk is what calling an exported function of one parameter costs before its
// first instruction.
const thunk = perInstruction + perDefinedCall

// Gas to the last unit, and results as without it.
func TestCosts(t *testing.T) {
	const i = perInstruction
	for label, c := range map[string]struct {
		bodies [][]byte
		arg    uint64
		out    uint64
		cost   int64
	}{
		"a parameter": {[][]byte{code(opLocalGet, 0)}, 9, 9, thunk + i},
		"free ones":   {[][]byte{code(opNop, opLocalGet, 0, opLocalGet, 0, opDrop)}, 9, 9, thunk + 2*i},
		"a call": {[][]byte{code(opLocalGet, 0, opCall, 1), code(opLocalGet, 0, opI32Const, 1, 0x6a)}, 9, 10, thunk + i +
			perDefinedCall + 3*i},
		"taken if": {[][]byte{code(opLocalGet, 0, opIf, 0x7f, opI32Const, 1, opElse, opI32Const, 2, opI32Const, 3, 0x6a,
			opEnd)}, 1, 1, thunk + 2*i + i},
		"other branch": {[][]byte{code(opLocalGet, 0, opIf, 0x7f, opI32Const, 1, opElse, opI32Const, 2, opI32Const, 3, 0x6a,
			opEnd)}, 0, 5, thunk + 2*i + 3*i},
		"a loop": {[][]byte{code( // counts its argument down to 0
			opLoop, 0x40, opLocalGet, 0, opI32Const, 1, 0x6b, opLocalTee, 0, opBrIf, 0, opEnd, opLocalGet, 0)}, 5, 0, thunk + 5*5*i + i},
		"memory by constant": {[][]byte{code(opI32Const, 2, opMemoryGrow, 0)}, 0, 1, thunk + 2*i + 2*perPage},
		"memory by value":    {[][]byte{code(opLocalGet, 0, opMemoryGrow, 0)}, 2, 1, thunk + 2*i + 2*perPage},
	} {
		const plenty = 1 << 40
		out, left, err := invoke(t, of(c.bodies...), c.arg, plenty)
		if err != nil || out != c.out || plenty-left != c.cost {
			t.Errorf("%s: %d for %d milligas, %v; want %d for %d", label, out, plenty-left, err, c.out, c.cost)
			continue
		}
		if _, left, err := invoke(t, of(c.bodies...), c.arg, c.cost); err != nil || left != 0 {
			t.Errorf("%s: with just enough gas: %d left, %v", label, left, err)
		}
		if _, left, err := invoke(t, of(c.bodies...), c.arg, c.cost-1); err == nil || left >= 0 {
			t.Errorf("%s: with one milligas too few: %d left, %v", label, left, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	good := of(code(opLocalGet, 0))
	with := func(sections ...[]byte) []byte { return append(bytes.Clone(magic), join(sections...)...) }
	types, funcs := section(secType, vec(unary)...), section(secFunction, 1, 0)
	body := section(secCode, vec(code(opLocalGet, 0))...)
	for label, c := range map[string]struct {
		raw  []byte
		says string
	}{
		"nothing":             {nil, "not a WebAssembly module"},
		"only magic's begin":  {magic[:5], "not a WebAssembly module"},
		"too big":             {append(bytes.Clone(good), make([]byte, maxModule)...), "acceptable size"},
		"repeated section":    {with(types, types), "repeated"},
		"unknown section":     {with(section(13)), "unknown"},
		"section cut off":     {good[:len(good)-2], "end of module"},
		"import of memory":    {with(types, section(secImport, vec(join(name("a"), name("b"), []byte{2, 0, 1}))...)), "only functions"},
		"import of no type":   {with(types, section(secImport, vec(join(name("a"), name("b"), []byte{0, 7}))...)), "unknown type"},
		"function of no type": {with(types, section(secFunction, 1, 7)), "unknown type"},
		"two tables":          {with(section(secTable, 2, 0x70, 0, 1, 0x70, 0, 1)), "at most one"},
		"export of nothing":   {with(types, funcs, section(secExport, vec(join(name("f"), []byte{0, 9}))...)), "unknown function"},
		"passive segment":     {with(types, funcs, section(secElement, 1, 1, 0, 1, 0)), "active segments"},
		"entry of nothing": {with(types, funcs, section(secTable, 1, 0x70, 0, 1),
			section(secElement, 1, 0, opI32Const, 0, opEnd, 1, 9)), "unknown function"},
		"a body too few":     {with(types, section(secFunction, 2, 0, 0), body), "1 bodies for 2"},
		"no body":            {with(types, funcs), "0 bodies for 1"},
		"vector instruction": {of(code(0xfd, 0)), "unsupported instruction"},
		"atomic instruction": {of(code(0xfe, 0)), "unsupported instruction"},
		"unknown prefixed":   {of(code(opLocalGet, 0, 0xfc, 40)), "unsupported instruction"},
		"branch too far":     {of(code(opBr, 5)), "out of its function"},
		"code after the end": {of(code(opLocalGet, 0, opEnd, opNop)), "after the end"},
		"no end":             {of(append(appendU32(nil, 3), 0, opLocalGet, 0)), "without end"},
		"endless number":     {of(code(opI64Const, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0)), "too long"},
		"negative constant":  {of(code(opI32Const, 0x7f, opMemoryGrow, 0)), "negative constant"},
		"too many locals": {of(append(appendU32(nil, 9), 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, opLocalGet, opEnd)),
			"too many locals"},
		"huge vector of types": {with(section(secType, 0xff, 0xff, 0xff, 0xff, 0x0f)), "end of module"},
	} {
		if out, err := Meter(c.raw); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %d bytes, %v; want an error that says %q", label, len(out), err, c.says)
		}
	}
}

func TestExportedTable(t *testing.T) {
	types, funcs, table := section(secType, vec(unary)...), section(secFunction, 1, 0), section(secTable, 1, 0x70, 0, 7)
	body := section(secCode, vec(code(opLocalGet, 0))...)
	for label, c := range map[string]struct {
		export []byte
		want   uint32
	}{
		"by its name":      {vec(join(name("table"), []byte{1, 0})), 7},
		"by another":       {vec(join(name("tbl"), []byte{1, 0})), 0},
		"a function of it": {vec(join(name("table"), []byte{0, 0})), 0},
		"none":             {vec(), 0},
	} {
		raw := join(magic, types, funcs, table, section(secExport, c.export...), body)
		if got, err := ExportedTable(raw); err != nil || got != c.want {
			t.Errorf("%s: %d, %v; want %d", label, got, err, c.want)
		}
	}
	if _, err := ExportedTable([]byte("no")); err == nil {
		t.Error("no module has a table")
	}
}

// Custom sections are dropped, so that names in them cost nothing.
func TestCustomSectionsGo(t *testing.T) {
	plain := of(code(opLocalGet, 0))
	named := append(bytes.Clone(plain), section(secCustom, join(name("name"), []byte("much text"))...)...)
	a, err := Meter(plain)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Meter(named)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("a custom section shows in the result (%v)", err)
	}
}

func FuzzMeter(f *testing.F) {
	f.Add(of(code(opLocalGet, 0)))
	f.Add(of(code(opLocalGet, 0, opCall, 1), code(opLocalGet, 0, opIf, 0x7f, opI32Const, 1, opElse, opI32Const, 2, opEnd)))
	f.Add(of(code(opLoop, 0x40, opLocalGet, 0, opBrIf, 0, opEnd, opLocalGet, 0)))
	f.Add(of(code(opLocalGet, 0, opMemoryGrow, 0)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := Meter(raw)
		if err != nil {
			return
		}
		if _, err := parse(out); err != nil {
			t.Errorf("what Meter made does not parse: %v", err)
		}
		if _, err := ExportedTable(raw); err != nil {
			t.Errorf("Meter took it, ExportedTable did not: %v", err)
		}
	})
}

// Every built-in actor is taken, and gives the same module each time: caches go by
// the content before metering.
func TestActorsAreDeterministic(t *testing.T) {
	b, err := bundle.Devnet()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range b.Actors {
		raw, _ := b.Wasm(e.Code)
		one, err := Meter(raw)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		if two, err := Meter(raw); err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s: a second time it is another module (%v)", e.Name, err)
		}
	}
}
