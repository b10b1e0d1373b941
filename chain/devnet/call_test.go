package devnet

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/power"

	"quarry/api"
	"quarry/chain/fvm"
)

// sum is the gas of all charges of a trace, and the number of calls.
func sum(t *api.ExecutionTrace) (gas int64, calls int) {
	for _, c := range t.GasCharges {
		gas += c.TotalGas
	}
	calls = 1
	for i := range t.Subcalls {
		g, n := sum(&t.Subcalls[i])
		gas, calls = gas+g, calls+n
	}
	return gas, calls
}

// A call names each call that it made, with what it was made with, and the gas of
// all of them is the gas of the message: as on chain, with nothing for the trace.
func TestCallHasATree(t *testing.T) {
	n := newFixture(t, "call").open(t)
	step(t, n, 1)
	from := funded(t, n)
	step(t, n, 2)
	params := must[[]byte](t)(encodeParams(&power.CreateMinerParams{
		Owner:               from,
		Worker:              from,
		Peer:                abi.PeerID("p"),
		WindowPoStProofType: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1,
	}))
	deposit := must[abi.TokenAmount](t)(n.StateMinerCreationDeposit(t.Context(), nil))
	msg := &api.Message{
		To:     builtin.StoragePowerActorAddr,
		From:   from,
		Value:  deposit,
		Method: builtin.MethodsPower.CreateMiner,
		Params: params,
	}
	res := must[*api.InvocResult](t)(n.StateCall(t.Context(), msg, nil))
	if res.MsgRct.ExitCode != 0 || res.Error != "" || len(res.MsgRct.Return) == 0 {
		t.Fatalf("receipt %+v, %q", res.MsgRct, res.Error)
	}
	root := &res.ExecutionTrace
	id := must[address.Address](t)(n.StateLookupID(t.Context(), from, nil))
	if root.Msg.From != id || root.Msg.To != builtin.StoragePowerActorAddr || !root.Msg.Value.Equals(deposit) ||
		root.Msg.GasLimit != blockGasLimit || !slices.Equal(root.Msg.Params, params) || root.Msg.ParamsCodec != 0x51 ||
		root.Msg.Method != 2 || root.Msg.ReadOnly {
		t.Errorf("root %+v", root.Msg)
	}
	if !slices.Equal(root.MsgRct.Return, res.MsgRct.Return) || root.MsgRct.ReturnCodec != 0x51 ||
		root.InvokedActor == nil || root.InvokedActor.Id != 4 {
		t.Errorf("root ended with %+v, ran %+v", root.MsgRct, root.InvokedActor)
	}
	gas, calls := sum(root)
	if used := res.MsgRct.GasUsed; gas > used || gas < used-int64(calls) || calls < 4 {
		t.Errorf("%d calls used %d gas, the message %d", calls, gas, used)
	}
	i := slices.IndexFunc(root.Subcalls, func(s api.ExecutionTrace) bool { return s.Msg.To == builtin.InitActorAddr })
	if i < 0 {
		t.Fatalf("the power actor did not call the init actor: %+v", root.Subcalls)
	}
	exec := root.Subcalls[i]
	if len(exec.Subcalls) == 0 || exec.Subcalls[0].Msg.Method != builtin.MethodConstructor || !exec.Msg.Value.Equals(deposit) {
		t.Errorf("below it: %+v", exec)
	}
	real := must[int64](t)(n.GasEstimateGasLimit(t.Context(), msg, nil))
	if res.MsgRct.GasUsed >= real {
		t.Errorf("the call used %d gas, the message with its inclusion %d", res.MsgRct.GasUsed, real)
	}
	if nonce := must[uint64](t)(n.MpoolGetNonce(t.Context(), from)); res.Msg.Nonce != nonce || res.MsgCid != res.Msg.Cid() {
		t.Errorf("nonce %d, %s", res.Msg.Nonce, res.MsgCid)
	}
	if zero := noCost(); res.GasCost.Message != nil || !res.GasCost.TotalCost.Equals(zero.TotalCost) || !res.GasCost.GasUsed.IsZero() {
		t.Errorf("cost %+v", res.GasCost)
	}
}

