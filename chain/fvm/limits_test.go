package fvm

import (
	"context"
	"testing"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero/experimental"

	"quarry/chain/fvm/instrument"
	"quarry/chain/fvm/state"
)

// handMade assembles a module whose invoke(i32) i32 has the given body.
func handMade(body ...byte) []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	sec := func(id byte, c ...byte) { b = append(append(b, id, byte(len(c))), c...) }
	sec(1, 1, 0x60, 1, 0x7f, 1, 0x7f)
	sec(3, 1, 0)
	sec(5, 1, 0, 1)
	sec(7, append(append([]byte{2, 6}, "memory\x02\x00\x06"...), "invoke\x00\x00"...)...)
	sec(10, append([]byte{1, byte(len(body) + 2), 0}, append(body, 0x0b)...)...)
	return b
}

// TestRunaway sends to actors that never return: each must end with its exit
// code, not with the host.
func TestRunaway(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, devnetEngine(t, EngineConfig{CacheDir: t.TempDir()}))
	for _, c := range []struct {
		name string
		body []byte
		want exitcode.ExitCode
	}{
		{"returns", []byte{0x41, 0}, 0},
		{"unreachable", []byte{0x00}, exitcode.SysErrIllegalInstruction},
		{"division by zero", []byte{0x41, 1, 0x41, 0, 0x6d}, exitcode.SysErrIllegalInstruction},
		{"out of bounds", []byte{0x41, 0x7f, 0x28, 2, 0}, exitcode.SysErrIllegalInstruction},
		{"endless loop", []byte{0x03, 0x40, 0x0c, 0, 0x0b, 0x41, 0}, exitcode.SysErrOutOfGas},
		{"endless recursion", []byte{0x20, 0, 0x10, 0}, exitcode.SysErrIllegalInstruction},
		{"unknown return block", []byte{0x41, 7}, exitcode.SysErrMissingReturn},
	} {
		raw := handMade(c.body...)
		metered, err := instrument.Meter(raw)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		mod, err := w.e.runtime.CompileModule(ctx, metered)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		code, err := cid.Prefix{Version: 1, Codec: 0x55, MhType: 0xb220, MhLength: 32}.Sum(raw)
		if err != nil {
			t.Fatal(err)
		}
		w.e.modules[code] = &compiled{code: mod, minPages: 1}
		if err := w.m.State().SetActor(5000, &state.Actor{Code: code, Head: state.EmptyArrayHead, Balance: big.Zero()}); err != nil {
			t.Fatal(err)
		}
		if r := w.send(idAddr(t, 5000), big.Zero(), 2, nil, 2_000_000_000); r.ExitCode != c.want {
			t.Errorf("%s: exit %d, want %d (%s)", c.name, r.ExitCode, c.want, r.Backtrace)
		}
	}
}

// copying is the plain allocator: every growth is a fresh copy.
type copying struct{ b []byte }

func (c *copying) Reallocate(n uint64) []byte {
	g := make([]byte, n)
	copy(g, c.b)
	c.b = g
	return g
}
func (c *copying) Free() {}

// TestAllocatorsAgree: reused memory must not show through in results.
func TestAllocatorsAgree(t *testing.T) {
	dir := t.TempDir()
	pooled, gas1 := life(t, devnetEngine(t, EngineConfig{CacheDir: dir}))
	e := devnetEngine(t, EngineConfig{CacheDir: dir})
	e.alloc = experimental.MemoryAllocatorFunc(func(uint64, uint64) experimental.LinearMemory { return &copying{} })
	plain, gas2 := life(t, e)
	if pooled != plain || len(gas1) != len(gas2) || gas1[2] != gas2[2] {
		t.Fatalf("pooled %s %v, plain %s %v", pooled, gas1, plain, gas2)
	}
}
