package devnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	cbg "github.com/whyrusleeping/cbor-gen"

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

func encodeParams(v cbg.CBORMarshaler) ([]byte, error) {
	var buf bytes.Buffer
	if err := v.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return buf.Bytes(), nil
}

// sender reads an account from the state after the head.
func (n *Node) sender(ctx context.Context, a address.Address) (sender, error) {
	v, err := n.headView(ctx)
	if err != nil {
		return sender{}, err
	}
	act, err := v.actor(ctx, a)
	if err != nil {
		return sender{}, err
	}
	key, err := v.accountKey(ctx, a)
	if err != nil {
		return sender{}, err
	}
	return sender{key: key, nonce: act.CallSeqNum, balance: act.Balance}, nil
}

func (n *Node) pushLock(key address.Address) *sync.Mutex {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pushLocks[key] == nil {
		n.pushLocks[key] = new(sync.Mutex)
	}
	return n.pushLocks[key]
}

// MpoolPushMessage implements api.Chain.
func (n *Node) MpoolPushMessage(ctx context.Context, msg *api.Message, spec *api.MessageSendSpec) (*api.SignedMessage, error) {
	if err := complete(msg); err != nil {
		return nil, err
	}
	id := uuid.Nil
	if spec != nil {
		id = spec.MsgUuid
	}
	if msg.Nonce != 0 {
		return nil, &api.ErrInvalid{What: "message", Reason: fmt.Sprintf("MpoolPushMessage expects message nonce to be 0, was %d", msg.Nonce)}
	}
	from, err := n.sender(ctx, msg.From)
	if err != nil {
		return nil, fmt.Errorf("mpool push: %w", err)
	}
	lock := n.pushLock(from.key)
	lock.Lock()
	defer lock.Unlock()
	if known, err := n.byUUID(ctx, id); known != nil || err != nil {
		return known, err
	}
	m := *msg
	m.From = from.key
	fillBigs(&m)
	est, err := n.GasEstimateMessageGas(ctx, &m, spec, nil)
	if err != nil {
		return nil, fmt.Errorf("GasEstimateMessageGas error: %w", err)
	}
	if from, err = n.sender(ctx, from.key); err != nil {
		return nil, err
	}
	if need := big.Add(est.Value, big.Mul(est.GasFeeCap, big.NewInt(est.GasLimit))); from.balance.LessThan(need) {
		return nil, fmt.Errorf("mpool push: not enough funds: %s < %s", from.balance, need)
	}
	est.Nonce = n.pool.nextNonce(from.key, from.nonce)
	s, err := n.wallet.SignMessage(ctx, from.key, est)
	if err != nil {
		return nil, err
	}
	if id != uuid.Nil {
		raw, err := s.Serialize()
		if err != nil {
			return nil, err
		}
		if err := putRecords(ctx, n.ds, map[string][]byte{recUUID + id.String(): raw}); err != nil {
			return nil, err
		}
	}
	return s, n.pool.add(ctx, s, from)
}

// byUUID finds what an earlier push of the same id signed, and makes sure that
// it is in the pool or on chain: a crash may have come between.
func (n *Node) byUUID(ctx context.Context, id uuid.UUID) (*api.SignedMessage, error) {
	if id == uuid.Nil {
		return nil, nil
	}
	raw, err := n.ds.Get(ctx, datastore.RawKey(recUUID+id.String()))
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up push %s: %w", id, err)
	}
	s, err := api.DecodeSignedMessage(raw)
	if err != nil {
		return nil, err
	}
	from, err := n.sender(ctx, s.Message.From)
	if err != nil {
		return nil, err
	}
	if s.Message.Nonce >= from.nonce {
		if err := n.pool.add(ctx, s, from); err != nil {
			return nil, err
		}
		return s, nil
	}
	if loc, err := n.locate(ctx, s.Cid()); err != nil || loc != nil {
		return s, err
	}
	// The nonce went to another message before this one reached the pool.
	return nil, nil
}

func fillBigs(m *api.Message) {
	for _, b := range []*abi.TokenAmount{&m.Value, &m.GasFeeCap, &m.GasPremium} {
		if b.Int == nil {
			*b = big.Zero()
		}
	}
}

// MpoolPush implements api.Chain.
func (n *Node) MpoolPush(ctx context.Context, s *api.SignedMessage) (cid.Cid, error) {
	if s == nil {
		return cid.Undef, &api.ErrInvalid{What: "message", Reason: "none given"}
	}
	from, err := n.sender(ctx, s.Message.From)
	if err != nil {
		return cid.Undef, err
	}
	if err := n.pool.add(ctx, s, from); err != nil {
		return cid.Undef, err
	}
	return s.Cid(), nil
}

// MpoolGetNonce implements api.Chain.
func (n *Node) MpoolGetNonce(ctx context.Context, a address.Address) (uint64, error) {
	from, err := n.sender(ctx, a)
	if err != nil {
		return 0, err
	}
	return n.pool.nextNonce(from.key, from.nonce), nil
}

// MpoolPending implements api.Chain.
func (n *Node) MpoolPending(context.Context, api.TipSetKey) ([]*api.SignedMessage, error) {
	return n.pool.all(), nil
}

