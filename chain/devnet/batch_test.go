package devnet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// pay is a message that sends some attoFIL.
func pay(from, to address.Address, amount int64) *api.Message {
	return &api.Message{
		To:         to,
		From:       from,
		Value:      big.NewInt(amount),
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
	}
}

// A batch is pushed in its order; the first message that is refused ends it, and
// the error says how far it came. The same batch with the same id is the same
// messages.
func TestBatchPush(t *testing.T) {
	n := newFixture(t, "batch").open(t)
	step(t, n, 1)
	from := funded(t, n)
	step(t, n, 2)
	spec := &api.MessageSendSpec{MsgUuid: uuid.New(), MaxFee: big.Zero()}
	batch := []*api.Message{pay(from, n.params.Faucet, 1), pay(from, n.params.Faucet, 2), pay(from, n.params.Faucet, 3)}
	first := must[[]*api.SignedMessage](t)(n.MpoolBatchPushMessage(t.Context(), batch, spec))
	again := must[[]*api.SignedMessage](t)(n.MpoolBatchPushMessage(t.Context(), batch, spec))
	if len(first) != 3 || len(again) != 3 {
		t.Fatalf("%d messages, then %d", len(first), len(again))
	}
	for i := range first {
		if first[i].Message.Nonce != uint64(i) || !first[i].Message.Value.Equals(big.NewInt(int64(i+1))) ||
			first[i].Cid() != again[i].Cid() {
			t.Errorf("message %d: %+v", i, first[i].Message)
		}
	}
	rich := pay(from, n.params.Faucet, 4)
	rich.Value = fil(1_000_000)
	_, err := n.MpoolBatchPushMessage(t.Context(), []*api.Message{pay(from, n.params.Faucet, 4), rich, pay(from, n.params.Faucet, 5)}, nil)
	if err == nil || !strings.Contains(err.Error(), "message 2 of 3 was refused, the 1 before it are pushed") {
		t.Errorf("in the middle: %v", err)
	}
	if p := must[[]*api.SignedMessage](t)(n.MpoolPending(t.Context(), nil)); len(p) != 4 {
		t.Errorf("%d messages pending", len(p))
	}
}

// Signed messages are pushed likewise; one without sender or a missing one is
// found before anything is pushed.
func TestBatchPushSigned(t *testing.T) {
	n := newFixture(t, "batch").open(t)
	step(t, n, 1)
	from := funded(t, n)
	step(t, n, 2)
	sign := func(nonce uint64) *api.SignedMessage {
		m := pay(from, n.params.Faucet, 1)
		m.Nonce, m.GasLimit, m.GasFeeCap, m.GasPremium = nonce, 5_000_000, big.NewInt(1000), big.NewInt(1)
		return must[*api.SignedMessage](t)(n.WalletSignMessage(t.Context(), from, m))
	}
	a, b := sign(0), sign(1)
	var invalid *api.ErrInvalid
	for name, bad := range map[string]*api.SignedMessage{"missing": nil, "incomplete": {}} {
		_, err := n.MpoolBatchPush(t.Context(), []*api.SignedMessage{a, bad})
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "message 2") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := n.MpoolBatchPushMessage(t.Context(), []*api.Message{&a.Message, nil}, nil); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p := must[[]*api.SignedMessage](t)(n.MpoolPending(t.Context(), nil)); len(p) != 0 {
		t.Errorf("%d messages of refused batches are pending", len(p))
	}
	got := must[[]cid.Cid](t)(n.MpoolBatchPush(t.Context(), []*api.SignedMessage{a, b}))
	if len(got) != 2 || got[0] != a.Cid() || got[1] != b.Cid() {
		t.Errorf("got %v", got)
	}
	for size, refused := range map[int]bool{maxBatch: false, maxBatch + 1: true} {
		if err := checkBatch(size); errors.As(err, &invalid) != refused {
			t.Errorf("a batch of %d: %v", size, err)
		}
	}
	_, signed := n.MpoolBatchPush(t.Context(), make([]*api.SignedMessage, maxBatch+1))
	_, plain := n.MpoolBatchPushMessage(t.Context(), make([]*api.Message, maxBatch+1), nil)
	for _, err := range []error{signed, plain} {
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "1001 messages") {
			t.Errorf("too many: %v", err)
		}
	}
}

// next reads one update; the feed has it already.
func next(t *testing.T, sub <-chan api.MpoolUpdate) (api.MpoolUpdate, bool) {
	t.Helper()
	select {
	case u, ok := <-sub:
		return u, ok
	default:
		t.Fatal("the pool did not tell")
		return api.MpoolUpdate{}, false
	}
}

