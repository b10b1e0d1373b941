package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"quarry/api"
	"quarry/chain/msgs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	provider, _ = address.NewIDAddress(1000)
	client, _   = address.NewIDAddress(1001)
	worker, _   = address.NewIDAddress(1002)
	piece       = cid.MustParse("baga6ea4seaqofo6d7zmjr5crnswer5f2m5hdpumdj2co7eaw7teqzqhns4ytyni")
)

func signed(t testing.TB, label string) []byte {
	l, err := market.NewLabelFromString(label)
	require.NoError(t, err)
	cdp := market.ClientDealProposal{Proposal: market.DealProposal{
		PieceCID:             piece,
		PieceSize:            1024,
		Client:               client,
		Provider:             provider,
		Label:                l,
		StartEpoch:           2880,
		EndEpoch:             521280,
		StoragePricePerEpoch: big.Zero(),
		ProviderCollateral:   big.NewInt(300),
		ClientCollateral:     big.Zero(),
	},
		ClientSignature: crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte(label)}}
	var buf bytes.Buffer
	require.NoError(t, cdp.MarshalCBOR(&buf))
	return buf.Bytes()
}

// node is chain, clock and message sender in one. bad labels are refused.
type node struct {
	mu      sync.Mutex
	height  abi.ChainEpoch
	grew    chan struct{}
	escrow  int64
	bad     map[string]bool
	failing int // this many sends fail
	broke   int // this many escrow messages fail on chain
	wasted  map[string]bool
	sent    map[string]*api.Message
	order   []string
	deals   map[abi.DealID]*api.MarketDeal

	held   map[string]chan struct{} // Wait for messages under these keys blocks
	exits  map[string]int           // messages with this label that fail on chain
	refuse map[string]bool          // messages with this label among others are refused
	odd    map[string]bool          // the node cannot simulate these labels
	locked int64                    // of the escrow
	poor   string                   // messages under keys with this prefix cannot be paid for
}

func newNode() *node {
	return &node{
		grew:   make(chan struct{}),
		bad:    map[string]bool{},
		wasted: map[string]bool{},
		sent:   map[string]*api.Message{},
		deals:  map[abi.DealID]*api.MarketDeal{},
		held:   map[string]chan struct{}{},
		exits:  map[string]int{},
		refuse: map[string]bool{},
		odd:    map[string]bool{},
	}
}

func (n *node) Head() *api.TipSet {
	n.mu.Lock()
	defer n.mu.Unlock()
	return &api.TipSet{Height: n.height}
}

func (n *node) grow(by abi.ChainEpoch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.height += by
	close(n.grew)
	n.grew = make(chan struct{})
}

func (n *node) WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error) {
	for {
		n.mu.Lock()
		now, grew := n.height, n.grew
		n.mu.Unlock()
		if now >= h {
			return &api.TipSet{Height: now}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-grew:
		}
	}
}

func (n *node) StateMinerInfo(context.Context, address.Address, api.TipSetKey) (api.MinerInfo, error) {
	return api.MinerInfo{Worker: worker}, nil
}

func (n *node) StateMarketBalance(context.Context, address.Address, api.TipSetKey) (api.MarketBalance, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return api.MarketBalance{Escrow: big.NewInt(n.escrow), Locked: big.NewInt(n.locked)}, nil
}

func (n *node) labels(m *api.Message) (out []string) {
	var p market.PublishStorageDealsParams
	if p.UnmarshalCBOR(bytes.NewReader(m.Params)) == nil {
		for _, d := range p.Deals {
			s, _ := d.Proposal.Label.ToString()
			out = append(out, s)
		}
	}
	return out
}

func (n *node) StateCall(_ context.Context, m *api.Message, _ api.TipSetKey) (*api.InvocResult, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &api.MessageReceipt{}
	if n.odd[n.labels(m)[0]] {
		return nil, errors.New("internal error")
	}
	if n.bad[n.labels(m)[0]] {
		r.ExitCode = 16
	}
	return &api.InvocResult{MsgRct: r, Error: "refused"}, nil
}

func (n *node) Send(_ context.Context, key string, m *api.Message) (cid.Cid, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failing > 0 {
		n.failing--
		return cid.Undef, errors.New("node is away")
	}
	if old, ok := n.sent[key]; ok {
		return old.Cid(), nil
	}
	for _, l := range n.labels(m) {
		if n.refuse[l] && len(n.labels(m)) > 1 {
			return cid.Undef, fmt.Errorf("push: %w", msgs.ErrRefused)
		}
	}
	if n.poor != "" && strings.HasPrefix(key, n.poor) {
		return cid.Undef, &api.ErrBusy{What: "sender", Reason: "it has not the funds"}
	}
	m.Nonce = uint64(len(n.order))
	switch {
	case m.Method == 2 && n.broke > 0:
		n.broke--
		n.wasted[key] = true
	case m.Method == 2:
		n.escrow += m.Value.Int64()
	}
	n.sent[key] = m
	n.order = append(n.order, key)
	return m.Cid(), nil
}

// failedOn tells, always the same, whether a message failed because of a label.
func (n *node) failedOn(label string, c cid.Cid) bool {
	if n.exits[label] > 0 && !n.wasted[c.String()+label] {
		n.exits[label]--
		n.wasted[c.String()+label] = true
	}
	return n.wasted[c.String()+label]
}

func (n *node) find(c cid.Cid) *api.Message {
	for _, m := range n.sent {
		if m.Cid() == c {
			return m
		}
	}
	return nil
}

