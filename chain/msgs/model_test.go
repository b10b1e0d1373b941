package msgs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// model is a full node with one chain: blocks, reorganisations, a pool that can
// be lost, ids that can be forgotten. It keeps the rules of Lotus: a state is the
// one before its tipset's messages, nonces are given under one lock, the pool
// replaces by fee.
type model struct {
	mu      sync.Mutex
	changed chan struct{}
	chain   []*modelTipset // by height, none missing
	branch  int64
	keys    map[address.Address]address.Address // ID address to key
	pool    map[address.Address]map[uint64]*api.SignedMessage
	uuids   map[api.UUID]*api.SignedMessage
	known   map[cid.Cid]*api.SignedMessage // what the node can load
	spent   map[nonceOf]*modelTipset       // which tipset has a nonce
	baseFee int64
	premium int64
	funds   int64 // of every sender, attoFIL
	limit   int64 // gas of every message
	highest abi.ChainEpoch

	pushFault func(m *api.Message) (before, after error) // of MpoolPushMessage
	searchErr error
	calls     map[string]int
}

type nonceOf struct {
	from  address.Address
	nonce uint64
}

type modelTipset struct {
	ts   *api.TipSet
	msgs []*api.SignedMessage
	next map[address.Address]uint64 // before its messages
}

func newModel() *model {
	m := &model{changed: make(chan struct{}), keys: map[address.Address]address.Address{}, pool: map[address.Address]map[uint64]*api.SignedMessage{},
		uuids: map[api.UUID]*api.SignedMessage{}, known: map[cid.Cid]*api.SignedMessage{}, spent: map[nonceOf]*modelTipset{}, baseFee: 100, premium: 1000, limit: 1000,
		funds: 1 << 60, calls: map[string]int{}}
	m.grow(nil)
	return m
}

func (m *model) called(name string) { m.calls[name]++ }

func (m *model) count(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[name]
}

