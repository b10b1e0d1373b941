package fvm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
	"golang.org/x/crypto/blake2b"

	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/state"
)

// maxCallDepth is the deepest nesting of sends (ref-fvm network config).
const maxCallDepth = 1024

// invocation is the outcome of a call that reached an exit code.
type invocation struct {
	code  exitcode.ExitCode
	value *block
}

type accessLevel uint8

const (
	accessRead accessLevel = iota + 1
	accessUpdated
)

type accessUndo struct {
	id  abi.ActorID
	old accessLevel
}

// callManager runs one top-level message.
type callManager struct {
	m          *Machine
	gas        *gas.Tracker
	prices     *gas.Prices
	origin     abi.ActorID
	originAddr address.Address
	nonce      uint64
	premium    abi.TokenAmount
	created    uint64
	depth      int
	events     []Event
	access     map[abi.ActorID]accessLevel
	accessLog  []accessUndo
	backtrace  []string
	trace      *tracer // nil unless calls are recorded
}

// send is one call of an actor.
type send struct {
	from     abi.ActorID
	to       address.Address
	method   abi.MethodNum
	params   *block
	value    abi.TokenAmount
	readOnly bool
	implicit bool // made by the system: neither traced nor in the backtrace
}

func newCallManager(m *Machine, limit int64, origin abi.ActorID, addr address.Address, nonce uint64) *callManager {
	cm := &callManager{
		m:          m,
		gas:        gas.NewTracker(limit),
		prices:     m.prices,
		origin:     origin,
		originAddr: addr,
		nonce:      nonce,
		premium:    big.Zero(),
		access:     make(map[abi.ActorID]accessLevel),
	}
	if m.cfg.Trace {
		cm.trace = new(tracer)
	}
	// Singletons that every message may touch are free of access charges.
	for _, id := range []abi.ActorID{0, 1, 2, 3, 4, 5, 6, 7, 10, 99, origin} {
		cm.access[id] = accessUpdated
	}
	return cm
}

// preread makes the receiver of the message free to read.
func (cm *callManager) preread(id abi.ActorID) {
	if cm.access[id] == 0 {
		cm.access[id] = accessRead
	}
}

func (cm *callManager) transaction(f func() (invocation, error)) (invocation, error) {
	mark, ev, acc := cm.m.tree.Begin(), len(cm.events), len(cm.accessLog)
	res, err := f()
	if err == nil && res.code == 0 {
		cm.m.tree.Commit()
		return res, nil
	}
	cm.m.tree.Revert(mark)
	cm.events = cm.events[:ev]
	for i := len(cm.accessLog) - 1; i >= acc; i-- {
		cm.access[cm.accessLog[i].id] = cm.accessLog[i].old
	}
	cm.accessLog = cm.accessLog[:acc]
	return res, err
}

func (cm *callManager) mark(id abi.ActorID, l accessLevel) {
	if old := cm.access[id]; old < l {
		cm.accessLog = append(cm.accessLog, accessUndo{id, old})
		cm.access[id] = l
	}
}

func (cm *callManager) actor(id abi.ActorID) (*state.Actor, bool, error) {
	if cm.access[id] < accessRead {
		if err := cm.gas.Charge(gas.ActorLookup); err != nil {
			return nil, false, err
		}
	}
	a, ok, err := cm.m.tree.Actor(id)
	cm.mark(id, accessRead)
	return a, ok, err
}

func (cm *callManager) chargeUpdate(id abi.ActorID) error {
	if cm.access[id] < accessRead {
		if err := cm.gas.Charge(gas.ActorLookup); err != nil {
			return err
		}
	}
	if cm.access[id] < accessUpdated {
		if err := cm.gas.Charge(gas.ActorUpdate); err != nil {
			return err
		}
	}
	return nil
}

func (cm *callManager) setActor(id abi.ActorID, a *state.Actor) error {
	if err := cm.chargeUpdate(id); err != nil {
		return err
	}
	cm.mark(id, accessUpdated)
	return cm.m.tree.SetActor(id, a)
}

func (cm *callManager) deleteActor(id abi.ActorID) error {
	if err := cm.chargeUpdate(id); err != nil {
		return err
	}
	cm.mark(id, accessUpdated)
	return cm.m.tree.DeleteActor(id)
}

func (cm *callManager) transfer(from, to abi.ActorID, value abi.TokenAmount) error {
	src, ok, err := cm.actor(from)
	if err != nil {
		return err
	}
	if !ok || src.Balance.LessThan(value) {
		return sysErr(insufficientFunds, "f0%d cannot pay %s attoFIL to f0%d", from, value, to)
	}
	if from == to {
		return nil
	}
	dst, ok, err := cm.actor(to)
	if err != nil {
		return err
	}
	if !ok {
		return sysErr(notFound, "recipient f0%d does not exist", to)
	}
	src.Balance = big.Sub(src.Balance, value)
	dst.Balance = big.Add(dst.Balance, value)
	if err := cm.setActor(from, src); err != nil {
		return err
	}
	return cm.setActor(to, dst)
}

