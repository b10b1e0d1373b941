package devnet

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"

	"quarry/api"
	"quarry/chain/fvm"
	"quarry/chain/fvm/state"
)

// StateCall implements api.Chain. The call goes by the nonce of its sender and
// pays nothing; a gas limit of 0 is that of a block.
func (n *Node) StateCall(ctx context.Context, msg *api.Message, tsk api.TipSetKey) (*api.InvocResult, error) {
	if err := complete(msg); err != nil {
		return nil, err
	}
	if msg.GasLimit < 0 || msg.GasLimit > blockGasLimit {
		return nil, &api.ErrInvalid{What: "call", Reason: fmt.Sprintf("gas limit %d is not between 0 and %d", msg.GasLimit,
			int64(blockGasLimit))}
	}
	v, ts, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	m := *msg
	fillBigs(&m)
	if m.GasLimit == 0 {
		m.GasLimit = blockGasLimit
	}
	from, err := v.actor(ctx, m.From)
	if err != nil {
		return nil, fmt.Errorf("sender of the call: %w", err)
	}
	m.Nonce = from.CallSeqNum
	mach, err := n.exec.machine(ctx, ts.ParentState(), ts, ts.Height, big.Zero(), true)
	if err != nil {
		return nil, err
	}
	res, err := mach.ApplyImplicit(ctx, &m)
	if err != nil {
		return nil, fmt.Errorf("call: %w", err)
	}
	return invocResult(&m, res)
}

// invocResult is the outcome of a call that paid nothing, so that its cost is zero
// everywhere and names no message, as Lotus has it.
func invocResult(m *api.Message, res *fvm.Result) (*api.InvocResult, error) {
	trace, err := executionTrace(res.Trace)
	if err != nil {
		return nil, err
	}
	return &api.InvocResult{
		MsgCid: m.Cid(),
		Msg:    m,
		MsgRct: &api.MessageReceipt{
			ExitCode:   res.ExitCode,
			Return:     res.Return,
			GasUsed:    res.GasUsed,
			EventsRoot: res.EventsRoot,
		},
		GasCost:        noCost(),
		ExecutionTrace: trace,
		Error:          res.Backtrace,
		Duration:       int64(res.Duration),
	}, nil
}

func noCost() api.MsgGasCost {
	return api.MsgGasCost{
		GasUsed:            big.Zero(),
		BaseFeeBurn:        big.Zero(),
		OverEstimationBurn: big.Zero(),
		MinerPenalty:       big.Zero(),
		MinerTip:           big.Zero(),
		Refund:             big.Zero(),
		TotalCost:          big.Zero(),
	}
}

// executionTrace makes a tree of the calls of a message. Each has one charge: the
// gas that it used itself, without its subcalls.
func executionTrace(t *fvm.Trace) (api.ExecutionTrace, error) {
	if t == nil || len(t.Calls) == 0 {
		return api.ExecutionTrace{Msg: api.MessageTrace{Value: big.Zero()}}, nil
	}
	root, _, err := subtree(t.Calls, 0)
	if err != nil {
		return root, err
	}
	if t.Missing > 0 || t.MissingBytes > 0 {
		root.Logs = []string{fmt.Sprintf("the trace is not complete: %d calls and %d bytes of parameters and return values are left out",
			t.Missing, t.MissingBytes)}
	}
	return root, nil
}

// subtree is the call at i with all below it, and where the next one stands.
func subtree(calls []fvm.Call, i int) (api.ExecutionTrace, int, error) {
	c := &calls[i]
	from, err := address.NewIDAddress(uint64(c.From))
	if err != nil {
		return api.ExecutionTrace{}, 0, err
	}
	out := api.ExecutionTrace{
		Msg: api.MessageTrace{
			From:        from,
			To:          c.To,
			Value:       c.Value,
			Method:      c.Method,
			Params:      c.Params,
			ParamsCodec: c.ParamsCodec,
			GasLimit:    uint64(max(c.GasLimit, 0)),
			ReadOnly:    c.ReadOnly,
		},
		MsgRct: api.ReturnTrace{ExitCode: c.ExitCode, Return: c.Return, ReturnCodec: c.ReturnCodec},
	}
	if c.Invoked != nil {
		out.InvokedActor = &api.ActorTrace{Id: c.Invoked.ID, State: actorJSON(&c.Invoked.State)}
	}
	own, next := c.GasUsed, i+1
	for next < len(calls) && calls[next].Depth > c.Depth {
		own -= calls[next].GasUsed
		var sub api.ExecutionTrace
		if sub, next, err = subtree(calls, next); err != nil {
			return out, 0, err
		}
		out.Subcalls = append(out.Subcalls, sub)
	}
	out.GasCharges = []*api.GasTrace{{Name: "OwnGas", TotalGas: own, ComputeGas: own}}
	return out, next, nil
}

func actorJSON(a *state.Actor) api.Actor {
	return api.Actor{
		Code:             a.Code,
		Head:             a.Head,
		Nonce:            a.CallSeqNum,
		Balance:          a.Balance,
		DelegatedAddress: a.DelegatedAddress,
	}
}
