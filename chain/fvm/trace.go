package fvm

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"

	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/state"
)

// Limits of one trace. A message has gas for some hundred thousand calls with
// parameters of up to a MiB each; what is beyond is counted, not kept.
const (
	maxTraceCalls = 10_000
	maxTraceBytes = 16 << 20
)

// Call is one invocation in a trace.
type Call struct {
	From        abi.ActorID
	To          address.Address // as the caller named it
	Method      abi.MethodNum
	Value       abi.TokenAmount
	Params      []byte
	ParamsCodec uint64 // 0 without parameters
	GasLimit    int64  // gas that was left to the call
	ReadOnly    bool
	Invoked     *Invoked // nil when the recipient did not exist
	Return      []byte
	ReturnCodec uint64 // 0 without a value
	ExitCode    exitcode.ExitCode
	GasUsed     int64 // gas of this call with its subcalls
	Depth       int   // 0 for the message itself
}

// Invoked is the recipient of a call as the call found it.
type Invoked struct {
	ID    abi.ActorID
	State state.Actor
}

// Trace lists the calls of a message in the order in which they began.
type Trace struct {
	Calls []Call
	// Missing counts the calls, and MissingBytes the bytes of parameters and
	// return values, that the trace had no room for.
	Missing      int
	MissingBytes int
}

// tracer records calls while they run.
type tracer struct {
	Trace
	size int
	open []int // indices into Calls of the calls that run; -1 for one left out
}

// keep gives data back when there is room for it.
func (t *tracer) keep(data []byte) []byte {
	if t.size+len(data) > maxTraceBytes {
		t.MissingBytes += len(data)
		return nil
	}
	t.size += len(data)
	return data
}

func (t *tracer) begin(s send, left gas.Milli) {
	if len(t.Calls) >= maxTraceCalls {
		t.Missing++
		t.open = append(t.open, -1)
		return
	}
	c := Call{
		From:     s.from,
		To:       s.to,
		Method:   s.method,
		Value:    s.value,
		GasLimit: int64(left / 1000),
		ReadOnly: s.readOnly,
		Depth:    len(t.open),
	}
	if s.params != nil {
		c.Params, c.ParamsCodec = t.keep(s.params.data), s.params.codec
	}
	t.open = append(t.open, len(t.Calls))
	t.Calls = append(t.Calls, c)
}

// current is the innermost call that runs; nil when it was left out.
func (t *tracer) current() *Call {
	if n := len(t.open); n > 0 && t.open[n-1] >= 0 {
		return &t.Calls[t.open[n-1]]
	}
	return nil
}

func (t *tracer) invoked(id abi.ActorID, a *state.Actor) {
	if c := t.current(); c != nil && c.Invoked == nil {
		c.Invoked = &Invoked{ID: id, State: *a}
	}
}

func (t *tracer) end(res invocation, used gas.Milli, err error) {
	if c := t.current(); c != nil {
		c.ExitCode, c.GasUsed = res.code, int64(used/1000)
		if res.value != nil {
			c.Return, c.ReturnCodec = t.keep(res.value.data), res.value.codec
		}
		if err != nil {
			c.ExitCode = exitOf(err)
		}
	}
	t.open = t.open[:len(t.open)-1]
}
