package devnet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// funded makes a key with enough money for what a test sends from it.
func funded(t *testing.T, n *Node) address.Address {
	t.Helper()
	a, err := n.WalletNew(t.Context(), api.KeyBLS)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.DevnetFund(t.Context(), a, fil(5)); err != nil {
		t.Fatal(err)
	}
	return a
}

// Messages are pushed while blocks with earlier ones become the head: each gets
// a nonce of its own, and each is on chain in the end.
func TestNoncesAcrossMovingHead(t *testing.T) {
	n := newFixture(t, "nonces").open(t)
	step(t, n, 1)
	senders := []address.Address{funded(t, n), funded(t, n)}
	step(t, n, 2)
	const each, lanes = 40, 3
	var (
		mu   sync.Mutex
		sent []*api.SignedMessage
		left atomic.Int64
		g    sync.WaitGroup
	)
	left.Store(int64(len(senders) * lanes))
	for _, from := range senders {
		for lane := range lanes {
			g.Go(func() {
				defer left.Add(-1)
				for i := range each {
					m := &api.Message{To: n.params.Faucet, From: from, Value: big.NewInt(int64(1 + lane*each + i))}
					s, err := n.MpoolPushMessage(t.Context(), m, &api.MessageSendSpec{MsgUuid: uuid.New()})
					if err != nil {
						t.Errorf("push %d of lane %d: %v", i, lane, err)
						return
					}
					mu.Lock()
					sent = append(sent, s)
					mu.Unlock()
				}
			})
		}
	}
	for left.Load() > 0 {
		step(t, n, 1)
	}
	g.Wait()
	step(t, n, 4)
	taken := map[string]bool{}
	for _, s := range sent {
		id := fmt.Sprintf("%s/%d", s.Message.From, s.Message.Nonce)
		if taken[id] {
			t.Errorf("nonce %s was given twice", id)
		}
		taken[id] = true
		if l, err := n.StateSearchMsg(t.Context(), nil, s.Cid(), -1, false); err != nil || l == nil {
			t.Errorf("message with nonce %s is not on chain: %v, %v", id, l, err)
		}
	}
	if len(sent) != len(senders)*lanes*each {
		t.Errorf("%d messages sent", len(sent))
	}
	if p, _ := n.MpoolPending(t.Context(), nil); len(p) != 0 {
		t.Errorf("%d messages remain in the pool", len(p))
	}
}

// brittle refuses batches when told to.
type brittle struct {
	datastore.Batching
	broken *atomic.Bool
}

func (b brittle) Batch(ctx context.Context) (datastore.Batch, error) {
	if b.broken.Load() {
		return nil, errors.New("no space left on device")
	}
	return b.Batching.Batch(ctx)
}

// A head that cannot be written is not taken, and what its blocks include is
// pending as before; a message that cannot be written is refused and its nonce
// is free.
func TestPoolAfterFailedWrites(t *testing.T) {
	f, broken := newFixture(t, "writes"), new(atomic.Bool)
	f.ds = brittle{f.ds, broken}
	n := f.open(t)
	step(t, n, 1)
	from := funded(t, n)
	step(t, n, 2)
	push := func(id uuid.UUID) (*api.SignedMessage, error) {
		return n.MpoolPushMessage(t.Context(), &api.Message{To: n.params.Faucet, From: from, Value: big.NewInt(3)},
			&api.MessageSendSpec{MsgUuid: id})
	}
	first, err := push(uuid.New())
	if err != nil || first.Message.Nonce != 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	broken.Store(true)
	id := uuid.New()
	if s, err := push(id); err == nil || s != nil {
		t.Errorf("a message that was not written is acknowledged: %+v", s)
	}
	head := n.ledger.Head()
	if err := n.closeEpoch(t.Context(), true); err == nil {
		t.Error("a head that was not written is taken")
	}
	if !n.ledger.Head().Equal(head) {
		t.Error("the head moved")
	}
	if p, _ := n.MpoolPending(t.Context(), nil); len(p) != 1 || p[0].Cid() != first.Cid() {
		t.Errorf("pending: %v", p)
	}
	broken.Store(false)
	second, err := push(id)
	if err != nil || second.Message.Nonce != 1 {
		t.Fatalf("%+v, %v", second, err)
	}
	step(t, n, 3)
	for _, s := range []*api.SignedMessage{first, second} {
		if l, err := n.StateSearchMsg(t.Context(), nil, s.Cid(), -1, false); err != nil || l == nil {
			t.Errorf("nonce %d is not on chain: %v", s.Message.Nonce, err)
		}
	}
}

// An id is answered with the message it was given once, also when that one was
// replaced or its nonce went to another; it never makes a second message. One
// that the pool lost is put back.
func TestUUIDNamesOneMessage(t *testing.T) {
	n := newFixture(t, "uuid").open(t)
	step(t, n, 1)
	from := funded(t, n)
	step(t, n, 2)
	id := uuid.New()
	ask := func() *api.SignedMessage {
		t.Helper()
		s, err := n.MpoolPushMessage(t.Context(), &api.Message{To: n.params.Faucet, From: from, Value: big.NewInt(3)},
			&api.MessageSendSpec{MsgUuid: id})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := ask()
	n.pool.mu.Lock()
	delete(n.pool.pending[from], first.Message.Nonce) // as after a pool was lost
	n.pool.mu.Unlock()
	if again := ask(); again.Cid() != first.Cid() {
		t.Fatal("another message for one id")
	}
	if p := n.pool.at(from, 0); p == nil || p.Cid() != first.Cid() {
		t.Error("the lost message is not put back")
	}
	dearer := first.Message
	dearer.Value = big.NewInt(4) // another call takes the nonce
	dearer.GasPremium = big.Add(big.Div(big.Mul(dearer.GasPremium, big.NewInt(110)), big.NewInt(100)), big.NewInt(1))
	cheap := dearer
	cheap.GasPremium = big.Sub(dearer.GasPremium, big.NewInt(1))
	for _, c := range []struct {
		m  api.Message
		ok bool
	}{{cheap, false}, {dearer, true}} {
		s, err := n.WalletSignMessage(t.Context(), from, &c.m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.MpoolPush(t.Context(), s); (err == nil) != c.ok {
			t.Errorf("replacement with premium %s: %v", c.m.GasPremium, err)
		}
	}
	if again := ask(); again.Cid() != first.Cid() {
		t.Error("another message for one id, while replaced")
	}
	step(t, n, 3)
	if again := ask(); again.Cid() != first.Cid() {
		t.Error("another message for one id, after the nonce was taken")
	}
	if p, _ := n.MpoolPending(t.Context(), nil); len(p) != 0 {
		t.Errorf("pending: %v", p)
	}
	if got, err := n.MpoolGetNonce(t.Context(), from); err != nil || got != 1 {
		t.Errorf("next nonce %d, %v", got, err)
	}
}