// A call that fails says so in its receipt and changes nothing; what cannot be a
// call is refused.
func TestCallFails(t *testing.T) {
	n := newFixture(t, "call").open(t)
	step(t, n, 1)
	from, nobody := n.params.Faucet, must[address.Address](t)(address.NewSecp256k1Address([]byte("nobody")))
	res := must[*api.InvocResult](t)(n.StateCall(t.Context(), &api.Message{To: builtin.StorageMarketActorAddr, From: from, Method: 2}, nil))
	if res.MsgRct.ExitCode == 0 || res.Error == "" || res.ExecutionTrace.MsgRct.ExitCode != res.MsgRct.ExitCode {
		t.Errorf("without parameters: %+v, %q", res.MsgRct, res.Error)
	}
	ghost := idAddr(t, 99_999)
	res = must[*api.InvocResult](t)(n.StateCall(t.Context(), &api.Message{To: ghost, From: from, Value: big.NewInt(1)}, nil))
	if res.MsgRct.ExitCode != 5 || res.ExecutionTrace.InvokedActor != nil || res.ExecutionTrace.Msg.To != ghost {
		t.Errorf("to nobody: %+v, %+v", res.MsgRct, res.ExecutionTrace)
	}
	var unknown *api.ErrActorNotFound
	if _, err := n.StateCall(t.Context(), &api.Message{To: from, From: nobody}, nil); !errors.As(err, &unknown) {
		t.Errorf("from nobody: %v", err)
	}
	var invalid *api.ErrInvalid
	for _, limit := range []int64{-1, blockGasLimit + 1} {
		if _, err := n.StateCall(t.Context(), &api.Message{To: from, From: from, GasLimit: limit}, nil); !errors.As(err, &invalid) {
			t.Errorf("gas limit %d: %v", limit, err)
		}
	}
	for _, limit := range []int64{1, blockGasLimit} {
		res, err := n.StateCall(t.Context(), &api.Message{To: from, From: from, GasLimit: limit}, nil)
		if err != nil || res.Msg.GasLimit != limit {
			t.Errorf("gas limit %d: %v", limit, err)
		}
	}
}

// The tree follows from the depths of the calls, and the gas of a call is without
// that of its subcalls.
func TestTreeOfCalls(t *testing.T) {
	call := func(depth int, gas int64) fvm.Call {
		return fvm.Call{
			From:    abi.ActorID(gas),
			To:      builtin.SystemActorAddr,
			Value:   big.Zero(),
			Depth:   depth,
			GasUsed: gas,
		}
	}
	got, err := executionTrace(&fvm.Trace{
		Calls:        []fvm.Call{call(0, 100), call(1, 30), call(2, 10), call(2, 5), call(1, 7)},
		Missing:      2,
		MissingBytes: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	var shape func(x api.ExecutionTrace) string
	shape = func(x api.ExecutionTrace) string {
		s := x.Msg.From.String()[1:] + "/" + string(must[[]byte](t)(json.Marshal(x.GasCharges[0].ComputeGas)))
		for _, sub := range x.Subcalls {
			s += " (" + shape(sub) + ")"
		}
		return s
	}
	if s := shape(got); s != "0100/63 (030/15 (010/10) (05/5)) (07/7)" {
		t.Errorf("tree %s", s)
	}
	if len(got.Logs) != 1 || !strings.Contains(got.Logs[0], "2 calls and 3 bytes") || got.Subcalls[0].Logs != nil {
		t.Errorf("logs %q", got.Logs)
	}
	empty, err := executionTrace(nil)
	if err != nil || !empty.Msg.Value.IsZero() || empty.Logs != nil {
		t.Errorf("without calls: %+v, %v", empty, err)
	}
}

// The JSON of a call is that of Lotus, name by name.
func TestCallInJSON(t *testing.T) {
	got, err := executionTrace(&fvm.Trace{Calls: []fvm.Call{{
		From:        100,
		To:          builtin.SystemActorAddr,
		Value:       big.NewInt(3),
		Method:      2,
		Params:      []byte{1},
		ParamsCodec: 0x51,
		GasLimit:    9,
		ReadOnly:    true,
		Return:      []byte{2},
		ReturnCodec: 0x55,
		ExitCode:    16,
		GasUsed:     8,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Msg":{"From":"` + idAddr(t, 100).String() + `","To":"` + builtin.SystemActorAddr.String() +
		`","Value":"3","Method":2,"Params":"AQ==","ParamsCodec":81,"GasLimit":9,"ReadOnly":true},` +
		`"MsgRct":{"ExitCode":16,"Return":"Ag==","ReturnCodec":85},` +
		`"GasCharges":[{"Name":"OwnGas","tg":8,"cg":8,"sg":0,"tt":0}],"Subcalls":null}`
	if raw := must[[]byte](t)(json.Marshal(&got)); string(raw) != want {
		t.Errorf("got\n%s, want\n%s", raw, want)
	}
}
