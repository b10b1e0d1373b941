package devnet

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
)

// bank is a chain on which pushed messages change escrows when they are mined.
type bank struct {
	t       *testing.T
	escrow  map[address.Address]int64
	locked  int64
	known   map[uuid.UUID]*api.SignedMessage
	pushed  []*api.SignedMessage
	mined   map[cid.Cid]chan struct{}
	refuse  error // of the next push
	lost    bool  // the push is made, and the answer is an error
	noLook  error // of byUUID
	waiting atomic.Int32
}

func newBank(t *testing.T) *bank {
	return &bank{t: t, escrow: map[address.Address]int64{}, known: map[uuid.UUID]*api.SignedMessage{}, mined: map[cid.Cid]chan struct{}{}}
}

func (b *bank) StateLookupID(_ context.Context, a address.Address, _ api.TipSetKey) (address.Address, error) {
	return a, nil
}

func (b *bank) StateMarketBalance(_ context.Context, a address.Address, _ api.TipSetKey) (api.MarketBalance, error) {
	return api.MarketBalance{Escrow: big.NewInt(b.escrow[a]), Locked: big.NewInt(b.locked)}, nil
}

func (b *bank) StateWaitMsg(
	ctx context.Context, c cid.Cid, confidence uint64, lookback abi.ChainEpoch, replaced bool,
) (*api.MsgLookup, error) {
	if confidence != fundsConfidence || lookback != -1 || !replaced {
		b.t.Errorf("waits with confidence %d, lookback %d, replaced %v", confidence, lookback, replaced)
	}
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	select {
	case <-b.mined[c]:
		return &api.MsgLookup{Message: c}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *bank) MpoolPushMessage(_ context.Context, m *api.Message, spec *api.MessageSendSpec) (*api.SignedMessage, error) {
	if err := b.refuse; err != nil {
		b.refuse = nil
		return nil, err
	}
	one := *m
	one.Nonce = uint64(len(b.pushed))
	s := &api.SignedMessage{Message: one}
	s.Signature.Type = 2
	b.known[spec.MsgUuid], b.mined[s.Cid()] = s, make(chan struct{})
	b.pushed = append(b.pushed, s)
	if b.lost {
		return nil, &api.ErrUnreachable{Peer: "node", Reason: "cut off"}
	}
	return s, nil
}

func (b *bank) byUUID(_ context.Context, id uuid.UUID) (*api.SignedMessage, error) {
	return b.known[id], b.noLook
}

// mine executes the last message for the escrow of a.
func (b *bank) mine(a address.Address) {
	s := b.pushed[len(b.pushed)-1]
	switch s.Message.Method {
	case builtin.MethodsMarket.AddBalance:
		b.escrow[a] += s.Message.Value.Int64()
	case builtin.MethodsMarket.WithdrawBalance:
		var p market.WithdrawBalanceParams
		if err := p.UnmarshalCBOR(strings.NewReader(string(s.Message.Params))); err != nil || p.ProviderOrClientAddress != a {
			b.t.Errorf("withdrawal %+v, %v", p, err)
		}
		b.escrow[a] -= p.Amount.Int64()
	}
	close(b.mined[s.Cid()])
}

func (b *bank) sent() []int64 {
	var out []int64
	for _, s := range b.pushed {
		out = append(out, s.Message.Value.Int64())
	}
	return out
}

func mapStore() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

// A reservation is covered by what the escrow has beyond earlier ones; what is
// lacking is added, no more. A release makes room again.
func TestReserveAddsWhatIsLacking(t *testing.T) {
	b, ctx, w, a := newBank(t), t.Context(), idAddr(t, 100), idAddr(t, 1000)
	f := newFunds(b, mapStore())
	reserved := func(want int64) {
		t.Helper()
		if got := must[abi.TokenAmount](t)(f.reserved(ctx, a)); !got.Equals(big.NewInt(want)) {
			t.Errorf("reserved %s, want %d", got, want)
		}
	}
	b.escrow[a], b.locked = 15, 5
	if c, err := f.reserve(ctx, w, a, big.NewInt(10)); err != nil || c != cid.Undef {
		t.Errorf("with enough in the escrow: %s, %v", c, err)
	}
	reserved(10)
	c := must[cid.Cid](t)(f.reserve(ctx, w, a, big.NewInt(7)))
	if s := b.pushed; len(s) != 1 || s[0].Cid() != c || !s[0].Message.Value.Equals(big.NewInt(7)) || s[0].Message.From != w ||
		s[0].Message.To != builtin.StorageMarketActorAddr || s[0].Message.Method != builtin.MethodsMarket.AddBalance {
		t.Fatalf("pushed %v", b.sent())
	}
	reserved(17)
	b.mine(a)
	if c := must[cid.Cid](t)(f.reserve(ctx, w, a, big.Zero())); c != cid.Undef {
		t.Errorf("nothing was reserved with %s", c)
	}
	if err := f.release(ctx, a, big.NewInt(4)); err != nil {
		t.Error(err)
	}
	reserved(13)
	if c := must[cid.Cid](t)(f.reserve(ctx, w, a, big.NewInt(4))); c != cid.Undef {
		t.Errorf("what was released was added again by %s", c)
	}
	if c := must[cid.Cid](t)(f.reserve(ctx, w, a, big.NewInt(1))); c == cid.Undef || b.sent()[1] != 1 {
		t.Errorf("one more: %s, pushed %v", c, b.sent())
	}
	b.mine(a)
	if err := f.release(ctx, a, big.NewInt(1000)); err != nil {
		t.Error(err)
	}
	reserved(0)
	if got := must[abi.TokenAmount](t)(f.reserved(ctx, w)); !got.IsZero() {
		t.Errorf("another address: %s", got)
	}
}

// Only what is neither locked nor reserved is paid out.
func TestWithdrawLeavesWhatIsReserved(t *testing.T) {
	b, ctx, w, a := newBank(t), t.Context(), idAddr(t, 100), idAddr(t, 1000)
	f := newFunds(b, mapStore())
	b.escrow[a], b.locked = 20, 5
	must[cid.Cid](t)(f.reserve(ctx, w, a, big.NewInt(10)))
	var invalid *api.ErrInvalid
	if _, err := f.withdraw(ctx, w, a, big.NewInt(6)); !errors.As(err, &invalid) ||
		!strings.Contains(err.Error(), "net available (5) = available (15) - reserved (10)") {
		t.Errorf("one too many: %v", err)
	}
	if c, err := f.withdraw(ctx, w, a, big.Zero()); err != nil || c != cid.Undef || len(b.pushed) != 0 {
		t.Errorf("nothing: %s, %v", c, err)
	}
	c := must[cid.Cid](t)(f.withdraw(ctx, w, a, big.NewInt(5)))
	if s := b.pushed[0]; s.Cid() != c || !s.Message.Value.IsZero() || s.Message.Method != builtin.MethodsMarket.WithdrawBalance {
		t.Errorf("pushed %+v", s.Message)
	}
	b.mine(a)
	if _, err := f.withdraw(ctx, w, a, big.NewInt(1)); !errors.As(err, &invalid) {
		t.Errorf("from an empty escrow: %v", err)
	}
	if got := must[abi.TokenAmount](t)(f.reserved(ctx, a)); !got.Equals(big.NewInt(10)) {
		t.Errorf("reserved %s", got)
	}
}

// While a message of an address is on its way the next request waits for it; a
// release and other addresses do not, and a caller who leaves changes nothing.
func TestOneMessageAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w, a := newBank(t), idAddr(t, 100), idAddr(t, 1000)
		f := newFunds(b, mapStore())
		must[cid.Cid](t)(f.reserve(t.Context(), w, a, big.NewInt(3)))
		ctx, cancel := context.WithCancel(t.Context())
		gone, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := f.withdraw(ctx, w, a, big.NewInt(1)); gone <- err }()
		go func() { _, err := f.reserve(t.Context(), w, a, big.NewInt(2)); second <- err }()
		synctest.Wait()
		if b.waiting.Load() != 2 || len(b.pushed) != 1 {
			t.Errorf("%d wait, %d pushed", b.waiting.Load(), len(b.pushed))
		}
		if _, err := f.reserve(t.Context(), w, w, big.NewInt(1)); err != nil {
			t.Errorf("another address: %v", err)
		}
		if err := f.release(t.Context(), a, big.NewInt(1)); err != nil {
			t.Errorf("release: %v", err)
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "still on its way") {
			t.Errorf("who left: %v", err)
		}
		b.pushed = b.pushed[:1]
		b.mine(a)
		if err := <-second; err != nil {
			t.Error(err)
		}
		if got := must[abi.TokenAmount](t)(f.reserved(t.Context(), a)); !got.Equals(big.NewInt(4)) || b.sent()[1] != 1 {
			t.Errorf("reserved %s, pushed %v", got, b.sent())
		}
	})
}

