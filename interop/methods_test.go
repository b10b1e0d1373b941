package interop

import (
	"context"
	"slices"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	lapi "github.com/filecoin-project/lotus/api"
	"github.com/filecoin-project/lotus/api/v1api"
	"github.com/filecoin-project/lotus/chain/types"
	"github.com/ipfs/go-cid"
)

// session is one devnet with everything that the parts of the test share.
type session struct {
	*recorder
	f      v1api.FullNode // over HTTP, recorded
	ws     v1api.FullNode
	ctx    context.Context
	miner  address.Address
	worker address.Address
	client address.Address // has funds
	faucet address.Address
	deal   abi.DealID
	prop   cid.Cid // of the deal
}

// Every method of a full node by Lotus's own client: its types hold all that the
// node says, and what can be found out in another way is found to be so.
func TestEveryMethod(t *testing.T) {
	d := spawn(t)
	s := &session{ws: d.node, ctx: limit(t)}
	s.f, s.recorder = d.http(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *session)
	}{
		{"wallet", walletPart}, {"chain", chainPart}, {"messages", messagePart}, {"batches", batchPart}, {"funds", fundsPart},
		{"deals", dealPart}, {"market", marketPart}, {"registry", registryPart}, {"actors", actorPart}, {"call", callPart},
		{"params", paramPart}, {"miner", minerPart}, {"sectors", sectorPart}, {"network", networkPart}, {"f3", f3Part},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, s) }) {
			return
		}
	}
	if left := s.unseen(); len(left) > 0 {
		t.Errorf("not called: %v", left)
	}
}

// wait is StateWaitMsg for a message that must succeed.
func (s *session) wait(t *testing.T, c cid.Cid) *lapi.MsgLookup {
	t.Helper()
	l, err := s.f.StateWaitMsg(s.ctx, c, 2, lapi.LookbackNoLimit, true)
	s.same(t, l, err)
	if l.Receipt.ExitCode != 0 {
		t.Fatalf("message %s: %s", c, l.Receipt.ExitCode)
	}
	return l
}

func messagePart(t *testing.T, s *session) {
	msg := &types.Message{From: s.faucet, To: s.client, Value: types.FromFil(500)}
	limit, err := s.f.GasEstimateGasLimit(s.ctx, msg, types.EmptyTSK)
	s.same(t, limit, err)
	premium, err := s.f.GasEstimateGasPremium(s.ctx, 10, s.faucet, limit, types.EmptyTSK)
	s.same(t, premium, err)
	feeCap, err := s.f.GasEstimateFeeCap(s.ctx, msg, 20, types.EmptyTSK)
	s.same(t, feeCap, err)
	full, err := s.f.GasEstimateMessageGas(s.ctx, msg, nil, types.EmptyTSK)
	if s.same(t, full, err); full.GasLimit < limit || full.GasPremium.LessThan(premium) {
		t.Errorf("estimated %+v", full)
	}
	sm, err := s.f.MpoolPushMessage(s.ctx, msg, nil)
	s.same(t, sm, err)
	pending, err := s.f.MpoolPending(s.ctx, types.EmptyTSK)
	s.same(t, pending, err)
	l := s.wait(t, sm.Cid())
	found, err := s.f.StateSearchMsg(s.ctx, types.EmptyTSK, sm.Cid(), lapi.LookbackNoLimit, true)
	if s.same(t, found, err); found.TipSet != l.TipSet {
		t.Errorf("found in %s, waited for %s", found.TipSet, l.TipSet)
	}
	got, err := s.f.ChainGetMessage(s.ctx, sm.Cid())
	if s.same(t, got, err); got.Cid() != sm.Message.Cid() {
		t.Errorf("message %s", got.Cid())
	}
	child, err := s.f.ChainGetTipSet(s.ctx, l.TipSet)
	s.same(t, child, err)
	block := child.Blocks()[0].Cid()
	parents, err := s.f.ChainGetParentMessages(s.ctx, block)
	s.same(t, parents, err)
	receipts, err := s.f.ChainGetParentReceipts(s.ctx, block)
	s.same(t, receipts, err)
	i := slices.IndexFunc(parents, func(m lapi.Message) bool { return m.Cid == sm.Cid() })
	if i < 0 || len(receipts) != len(parents) || receipts[i].GasUsed != l.Receipt.GasUsed {
		t.Errorf("%d messages, %d receipts, ours is %d", len(parents), len(receipts), i)
	}
	all, err := s.f.ChainGetMessagesInTipset(s.ctx, child.Parents())
	if s.same(t, all, err); !slices.ContainsFunc(all, func(m lapi.Message) bool { return m.Cid == sm.Cid() }) {
		t.Errorf("in the tipset: %v", all)
	}
	inBlock, err := s.f.ChainGetBlockMessages(s.ctx, child.Parents().Cids()[0])
	if s.same(t, inBlock, err); !slices.Contains(inBlock.Cids, sm.Cid()) {
		t.Errorf("in the block: %v", inBlock.Cids)
	}
	nonce, err := s.f.MpoolGetNonce(s.ctx, s.faucet)
	if s.same(t, nonce, err); nonce != sm.Message.Nonce+1 {
		t.Errorf("nonce %d after %d", nonce, sm.Message.Nonce)
	}
}