// A subscriber hears of each message that is pushed, replaced and included, and
// of nothing before it came.
func TestPoolTellsWhatChanges(t *testing.T) {
	n := newFixture(t, "batch").open(t)
	step(t, n, 1)
	from := funded(t, n)
	step(t, n, 2)
	old := must[*api.SignedMessage](t)(n.MpoolPushMessage(t.Context(), pay(from, n.params.Faucet, 1), nil))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sub := must[<-chan api.MpoolUpdate](t)(n.MpoolSub(ctx))
	more := old.Message
	more.GasPremium = big.Add(big.Div(big.Mul(more.GasPremium, big.NewInt(2)), big.NewInt(1)), big.NewInt(1))
	more.GasFeeCap = big.Add(more.GasFeeCap, more.GasPremium)
	replaced := must[*api.SignedMessage](t)(n.WalletSignMessage(t.Context(), from, &more))
	must[cid.Cid](t)(n.MpoolPush(t.Context(), replaced))
	for _, want := range []string{fmt.Sprint(api.MpoolRemove, old.Cid()), fmt.Sprint(api.MpoolAdd, replaced.Cid())} {
		if u, _ := next(t, sub); fmt.Sprint(u.Type, u.Message.Cid()) != want {
			t.Errorf("told %d %s, want %s", u.Type, u.Message.Cid(), want)
		}
	}
	for n.pool.at(must[address.Address](t)(n.StateAccountKey(t.Context(), from, nil)), 0) != nil {
		step(t, n, 1)
	}
	if u, _ := next(t, sub); u.Type != api.MpoolRemove || u.Message.Cid() != replaced.Cid() {
		t.Errorf("at inclusion: %+v", u)
	}
	cancel()
	if u, ok := <-sub; ok {
		t.Errorf("after the end: %+v", u)
	}
	if n.pool.changes.heard() {
		t.Error("the pool still talks to who has gone")
	}
}

// A reader who falls behind is cut off at the length of its buffer; others and the
// pool go on. When the node stops, all end.
func TestPoolDoesNotWaitForReaders(t *testing.T) {
	n := newFixture(t, "batch").open(t)
	slow := must[<-chan api.MpoolUpdate](t)(n.MpoolSub(t.Context()))
	quick := must[<-chan api.MpoolUpdate](t)(n.MpoolSub(t.Context()))
	for range poolBuffer + 1 {
		n.pool.changes.send(api.MpoolUpdate{Type: api.MpoolAdd})
		next(t, quick)
	}
	count := 0
	for range slow {
		count++
	}
	if count != poolBuffer {
		t.Errorf("the slow reader got %d updates, the buffer has %d", count, poolBuffer)
	}
	n.pool.changes.close()
	if _, ok := <-quick; ok || !n.pool.changes.isClosed() {
		t.Error("the feed is still open")
	}
	late := must[<-chan api.MpoolUpdate](t)(n.MpoolSub(t.Context()))
	if _, ok := <-late; ok {
		t.Error("a closed feed was subscribed to")
	}
}

// What changed between two states of the pool is told in the order of senders and
// nonces.
func TestWhatIsMissing(t *testing.T) {
	msg := func(from uint64, nonce uint64) *api.SignedMessage {
		return &api.SignedMessage{Message: api.Message{From: idAddr(t, from), Nonce: nonce}}
	}
	type pending = map[address.Address]map[uint64]*api.SignedMessage
	x, y, z := msg(5, 2), msg(5, 1), msg(4, 9)
	a := pending{x.Message.From: {2: x, 1: y}, z.Message.From: {9: z}}
	got := missing(a, pending{x.Message.From: {2: msg(5, 2)}})
	if len(got) != 3 || got[0] != z || got[1] != y || got[2] != x {
		t.Errorf("got %v", got)
	}
	if got := missing(a, a); got != nil {
		t.Errorf("of itself: %v", got)
	}
}

// The pool's rules are those that it goes by.
func TestPoolConfig(t *testing.T) {
	n := newFixture(t, "batch").open(t)
	c := must[*api.MpoolConfig](t)(n.MpoolGetConfig(t.Context()))
	if c.SizeLimitHigh != 30_000 || c.SizeLimitLow != 30_000 || c.PruneCooldown != 0 ||
		c.GasLimitOverestimation != 1.25 || c.ReplaceByFeeRatio != 1.25 {
		t.Errorf("%+v", c)
	}
	m := map[uint64]*api.SignedMessage{}
	for i := range poolSizeLimit {
		m[uint64(i)] = nil
	}
	step(t, n, 1)
	from := funded(t, n)
	step(t, n, 2)
	stuffed := idAddr(t, 4)
	n.pool.mu.Lock()
	n.pool.pending[stuffed] = m
	n.pool.mu.Unlock()
	var busy *api.ErrBusy
	key := must[address.Address](t)(n.StateAccountKey(t.Context(), from, nil))
	s := must[*api.SignedMessage](t)(n.WalletSignMessage(t.Context(), key, &api.Message{
		To:         n.params.Faucet,
		From:       key,
		Value:      abi.NewTokenAmount(1),
		GasLimit:   5_000_000,
		GasFeeCap:  big.NewInt(1000),
		GasPremium: big.NewInt(1),
	}))
	if _, err := n.MpoolPush(t.Context(), s); !errors.As(err, &busy) || !strings.Contains(err.Error(), "30000") {
		t.Errorf("into a full pool: %v", err)
	}
	n.pool.mu.Lock()
	delete(m, 0)
	n.pool.mu.Unlock()
	if _, err := n.MpoolPush(t.Context(), s); err != nil {
		t.Errorf("with room for one: %v", err)
	}
	n.pool.mu.Lock()
	delete(n.pool.pending, stuffed)
	n.pool.mu.Unlock()
}
