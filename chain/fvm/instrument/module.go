package instrument

import (
	"bytes"
	"errors"
	"fmt"
)

// GasGlobal is the exported mutable i64 that holds the gas left, in milligas;
// negative means that the actor ran out and trapped.
const GasGlobal = "gas_counter"

// maxModule bounds the size of a module, in bytes.
const maxModule = 16 << 20

const (
	secCustom   = 0
	secType     = 1
	secImport   = 2
	secFunction = 3
	secTable    = 4
	secGlobal   = 6
	secExport   = 7
	secElement  = 9
	secCode     = 10
	secDataCnt  = 12
)

// order is the position of sections in a module; the data count comes before
// the code.
var order = []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11}

var magic = []byte("\x00asm\x01\x00\x00\x00")

type export struct {
	name string
	kind byte
	idx  uint32
}

type segment struct {
	offset []byte // constant expression
	funcs  []uint32
}

type module struct {
	sections map[byte][]byte
	types    [][]byte // encoded function types
	params   []int    // parameters per type
	imports  uint32   // imported functions, which come first
	funcs    []uint32 // type of each defined function
	globals  []byte   // encoded, without the count
	nglobals uint32
	exports  []export
	segments []segment
	thunks   []uint32 // target function of each thunk
	thunkOf  map[uint32]uint32

	exportsTable bool
	tableMin     uint32 // least elements of the first table
}

// Meter returns the module with gas accounting. Custom sections are dropped.
func Meter(wasm []byte) ([]byte, error) {
	m, err := parse(wasm)
	if err != nil {
		return nil, fmt.Errorf("parse module: %w", err)
	}
	m.addThunks()
	code, err := m.code()
	if err != nil {
		return nil, fmt.Errorf("meter module: %w", err)
	}
	return m.encode(code), nil
}

func parse(wasm []byte) (*module, error) {
	if len(wasm) > maxModule || !bytes.HasPrefix(wasm, magic) {
		return nil, errors.New("not a WebAssembly module of acceptable size")
	}
	m := &module{sections: make(map[byte][]byte), thunkOf: make(map[uint32]uint32)}
	r := &reader{b: wasm, pos: len(magic)}
	for !r.done() {
		id := r.byte()
		body := r.bytes(int(r.u32()))
		if id == secCustom || r.err != nil {
			continue
		}
		if _, dup := m.sections[id]; dup || id > secDataCnt {
			return nil, fmt.Errorf("section %d is repeated or unknown", id)
		}
		m.sections[id] = body
	}
	if r.err != nil {
		return nil, r.err
	}
	for _, p := range []struct {
		id byte
		f  func(*reader)
	}{{secType, m.readTypes}, {secImport, m.readImports}, {secFunction, m.readFuncs}, {secTable, m.readTables}, {secGlobal, m.readGlobals},
		{secExport, m.readExports}, {secElement, m.readElements}} {
		body, ok := m.sections[p.id]
		if !ok {
			continue
		}
		s := &reader{b: body}
		p.f(s)
		if s.err != nil {
			return nil, fmt.Errorf("section %d: %w", p.id, s.err)
		}
	}
	return m, nil
}

func (m *module) readTypes(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		start := r.pos
		if r.byte() != 0x60 {
			r.fail(errors.New("not a function type"))
		}
		p := r.count()
		r.bytes(p)
		r.bytes(r.count())
		if r.err == nil {
			m.types, m.params = append(m.types, r.b[start:r.pos]), append(m.params, p)
		}
	}
}

func (m *module) readImports(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		r.name()
		r.name()
		if r.byte() != 0 {
			r.fail(errors.New("only functions may be imported"))
		}
		if t := r.u32(); int(t) >= len(m.types) {
			r.fail(errors.New("import of unknown type"))
		}
		m.imports++
	}
}

func (m *module) readFuncs(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		t := r.u32()
		if int(t) >= len(m.types) {
			r.fail(errors.New("function of unknown type"))
		}
		m.funcs = append(m.funcs, t)
	}
}

func (m *module) readTables(r *reader) {
	if n := r.count(); n != 1 {
		r.fail(fmt.Errorf("%d tables: at most one is supported", n))
	}
	r.byte()
	r.byte()
	m.tableMin = r.u32()
}

// ExportedTable is the least number of elements of the table that a module
// exports under the name "table" (the only one that ref-fvm looks for)
// which is charged for at each instantiation; 0 when it exports none.
func ExportedTable(wasm []byte) (uint32, error) {
	m, err := parse(wasm)
	if err != nil {
		return 0, fmt.Errorf("parse module: %w", err)
	}
	if !m.exportsTable {
		return 0, nil
	}
	return m.tableMin, nil
}

func (m *module) readGlobals(r *reader) {
	m.nglobals = r.u32()
	if r.err == nil {
		m.globals = r.b[r.pos:]
	}
}

func (m *module) readExports(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		e := export{name: r.name(), kind: r.byte(), idx: r.u32()}
		m.exportsTable = m.exportsTable || (e.kind == 1 && e.name == "table")
		if e.kind == 0 && e.idx >= m.imports+uint32(len(m.funcs)) {
			r.fail(errors.New("export of an unknown function"))
		}
		m.exports = append(m.exports, e)
	}
}

func (m *module) readElements(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		if r.u32() != 0 {
			r.fail(errors.New("only active segments of function indices are supported"))
			return
		}
		start := r.pos
		for r.err == nil && r.next().code != opEnd {
			continue
		}
		s := segment{offset: r.b[start:r.pos]}
		for k := r.count(); k > 0 && r.err == nil; k-- {
			f := r.u32()
			if f >= m.imports+uint32(len(m.funcs)) {
				r.fail(errors.New("table entry of an unknown function"))
			}
			s.funcs = append(s.funcs, f)
		}
		m.segments = append(m.segments, s)
	}
}

// addThunks gives every exported or tabled defined function a thunk and points
// exports and entries to it.
func (m *module) addThunks() {
	for i := range m.exports {
		if m.exports[i].kind == 0 {
			m.exports[i].idx = m.thunk(m.exports[i].idx)
		}
	}
	for _, s := range m.segments {
		for i := range s.funcs {
			s.funcs[i] = m.thunk(s.funcs[i])
		}
	}
}

func (m *module) thunk(f uint32) uint32 {
	if f < m.imports {
		return f // the stack limiter leaves imports alone
	}
	if t, ok := m.thunkOf[f]; ok {
		return t
	}
	t := m.imports + uint32(len(m.funcs)) + uint32(len(m.thunks))
	m.thunks = append(m.thunks, f)
	m.thunkOf[f] = t
	return t
}

func (m *module) gasFunc() uint32 { return m.imports + uint32(len(m.funcs)+len(m.thunks)) }

func (m *module) typeOf(f uint32) uint32 { return m.funcs[f-m.imports] }
