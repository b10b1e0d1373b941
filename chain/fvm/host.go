package fvm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/links"
)

// args are the parameters after the result pointer.
type args []uint64

// u32 truncates: the upper half of a 32-bit slot is garbage in compiled code.
func (a args) u32(i int) uint32 { return uint32(a[i]) }
func (a args) i64(i int) int64  { return int64(a[i]) }

// syscall implements one import; the bytes are the packed result.
type syscall func(ctx context.Context, k *kernel, a args) ([]byte, error)

// hostFunc describes one import that the host provides. Parameter types are
// written as 'i' (i32) and 'l' (i64), without the result pointer.
type hostFunc struct {
	module, name string
	ret          int // size of the packed result; 0 = no result pointer
	params       string
	call         syscall
}

func (h *hostFunc) wasmParams() []api.ValueType {
	var out []api.ValueType
	if h.ret > 0 {
		out = append(out, api.ValueTypeI32)
	}
	for _, c := range h.params {
		if c == 'l' {
			out = append(out, api.ValueTypeI64)
		} else {
			out = append(out, api.ValueTypeI32)
		}
	}
	return out
}

// invoke follows the order of ref-fvm: charge for what ran, charge for the
// call, check the result range, run, store the result, hand the gas back.
func (h *hostFunc) invoke(ctx context.Context, mod api.Module, stack []uint64) {
	k, ok := ctx.Value(kernelKey{}).(*kernel)
	if !ok {
		panic("system call outside an invocation")
	}
	no, err := h.dispatch(ctx, k, mod, stack)
	if err != nil {
		k.fail = fmt.Errorf("%s.%s: %w", h.module, h.name, err)
		stop()
	}
	if k.exited {
		stop()
	}
	k.setMeter()
	stack[0] = uint64(no)
}

func (h *hostFunc) dispatch(ctx context.Context, k *kernel, mod api.Module, stack []uint64) (errno, error) {
	if err := k.chargeExec(); err != nil {
		return 0, err
	}
	if err := k.cm.gas.Charge(gas.Syscall); err != nil {
		return 0, err
	}
	a := args(stack[:len(h.params)])
	var ptr uint32
	if h.ret > 0 {
		ptr = uint32(stack[0])
		a = args(stack[1 : 1+len(h.params)])
		if _, ok := mod.Memory().Read(ptr, uint32(h.ret)); !ok {
			return illegalArgument, nil
		}
	}
	out, err := h.call(ctx, k, a)
	var se *syscallError
	if errors.As(err, &se) {
		k.lastError = fmt.Sprintf("%s.%s: %s", h.module, h.name, se.Error())
		return se.no, nil
	}
	if err != nil {
		return 0, err
	}
	if h.ret > 0 && !k.exited && !mod.Memory().Write(ptr, out) {
		return illegalArgument, nil
	}
	return 0, nil
}

// buildHost makes the host modules of one ABI in a runtime.
func buildHost(ctx context.Context, r wazero.Runtime, funcs []hostFunc) error {
	builders := make(map[string]wazero.HostModuleBuilder)
	var order []string
	for i := range funcs {
		h := &funcs[i]
		b, ok := builders[h.module]
		if !ok {
			b = r.NewHostModuleBuilder(h.module)
			builders[h.module] = b
			order = append(order, h.module)
		}
		results := []api.ValueType{api.ValueTypeI32}
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(h.invoke), h.wasmParams(), results).Export(h.name)
	}
	for _, name := range order {
		if _, err := builders[name].Instantiate(ctx); err != nil {
			return fmt.Errorf("host module %s: %w", name, err)
		}
	}
	return nil
}

// --- reading arguments from actor memory ---

// read returns a copy: the memory may move or change during a nested call.
func (k *kernel) read(ptr, n uint32) ([]byte, error) {
	b, ok := k.mem.Read(ptr, n)
	if !ok {
		return nil, sysErr(illegalArgument, "memory range %d+%d is out of bounds", ptr, n)
	}
	return append([]byte(nil), b...), nil
}

func (k *kernel) readCid(ptr uint32) (cid.Cid, error) {
	size := k.mem.Size()
	if ptr >= size {
		return cid.Undef, sysErr(illegalArgument, "CID pointer %d is out of bounds", ptr)
	}
	b, err := k.read(ptr, min(size-ptr, 128))
	if err != nil {
		return cid.Undef, err
	}
	c, _, err := links.Parse(b)
	if err != nil {
		return cid.Undef, sysErr(illegalArgument, "%v", err)
	}
	return c, nil
}

func (k *kernel) readAddress(ptr, n uint32) (address.Address, error) {
	b, err := k.read(ptr, n)
	if err != nil {
		return address.Undef, err
	}
	a, err := address.NewFromBytes(b)
	if err != nil || a == address.Undef {
		return address.Undef, sysErr(illegalArgument, "bad address %x: %v", b, err)
	}
	return a, nil
}

// window checks an output buffer of n bytes at ptr.
func (k *kernel) window(ptr, n uint32) error {
	if _, ok := k.mem.Read(ptr, n); !ok {
		return sysErr(illegalArgument, "memory range %d+%d is out of bounds", ptr, n)
	}
	return nil
}

// write stores data in an output buffer of n bytes and returns its length.
func (k *kernel) write(ptr, n uint32, data []byte) ([]byte, error) {
	if err := k.window(ptr, n); err != nil {
		return nil, err
	}
	if len(data) > int(n) {
		return nil, sysErr(bufferTooSmall, "buffer of %d bytes for %d", n, len(data))
	}
	if !k.mem.Write(ptr, data) {
		return nil, sysErr(illegalArgument, "memory range %d+%d is out of bounds", ptr, n)
	}
	return le32(uint32(len(data))), nil
}

// --- packing results, little endian ---

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func le64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func i32(v int32) []byte { return le32(uint32(v)) }

// valid is the answer of the verify calls: 0 good, -1 bad.
func valid(ok bool) []byte {
	if ok {
		return i32(0)
	}
	return i32(-1)
}

var mask64 = big.NewIntUnsigned(1<<64 - 1)

// tokens packs an amount as low then high half; amounts beyond 128 bits
// cannot exist and are a host failure.
func tokens(v abi.TokenAmount) ([]byte, error) {
	if v.Int == nil {
		v = big.Zero()
	}
	if v.Sign() < 0 || v.BitLen() > 128 {
		return nil, fmt.Errorf("amount %s does not fit 128 bits", v)
	}
	lo := big.Zero()
	lo.And(v.Int, mask64.Int)
	hi := big.Zero()
	hi.Rsh(v.Int, 64)
	return append(le64(lo.Uint64()), le64(hi.Uint64())...), nil
}

func amount(hi, lo uint64) abi.TokenAmount {
	v := big.NewIntUnsigned(hi)
	v.Lsh(v.Int, 64)
	return big.Add(v, big.NewIntUnsigned(lo))
}