// call is one send: depth, optional gas cap, resolution, transfer, invocation.
func (cm *callManager) call(ctx context.Context, s send, limit *gas.Milli) (invocation, error) {
	if limit != nil {
		cm.gas.Push(*limit)
	}
	res, err := cm.callFramed(ctx, s)
	if limit != nil {
		if perr := cm.gas.Pop(); perr != nil {
			return invocation{}, perr
		}
	}
	if errors.Is(err, gas.ErrOutOfGas) && cm.gas.Available() != 0 {
		return invocation{code: exitcode.SysErrOutOfGas}, nil
	}
	return res, err
}

func (cm *callManager) callFramed(ctx context.Context, s send) (res invocation, err error) {
	if cm.depth >= maxCallDepth {
		return invocation{}, sysErr(limitExceeded, "message execution exceeds call depth %d", maxCallDepth)
	}
	if err := ctx.Err(); err != nil {
		return invocation{}, fmt.Errorf("message stopped: %w", err)
	}
	cm.depth++
	defer func() { cm.depth-- }()
	if cm.trace != nil {
		before := cm.gas.Used()
		cm.trace.begin(s, cm.gas.Available())
		defer func() { cm.trace.end(res, cm.gas.Used()-before, err) }()
	}
	id, err := cm.receiver(ctx, s.to, s.readOnly)
	if err != nil {
		return invocation{}, err
	}
	return cm.callResolved(ctx, id, s)
}

// callResolved is a call to the actor with an id, which s.to is a name of.
func (cm *callManager) callResolved(ctx context.Context, to abi.ActorID, s send) (invocation, error) {
	a, ok, err := cm.actor(to)
	if err != nil {
		return invocation{}, err
	}
	if !ok {
		return invocation{}, sysErr(notFound, "actor f0%d does not exist", to)
	}
	if cm.trace != nil && !s.implicit {
		cm.trace.invoked(to, a)
	}
	if s.value.Sign() != 0 {
		if err := cm.gas.Charge(gas.ValueTransfer); err != nil {
			return invocation{}, err
		}
		if err := cm.transfer(s.from, to, s.value); err != nil {
			return invocation{}, err
		}
	}
	if s.method == 0 {
		return invocation{}, nil
	}
	if err := cm.gas.Charge(cm.prices.Params(s.params.linkCount())); err != nil {
		return invocation{}, err
	}
	return cm.invoke(ctx, a.Code, to, s)
}

// invoke runs an actor's code and charges for what it returns.
func (cm *callManager) invoke(ctx context.Context, code cid.Cid, to abi.ActorID, s send) (invocation, error) {
	k := &kernel{
		cm:       cm,
		from:     s.from,
		to:       to,
		method:   s.method,
		value:    s.value,
		readOnly: s.readOnly,
	}
	if s.params != nil {
		k.insert(s.params)
	}
	res, err := k.run(ctx, code)
	if err != nil {
		return invocation{}, cm.noteFailure(k, s.implicit, exitOf(err), err.Error(), err)
	}
	if res.code != 0 {
		_ = cm.noteFailure(k, s.implicit, res.code, k.exitMessage, nil)
	}
	if res.value != nil {
		charge := cm.prices.Return(res.value.linkCount())
		if cm.depth == 1 {
			charge = cm.prices.ChainReturn(len(res.value.data), res.value.linkCount())
		}
		if err := cm.gas.Charge(charge); err != nil {
			return invocation{}, err
		}
	}
	return res, nil
}

// noteFailure adds a frame to the backtrace: exit reasons do not survive the
// way up otherwise.
func (cm *callManager) noteFailure(k *kernel, implicit bool, code exitcode.ExitCode, msg string, err error) error {
	if implicit {
		return err
	}
	if k.lastError != "" {
		msg += " (last failed system call: " + k.lastError + ")"
	}
	cm.backtrace = append(cm.backtrace, fmt.Sprintf("f0%d method %d: exit %d: %s", k.to, k.method, code, msg))
	if n := len(cm.backtrace); n > maxFrames {
		cm.backtrace = cm.backtrace[n-maxFrames:]
	}
	return err
}

const maxFrames = 32

func (cm *callManager) backtraceText() string { return strings.Join(cm.backtrace, "\n") }

// eventsRoot stores the AMT of the message's events in the machine buffer.
func (cm *callManager) eventsRoot(ctx context.Context) (*cid.Cid, error) {
	if len(cm.events) == 0 {
		return nil, nil
	}
	vals := make([]cbg.CBORMarshaler, len(cm.events))
	for i := range cm.events {
		vals[i] = &cm.events[i]
	}
	return storeEvents(ctx, cm.m.buf.IpldStore(), vals)
}

func blake256(b []byte) [32]byte { return blake2b.Sum256(b) }
