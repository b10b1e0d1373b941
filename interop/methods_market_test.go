package interop

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	market18 "github.com/filecoin-project/go-state-types/builtin/v18/market"
	verifreg18 "github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	verifreg9 "github.com/filecoin-project/go-state-types/builtin/v9/verifreg"
	"github.com/filecoin-project/lotus/chain/types"
	"github.com/ipfs/go-cid"
)

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