// signed signs the n-th message of a batch from the client.
func (s *session) signed(t *testing.T, nonce uint64) *types.SignedMessage {
	t.Helper()
	sm, err := s.f.WalletSignMessage(s.ctx, s.client, &types.Message{
		From:       s.client,
		To:         s.faucet,
		Value:      types.NewInt(1),
		Nonce:      nonce,
		GasLimit:   5_000_000,
		GasFeeCap:  types.NewInt(1_000_000),
		GasPremium: types.NewInt(1000),
	})
	s.same(t, sm, err)
	return sm
}

func batchPart(t *testing.T, s *session) {
	sub, err := s.ws.MpoolSub(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.mark("MpoolSub")
	two := func() []*types.Message {
		return []*types.Message{{From: s.client, To: s.faucet, Value: types.NewInt(1)},
			{From: s.client, To: s.faucet, Value: types.NewInt(2)}}
	}
	out, err := s.f.MpoolBatchPushMessage(s.ctx, two(), nil)
	if s.same(t, out, err); len(out) != 2 || out[0].Message.Nonce != 0 || out[1].Message.Nonce != 1 {
		t.Fatalf("pushed %v", out)
	}
	one, err := s.f.MpoolPush(s.ctx, s.signed(t, 2))
	s.same(t, one, err)
	cids, err := s.f.MpoolBatchPush(s.ctx, []*types.SignedMessage{s.signed(t, 3), s.signed(t, 4)})
	if s.same(t, cids, err); len(cids) != 2 {
		t.Fatalf("pushed %v", cids)
	}
	want := []cid.Cid{out[0].Cid(), out[1].Cid(), one, cids[0], cids[1]}
	added, removed := 0, 0
	for added < len(want) || removed < len(want) {
		u, ok := <-sub
		switch {
		case !ok:
			t.Fatal("the subscription ended")
		case u.Type == lapi.MpoolAdd && u.Message.Cid() == want[added]:
			added++
		case u.Type == lapi.MpoolRemove && slices.Contains(want, u.Message.Cid()):
			removed++
		default:
			t.Fatalf("%d %s after %d and %d", u.Type, u.Message.Cid(), added, removed)
		}
	}
	s.wait(t, cids[1])
	sel, err := s.f.MpoolSelect(s.ctx, types.EmptyTSK, 0.5)
	s.same(t, sel, err)
	cfg, err := s.f.MpoolGetConfig(s.ctx)
	s.same(t, cfg, err)
	// As messagepool.DefaultConfig of Lotus, but for the pruning.
	if cfg.GasLimitOverestimation != 1.25 || cfg.SizeLimitHigh != 30_000 || cfg.ReplaceByFeeRatio != 125 || cfg.PriorityAddrs != nil {
		t.Errorf("rules %+v", cfg)
	}
}
