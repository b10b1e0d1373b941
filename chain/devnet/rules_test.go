package devnet

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"quarry/api"
)

// mineOn makes the genesis miner's block on base without submitting it.
func mineOn(t *testing.T, n *Node, base *api.TipSet, epoch abi.ChainEpoch, msgs ...*api.SignedMessage) *api.BlockMsg {
	t.Helper()
	tm, err := n.genesis.prepare(t.Context(), base, epoch)
	if err != nil || tm == nil {
		t.Fatalf("no win at %d: %v", epoch, err)
	}
	c := *tm
	c.Messages = msgs
	bm, err := n.MinerCreateBlock(t.Context(), &c)
	if err != nil {
		t.Fatal(err)
	}
	return bm
}

// Two branches from one base: the heavier one becomes the head, the messages of
// the lighter one return to the pool, and everybody is told by revert and apply.
func TestReorg(t *testing.T) {
	n := newFixture(t, "one").open(t)
	step(t, n, 2)
	base := n.ledger.Head()
	c, err := n.DevnetFund(t.Context(), n.params.Worker, fil(1))
	if err != nil {
		t.Fatal(err)
	}
	step(t, n, 1)
	short := n.ledger.Head()
	if p, _ := n.MpoolPending(t.Context(), nil); len(p) != 0 {
		t.Fatal("the message was not included")
	}
	sub, err := n.ChainNotify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-sub
	// A branch over two epochs that skips the epoch of the first one.
	a := mineOn(t, n, base, base.Height+2)
	if err := n.validate(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := n.storeHeader(t.Context(), a.Header); err != nil {
		t.Fatal(err)
	}
	ta, err := api.NewTipSet([]*api.BlockHeader{a.Header})
	if err != nil {
		t.Fatal(err)
	}
	n.ledger.remember(ta)
	b := mineOn(t, n, ta, base.Height+3)
	n.moveEpoch(base.Height + 2)
	if err := n.Submit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := n.closeEpoch(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	head := n.ledger.Head()
	if head.Cids[0] != b.Header.Cid() {
		t.Fatalf("head is %v", head.Cids)
	}
	change := <-sub
	if len(change) != 3 || change[0].Type != api.HeadRevert || !change[0].Val.Equal(short) || change[1].Type != api.HeadApply ||
		!change[2].Val.Equal(head) {
		t.Fatalf("change %+v", change)
	}
	if l, err := n.StateSearchMsg(t.Context(), nil, c, -1, true); err != nil || l != nil {
		t.Fatalf("reverted message is still found: %+v, %v", l, err)
	}
	if p, _ := n.MpoolPending(t.Context(), nil); len(p) != 1 || p[0].Cid() != c {
		t.Fatalf("pool %v", p)
	}
	step(t, n, 2)
	if l, err := n.StateSearchMsg(t.Context(), nil, c, -1, true); err != nil || l == nil {
		t.Fatalf("message after the reorg: %+v, %v", l, err)
	}
	path, err := n.ChainGetPath(t.Context(), short.Key(), head.Key())
	if err != nil || len(path) != 3 {
		t.Fatalf("path %v, %v", path, err)
	}
}

func TestBlockRules(t *testing.T) {
	n := newFixture(t, "one").open(t)
	step(t, n, 3)
	head := n.ledger.Head()
	good := mineOn(t, n, head, head.Height+1)
	if err := n.validate(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(h *api.BlockHeader){
		"weight":    func(h *api.BlockHeader) { h.ParentWeight = big.Add(h.ParentWeight, big.NewInt(1)) },
		"state":     func(h *api.BlockHeader) { h.ParentStateRoot = h.ParentMessageReceipts },
		"base fee":  func(h *api.BlockHeader) { h.ParentBaseFee = big.NewInt(1) },
		"beacon":    func(h *api.BlockHeader) { h.BeaconEntries = []api.BeaconEntry{{Round: 9, Data: []byte{1}}} },
		"no beacon": func(h *api.BlockHeader) { h.BeaconEntries = nil },
		"wins": func(h *api.BlockHeader) {
			h.ElectionProof = &api.ElectionProof{WinCount: 15, VRFProof: h.ElectionProof.VRFProof}
		},
		"ticket":       func(h *api.BlockHeader) { h.Ticket = &api.Ticket{VRFProof: h.ElectionProof.VRFProof} },
		"no PoSt":      func(h *api.BlockHeader) { h.WinPoStProof = nil },
		"height":       func(h *api.BlockHeader) { h.Height-- },
		"messages":     func(h *api.BlockHeader) { h.Messages = h.ParentStateRoot },
		"no signature": func(h *api.BlockHeader) { h.BlockSig = nil },
		"no parents":   func(h *api.BlockHeader) { h.Parents = nil },
	} {
		h := *good.Header
		spoil(&h)
		if h.BlockSig != nil {
			raw, err := h.SigningBytes()
			if err != nil {
				t.Fatal(err)
			}
			if h.BlockSig, err = n.wallet.Sign(t.Context(), n.params.Worker, raw); err != nil {
				t.Fatal(err)
			}
		}
		if n.Submit(t.Context(), &api.BlockMsg{Header: &h}) == nil {
			t.Errorf("a block with wrong %s was accepted", name)
		}
	}
	for name, spoil := range map[string]func(h *api.BlockHeader){
		"weight":   func(h *api.BlockHeader) { h.ParentWeight = big.Int{} },
		"base fee": func(h *api.BlockHeader) { h.ParentBaseFee = big.Int{} },
	} {
		h := *good.Header
		spoil(&h)
		if n.Submit(t.Context(), &api.BlockMsg{Header: &h}) == nil {
			t.Errorf("a block without %s was accepted", name)
		}
	}
	step(t, n, 2)
	err := n.Submit(t.Context(), good)
	if err == nil || !strings.Contains(err.Error(), "too late") {
		t.Errorf("late block: %v", err)
	}
	future := *good.Header
	future.Height = n.Epoch() + 5
	if err := n.Submit(t.Context(), &api.BlockMsg{Header: &future}); err == nil || !strings.Contains(err.Error(), "future") {
		t.Errorf("future block: %v", err)
	}
	if n.Submit(t.Context(), nil) == nil || n.Submit(t.Context(), &api.BlockMsg{}) == nil {
		t.Error("nothing was accepted as a block")
	}
}

func TestMempoolRules(t *testing.T) {
	n := newFixture(t, "one").open(t)
	step(t, n, 1)
	faucet := n.params.Faucet
	est, err := n.GasEstimateMessageGas(t.Context(), &api.Message{To: n.params.Worker, From: faucet, Value: fil(1)}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	push := func(change func(m *api.Message)) error {
		m := *est
		change(&m)
		s, err := n.WalletSignMessage(t.Context(), faucet, &m)
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.MpoolPush(t.Context(), s)
		return err
	}
	if err := push(func(*api.Message) {}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(m *api.Message)
		want   string
	}{
		"replace too cheap": {func(m *api.Message) { m.GasPremium = big.Add(m.GasPremium, big.NewInt(1)) }, "too low GasPremium"},
		"huge gas":          {func(m *api.Message) { m.GasLimit = blockGasLimit + 1 }, "gas limit"},
		"tiny gas":          {func(m *api.Message) { m.GasLimit = 1000 }, "inclusion cost"},
		"premium over cap":  {func(m *api.Message) { m.GasPremium = big.Add(m.GasFeeCap, big.NewInt(1)) }, "premium"},
		"version":           {func(m *api.Message) { m.Version = 1 }, "version"},
		"too big":           {func(m *api.Message) { m.Params = make([]byte, 70_000) }, "too big"},
		"funds":             {func(m *api.Message) { m.Nonce, m.GasFeeCap, m.GasLimit = 1, fil(1), blockGasLimit }, "not enough funds"},
		"low cap": {func(m *api.Message) { m.Nonce, m.GasFeeCap, m.GasPremium = 1, big.NewInt(5), big.NewInt(1) },
			"fee cap too low"},
	} {
		if err := push(c.change); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := push(func(m *api.Message) { m.GasPremium = big.Mul(m.GasPremium, big.NewInt(2)) }); err != nil {
		t.Errorf("replacement: %v", err)
	}
	// A gap: nonce 2 waits for nonce 1.
	if err := push(func(m *api.Message) { m.Nonce = 2 }); err != nil {
		t.Fatal(err)
	}
	if sel, err := n.MpoolSelect(t.Context(), nil, 1); err != nil || len(sel) != 1 {
		t.Errorf("selected %d, %v", len(sel), err)
	}
	if next, err := n.MpoolGetNonce(t.Context(), faucet); err != nil || next != 1 {
		t.Errorf("next nonce %d, %v", next, err)
	}
	if err := push(func(m *api.Message) { m.Nonce = 1 }); err != nil {
		t.Fatal(err)
	}
	step(t, n, 2)
	if err := push(func(*api.Message) {}); err == nil || !strings.Contains(err.Error(), "nonce too low") {
		t.Errorf("used nonce: %v", err)
	}
}

// The wallet signs anything; a message that is not the sender's is refused.
func TestForgedMessage(t *testing.T) {
	n := newFixture(t, "one").open(t)
	est, err := n.GasEstimateMessageGas(t.Context(), &api.Message{To: n.params.Worker, From: n.params.Faucet, Value: fil(1)}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.wallet.SignMessage(t.Context(), n.params.Worker, est)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.MpoolPush(t.Context(), s); err == nil {
		t.Fatal("a forged message was accepted")
	}
}

func TestSlowReaderIsCutOff(t *testing.T) {
	n := newFixture(t, "one").open(t)
	sub, err := n.ChainNotify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ts := n.ledger.Head()
	for range notifyBuffer + 2 {
		n.notify.send(nil, []*api.TipSet{ts})
	}
	got := 0
	for range sub {
		got++
	}
	if got != notifyBuffer {
		t.Fatalf("%d changes before the cut", got)
	}
}

func TestPutObject(t *testing.T) {
	n := newFixture(t, "one").open(t)
	data := []byte("vanilla")
	c, err := cid.V1Builder{Codec: cid.Raw, MhType: 0xb220, MhLength: 32}.Sum(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.ChainPutObj(t.Context(), api.ObjBlock{Cid: c, Data: data}); err != nil {
		t.Fatal(err)
	}
	if got, err := n.ChainReadObj(t.Context(), c); err != nil || string(got) != "vanilla" {
		t.Fatalf("%q, %v", got, err)
	}
	if n.ChainPutObj(t.Context(), api.ObjBlock{Cid: c, Data: []byte("other")}) == nil {
		t.Fatal("bytes that do not fit their CID were stored")
	}
	if n.ChainPutObj(t.Context(), api.ObjBlock{Data: data}) == nil ||
		n.ChainPutObj(t.Context(), api.ObjBlock{Cid: c, Data: make([]byte, maxObject+1)}) == nil {
		t.Fatal("a block without CID or over the limit was stored")
	}
}

func TestRunStops(t *testing.T) {
	n := newFixture(t, "one").open(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	c, err := n.DevnetFund(ctx, n.params.Worker, fil(1))
	if err != nil {
		t.Fatal(err)
	}
	wctx, wcancel := context.WithTimeout(ctx, 30*time.Second)
	defer wcancel()
	l, err := n.StateWaitMsg(wctx, c, 2, -1, true)
	if err != nil || l.Receipt.ExitCode != 0 {
		t.Fatalf("wait: %+v, %v", l, err)
	}
	if _, err := n.StateGetBeaconEntry(wctx, n.Epoch()+3); err != nil {
		t.Fatal(err)
	}
	if _, err := n.StateWaitMsg(wctx, c, 901, -1, true); err == nil {
		t.Fatal("a confidence above finality was accepted")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Nobody learns the randomness of an epoch before it opens, and an absurd epoch
// costs nothing.
func TestBaseInfoWaitsForTheEpoch(t *testing.T) {
	n := newFixture(t, "one").open(t)
	step(t, n, 2)
	open := n.Epoch() + 1
	info, err := n.MinerGetBaseInfo(t.Context(), n.params.Miner, open, nil)
	if err != nil || info == nil || len(info.BeaconEntries) == 0 {
		t.Fatalf("the open epoch: %+v, %v", info, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, e := range []abi.ChainEpoch{open + 1, 1 << 40, 1<<63 - 1} {
		if info, err := n.MinerGetBaseInfo(gone, n.params.Miner, e, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("epoch %d at %d: %+v, %v", e, open, info, err)
		}
	}
	if _, err := n.MinerGetBaseInfo(t.Context(), n.params.Miner, 0, nil); err == nil {
		t.Error("an epoch that is over was answered")
	}
}
