package fvm

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/instrument"
	"quarry/chain/fvm/links"
)

// maxBlock is the largest block an actor may create, in bytes.
const maxBlock = 1 << 20

// firstActorExit is the lowest exit code an actor may choose; lower ones are
// the system's.
const firstActorExit = 16

// block is immutable and may be shared between caller and callee.
type block struct {
	codec uint64
	data  []byte
	links []cid.Cid
}

func (b *block) linkCount() int {
	if b == nil {
		return 0
	}
	return len(b.links)
}

func (b *block) bytes() []byte {
	if b == nil {
		return nil
	}
	return b.data
}

// kernel serves one invocation of one actor. Instances are never reused:
// actors keep the message context in their memory.
type kernel struct {
	cm        *callManager
	from, to  abi.ActorID
	method    abi.MethodNum
	value     abi.TokenAmount
	readOnly  bool
	blocks    []*block // handle = index + 1
	reachable map[cid.Cid]struct{}

	mem   api.Memory
	meter api.MutableGlobal
	last  gas.Milli // available when the actor last got control

	exited      bool // vm.exit was called with exitCode
	exitCode    exitcode.ExitCode
	exitBlock   uint32
	exitMessage string
	fail        error // out of gas or host failure that unwinds the actor
	lastError   string
}

type kernelKey struct{}

// unwind is the code of the panic by which a host function stops an actor.
const unwind = 1

func (k *kernel) insert(b *block) uint32 {
	k.blocks = append(k.blocks, b)
	for _, c := range b.links {
		k.reach(c)
	}
	return uint32(len(k.blocks))
}

func (k *kernel) reach(c cid.Cid) {
	if k.reachable == nil {
		k.reachable = make(map[cid.Cid]struct{})
	}
	k.reachable[c] = struct{}{}
}

func (k *kernel) block(handle uint32) (*block, error) {
	if handle == 0 || int64(handle) > int64(len(k.blocks)) {
		return nil, sysErr(invalidHandle, "no block has handle %d", handle)
	}
	return k.blocks[handle-1], nil
}

// run instantiates the code and calls invoke. The error is out of gas or a
// host failure; everything an actor can do wrong becomes an exit code.
func (k *kernel) run(ctx context.Context, code cid.Cid) (invocation, error) {
	mod, err := k.cm.m.engine.module(code)
	if err != nil {
		return invocation{}, fmt.Errorf("call f0%d: %w", k.to, err)
	}
	if err := k.cm.gas.Charge(gas.Instantiate(mod.minPages, mod.minTable)); err != nil {
		return invocation{}, err
	}
	inst, err := k.cm.m.engine.instantiate(ctx, mod)
	if err != nil {
		return invocation{}, fmt.Errorf("instantiate code %s of f0%d: %w", code, k.to, err)
	}
	defer inst.Close(ctx)
	k.mem = inst.Memory()
	k.meter, _ = inst.ExportedGlobal(instrument.GasGlobal).(api.MutableGlobal)
	k.setMeter()
	var params uint64
	if len(k.blocks) > 0 {
		params = 1
	}
	out, callErr := inst.ExportedFunction("invoke").Call(context.WithValue(ctx, kernelKey{}, k), params)
	if k.fail == nil {
		if err := k.chargeExec(); err != nil {
			k.fail = err
		}
	}
	if k.fail != nil {
		return invocation{}, k.fail
	}
	return k.outcome(out, callErr)
}

func (k *kernel) outcome(out []uint64, callErr error) (invocation, error) {
	if k.exited {
		res := invocation{code: k.exitCode}
		if k.exitBlock == 0 {
			return res, nil
		}
		b, err := k.block(k.exitBlock)
		if err != nil && k.exitCode == 0 {
			return invocation{code: exitcode.SysErrMissingReturn}, nil
		}
		if err != nil {
			return invocation{}, fmt.Errorf("exit data of f0%d: %w", k.to, errors.New(err.Error()))
		}
		res.value = b
		return res, nil
	}
	if callErr != nil {
		k.exitMessage = "trap: " + firstLine(callErr.Error())
		return invocation{code: exitcode.SysErrIllegalInstruction}, nil
	}
	handle := uint32(out[0])
	if handle == 0 {
		return invocation{}, nil
	}
	b, err := k.block(handle)
	if err != nil {
		k.exitMessage = "returned block does not exist"
		return invocation{code: exitcode.SysErrMissingReturn}, nil
	}
	return invocation{value: b}, nil
}

func firstLine(s string) string {
	for i, c := range s {
		if c == '\n' {
			return s[:i]
		}
	}
	return s
}

// chargeExec accounts for instructions run since the actor last got control.
func (k *kernel) chargeExec() error {
	if k.meter == nil {
		return nil
	}
	left := gas.Milli(int64(k.meter.Get()))
	used := k.last - left
	k.last = left
	return k.cm.gas.Charge(used)
}

// setMeter hands the remaining gas to the actor.
func (k *kernel) setMeter() {
	k.last = k.cm.gas.Available()
	if k.meter != nil {
		k.meter.Set(uint64(k.last))
	}
}

// stop unwinds the actor; wazero passes ExitError through without a trace.
func stop() { panic(sys.NewExitError(unwind)) }

// scan finds the links of a DAG-CBOR block, charging for it. Other codecs have
// none.
func (k *kernel) scan(codec uint64, data []byte) ([]cid.Cid, error) {
	if codec != links.DagCBOR {
		return nil, nil
	}
	out, stats, err := links.Scan(data)
	if gerr := k.cm.gas.Charge(k.cm.prices.Scan(stats.Fields, stats.Links)); gerr != nil {
		return nil, gerr
	}
	if errors.Is(err, links.ErrUnsupported) {
		return nil, sysErr(notFound, "%v", err)
	}
	if err != nil {
		return nil, sysErr(serialization, "%v", err)
	}
	return out, nil
}