// What is reserved and on its way is known after a restart.
func TestReservationsOutliveTheProcess(t *testing.T) {
	b, ds, w, a := newBank(t), mapStore(), idAddr(t, 100), idAddr(t, 1000)
	c := must[cid.Cid](t)(newFunds(b, ds).reserve(t.Context(), w, a, big.NewInt(3)))
	f := newFunds(b, ds)
	if got := must[abi.TokenAmount](t)(f.reserved(t.Context(), a)); !got.Equals(big.NewInt(3)) {
		t.Errorf("reserved %s", got)
	}
	if r := must[fundsRecord](t)(f.get(t.Context(), a)); r.Msg == nil || *r.Msg != c || r.Push != uuid.Nil {
		t.Errorf("record %+v", r)
	}
	b.mine(a)
	must[cid.Cid](t)(f.reserve(t.Context(), w, a, big.NewInt(0)))
	if r := must[fundsRecord](t)(f.get(t.Context(), a)); r.Msg != nil {
		t.Errorf("it still waits for %s", r.Msg)
	}
	if err := f.release(t.Context(), a, big.NewInt(3)); err != nil {
		t.Fatal(err)
	}
	if has, err := ds.Has(t.Context(), datastore.RawKey(recFunds+a.String())); has || err != nil {
		t.Errorf("a record of nothing: %v, %v", has, err)
	}
}

