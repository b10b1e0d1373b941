package fvm

import (
	"testing"

	"github.com/filecoin-project/go-state-types/big"

	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/state"
)

// A trace keeps so many calls and bytes and counts the rest; what is kept stands
// where it belongs.
func TestTraceIsBounded(t *testing.T) {
	tr := new(tracer)
	one := send{value: big.Zero(), params: &block{codec: 0x51, data: make([]byte, 1<<20)}}
	tr.begin(one, gas.Gas(5))
	for range maxTraceCalls + 2 {
		tr.begin(send{value: big.Zero()}, gas.Gas(1))
		tr.end(invocation{code: 7}, 0, nil)
	}
	if len(tr.Calls) != maxTraceCalls || tr.Missing != 3 || tr.MissingBytes != 0 {
		t.Errorf("%d calls kept, %d missing", len(tr.Calls), tr.Missing)
	}
	tr.invoked(9, &state.Actor{})
	tr.invoked(10, &state.Actor{})
	tr.end(invocation{value: &block{codec: 0x55, data: make([]byte, 15<<20)}}, gas.Gas(4), nil)
	root := tr.Calls[0]
	if root.Invoked == nil || root.Invoked.ID != 9 || root.GasUsed != 4 || root.GasLimit != 5 || len(root.Params) != 1<<20 ||
		len(root.Return) != 15<<20 || root.ReturnCodec != 0x55 {
		t.Errorf("root used %d of %d, ran %+v", root.GasUsed, root.GasLimit, root.Invoked)
	}
	if tr.Calls[1].Depth != 1 || tr.Calls[1].ExitCode != 7 || tr.Calls[1].Invoked != nil {
		t.Errorf("below it %+v", tr.Calls[1])
	}
	full := tracer{size: maxTraceBytes - 1}
	if full.keep([]byte{1, 2}) != nil || full.MissingBytes != 2 || len(full.keep([]byte{3})) != 1 ||
		full.keep([]byte{4}) != nil || full.MissingBytes != 3 {
		t.Errorf("%d bytes missing", full.MissingBytes)
	}
}

// An error is an exit code, and a call inside one that was left out is not taken
// for that of another.
func TestTraceOfFailures(t *testing.T) {
	tr := new(tracer)
	tr.begin(send{value: big.Zero()}, 0)
	tr.open = append(tr.open, -1)
	tr.invoked(5, &state.Actor{})
	tr.end(invocation{code: 3}, gas.Gas(9), nil)
	tr.end(invocation{}, 0, sysErr(notFound, "nobody"))
	if c := tr.Calls[0]; c.Invoked != nil || c.ExitCode != 5 || c.GasUsed != 0 || len(tr.open) != 0 {
		t.Errorf("%+v", c)
	}
}
