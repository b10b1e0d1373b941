package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	market18 "github.com/filecoin-project/go-state-types/builtin/v18/market"
	power18 "github.com/filecoin-project/go-state-types/builtin/v18/power"
	verifreg18 "github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	verifreg9 "github.com/filecoin-project/go-state-types/builtin/v9/verifreg"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/network"
	lapi "github.com/filecoin-project/lotus/api"
	"github.com/filecoin-project/lotus/api/v1api"
	"github.com/filecoin-project/lotus/blockstore"
	minertypes "github.com/filecoin-project/lotus/chain/actors/builtin/miner"
	"github.com/filecoin-project/lotus/chain/state"
	"github.com/filecoin-project/lotus/chain/types"
	"github.com/ipfs/go-cid"
	cbor "github.com/ipfs/go-ipld-cbor"
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

func walletPart(t *testing.T, s *session) {
	var err error
	s.faucet, err = s.f.WalletDefaultAddress(s.ctx)
	s.same(t, s.faucet, err)
	s.client, err = s.f.WalletNew(s.ctx, types.KTSecp256k1)
	s.same(t, s.client, err)
	has, err := s.f.WalletHas(s.ctx, s.client)
	s.same(t, has, err)
	list, err := s.f.WalletList(s.ctx)
	s.same(t, list, err)
	if !has || !slices.Contains(list, s.client) {
		t.Errorf("the new key is not in %v", list)
	}
	sig, err := s.f.WalletSign(s.ctx, s.client, []byte("x"))
	s.same(t, sig, err)
	for text, want := range map[string]bool{"x": true, "y": false} {
		ok, err := s.f.WalletVerify(s.ctx, s.client, []byte(text), sig)
		if s.same(t, ok, err); ok != want {
			t.Errorf("signature over %s: %v", text, ok)
		}
	}
	key, err := s.f.WalletExport(s.ctx, s.client)
	s.same(t, key, err)
	if err := s.f.WalletDelete(s.ctx, s.client); err != nil {
		t.Fatal(err)
	}
	again, err := s.f.WalletImport(s.ctx, key)
	if s.same(t, again, err); again != s.client {
		t.Errorf("imported %s", again)
	}
	if err := s.f.WalletSetDefault(s.ctx, s.faucet); err != nil {
		t.Fatal(err)
	}
	balance, err := s.f.WalletBalance(s.ctx, s.client)
	if s.same(t, balance, err); !balance.IsZero() {
		t.Errorf("balance %s", balance)
	}
	valid, err := s.f.WalletValidateAddress(s.ctx, s.client.String())
	if s.same(t, valid, err); valid != s.client {
		t.Errorf("address %s", valid)
	}
	if _, err := s.f.WalletValidateAddress(s.ctx, "t1abc"); err == nil {
		t.Error("t1abc is an address")
	}
}

