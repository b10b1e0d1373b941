package fvm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"

	"quarry/api"
	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/links"
	"quarry/chain/fvm/state"
)

// rewardActor is f02, which collects tips during a tipset.
const rewardActor abi.ActorID = 2

// Apply executes a message from a block. chainLen is its length on chain in
// bytes: of the message for BLS senders, of the signed message for others.
// Failures of the message are in the result; an error is a host failure, after
// which the block must not be committed.
func (m *Machine) Apply(ctx context.Context, msg *api.Message, chainLen int) (*Result, error) {
	start := time.Now()
	if err := checkMessage(msg); err != nil {
		return nil, err
	}
	inclusion := gas.Inclusion(chainLen)
	if n := int64((inclusion + 999) / 1000); n > msg.GasLimit {
		return refused(exitcode.SysErrOutOfGas, big.Mul(m.cfg.BaseFee, big.NewInt(n)),
			fmt.Sprintf("gas limit %d is below the %d that carrying the message costs", msg.GasLimit, n)), nil
	}
	id, refusal, err := m.charge(ctx, msg)
	if err != nil {
		return nil, failed(msg, err)
	}
	if refusal != nil {
		return refusal, nil
	}
	cm := newCallManager(m, msg.GasLimit, id, msg.From, msg.Nonce)
	if tip := big.Sub(msg.GasFeeCap, m.cfg.BaseFee); tip.Sign() > 0 {
		cm.premium = big.Min(msg.GasPremium, tip)
	}
	if err := cm.gas.Charge(inclusion); err != nil {
		return nil, failed(msg, err)
	}
	res, err := m.execute(ctx, cm, id, msg)
	if err != nil {
		return nil, err
	}
	res.Outputs = gas.ComputeOutputs(res.GasUsed, msg.GasLimit, m.cfg.BaseFee, msg.GasFeeCap, msg.GasPremium)
	if err := m.settle(id, &res.Outputs); err != nil {
		return nil, failed(msg, err)
	}
	res.Duration = time.Since(start)
	return res, nil
}

// ApplyImplicit executes a message that the protocol itself sends (reward,
// cron, genesis), or a query: no nonce, balance or sender checks and no fees.
// A gas limit of 0 means the limit of cron, 10^14.
func (m *Machine) ApplyImplicit(ctx context.Context, msg *api.Message) (*Result, error) {
	start := time.Now()
	id, ok, err := m.tree.LookupID(ctx, msg.From)
	if err != nil {
		return nil, failed(msg, err)
	}
	if !ok {
		return refused(exitcode.SysErrSenderInvalid, big.Zero(), fmt.Sprintf("sender %s does not exist", msg.From)), nil
	}
	limit := msg.GasLimit
	if limit <= 0 {
		limit = 1e14
	}
	res, err := m.execute(ctx, newCallManager(m, limit, id, msg.From, msg.Nonce), id, msg)
	if err != nil {
		return nil, err
	}
	res.Outputs = gas.ZeroOutputs()
	res.Duration = time.Since(start)
	return res, nil
}

func failed(msg *api.Message, err error) error {
	return fmt.Errorf("execute message %s nonce %d to %s method %d: %w", msg.From, msg.Nonce, msg.To, msg.Method, err)
}

func checkMessage(msg *api.Message) error {
	switch {
	case msg.GasLimit <= 0:
		return fmt.Errorf("message from %s has gas limit %d: want a positive one", msg.From, msg.GasLimit)
	case msg.GasFeeCap.Int == nil || msg.GasPremium.Int == nil || msg.Value.Int == nil:
		return fmt.Errorf("message from %s lacks value or fees", msg.From)
	case msg.GasFeeCap.Sign() < 0 || msg.GasPremium.Sign() < 0 || msg.Value.Sign() < 0:
		return fmt.Errorf("message from %s has a negative value or fee", msg.From)
	}
	return nil
}

// refused is the result of a message that may not be in a block: no state
// change, no gas, a penalty for the block producer.
func refused(code exitcode.ExitCode, penalty abi.TokenAmount, why string) *Result {
	out := gas.ZeroOutputs()
	out.MinerPenalty = penalty
	return &Result{ExitCode: code, Outputs: out, Backtrace: why}
}