// MpoolSelect implements api.Chain.
func (n *Node) MpoolSelect(ctx context.Context, tsk api.TipSetKey, _ float64) ([]*api.SignedMessage, error) {
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return nil, err
	}
	o, err := n.exec.after(ctx, ts)
	if err != nil {
		return nil, err
	}
	fee, err := n.baseFee(ctx, ts)
	if err != nil {
		return nil, err
	}
	out, err := n.selectMessages(ctx, o.State, fee)
	if out == nil {
		out = []*api.SignedMessage{}
	}
	return out, err
}

// GasEstimateMessageGas implements api.Chain.
func (n *Node) GasEstimateMessageGas(ctx context.Context, msg *api.Message, spec *api.MessageSendSpec, tsk api.TipSetKey) (*api.Message, error) {
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

// GasEstimateGasLimit implements api.Chain.
func (n *Node) GasEstimateGasLimit(ctx context.Context, msg *api.Message, tsk api.TipSetKey) (int64, error) {
	if err := complete(msg); err != nil {
		return 0, err
	}
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return 0, err
	}
	o, err := n.exec.after(ctx, ts)
	if err != nil {
		return 0, err
	}
	m := *msg
	fillBigs(&m)
	// On the head, null rounds since then count: the message will run in the open
	// epoch, perhaps in another deadline.
	root, epoch := o.State, ts.Height+1
	if ts.Equal(n.ledger.Head()) {
		epoch = max(epoch, n.Epoch()+1)
		if root, err = n.exec.advanceNulls(ctx, ts, epoch-1); err != nil {
			return 0, err
		}
	}
	mach, err := n.exec.machine(ctx, root, ts, epoch, big.Zero(), false)
	if err != nil {
		return 0, err
	}
	v, err := n.ledger.view(ctx, root)
	if err != nil {
		return 0, err
	}
	act, err := v.actor(ctx, m.From)
	if err != nil {
		return 0, err
	}
	key, err := v.accountKey(ctx, m.From)
	if err != nil {
		return 0, err
	}
	nonce := act.CallSeqNum
	for _, p := range n.pool.of(key, nonce) {
		pm := p.Message
		pm.GasFeeCap, pm.GasPremium = big.Zero(), big.Zero()
		if _, err := mach.Apply(ctx, &pm, p.ChainLength()); err != nil {
			return 0, fmt.Errorf("apply pending message %s: %w", p.Cid(), err)
		}
		nonce++
	}
	m.Nonce, m.GasLimit, m.GasFeeCap, m.GasPremium = nonce, blockGasLimit, big.Zero(), big.Zero()
	length := m.ChainLength()
	if key.Protocol() == address.SECP256K1 {
		length += 69
	}
	res, err := mach.Apply(ctx, &m, length)
	if err != nil {
		return 0, fmt.Errorf("estimate gas: %w", err)
	}
	if res.ExitCode != 0 {
		return 0, fmt.Errorf("message execution failed (exit=[%s(%d)], vm error=[%s])", res.ExitCode, res.ExitCode, res.Backtrace)
	}
	return res.GasUsed, nil
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
func (n *Node) GasEstimateGasPremium(_ context.Context, nblocksincl uint64, _ address.Address, _ int64, _ api.TipSetKey) (abi.TokenAmount, error) {
	switch nblocksincl {
	case 0, 1:
		return big.NewInt(2 * minGasPremium), nil
	case 2:
		return big.NewInt(3 * minGasPremium / 2), nil
	}
	return big.NewInt(minGasPremium), nil
}

// MarketAddBalance implements api.Chain.
func (n *Node) MarketAddBalance(ctx context.Context, wallet, addr address.Address, amt abi.TokenAmount) (cid.Cid, error) {
	params, err := encodeParams(&addr)
	if err != nil {
		return cid.Undef, err
	}
	s, err := n.MpoolPushMessage(ctx, &api.Message{To: builtin.StorageMarketActorAddr, From: wallet, Value: amt,
		Method: builtin.MethodsMarket.AddBalance, Params: params}, nil)
	if err != nil {
		return cid.Undef, err
	}
	return s.Cid(), nil
}

// StateCall implements api.Chain.
func (n *Node) StateCall(ctx context.Context, msg *api.Message, tsk api.TipSetKey) (*api.InvocResult, error) {
	if err := complete(msg); err != nil {
		return nil, err
	}
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return nil, err
	}
	m := *msg
	fillBigs(&m)
	if m.GasLimit == 0 {
		m.GasLimit = blockGasLimit
	}
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

func invocResult(m *api.Message, res *fvm.Result) (*api.InvocResult, error) {
	trace, err := json.Marshal(res.Trace)
	if err != nil {
		return nil, err
	}
	z := big.Zero()
	return &api.InvocResult{MsgCid: m.Cid(), Msg: m, MsgRct: &api.MessageReceipt{ExitCode: res.ExitCode, Return: res.Return, GasUsed: res.GasUsed, EventsRoot: res.EventsRoot},
		GasCost:        api.MsgGasCost{GasUsed: z, BaseFeeBurn: z, OverEstimationBurn: z, MinerPenalty: z, MinerTip: z, Refund: z, TotalCost: z},
		ExecutionTrace: trace, Error: res.Backtrace, Duration: int64(res.Duration)}, nil
}