func (n *node) Wait(ctx context.Context, c cid.Cid) (*api.MsgLookup, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.find(c)
	for prefix, gate := range n.held {
		for key, sent := range n.sent {
			if sent != m || !strings.HasPrefix(key, prefix) {
				continue
			}
			n.mu.Unlock()
			select {
			case <-gate:
			case <-ctx.Done():
			}
			n.mu.Lock()
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
	}
	if m == nil {
		return nil, errors.New("no such message")
	}
	for key := range n.wasted {
		if n.sent[key] == m && m != nil {
			return &api.MsgLookup{Message: c, Receipt: api.MessageReceipt{ExitCode: 6}}, nil
		}
	}
	for _, l := range n.labels(m) {
		if m.Method == 4 && n.failedOn(l, c) {
			return &api.MsgLookup{Message: c, Receipt: api.MessageReceipt{ExitCode: 16}}, nil
		}
	}
	ret := market.PublishStorageDealsReturn{ValidDeals: bitfield.New()}
	var p market.PublishStorageDealsParams
	if m.Method == 4 && p.UnmarshalCBOR(bytes.NewReader(m.Params)) == nil {
		for i, d := range p.Deals {
			if s, _ := d.Proposal.Label.ToString(); s == "dropped" {
				continue
			}
			id := abi.DealID(100 + i)
			n.deals[id] = &api.MarketDeal{Proposal: d.Proposal}
			ret.IDs = append(ret.IDs, id)
			ret.ValidDeals.Set(uint64(i))
		}
	}
	var buf bytes.Buffer
	err := ret.MarshalCBOR(&buf)
	return &api.MsgLookup{Message: c, Receipt: api.MessageReceipt{Return: buf.Bytes()}}, err
}

func (n *node) ChainGetMessage(_ context.Context, c cid.Cid) (*api.Message, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.find(c), nil
}

func (n *node) StateMarketStorageDeal(_ context.Context, id abi.DealID, _ api.TipSetKey) (*api.MarketDeal, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.deals[id], nil
}

func (n *node) StateLookupID(_ context.Context, a address.Address, _ api.TipSetKey) (address.Address, error) {
	return a, nil
}

func run(t *testing.T, n *node, ds datastore.Batching, cfg Config) *Publisher {
	cfg.Miner, cfg.RetryGap = provider, time.Millisecond
	p, err := New(context.Background(), cfg, Deps{Store: ds, Chain: n, Msgs: n, Heads: n})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	return p
}

func store() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

type outcome struct {
	id  uuid.UUID
	cid cid.Cid
	err error
}

func publishAll(t *testing.T, p *Publisher, labels ...string) chan outcome {
	out := make(chan outcome, len(labels))
	for i, l := range labels {
		id, s := uuid.New(), signed(t, l)
		go func() {
			c, err := p.Publish(context.Background(), id, s)
			out <- outcome{id, c, err}
		}()
		require.Eventually(t, func() bool { return len(p.Pending()) >= i+1 || len(out) > 0 || i+1 == len(labels) }, 5*time.Second,
			time.Millisecond)
	}
	return out
}

func TestBatchByCountAndEscrow(t *testing.T) {
	n := newNode()
	n.escrow = 250
	p := run(t, n, store(), Config{Period: 1000, MaxDeals: 3})
	out := publishAll(t, p, "a", "b", "c")
	first := (<-out).cid
	for range 2 {
		require.Equal(t, first, (<-out).cid, "one message for the batch")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	require.Len(t, n.order, 2)
	require.Equal(t, int64(900), n.escrow, "topped up to the collateral of three deals, no more")
}

func TestBatchByPeriodAndFlush(t *testing.T) {
	n := newNode()
	p := run(t, n, store(), Config{Period: 10, MaxDeals: 8})
	out := publishAll(t, p, "a")
	require.Eventually(t, func() bool { return len(p.Pending()) == 1 }, 5*time.Second, time.Millisecond)
	require.Empty(t, out)
	require.Eventually(t, func() bool { n.grow(5); return len(out) == 1 }, 5*time.Second, time.Millisecond)
	require.NoError(t, (<-out).err)

	out = publishAll(t, p, "b")
	require.Eventually(t, func() bool { return len(p.Pending()) == 1 }, 5*time.Second, time.Millisecond)
	p.Flush()
	require.NoError(t, (<-out).err)
}

func TestBadDealFailsAlone(t *testing.T) {
	n := newNode()
	n.bad["bad"] = true
	p := run(t, n, store(), Config{Period: 1000, MaxDeals: 2})
	out := publishAll(t, p, "bad", "good")
	var good, bad int
	for range 2 {
		if o := <-out; o.err != nil {
			require.ErrorContains(t, o.err, "non-zero exitcode 16")
			bad++
		} else {
			good++
		}
	}
	require.Equal(t, []int{1, 1}, []int{good, bad})
}

func TestFailuresAreRetriedThenReported(t *testing.T) {
	n := newNode()
	n.escrow, n.failing = 10_000, 3
	ds := store()
	p := run(t, n, ds, Config{MaxDeals: 1, Attempts: 5})
	o := <-publishAll(t, p, "a")
	require.NoError(t, o.err)

	n.mu.Lock()
	n.failing = 2
	n.mu.Unlock()
	id, s := uuid.New(), signed(t, "b")
	q := run(t, n, ds, Config{MaxDeals: 1, Attempts: 2})
	_, err := q.Publish(context.Background(), id, s)
	require.ErrorContains(t, err, "node is away")
	// The retry uses the batch of before, also in a new process.
	again := run(t, n, ds, Config{MaxDeals: 1})
	c, err := again.Publish(context.Background(), id, s)
	require.NoError(t, err)
	c2, err := again.Publish(context.Background(), id, s)
	require.NoError(t, err)
	require.Equal(t, c, c2)
	n.mu.Lock()
	defer n.mu.Unlock()
	require.Len(t, n.order, 2, fmt.Sprint(n.order))
}
