package instrument

import (
	"errors"
	"fmt"
)

// code rewrites all bodies and adds the thunks and the gas function.
func (m *module) code() ([]byte, error) {
	r := &reader{b: m.sections[secCode]}
	n := r.count()
	if n != len(m.funcs) {
		return nil, fmt.Errorf("%d bodies for %d functions", n, len(m.funcs))
	}
	out := appendU32(nil, uint32(n+len(m.thunks)+1))
	for i := 0; i < n; i++ {
		body, err := m.body(r.bytes(int(r.u32())), m.params[m.funcs[i]])
		if err == nil {
			err = r.err
		}
		if err != nil {
			return nil, fmt.Errorf("function %d: %w", i, err)
		}
		out = append(appendU32(out, uint32(len(body))), body...)
	}
	for _, f := range m.thunks {
		b := m.thunkBody(f)
		out = append(appendU32(out, uint32(len(b))), b...)
	}
	g := m.gasBody()
	return append(appendU32(out, uint32(len(g))), g...), nil
}

func (m *module) charge(b []byte, cost uint64) []byte {
	b = appendS64(append(b, opI64Const), int64(cost))
	return appendU32(append(b, opCall), m.gasFunc())
}

func (m *module) body(b []byte, params int) ([]byte, error) {
	r := &reader{b: b}
	groups := r.count()
	locals := uint64(params)
	start := r.pos
	for i := 0; i < groups; i++ {
		locals += uint64(r.u32())
		r.byte()
	}
	if locals > 1<<16 {
		return nil, errors.New("too many locals")
	}
	groupBytes := b[start:r.pos]
	var ops []operator
	for !r.done() {
		ops = append(ops, r.next())
	}
	if r.err != nil {
		return nil, r.err
	}
	runs, dynamic, err := m.plan(ops)
	if err != nil {
		return nil, err
	}
	var out []byte
	if len(dynamic) > 0 {
		out = append(appendU32(nil, uint32(groups+1)), groupBytes...)
		out = append(appendU32(out, 1), 0x7f)
	} else {
		out = append(appendU32(nil, uint32(groups)), groupBytes...)
	}
	for i, op := range ops {
		if len(runs) > 0 && runs[0].start == i {
			out = m.charge(out, runs[0].cost)
			runs = runs[1:]
		}
		if unit, ok := dynamic[i]; ok {
			out = m.chargeTop(out, uint32(locals), unit)
		}
		out = append(out, b[op.start:op.end]...)
	}
	if len(runs) > 0 {
		return nil, errors.New("charge after the end of a function")
	}
	return out, nil
}

// chargeTop charges unit times the i32 on top of the stack and leaves it there.
func (m *module) chargeTop(b []byte, local uint32, unit uint64) []byte {
	b = appendU32(append(b, opLocalTee), local)
	b = appendU32(append(b, opLocalGet), local)
	b = append(b, opI64ExtendU)
	b = appendS64(append(b, opI64Const), int64(unit))
	b = append(b, opI64Mul)
	return appendU32(append(b, opCall), m.gasFunc())
}

func (m *module) thunkBody(f uint32) []byte {
	n := m.params[m.typeOf(f)]
	b := m.charge([]byte{0}, uint64(n)*perInstruction+perDefinedCall)
	for i := 0; i < n; i++ {
		b = appendU32(append(b, opLocalGet), uint32(i))
	}
	return append(appendU32(append(b, opCall), f), opEnd)
}

// gasBody subtracts its argument from the counter and traps below zero.
func (m *module) gasBody() []byte {
	g := m.nglobals
	b := appendU32([]byte{0, opGlobalGet}, g)
	b = append(b, opLocalGet, 0, opI64Sub)
	b = appendU32(append(b, opGlobalSet), g)
	b = appendU32(append(b, opGlobalGet), g)
	return append(b, opI64Const, 0, opI64LtS, opIf, 0x40, opUnreachable, opEnd, opEnd)
}

func (m *module) encode(code []byte) []byte {
	gasType := uint32(len(m.types))
	types := appendU32(nil, gasType+1)
	for _, t := range m.types {
		types = append(types, t...)
	}
	m.sections[secType] = append(types, 0x60, 1, 0x7e, 0)

	funcs := appendU32(nil, uint32(len(m.funcs)+len(m.thunks)+1))
	for _, t := range m.funcs {
		funcs = appendU32(funcs, t)
	}
	for _, f := range m.thunks {
		funcs = appendU32(funcs, m.typeOf(f))
	}
	m.sections[secFunction] = appendU32(funcs, gasType)

	globals := append(appendU32(nil, m.nglobals+1), m.globals...)
	m.sections[secGlobal] = append(globals, 0x7e, 1, opI64Const, 0, opEnd)

	exports := appendU32(nil, uint32(len(m.exports)+1))
	for _, e := range append(m.exports, export{GasGlobal, 3, m.nglobals}) {
		exports = appendU32(append(appendName(exports, e.name), e.kind), e.idx)
	}
	m.sections[secExport] = exports
	if len(m.segments) > 0 {
		m.sections[secElement] = m.encodeElements()
	}
	m.sections[secCode] = code

	out := append([]byte(nil), magic...)
	for _, id := range order {
		if body, ok := m.sections[id]; ok {
			out = append(appendU32(append(out, id), uint32(len(body))), body...)
		}
	}
	return out
}

func (m *module) encodeElements() []byte {
	b := appendU32(nil, uint32(len(m.segments)))
	for _, s := range m.segments {
		b = append(append(b, 0), s.offset...)
		b = appendU32(b, uint32(len(s.funcs)))
		for _, f := range s.funcs {
			b = appendU32(b, f)
		}
	}
	return b
}