// A push that is refused leaves everything as it was. One whose answer is lost may
// be on its way: it is waited for, and nothing is reserved with it.
func TestPushThatFails(t *testing.T) {
	b, ctx, w, a := newBank(t), t.Context(), idAddr(t, 100), idAddr(t, 1000)
	ds := mapStore()
	f := newFunds(b, ds)
	b.refuse = &api.ErrInvalid{What: "message", Reason: "too poor"}
	var invalid *api.ErrInvalid
	if _, err := f.reserve(ctx, w, a, big.NewInt(3)); !errors.As(err, &invalid) {
		t.Errorf("refused: %v", err)
	}
	if has := must[bool](t)(ds.Has(ctx, datastore.RawKey(recFunds+a.String()))); has {
		t.Error("something is kept of a refused push")
	}
	b.lost = true
	var away *api.ErrUnreachable
	if _, err := f.reserve(ctx, w, a, big.NewInt(3)); !errors.As(err, &away) {
		t.Errorf("lost: %v", err)
	}
	b.lost = false
	if got := must[abi.TokenAmount](t)(f.reserved(ctx, a)); !got.IsZero() {
		t.Errorf("reserved %s", got)
	}
	b.mine(a)
	if c := must[cid.Cid](t)(f.reserve(ctx, w, a, big.NewInt(3))); c != cid.Undef || len(b.pushed) != 1 {
		t.Errorf("the same again pushed %s: %v", c, b.sent())
	}
}

// A process that ended between the push and its record finds the message when it
// is needed; as long as it cannot look, it makes no other.
func TestPushThatWasCutOff(t *testing.T) {
	b, ctx, w, a := newBank(t), t.Context(), idAddr(t, 100), idAddr(t, 1000)
	f := newFunds(b, mapStore())
	cut := uuid.New()
	if err := f.put(ctx, a, &fundsRecord{Reserved: big.NewInt(2), Push: cut}); err != nil {
		t.Fatal(err)
	}
	s := must[*api.SignedMessage](t)(b.MpoolPushMessage(ctx, marketMessage(w, big.NewInt(9), 2, nil), &api.MessageSendSpec{MsgUuid: cut}))
	b.noLook = errors.New("disk")
	if _, err := f.reserve(ctx, w, a, big.NewInt(1)); !errors.Is(err, b.noLook) || len(b.pushed) != 1 {
		t.Errorf("without looking: %v, pushed %v", err, b.sent())
	}
	b.noLook = nil
	b.mine(a)
	if c := must[cid.Cid](t)(f.reserve(ctx, w, a, big.NewInt(7))); c != cid.Undef {
		t.Errorf("%s was pushed beside %s", c, s.Cid())
	}
	if r := must[fundsRecord](t)(f.get(ctx, a)); !r.Reserved.Equals(big.NewInt(9)) || r.Msg != nil || r.Push != uuid.Nil {
		t.Errorf("record %+v", r)
	}
}

