package msgs

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

func (m *model) ChainHead(context.Context) (*api.TipSet, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.called("ChainHead")
	return m.head().ts, nil
}

// at finds a tipset; it need not be of this branch.
func (m *model) at(k api.TipSetKey) (*modelTipset, error) {
	if len(k) == 0 {
		return m.head(), nil
	}
	for i := len(m.chain) - 1; i >= 0; i-- {
		if t := m.chain[i]; t.ts.Cids[0] == k[0] {
			return t, nil
		}
	}
	return nil, errors.New("the tipset was reverted")
}

func (m *model) ChainGetTipSetByHeight(_ context.Context, h abi.ChainEpoch, k api.TipSetKey) (*api.TipSet, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.at(k)
	if err != nil {
		return nil, err
	}
	if h > t.ts.Height || h < 0 {
		return nil, fmt.Errorf("looking for tipset with height greater than start point: %d > %d", h, t.ts.Height)
	}
	return m.chain[h].ts, nil
}

func (m *model) ChainGetMessagesInTipset(_ context.Context, k api.TipSetKey) ([]api.CidMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.called("ChainGetMessagesInTipset")
	t, err := m.at(k)
	if err != nil {
		return nil, err
	}
	var out []api.CidMessage
	for _, s := range t.msgs {
		out = append(out, api.CidMessage{Cid: s.Cid(), Message: &s.Message})
	}
	return out, nil
}

func (m *model) StateGetActor(_ context.Context, a address.Address, k api.TipSetKey) (*api.Actor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.at(k)
	if err != nil {
		return nil, err
	}
	return &api.Actor{Nonce: t.next[m.keys[a]]}, nil
}

func (m *model) StateAccountKey(_ context.Context, a address.Address, _ api.TipSetKey) (address.Address, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys[a], nil
}

func (m *model) StateSearchMsg(
	_ context.Context, k api.TipSetKey, c cid.Cid, lookback abi.ChainEpoch, allowReplaced bool,
) (*api.MsgLookup, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.called("StateSearchMsg")
	if lookback != -1 || !allowReplaced {
		return nil, errors.New("wrong question asked")
	}
	if m.searchErr != nil {
		return nil, m.searchErr
	}
	if len(k) > 0 && !m.head().ts.Key().Equal(k) {
		return nil, errors.New("the tipset was reverted")
	}
	return m.search(c)
}

func (m *model) search(c cid.Cid) (*api.MsgLookup, error) {
	want := m.known[c]
	if want == nil {
		return nil, errors.New("failed to load message: ipld: could not find " + c.String())
	}
	t := m.spent[nonceOf{want.Message.From, want.Message.Nonce}]
	if t == nil || t == m.head() {
		return nil, nil
	}
	for _, s := range t.msgs {
		if s.Message.From != want.Message.From || s.Message.Nonce != want.Message.Nonce {
			continue
		}
		if s.Cid() != c && !s.Message.EqualCall(&want.Message) {
			return nil, errors.New("found message with equal nonce as the one we are looking for that is NOT a valid replacement message")
		}
		return &api.MsgLookup{Message: s.Cid(), Height: t.ts.Height + 1, TipSet: m.chain[t.ts.Height+1].ts.Key()}, nil
	}
	return nil, nil
}

func (m *model) StateWaitMsg(
	ctx context.Context, c cid.Cid, conf uint64, lookback abi.ChainEpoch, allowReplaced bool,
) (*api.MsgLookup, error) {
	for {
		m.mu.Lock()
		m.called("StateWaitMsg")
		l, err := m.search(c)
		height, changed := m.head().ts.Height, m.changed
		m.mu.Unlock()
		if err != nil || lookback != -1 || !allowReplaced {
			return nil, err
		}
		if l != nil && height >= l.Height+abi.ChainEpoch(conf) { // small
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

func (m *model) GasEstimateMessageGas(
	_ context.Context, msg *api.Message, spec *api.MessageSendSpec, _ api.TipSetKey,
) (*api.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.called("GasEstimateMessageGas")
	return m.estimate(msg, spec), nil
}

func (m *model) estimate(msg *api.Message, spec *api.MessageSendSpec) *api.Message {
	e := *msg
	if e.GasLimit == 0 {
		e.GasLimit = m.limit
	}
	e.GasPremium = big.NewInt(m.premium)
	e.GasFeeCap = big.NewInt(2*m.baseFee + m.premium)
	if spec.MaxFee.Int != nil && spec.MaxFee.Sign() > 0 {
		e.GasFeeCap = big.Min(e.GasFeeCap, big.Div(spec.MaxFee, big.NewInt(e.GasLimit)))
		e.GasPremium = big.Min(e.GasPremium, e.GasFeeCap)
	}
	return &e
}

func (m *model) MpoolPushMessage(_ context.Context, msg *api.Message, spec *api.MessageSendSpec) (*api.SignedMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.called("MpoolPushMessage")
	if msg.Nonce != 0 || spec.MsgUuid == uuid.Nil {
		return nil, errors.New("MpoolPushMessage expects message nonce to be 0 and an id")
	}
	var before, after error
	if m.pushFault != nil {
		before, after = m.pushFault(msg)
	}
	if before != nil {
		return nil, before
	}
	if s := m.uuids[spec.MsgUuid]; s != nil {
		return s, after
	}
	e := m.estimate(msg, spec)
	if big.Add(e.Value, big.Mul(e.GasFeeCap, big.NewInt(e.GasLimit))).GreaterThan(big.NewInt(m.funds)) {
		return nil, errors.New("mpool push: not enough funds: 0 < 1")
	}
	e.From = m.keys[msg.From]
	e.Nonce = m.after(e.From)
	for m.pool[e.From][e.Nonce] != nil {
		e.Nonce++
	}
	s := m.place(e)
	m.uuids[spec.MsgUuid] = s
	if after != nil {
		return nil, after
	}
	return s, nil
}

func (m *model) MpoolPush(_ context.Context, s *api.SignedMessage) (cid.Cid, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.called("MpoolPush")
	if len(s.Signature.Data) == 0 {
		return cid.Undef, errors.New("bad signature")
	}
	if s.Message.Nonce < m.after(s.Message.From) {
		return cid.Undef, errors.New("message nonce too low")
	}
	if old := m.pool[s.Message.From][s.Message.Nonce]; old != nil {
		if old.Cid() == s.Cid() {
			return cid.Undef, errors.New("message with nonce already exists")
		}
		least := big.Add(big.Div(big.Mul(old.Message.GasPremium, big.NewInt(125)), big.NewInt(100)), big.NewInt(1))
		if s.Message.GasPremium.LessThan(least) {
			return cid.Undef, errors.New("replace by fee has too low GasPremium")
		}
	}
	if big.Mul(s.Message.GasFeeCap, big.NewInt(s.Message.GasLimit)).GreaterThan(big.NewInt(m.funds)) {
		return cid.Undef, errors.New("not enough funds to execute transaction")
	}
	m.place(&s.Message)
	return s.Cid(), nil
}

func (m *model) MpoolPending(context.Context, api.TipSetKey) ([]*api.SignedMessage, error) {
	out := m.pending()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.called("MpoolPending")
	return out, nil
}

func (m *model) WalletSignMessage(_ context.Context, a address.Address, msg *api.Message) (*api.SignedMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.called("WalletSignMessage")
	if a != msg.From || m.keys[a] != a {
		return nil, fmt.Errorf("no key for %s", a)
	}
	return sign(msg), nil
}
