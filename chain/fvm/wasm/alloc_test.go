package wasm

import "testing"

// What an instance grew and wrote must not show in the next one.
func TestReuseIsClean(t *testing.T) {
	p := new(Pool)
	m := p.Allocate(1<<16, MaxMemory)
	first := m.Reallocate(1 << 16)
	for i := range first {
		first[i] = 0xff
	}
	grown := m.Reallocate(1 << 17)
	if grown[0] != 0xff || grown[1<<16] != 0 {
		t.Error("growing lost bytes, or found old ones")
	}
	for i := range grown {
		grown[i] = 0xff
	}
	m.Free()
	m.Free() // a second time changes nothing
	if len(p.free) != 1 {
		t.Fatalf("%d buffers are kept", len(p.free))
	}
	again := p.Allocate(1<<16, MaxMemory).Reallocate(startCap)
	for i, b := range again {
		if b != 0 {
			t.Fatalf("byte %d of a reused memory is %#x", i, b)
		}
	}
	if len(p.free) != 0 || &again[0] != &first[0] {
		t.Error("the buffer was not reused")
	}
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limit, ask uint64
		ok         bool
	}{
		"at the limit":        {1 << 20, 1 << 20, true},
		"above it":            {1 << 20, 1<<20 + 1, false},
		"beyond the start":    {8 << 20, 8 << 20, true},
		"above the VM's":      {1 << 40, MaxMemory + 1, false},
		"far above":           {1 << 40, 1 << 39, false},
		"nothing":             {1 << 20, 0, true},
		"a limit below start": {1 << 16, 1 << 16, true},
	} {
		got := new(Pool).Allocate(0, c.limit).Reallocate(c.ask)
		if (got != nil) != c.ok || c.ok && uint64(len(got)) != c.ask {
			t.Errorf("%s: %d bytes, nil %v", name, len(got), got == nil)
		}
	}
}

// A refused growth leaves the memory as it was.
func TestRefusedGrowth(t *testing.T) {
	m := new(Pool).Allocate(1<<16, 1<<17)
	b := m.Reallocate(1 << 16)
	b[5] = 5
	if m.Reallocate(1<<17+1) != nil {
		t.Fatal("grew beyond the limit")
	}
	if b = m.Reallocate(1 << 17); b == nil || b[5] != 5 {
		t.Error("the memory is gone")
	}
}

// The pool keeps no giants, and not without end.
func TestPoolIsBounded(t *testing.T) {
	p := new(Pool)
	m := p.Allocate(0, MaxMemory)
	m.Reallocate(pooledMax + 1)
	m.Free()
	if len(p.free) != 0 {
		t.Error("a buffer above the bound is kept")
	}
	var all []interface{ Free() }
	for range poolSize + 5 {
		m := p.Allocate(0, 1<<16)
		m.Reallocate(1)
		all = append(all, m)
	}
	for _, m := range all {
		m.Free()
	}
	if len(p.free) != poolSize {
		t.Errorf("%d buffers are kept, want %d", len(p.free), poolSize)
	}
}
