package devnet

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/chain/fvm"
)

// Gas estimation constants (lotus node/impl/gasutils, chain/messagepool).
const (
	overestimatePct  = 125
	minGasPremium    = 100_000
	defaultMaxFeeFIL = 70_000_000_000_000_000 // 0.07 FIL
	feeCapQueue      = 20
)

// GasEstimateMessageGas implements api.Chain.
func (n *Node) GasEstimateMessageGas(
	ctx context.Context, msg *api.Message, spec *api.MessageSendSpec, tsk api.TipSetKey,
) (*api.Message, error) {
	if err := complete(msg); err != nil {
		return nil, err
	}
	m := *msg
	fillBigs(&m)
	var err error
	if m.GasLimit == 0 {
		if m.GasLimit, err = n.GasEstimateGasLimit(ctx, &m, tsk); err != nil {
			return nil, err
		}
		m.GasLimit = min(m.GasLimit*overestimatePct/100, blockGasLimit)
	}
	if m.GasPremium.IsZero() {
		if m.GasPremium, err = n.GasEstimateGasPremium(ctx, 10, m.From, m.GasLimit, tsk); err != nil {
			return nil, err
		}
	}
	if m.GasFeeCap.IsZero() {
		if m.GasFeeCap, err = n.GasEstimateFeeCap(ctx, &m, feeCapQueue, tsk); err != nil {
			return nil, err
		}
	}
	capFee(&m, spec)
	return &m, nil
}

// capFee keeps the whole cost of gas under the allowed maximum.
func capFee(m *api.Message, spec *api.MessageSendSpec) {
	maxFee, maximize := big.NewInt(defaultMaxFeeFIL), false
	if spec != nil {
		maximize = spec.MaximizeFeeCap
		if spec.MaxFee.Int != nil && spec.MaxFee.Sign() > 0 {
			maxFee = spec.MaxFee
		}
	}
	limit := big.NewInt(m.GasLimit)
	if maximize || big.Mul(m.GasFeeCap, limit).GreaterThan(maxFee) {
		m.GasFeeCap = big.Div(maxFee, limit)
		m.GasPremium = big.Min(m.GasPremium, m.GasFeeCap)
	}
}

// GasEstimateGasLimit implements api.Chain. On the head the message is tried in
// the open epoch, where the next block will most likely run it, and if it fails
// there right after the head: a block for an earlier round may still come.
func (n *Node) GasEstimateGasLimit(ctx context.Context, msg *api.Message, tsk api.TipSetKey) (int64, error) {
	if err := complete(msg); err != nil {
		return 0, err
	}
	used, late, err := n.gasIn(ctx, msg, tsk, n.openEpoch)
	if err == nil || !late {
		return used, err
	}
	if soon, _, serr := n.gasIn(ctx, msg, tsk, nextEpoch); serr == nil {
		return soon, nil
	}
	return 0, err
}

// openEpoch is the epoch that the next block on a tipset will most likely have.
func (n *Node) openEpoch(ts *api.TipSet) abi.ChainEpoch {
	if ts.Equal(n.ledger.Head()) {
		return max(nextEpoch(ts), n.Epoch()+1)
	}
	return nextEpoch(ts)
}

// nextEpoch is the first epoch that a block on a tipset may have.
func nextEpoch(ts *api.TipSet) abi.ChainEpoch { return ts.Height + 1 }

