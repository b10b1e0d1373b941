package msgs

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
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
	m := &model{
		changed: make(chan struct{}),
		keys:    map[address.Address]address.Address{},
		pool:    map[address.Address]map[uint64]*api.SignedMessage{},
		uuids:   map[api.UUID]*api.SignedMessage{},
		known:   map[cid.Cid]*api.SignedMessage{},
		spent:   map[nonceOf]*modelTipset{},
		baseFee: 100,
		premium: 1000,
		limit:   1000,
		funds:   1 << 60,
		calls:   map[string]int{},
	}
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
	ts := &api.TipSet{Cids: []cid.Cid{c}, Height: abi.ChainEpoch(len(m.chain)),
		Blocks: []*api.BlockHeader{{ParentBaseFee: big.NewInt(m.baseFee)}}}
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
	return m.place(&api.Message{
		To:         key,
		From:       key,
		Nonce:      n,
		Value:      big.NewInt(1),
		GasLimit:   m.limit,
		GasFeeCap:  big.NewInt(1 << 30),
		GasPremium: big.NewInt(1 << 30),
	})
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