func chainPart(t *testing.T, s *session) {
	head, err := s.f.ChainHead(s.ctx)
	s.same(t, head, err)
	ts, err := s.f.ChainGetTipSet(s.ctx, head.Key())
	if s.same(t, ts, err); !ts.Equals(head) {
		t.Errorf("%s is not %s", ts, head)
	}
	for _, get := range []func(context.Context, abi.ChainEpoch, types.TipSetKey) (*types.TipSet, error){
		s.f.ChainGetTipSetByHeight, s.f.ChainGetTipSetAfterHeight,
	} {
		ts, err = get(s.ctx, head.Height(), head.Key())
		if s.same(t, ts, err); !ts.Equals(head) {
			t.Errorf("%s is not %s", ts, head)
		}
	}
	first, err := s.f.ChainGetGenesis(s.ctx)
	s.same(t, first, err)
	final, err := s.f.ChainGetFinalizedTipSet(s.ctx)
	if s.same(t, final, err); !final.Equals(first) {
		t.Errorf("final is %s", final)
	}
	path, err := s.f.ChainGetPath(s.ctx, first.Key(), head.Key())
	if s.same(t, path, err); len(path) > 0 && (path[len(path)-1].Type != "apply" || !path[len(path)-1].Val.Equals(head)) {
		t.Errorf("the path does not end at the head: %v", path)
	}
	block := head.Blocks()[0]
	header, err := s.f.ChainGetBlock(s.ctx, block.Cid())
	s.same(t, header, err)
	raw, err := s.f.ChainReadObj(s.ctx, block.Cid())
	s.same(t, raw, err)
	if want, err := block.Serialize(); err != nil || !bytes.Equal(want, raw) {
		t.Errorf("block is %x, Lotus writes %x, %v", raw, want, err)
	}
	has, err := s.f.ChainHasObj(s.ctx, block.Cid())
	if s.same(t, has, err); !has {
		t.Error("the node does not have its block")
	}
	weight, err := s.f.ChainTipSetWeight(s.ctx, head.Key())
	if s.same(t, weight, err); weight.LessThan(block.ParentWeight) {
		t.Errorf("weight %s, parent %s", weight, block.ParentWeight)
	}
	sub, err := s.ws.ChainNotify(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if first := <-sub; len(first) != 1 || first[0].Type != "current" {
		t.Errorf("first %v", first)
	}
	s.mark("ChainNotify")
	sync, err := s.f.SyncState(s.ctx)
	if s.same(t, sync, err); len(sync.ActiveSyncs) != 1 || sync.ActiveSyncs[0].Stage != lapi.StageSyncComplete {
		t.Errorf("sync %+v", sync)
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
		return []*types.Message{{From: s.client, To: s.faucet, Value: types.NewInt(1)}, {From: s.client, To: s.faucet, Value: types.NewInt(2)}}
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

func fundsPart(t *testing.T, s *session) {
	c, err := s.f.MarketAddBalance(s.ctx, s.client, s.client, types.FromFil(10))
	s.same(t, c, err)
	s.wait(t, c)
	c, err = s.f.MarketReserveFunds(s.ctx, s.client, s.client, types.FromFil(8))
	if s.same(t, c, err); c.Defined() {
		t.Errorf("%s adds to an escrow that is enough", c)
	}
	c, err = s.f.MarketReserveFunds(s.ctx, s.client, s.client, types.FromFil(4))
	s.same(t, c, err)
	s.wait(t, c)
	reserved, err := s.f.MarketGetReserved(s.ctx, s.client)
	if s.same(t, reserved, err); !reserved.Equals(types.FromFil(12)) {
		t.Errorf("reserved %s", reserved)
	}
	balance, err := s.f.StateMarketBalance(s.ctx, s.client, types.EmptyTSK)
	if s.same(t, balance, err); !balance.Escrow.Equals(types.FromFil(12)) || !balance.Locked.IsZero() {
		t.Errorf("balance %+v", balance)
	}
	if _, err := s.f.MarketWithdraw(s.ctx, s.client, s.client, types.FromFil(1)); err == nil {
		t.Error("what is reserved was withdrawn")
	}
	if err := s.f.MarketReleaseFunds(s.ctx, s.client, types.FromFil(5)); err != nil {
		t.Fatal(err)
	}
	c, err = s.f.MarketWithdraw(s.ctx, s.client, s.client, types.FromFil(5))
	s.same(t, c, err)
	s.wait(t, c)
	balance, err = s.f.StateMarketBalance(s.ctx, s.client, types.EmptyTSK)
	if s.same(t, balance, err); !balance.Escrow.Equals(types.FromFil(7)) {
		t.Errorf("balance %+v", balance)
	}
}

// dealPart publishes a deal as a provider does.
func dealPart(t *testing.T, s *session) {
	var err error
	s.miner, err = address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	mi, err := s.f.StateMinerInfo(s.ctx, s.miner, types.EmptyTSK)
	s.same(t, mi, err)
	s.worker, err = s.f.StateAccountKey(s.ctx, mi.Worker, types.EmptyTSK)
	s.same(t, s.worker, err)
	sm, err := s.f.MpoolPushMessage(s.ctx, &types.Message{From: s.faucet, To: s.worker, Value: types.FromFil(100)}, nil)
	s.same(t, sm, err)
	s.wait(t, sm.Cid())
	c, err := s.f.MarketAddBalance(s.ctx, s.worker, s.miner, types.FromFil(10))
	s.same(t, c, err)
	s.wait(t, c)
	bounds, err := s.f.StateDealProviderCollateralBounds(s.ctx, 2048, false, types.EmptyTSK)
	s.same(t, bounds, err)
	head, err := s.f.ChainHead(s.ctx)
	s.same(t, head, err)
	id, err := s.f.StateLookupID(s.ctx, s.client, types.EmptyTSK)
	s.same(t, id, err)
	label, err := market18.NewLabelFromString("a label <&> \u00e9")
	if err != nil {
		t.Fatal(err)
	}
	p := market18.DealProposal{
		PieceCID:             cid.MustParse("baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq"),
		PieceSize:            2048,
		Client:               id,
		Provider:             s.miner,
		Label:                label,
		StartEpoch:           head.Height() + 20_000,
		EndEpoch:             head.Height() + 20_000 + 180*builtin.EpochsInDay,
		StoragePricePerEpoch: big.NewInt(1),
		ProviderCollateral:   bounds.Min,
		ClientCollateral:     big.Zero(),
	}
	var raw, params bytes.Buffer
	if err := p.MarshalCBOR(&raw); err != nil {
		t.Fatal(err)
	}
	sig, err := s.f.WalletSign(s.ctx, s.client, raw.Bytes())
	s.same(t, sig, err)
	deals := market18.PublishStorageDealsParams{Deals: []market18.ClientDealProposal{{Proposal: p, ClientSignature: *sig}}}
	if err := deals.MarshalCBOR(&params); err != nil {
		t.Fatal(err)
	}
	sm, err = s.f.MpoolPushMessage(s.ctx, &types.Message{
		From:   s.worker,
		To:     builtin.StorageMarketActorAddr,
		Method: builtin.MethodsMarket.PublishStorageDeals,
		Params: params.Bytes(),
	}, nil)
	s.same(t, sm, err)
	l := s.wait(t, sm.Cid())
	var ret market18.PublishStorageDealsReturn
	if err := ret.UnmarshalCBOR(bytes.NewReader(l.Receipt.Return)); err != nil || len(ret.IDs) != 1 {
		t.Fatalf("published %+v, %v", ret, err)
	}
	dec, err := json.Marshal(l.ReturnDec)
	if want, _ := json.Marshal(ret); err != nil || !bytes.Equal(plainly(t, want), plainly(t, dec)) {
		t.Errorf("decoded %s, want %s", dec, want)
	}
	s.deal = ret.IDs[0]
	if s.prop, err = p.Cid(); err != nil {
		t.Fatal(err)
	}
}

func marketPart(t *testing.T, s *session) {
	all, err := s.f.StateMarketDeals(s.ctx, types.EmptyTSK)
	if s.same(t, all, err); len(all) != 1 {
		t.Fatalf("deals %v", all)
	}
	one, err := s.f.StateMarketStorageDeal(s.ctx, s.deal, types.EmptyTSK)
	s.same(t, one, err)
	if got, err := one.Proposal.Cid(); err != nil || got != s.prop || one.State.SectorStartEpoch != -1 {
		t.Errorf("deal %+v, its proposal is %s, %v", one, s.prop, err)
	}
	a, _ := json.Marshal(one)
	if b, _ := json.Marshal(all["0"]); !bytes.Equal(a, b) {
		t.Errorf("alone %s, in the list %s", a, b)
	}
	for c, want := range map[cid.Cid]bool{s.prop: true, one.Proposal.PieceCID: false} {
		pending, err := s.f.StateMarketProposalPending(s.ctx, c, types.EmptyTSK)
		if s.same(t, pending, err); pending != want {
			t.Errorf("%s is pending: %v", c, pending)
		}
	}
}

func registryPart(t *testing.T, s *session) {
	left, err := s.f.StateVerifiedClientStatus(s.ctx, s.client, types.EmptyTSK)
	s.same(t, left, err)
	verifier, err := s.f.StateVerifierStatus(s.ctx, s.client, types.EmptyTSK)
	s.same(t, verifier, err)
	alloc, err := s.f.StateGetAllocation(s.ctx, s.client, 1, types.EmptyTSK)
	s.same(t, alloc, err)
	pending, err := s.f.StateGetAllocationForPendingDeal(s.ctx, s.deal, types.EmptyTSK)
	s.same(t, pending, err)
	claim, err := s.f.StateGetClaim(s.ctx, s.miner, 1, types.EmptyTSK)
	s.same(t, claim, err)
	if left != nil || verifier != nil || alloc != nil || pending != nil || claim != nil {
		t.Errorf("%v %v %v %v %v", left, verifier, alloc, pending, claim)
	}
	id, err := s.f.StateGetAllocationIdForPendingDeal(s.ctx, s.deal, types.EmptyTSK)
	if s.same(t, id, err); id != 0 {
		t.Errorf("allocation %d", id)
	}
	allocs, err := s.f.StateGetAllocations(s.ctx, s.client, types.EmptyTSK)
	s.same(t, allocs, err)
	allAllocs, err := s.f.StateGetAllAllocations(s.ctx, types.EmptyTSK)
	s.same(t, allAllocs, err)
	claims, err := s.f.StateGetClaims(s.ctx, s.miner, types.EmptyTSK)
	s.same(t, claims, err)
	allClaims, err := s.f.StateGetAllClaims(s.ctx, types.EmptyTSK)
	s.same(t, allClaims, err)
	if len(allocs)+len(allAllocs)+len(claims)+len(allClaims) != 0 {
		t.Errorf("%v %v %v %v", allocs, allAllocs, claims, allClaims)
	}
}

// Rows of the registry, which the devnet has none of, are written as Lotus reads
// them.
func TestRegistryRows(t *testing.T) {
	piece := cid.MustParse("baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq")
	ours := map[verifreg18.AllocationId]verifreg18.Allocation{1<<53 + 1: {
		Client:     1,
		Provider:   2,
		Data:       piece,
		Size:       3,
		TermMin:    4,
		TermMax:    5,
		Expiration: 6,
	}}
	claims := map[verifreg18.ClaimId]verifreg18.Claim{7: {
		Provider:  1,
		Client:    2,
		Data:      piece,
		Size:      3,
		TermMin:   4,
		TermMax:   5,
		TermStart: 6,
		Sector:    7,
	}}
	for _, c := range []struct{ ours, lotus any }{
		{ours, &map[verifreg9.AllocationId]verifreg9.Allocation{}}, {claims, &map[verifreg9.ClaimId]verifreg9.Claim{}},
	} {
		raw, err := json.Marshal(c.ours)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, c.lotus); err != nil {
			t.Fatal(err)
		}
		if back, err := json.Marshal(c.lotus); err != nil || !bytes.Equal(back, raw) {
			t.Errorf("%s became %s, %v", raw, back, err)
		}
	}
}

// actorPart reads the state tree block by block with Lotus's code: the node must
// have said the same.
func actorPart(t *testing.T, s *session) {
	head, err := s.f.ChainHead(s.ctx)
	s.same(t, head, err)
	list, err := s.f.StateListActors(s.ctx, head.Key())
	s.same(t, list, err)
	tree, err := state.LoadStateTree(cbor.NewCborStore(blockstore.NewAPIBlockstore(s.f)), head.ParentState())
	if err != nil {
		t.Fatal(err)
	}
	want := map[address.Address]*types.Actor{}
	if err := tree.ForEach(func(a address.Address, act *types.Actor) error { want[a] = act; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(list) != len(want) || len(list) < 10 {
		t.Errorf("%d actors, Lotus counts %d", len(list), len(want))
	}
	for _, a := range list {
		if want[a] == nil {
			t.Fatalf("%s is not in the tree", a)
		}
	}
	for _, a := range []address.Address{s.miner, builtin.StorageMarketActorAddr, list[0]} {
		act, err := s.f.StateGetActor(s.ctx, a, head.Key())
		w := want[a]
		if s.same(t, act, err); act.Code != w.Code || act.Head != w.Head || act.Nonce != w.Nonce || !act.Balance.Equals(w.Balance) {
			t.Errorf("%s is %+v, Lotus reads %+v", a, act, want[a])
		}
		st, err := s.f.StateReadState(s.ctx, a, head.Key())
		s.same(t, st, err)
	}
	if _, err := s.f.StateLookupID(s.ctx, unknown(t), types.EmptyTSK); !errors.As(err, new(*lapi.ErrActorNotFound)) {
		t.Errorf("a stranger: %v", err)
	}
}

func unknown(t *testing.T) address.Address {
	t.Helper()
	a, err := address.NewSecp256k1Address([]byte("nobody"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func callPart(t *testing.T, s *session) {
	deposit, err := s.f.StateMinerCreationDeposit(s.ctx, types.EmptyTSK)
	s.same(t, deposit, err)
	var params bytes.Buffer
	if err := (&power18.CreateMinerParams{
		Owner:               s.client,
		Worker:              s.worker, // a BLS key, as it must be
		WindowPoStProofType: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1,
		Peer:                abi.PeerID("p"),
	}).MarshalCBOR(&params); err != nil {
		t.Fatal(err)
	}
	msg := &types.Message{
		From:   s.client,
		To:     builtin.StoragePowerActorAddr,
		Value:  types.BigMul(deposit, types.NewInt(2)),
		Method: builtin.MethodsPower.CreateMiner,
		Params: params.Bytes(),
	}
	res, err := s.f.StateCall(s.ctx, msg, types.EmptyTSK)
	s.same(t, res, err)
	if res.MsgRct.ExitCode != 0 || res.Error != "" || res.MsgCid != res.Msg.Cid() || res.Duration <= 0 {
		t.Errorf("call %+v", res)
	}
	tr := res.ExecutionTrace
	if tr.Msg.Method != 2 || tr.InvokedActor.Id != 4 || len(tr.Subcalls) == 0 || !bytes.Equal(tr.MsgRct.Return, res.MsgRct.Return) {
		t.Errorf("trace %+v", tr)
	}
	var total func(types.ExecutionTrace) (int64, int64)
	total = func(x types.ExecutionTrace) (gas, calls int64) {
		gas, calls = x.SumGas().TotalGas, 1
		for _, sub := range x.Subcalls {
			g, n := total(sub)
			gas, calls = gas+g, calls+n
		}
		return gas, calls
	}
	if gas, calls := total(tr); gas > res.MsgRct.GasUsed || gas < res.MsgRct.GasUsed-calls {
		t.Errorf("%d calls of %d gas, the receipt says %d", calls, gas, res.MsgRct.GasUsed)
	}
	bad := *msg
	bad.Params = nil
	res, err = s.f.StateCall(s.ctx, &bad, types.EmptyTSK)
	if s.same(t, res, err); res.MsgRct.ExitCode == 0 || res.Error == "" {
		t.Errorf("without parameters: %+v", res)
	}
}

func paramPart(t *testing.T, s *session) {
	p := &market18.WithdrawBalanceParams{ProviderOrClientAddress: s.miner, Amount: big.NewInt(7)}
	var raw bytes.Buffer
	if err := p.MarshalCBOR(&raw); err != nil {
		t.Fatal(err)
	}
	method := builtin.MethodsMarket.WithdrawBalance
	got, err := s.f.StateDecodeParams(s.ctx, builtin.StorageMarketActorAddr, method, raw.Bytes(), types.EmptyTSK)
	s.same(t, got, err)
	text, err := json.Marshal(got)
	if want, _ := json.Marshal(p); err != nil || !bytes.Equal(plainly(t, want), plainly(t, text)) {
		t.Errorf("decoded %s, want %s", text, want)
	}
	codes, err := s.f.StateActorCodeCIDs(s.ctx, network.Version28)
	s.same(t, codes, err)
	back, err := s.f.StateEncodeParams(s.ctx, codes["storagemarket"], method, text)
	if s.same(t, back, err); !bytes.Equal(back, raw.Bytes()) {
		t.Errorf("encoded %x, want %x", back, raw.Bytes())
	}
	act, err := s.f.StateGetActor(s.ctx, builtin.StorageMarketActorAddr, types.EmptyTSK)
	if s.same(t, act, err); act.Code != codes["storagemarket"] {
		t.Errorf("the market is %s", act.Code)
	}
	list, err := s.f.StateActorManifestCID(s.ctx, network.Version28)
	if s.same(t, list, err); !list.Defined() {
		t.Error("no manifest")
	}
}

// plainly is JSON with its fields in one order.
func plainly(t *testing.T, raw []byte) []byte {
	t.Helper()
	out, err := json.Marshal(plain(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func minerPart(t *testing.T, s *session) {
	key := types.EmptyTSK
	pow, err := s.f.StateMinerPower(s.ctx, s.miner, key)
	s.same(t, pow, err)
	dl, err := s.f.StateMinerProvingDeadline(s.ctx, s.miner, key)
	s.same(t, dl, err)
	dls, err := s.f.StateMinerDeadlines(s.ctx, s.miner, key)
	if s.same(t, dls, err); len(dls) != 48 {
		t.Errorf("%d deadlines", len(dls))
	}
	sectors, err := s.f.StateMinerSectors(s.ctx, s.miner, nil, key)
	s.same(t, sectors, err)
	active, err := s.f.StateMinerActiveSectors(s.ctx, s.miner, key)
	if s.same(t, active, err); len(active) != 2 || len(sectors) != 2 {
		t.Errorf("%d sectors, %d active", len(sectors), len(active))
	}
	faults, err := s.f.StateMinerFaults(s.ctx, s.miner, key)
	s.same(t, faults, err)
	recoveries, err := s.f.StateMinerRecoveries(s.ctx, s.miner, key)
	s.same(t, recoveries, err)
	count, err := s.f.StateMinerSectorCount(s.ctx, s.miner, key)
	if s.same(t, count, err); count != (lapi.MinerSectors{Live: 2, Active: 2}) {
		t.Errorf("count %+v", count)
	}
	free, err := s.f.StateMinerAvailableBalance(s.ctx, s.miner, key)
	s.same(t, free, err)
	taken, err := s.f.StateMinerAllocated(s.ctx, s.miner, key)
	s.same(t, taken, err)
	if n, err := taken.Count(); err != nil || n != 2 {
		t.Errorf("%d numbers are taken, %v", n, err)
	}
	for _, sec := range sectors {
		is, err := s.f.StateMinerSectorAllocated(s.ctx, s.miner, sec.SectorNumber, key)
		s.same(t, is, err)
		if in, err := taken.IsSet(uint64(sec.SectorNumber)); !is || !in || err != nil {
			t.Errorf("sector %d: %v, %v, %v", sec.SectorNumber, is, in, err)
		}
	}
	miners, err := s.f.StateListMiners(s.ctx, key)
	if s.same(t, miners, err); len(miners) != 1 || miners[0] != s.miner {
		t.Errorf("miners %v", miners)
	}
	head, err := s.f.ChainHead(s.ctx)
	s.same(t, head, err)
	base, err := s.f.MinerGetBaseInfo(s.ctx, s.miner, head.Height()+1, head.Key())
	s.same(t, base, err)
	entry, err := s.f.StateGetBeaconEntry(s.ctx, head.Height())
	s.same(t, entry, err)
	for _, draw := range []func(context.Context, crypto.DomainSeparationTag, abi.ChainEpoch, []byte, types.TipSetKey) (abi.Randomness, error){
		s.f.StateGetRandomnessFromTickets, s.f.StateGetRandomnessFromBeacon,
	} {
		r, err := draw(s.ctx, crypto.DomainSeparationTag_SealRandomness, head.Height(), []byte("e"), head.Key())
		if s.same(t, r, err); len(r) != 32 {
			t.Errorf("randomness %x", r)
		}
	}
}

func sectorPart(t *testing.T, s *session) {
	key := types.EmptyTSK
	sectors, err := s.f.StateMinerSectors(s.ctx, s.miner, nil, key)
	s.same(t, sectors, err)
	n := sectors[0].SectorNumber
	info, err := s.f.StateSectorGetInfo(s.ctx, s.miner, n, key)
	if s.same(t, info, err); info.SealedCID != sectors[0].SealedCID {
		t.Errorf("sector %+v", info)
	}
	exp, err := s.f.StateSectorExpiration(s.ctx, s.miner, n, key)
	s.same(t, exp, err)
	at, err := s.f.StateSectorPartition(s.ctx, s.miner, n, key)
	s.same(t, at, err)
	parts, err := s.f.StateMinerPartitions(s.ctx, s.miner, at.Deadline, key)
	s.same(t, parts, err)
	pre, err := s.f.StateSectorPreCommitInfo(s.ctx, s.miner, n, key)
	if s.same(t, pre, err); pre != nil {
		t.Errorf("pre-commit %+v", pre)
	}
	head, err := s.f.ChainHead(s.ctx)
	s.same(t, head, err)
	pci := minertypes.SectorPreCommitInfo{
		SealProof:  abi.RegisteredSealProof_StackedDrg2KiBV1_1,
		SealedCID:  info.SealedCID,
		Expiration: head.Height() + 600_000,
	}
	deposit, err := s.f.StateMinerPreCommitDepositForPower(s.ctx, s.miner, pci, head.Key())
	s.same(t, deposit, err)
	pledge, err := s.f.StateMinerInitialPledgeCollateral(s.ctx, s.miner, pci, head.Key())
	s.same(t, pledge, err)
	same, err := s.f.StateMinerInitialPledgeForSector(s.ctx, 600_000, 2048, 0, head.Key())
	if s.same(t, same, err); !same.Equals(pledge) || pledge.IsZero() {
		t.Errorf("pledge %s, by its size %s", pledge, same)
	}
	pci.DealIDs = []abi.DealID{77}
	if _, err := s.f.StateMinerInitialPledgeCollateral(s.ctx, s.miner, pci, head.Key()); err == nil {
		t.Error("a deal that does not exist has a pledge")
	}
}

func networkPart(t *testing.T, s *session) {
	name, err := s.f.StateNetworkName(s.ctx)
	s.same(t, name, err)
	version, err := s.f.StateNetworkVersion(s.ctx, types.EmptyTSK)
	if s.same(t, version, err); version != network.Version28 {
		t.Errorf("version %d", version)
	}
	params, err := s.f.StateGetNetworkParams(s.ctx)
	if s.same(t, params, err); string(params.NetworkName) != string(name) || params.BlockDelaySecs != 1 {
		t.Errorf("network %+v", params)
	}
	if f := params.ForkUpgradeParams; f.UpgradeSmokeHeight >= 0 || f.UpgradeFireHorseHeight >= 0 || f.UpgradeXxHeight < 1<<40 {
		t.Errorf("upgrades %+v", f)
	}
	supply, err := s.f.StateCirculatingSupply(s.ctx, types.EmptyTSK)
	s.same(t, supply, err)
	parts, err := s.f.StateVMCirculatingSupplyInternal(s.ctx, types.EmptyTSK)
	s.same(t, parts, err)
	if sum := big.Sub(big.Sub(big.Add(parts.FilVested, parts.FilMined), parts.FilBurnt), parts.FilLocked); !sum.Equals(parts.FilCirculating) {
		t.Errorf("supply %+v", parts)
	}
	id, err := s.f.ID(s.ctx)
	if s.same(t, id, err); id.Validate() != nil {
		t.Errorf("id %s", id)
	}
	if pub, err := id.ExtractPublicKey(); err != nil || pub == nil {
		t.Errorf("id %s: %v", id, err)
	}
	peers, err := s.f.NetPeers(s.ctx)
	if s.same(t, peers, err); len(peers) != 0 {
		t.Errorf("peers %v", peers)
	}
	traffic, err := s.f.NetBandwidthStats(s.ctx)
	s.same(t, traffic, err)
	nat, err := s.f.NetAutoNatStatus(s.ctx)
	s.same(t, nat, err)
}

// f3Part: the errors are those that a miner of Lotus stops its participation for.
func f3Part(t *testing.T, s *session) {
	_, running := s.f.F3IsRunning(s.ctx)
	_, cert := s.f.F3GetLatestCertificate(s.ctx)
	_, list := s.f.F3GetManifest(s.ctx)
	_, progress := s.f.F3GetProgress(s.ctx)
	_, ticket := s.f.F3GetOrRenewParticipationTicket(s.ctx, s.miner, nil, 5)
	_, part := s.f.F3Participate(s.ctx, lapi.F3ParticipationTicket("x"))
	for _, err := range []error{running, cert, list, progress, ticket, part} {
		if !errors.Is(err, lapi.ErrF3Disabled) {
			t.Errorf("got %T %v", err, err)
		}
	}
}