// gasIn is what a message uses in an epoch on top of a tipset; late says that
// null rounds lie between the two.
func (n *Node) gasIn(
	ctx context.Context, msg *api.Message, tsk api.TipSetKey, in func(*api.TipSet) abi.ChainEpoch,
) (used int64, late bool, err error) {
	m := *msg
	fillBigs(&m)
	t, err := n.trialAfterPending(ctx, m.From, tsk, in)
	if err != nil {
		return 0, false, err
	}
	nonce := t.nonce
	for _, p := range t.pending {
		pm := p.Message
		pm.GasFeeCap, pm.GasPremium = big.Zero(), big.Zero()
		if _, err := t.mach.Apply(ctx, &pm, p.ChainLength()); err != nil {
			return 0, t.late, fmt.Errorf("apply pending message %s: %w", p.Cid(), err)
		}
		nonce++
	}
	m.Nonce, m.GasLimit = nonce, blockGasLimit
	m.GasFeeCap, m.GasPremium = big.Zero(), big.Zero()
	length := m.ChainLength()
	if t.key.Protocol() == address.SECP256K1 {
		length += 69
	}
	res, err := t.mach.Apply(ctx, &m, length)
	if err != nil {
		return 0, t.late, fmt.Errorf("estimate gas: %w", err)
	}
	if res.ExitCode != 0 {
		return 0, t.late, fmt.Errorf("message execution failed (exit=[%s(%d)], vm error=[%s])", res.ExitCode, res.ExitCode, res.Backtrace)
	}
	return res.GasUsed, t.late, nil
}

// trialRun is a machine as a message in an epoch on top of a tipset will find it,
// with what the sender has pending there, from its next nonce on.
type trialRun struct {
	mach    *fvm.Machine
	key     address.Address
	pending []*api.SignedMessage
	nonce   uint64
	late    bool // null rounds come before
}

// trialAfterPending opens one. State and pool are of one moment.
func (n *Node) trialAfterPending(
	ctx context.Context, from address.Address, tsk api.TipSetKey, in func(*api.TipSet) abi.ChainEpoch,
) (t trialRun, err error) {
	n.headAndPool.RLock()
	defer n.headAndPool.RUnlock()
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return t, err
	}
	epoch := in(ts)
	mach, root, err := n.trial(ctx, ts, epoch)
	if err != nil {
		return t, err
	}
	v, err := n.ledger.view(ctx, root)
	if err != nil {
		return t, err
	}
	act, err := v.actor(ctx, from)
	if err != nil {
		return t, err
	}
	key, err := v.accountKey(ctx, from)
	if err != nil {
		return t, err
	}
	return trialRun{
		mach:    mach,
		key:     key,
		pending: n.pool.of(key, act.CallSeqNum),
		nonce:   act.CallSeqNum,
		late:    epoch > nextEpoch(ts),
	}, nil
}

// trial opens a machine as a message in an epoch on top of a tipset will find it,
// null rounds in between included, and names the state it starts from.
func (n *Node) trial(ctx context.Context, ts *api.TipSet, epoch abi.ChainEpoch) (*fvm.Machine, cid.Cid, error) {
	o, err := n.exec.after(ctx, ts)
	if err != nil {
		return nil, cid.Undef, err
	}
	root := o.State
	if epoch > ts.Height+1 {
		if root, err = n.exec.advanceNulls(ctx, ts, epoch-1); err != nil {
			return nil, cid.Undef, err
		}
	}
	mach, err := n.exec.machine(ctx, root, ts, epoch, big.Zero(), false)
	return mach, root, err
}

// GasEstimateFeeCap implements api.Chain: room for twenty full blocks.
func (n *Node) GasEstimateFeeCap(ctx context.Context, msg *api.Message, maxqueueblks int64, tsk api.TipSetKey) (abi.TokenAmount, error) {
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return big.Zero(), err
	}
	fee := ts.Blocks[0].ParentBaseFee
	for range min(max(maxqueueblks, 0), 100) {
		fee = big.Add(fee, big.Div(fee, big.NewInt(baseFeeDenominator)))
	}
	if msg != nil && msg.GasPremium.Int != nil {
		fee = big.Add(fee, msg.GasPremium)
	}
	return fee, nil
}

// GasEstimateGasPremium implements api.Chain. Blocks are never full here, so
// that the floor is enough.
func (n *Node) GasEstimateGasPremium(
	_ context.Context, nblocksincl uint64, _ address.Address, _ int64, _ api.TipSetKey,
) (abi.TokenAmount, error) {
	switch nblocksincl {
	case 0, 1:
		return big.NewInt(2 * minGasPremium), nil
	case 2:
		return big.NewInt(3 * minGasPremium / 2), nil
	}
	return big.NewInt(minGasPremium), nil
}
