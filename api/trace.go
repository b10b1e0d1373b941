package api

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"
)

// ExecutionTrace is one call of a message with the calls that it made in turn
// (lotus chain/types/execresult.go).
type ExecutionTrace struct {
	Msg          MessageTrace
	MsgRct       ReturnTrace
	InvokedActor *ActorTrace `json:",omitempty"` // nil when the recipient did not exist
	GasCharges   []*GasTrace
	Subcalls     []ExecutionTrace
	Logs         []string `json:",omitempty"`
}

// MessageTrace is what a call was made with. Codecs are multicodec numbers: 0x51
// CBOR, 0x55 raw, 0 for no bytes.
type MessageTrace struct {
	From        address.Address // always an ID address
	To          address.Address // as the caller named it
	Value       abi.TokenAmount // attoFIL
	Method      abi.MethodNum
	Params      []byte
	ParamsCodec uint64
	GasLimit    uint64 // gas units left to the call
	ReadOnly    bool
}

// ReturnTrace is what a call ended with.
type ReturnTrace struct {
	ExitCode    exitcode.ExitCode
	Return      []byte
	ReturnCodec uint64
}

// ActorTrace is the recipient as the call found it.
type ActorTrace struct {
	Id    abi.ActorID
	State Actor
}

// GasTrace is one charge, in gas units. TotalGas is the sum of the other two.
type GasTrace struct {
	Name       string
	TotalGas   int64 `json:"tg"`
	ComputeGas int64 `json:"cg"`
	StorageGas int64 `json:"sg"`
	TimeTaken  int64 `json:"tt"` // nanoseconds; 0: not measured
}