// signer makes an ID address and its key.
func (m *model) signer(n uint64) address.Address {
	id, _ := address.NewIDAddress(n)
	raw := make([]byte, 48)
	copy(raw, fmt.Sprintf("key of %d", n))
	key, err := address.NewBLSAddress(raw)
	if err != nil {
		panic(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys[id], m.keys[key] = key, key
	return id
}

func (m *model) key(a address.Address) address.Address {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys[a]
}

// grow appends a tipset; the caller holds mu, or owns m.
func (m *model) grow(msgs []*api.SignedMessage) {
	m.branch++
	next := map[address.Address]uint64{}
	if n := len(m.chain); n > 0 {
		last := m.chain[n-1]
		for k, v := range last.next {
			next[k] = v
		}
		for _, s := range last.msgs {
			next[s.Message.From] = s.Message.Nonce + 1
		}
	}
	c, _ := abi.CidBuilder.Sum(fmt.Append(nil, m.branch))
	ts := &api.TipSet{Cids: []cid.Cid{c}, Height: abi.ChainEpoch(len(m.chain)), Blocks: []*api.BlockHeader{{ParentBaseFee: big.NewInt(m.baseFee)}}}
	m.chain = append(m.chain, &modelTipset{ts, msgs, next})
	m.highest = max(m.highest, ts.Height)
	for _, s := range msgs {
		m.spent[nonceOf{s.Message.From, s.Message.Nonce}] = m.head()
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *model) head() *modelTipset { return m.chain[len(m.chain)-1] }

// after is a sender's nonce once the head was executed.
func (m *model) after(key address.Address) uint64 {
	n := m.head().next[key]
	for _, s := range m.head().msgs {
		if s.Message.From == key {
			n = s.Message.Nonce + 1
		}
	}
	return n
}

// mine makes a tipset of what is pending and pays, of each sender in sequence.
// take nil takes all.
func (m *model) mine(take func(*api.SignedMessage) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var in []*api.SignedMessage
	for key, p := range m.pool {
		for n := m.after(key); p[n] != nil && p[n].Message.GasFeeCap.GreaterThanEqual(big.NewInt(m.baseFee)); n++ {
			if take != nil && !take(p[n]) {
				break
			}
			in = append(in, p[n])
			m.known[p[n].Cid()] = p[n]
			delete(p, n)
		}
	}
	m.grow(in)
	for key, p := range m.pool {
		for n := range p {
			if n < m.after(key) {
				delete(p, n)
			}
		}
	}
}

// final is how many tipsets below the highest there ever was stay for ever; who
// waits for five epochs on top of a receipt may rely on it.
const final = 6

// reorg takes back tipsets; keep says which of their messages return to the pool.
func (m *model) reorg(depth int, keep func() bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ; depth > 0 && len(m.chain) > 1 && m.head().ts.Height > m.highest-final; depth-- {
		for _, s := range m.head().msgs {
			delete(m.spent, nonceOf{s.Message.From, s.Message.Nonce})
			if p := m.pool[s.Message.From]; keep() && p[s.Message.Nonce] == nil {
				p[s.Message.Nonce] = s
			}
		}
		m.chain = m.chain[:len(m.chain)-1]
	}
	m.grow(nil)
}

// losePool forgets pending messages.
func (m *model) losePool(drop func() bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pool {
		for n := range p {
			if drop() {
				delete(p, n)
			}
		}
	}
}

func (m *model) forgetUUIDs() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.uuids)
}

// foreign puts somebody else's message into the pool: with the next nonce, or
// in the place of a pending one.
func (m *model) foreign(from address.Address, replace bool) *api.SignedMessage {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := m.keys[from]
	n := m.after(key)
	for !replace && m.pool[key][n] != nil {
		n++
	}
	return m.place(&api.Message{To: key, From: key, Nonce: n, Value: big.NewInt(1), GasLimit: m.limit, GasFeeCap: big.NewInt(1 << 30), GasPremium: big.NewInt(1 << 30)})
}

func (m *model) place(msg *api.Message) *api.SignedMessage {
	s := sign(msg)
	if m.pool[msg.From] == nil {
		m.pool[msg.From] = map[uint64]*api.SignedMessage{}
	}
	m.pool[msg.From][msg.Nonce] = s
	m.known[s.Cid()] = s
	return s
}

func sign(msg *api.Message) *api.SignedMessage {
	return &api.SignedMessage{Message: *msg, Signature: crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte("signed")}}
}

// executed counts the messages on chain that carry these parameters.
func (m *model) executed(params string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.chain {
		for _, s := range t.msgs {
			if string(s.Message.Params) == params {
				n++
			}
		}
	}
	return n
}

// params of a message that the node knows.
func (m *model) params(c cid.Cid) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.known[c]; s != nil {
		return string(s.Message.Params)
	}
	return ""
}

func (m *model) pending() (out []*api.SignedMessage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pool {
		for _, s := range p {
			out = append(out, s)
		}
	}
	return out
}

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

func (m *model) StateSearchMsg(_ context.Context, k api.TipSetKey, c cid.Cid, lookback abi.ChainEpoch, allowReplaced bool) (*api.MsgLookup, error) {
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

func (m *model) StateWaitMsg(ctx context.Context, c cid.Cid, conf uint64, lookback abi.ChainEpoch, allowReplaced bool) (*api.MsgLookup, error) {
	for {
		m.mu.Lock()
		m.called("StateWaitMsg")
		l, err := m.search(c)
		height, changed := m.head().ts.Height, m.changed
		m.mu.Unlock()
		if err != nil || lookback != -1 || !allowReplaced {
			return nil, err
		}
		if l != nil && height >= l.Height+abi.ChainEpoch(conf) { //nolint:gosec // small
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

func (m *model) GasEstimateMessageGas(_ context.Context, msg *api.Message, spec *api.MessageSendSpec, _ api.TipSetKey) (*api.Message, error) {
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

// coin is a source of chance that several goroutines may use.
type coin struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (c *coin) one(in int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.IntN(in) == 0
}

func (c *coin) n(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.IntN(n)
}