// charge checks the sender and takes nonce and the most the message can cost.
func (m *Machine) charge(ctx context.Context, msg *api.Message) (abi.ActorID, *Result, error) {
	penalty := big.Mul(m.cfg.BaseFee, big.NewInt(msg.GasLimit))
	id, ok, err := m.tree.LookupID(ctx, msg.From)
	if err != nil {
		return 0, nil, err
	}
	var a *state.Actor
	if ok {
		if a, ok, err = m.tree.Actor(id); err != nil {
			return 0, nil, err
		}
	}
	if !ok {
		return 0, refused(exitcode.SysErrSenderInvalid, penalty, fmt.Sprintf("sender %s does not exist", msg.From)), nil
	}
	if !m.maySend(a) {
		return 0, refused(exitcode.SysErrSenderInvalid, penalty, fmt.Sprintf("sender %s is not an account", msg.From)), nil
	}
	if a.CallSeqNum != msg.Nonce {
		return 0, refused(exitcode.SysErrSenderStateInvalid, penalty,
			fmt.Sprintf("nonce %d of %s should be %d", msg.Nonce, msg.From, a.CallSeqNum)), nil
	}
	cost := big.Mul(msg.GasFeeCap, big.NewInt(msg.GasLimit))
	if a.Balance.LessThan(cost) {
		return 0, refused(exitcode.SysErrSenderStateInvalid, penalty,
			fmt.Sprintf("balance %s of %s does not cover gas of %s", a.Balance, msg.From, cost)), nil
	}
	if a.Code.Equals(m.actors.code["placeholder"]) {
		a.Code = m.actors.code["ethaccount"]
	}
	a.CallSeqNum++
	a.Balance = big.Sub(a.Balance, cost)
	return id, nil, m.tree.SetActor(id, a)
}

func (m *Machine) maySend(a *state.Actor) bool {
	switch m.actors.number[a.Code] {
	case m.actors.number[m.actors.code["account"]], m.actors.number[m.actors.code["ethaccount"]]:
		return m.actors.number[a.Code] != 0
	case m.actors.number[m.actors.code["placeholder"]]:
		d := a.DelegatedAddress
		return m.actors.number[a.Code] != 0 && d != nil && a.CallSeqNum == 0 &&
			d.Protocol() == address.Delegated && delegatedNamespace(*d) == eamNamespace
	}
	return false
}

func (m *Machine) execute(ctx context.Context, cm *callManager, from abi.ActorID, msg *api.Message) (*Result, error) {
	if to, ok, err := m.tree.LookupID(ctx, msg.To); err != nil {
		return nil, failed(msg, err)
	} else if ok {
		cm.preread(to)
	}
	var params *block
	if len(msg.Params) > 0 {
		// Not DAG-CBOR: links sent from outside are not reachable.
		params = &block{codec: links.CBOR, data: msg.Params}
		if msg.Method == 0 {
			params.codec = links.Raw
		}
	}
	value := msg.Value
	if value.Int == nil {
		value = big.Zero()
	}
	inv, err := cm.transaction(func() (invocation, error) {
		return cm.call(ctx, send{
			from:   from,
			to:     msg.To,
			method: msg.Method,
			params: params,
			value:  value,
		}, nil)
	})
	var se *syscallError
	res := &Result{ExitCode: inv.code, GasUsed: cm.gas.GasUsed(), Events: cm.events}
	if cm.trace != nil {
		res.Trace = &cm.trace.Trace
	}
	switch {
	case err == nil:
		res.Return = inv.value.bytes()
	case errors.Is(err, gas.ErrOutOfGas):
		res.ExitCode = exitcode.SysErrOutOfGas
	case errors.As(err, &se):
		res.ExitCode = exitOf(err)
		cm.backtrace = append(cm.backtrace, err.Error())
	default:
		return nil, failed(msg, err)
	}
	if res.ExitCode != 0 {
		res.Backtrace = cm.backtraceText()
	}
	if res.EventsRoot, err = cm.eventsRoot(ctx); err != nil {
		return nil, failed(msg, err)
	}
	if res.EventsRoot != nil {
		m.events = append(m.events, *res.EventsRoot)
	}
	return res, nil
}

// settle credits burn, tip and refund.
func (m *Machine) settle(sender abi.ActorID, out *gas.Outputs) error {
	for _, c := range []struct {
		to     abi.ActorID
		amount abi.TokenAmount
	}{{burntFunds, big.Add(out.BaseFeeBurn, out.OverEstimationBurn)}, {rewardActor, out.MinerTip}, {sender, out.Refund}} {
		if c.amount.Sign() == 0 {
			continue
		}
		a, ok, err := m.tree.Actor(c.to)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("f0%d, which receives gas fees, does not exist", c.to)
		}
		a.Balance = big.Add(a.Balance, c.amount)
		if err := m.tree.SetActor(c.to, a); err != nil {
			return err
		}
	}
	return nil
}