// Amounts and addresses that are none are refused.
func TestFundsRefuseNonsense(t *testing.T) {
	n := newFixture(t, "funds").open(t)
	ctx, a := t.Context(), n.params.Miner
	var invalid *api.ErrInvalid
	more := big.Add(maxValue, big.NewInt(1))
	for name, amt := range map[string]abi.TokenAmount{"negative": big.NewInt(-1), "missing": {}, "too much": more} {
		if _, err := n.MarketReserveFunds(ctx, n.params.Faucet, a, amt); !errors.As(err, &invalid) {
			t.Errorf("reserve %s: %v", name, err)
		}
		if _, err := n.MarketWithdraw(ctx, n.params.Faucet, a, amt); !errors.As(err, &invalid) {
			t.Errorf("withdraw %s: %v", name, err)
		}
		if err := n.MarketReleaseFunds(ctx, a, amt); !errors.As(err, &invalid) {
			t.Errorf("release %s: %v", name, err)
		}
	}
	if err := checkAmount(maxValue); err != nil {
		t.Error(err)
	}
	if _, err := n.MarketGetReserved(ctx, address.Undef); !errors.As(err, &invalid) {
		t.Errorf("no address: %v", err)
	}
	stranger := must[address.Address](t)(address.NewSecp256k1Address([]byte("nobody")))
	if got := must[abi.TokenAmount](t)(n.MarketGetReserved(ctx, stranger)); !got.IsZero() {
		t.Errorf("of a stranger: %s", got)
	}
	var unknown *api.ErrActorNotFound
	if _, err := n.MarketReserveFunds(ctx, n.params.Faucet, stranger, fil(1)); !errors.As(err, &unknown) {
		t.Errorf("for a stranger: %v", err)
	}
}

// The whole way over the real actors: reserve, by any name of the account,
// release and withdraw; the balances are those of the market.
func TestFundsOverDevnet(t *testing.T) {
	n := newFixture(t, "funds").open(t)
	step(t, n, 1)
	from := funded(t, n)
	step(t, n, 3)
	ctx := t.Context()
	id := must[address.Address](t)(n.StateLookupID(ctx, from, nil))
	c := must[cid.Cid](t)(n.MarketReserveFunds(ctx, from, from, fil(2)))
	until(t, n, func() bool {
		b := must[api.MarketBalance](t)(n.StateMarketBalance(ctx, id, nil))
		return b.Escrow.Equals(fil(2))
	})
	l := must[*api.MsgLookup](t)(n.StateSearchMsg(ctx, nil, c, -1, true))
	if l == nil || l.Receipt.ExitCode != 0 {
		t.Fatalf("message %+v", l)
	}
	if got := must[abi.TokenAmount](t)(n.MarketGetReserved(ctx, id)); !got.Equals(fil(2)) {
		t.Errorf("reserved %s", got)
	}
	if err := n.MarketReleaseFunds(ctx, id, fil(1)); err != nil {
		t.Fatal(err)
	}
	type paid struct {
		c   cid.Cid
		err error
	}
	done := make(chan paid, 1)
	go func() { // it waits until the first message lies deep enough
		c, err := n.MarketWithdraw(ctx, from, id, fil(1))
		done <- paid{c, err}
	}()
	var out paid
	until(t, n, func() bool {
		select {
		case out = <-done:
			return true
		default:
			return false
		}
	})
	if out.err != nil || !out.c.Defined() {
		t.Fatalf("withdrawal %s, %v", out.c, out.err)
	}
	until(t, n, func() bool {
		b := must[api.MarketBalance](t)(n.StateMarketBalance(ctx, id, nil))
		return b.Escrow.Equals(fil(1))
	})
}
