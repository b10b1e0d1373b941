package devnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/util/adt"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
	"quarry/chain/fvm/state"
)

var somePiece = cid.MustParse("baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq")

func someDeal(t testing.TB, i int) *market.DealProposal {
	t.Helper()
	label := must[market.DealLabel](t)(market.NewLabelFromString(fmt.Sprintf("deal %d", i)))
	return &market.DealProposal{
		PieceCID:             somePiece,
		PieceSize:            2048,
		Client:               idAddr(t, 100),
		Provider:             idAddr(t, 1000),
		Label:                label,
		StartEpoch:           abi.ChainEpoch(1000 + i),
		EndEpoch:             600_000,
		StoragePricePerEpoch: big.NewInt(int64(i)),
		ProviderCollateral:   big.Zero(),
		ClientCollateral:     big.Zero(),
	}
}

// deals puts count proposals into the market; every third has a sector.
func deals(t testing.TB, v *view, count int) {
	t.Helper()
	editMarket(t, v, func(st *market.State) {
		props := must[*adt.Array](t)(adt.MakeEmptyArray(v.store, market.ProposalsAmtBitwidth))
		states := must[*adt.Array](t)(adt.MakeEmptyArray(v.store, market.StatesAmtBitwidth))
		for i := range count {
			if err := props.Set(uint64(i), someDeal(t, i)); err != nil {
				t.Fatal(err)
			}
			if i%3 != 0 {
				continue
			}
			ds := market.DealState{SectorNumber: abi.SectorNumber(i), SectorStartEpoch: 7, LastUpdatedEpoch: -1, SlashEpoch: -1}
			if err := states.Set(uint64(i), &ds); err != nil {
				t.Fatal(err)
			}
		}
		st.Proposals, st.States = rootOf(t, props), rootOf(t, states)
	})
}

// Ten thousand deals and actors are listed in time, in an answer of some MiB, each
// as the call for a single one has it.
func TestListsOfTenThousand(t *testing.T) {
	const count = 10_000
	n := newFixture(t, "lists").open(t)
	before := must[[]address.Address](t)(n.StateListActors(t.Context(), nil))
	key := withState(t, n, func(v *view) {
		deals(t, v, count)
		code := must[*state.Actor](t)(v.actor(t.Context(), builtin.BurntFundsActorAddr)).Code
		for i := range count {
			act := &state.Actor{Code: code, Head: state.EmptyArrayHead, Balance: big.NewInt(1)}
			if err := v.tree.SetActor(abi.ActorID(50_000+i), act); err != nil {
				t.Fatal(err)
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	actors := must[[]address.Address](t)(n.StateListActors(ctx, key))
	seen := map[address.Address]bool{}
	for _, a := range actors {
		seen[a] = true
	}
	if len(actors) != len(before)+count || len(seen) != len(actors) || !seen[idAddr(t, 50_000)] || !seen[idAddr(t, 50_000+count-1)] {
		t.Errorf("%d actors, %d of them different, want %d", len(actors), len(seen), len(before)+count)
	}
	all := must[map[string]*api.MarketDeal](t)(n.StateMarketDeals(ctx, key))
	if len(all) != count {
		t.Fatalf("%d deals", len(all))
	}
	for _, id := range []abi.DealID{0, 1, 2, 3, count - 1} {
		one := must[*api.MarketDeal](t)(n.StateMarketStorageDeal(ctx, id, key))
		a, b := must[[]byte](t)(json.Marshal(one)), must[[]byte](t)(json.Marshal(all[fmt.Sprint(id)]))
		if string(a) != string(b) || all[fmt.Sprint(id)].Proposal.StartEpoch != abi.ChainEpoch(1000+int(id)) {
			t.Errorf("deal %d is %s alone and %s in the list", id, a, b)
		}
	}
	if s := all["1"].State; s != (api.MarketDealState{SectorStartEpoch: -1, LastUpdatedEpoch: -1, SlashEpoch: -1}) {
		t.Errorf("state of a deal without a sector: %+v", s)
	}
	if s := all["3"].State; s != (api.MarketDealState{SectorNumber: 3, SectorStartEpoch: 7, LastUpdatedEpoch: -1, SlashEpoch: -1}) {
		t.Errorf("state of a deal with a sector: %+v", s)
	}
	if raw := must[[]byte](t)(json.Marshal(all)); len(raw) > 16<<20 {
		t.Errorf("the answer has %d bytes", len(raw))
	}
}

// Two lists are made at a time; a third waits, and goes when its caller does.
func TestListsTakeTurns(t *testing.T) {
	n := newFixture(t, "lists").open(t)
	var done []func()
	for range listSlots {
		done = append(done, must[func()](t)(n.listing(t.Context())))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"actors":      func() error { _, err := n.StateListActors(ctx, nil); return err },
		"deals":       func() error { _, err := n.StateMarketDeals(ctx, nil); return err },
		"allocations": func() error { _, err := n.StateGetAllAllocations(ctx, nil); return err },
		"claims":      func() error { _, err := n.StateGetAllClaims(ctx, nil); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s beside %d others: %v", name, listSlots, err)
		}
	}
	done[0]()
	if _, err := n.StateListActors(t.Context(), nil); err != nil {
		t.Error(err)
	}
	done[1]()
	for range listSlots { // every list gave its slot back
		done = append(done, must[func()](t)(n.listing(t.Context())))
	}
}

// A proposal is pending while it is in the set of the market.
func TestProposalPending(t *testing.T) {
	n := newFixture(t, "lists").open(t)
	proposal := must[cid.Cid](t)(cborSum([]byte("a proposal")))
	key := withState(t, n, func(v *view) {
		editMarket(t, v, func(st *market.State) {
			set := must[*adt.Set](t)(adt.AsSet(v.store, st.PendingProposals, builtin.DefaultHamtBitwidth))
			if err := set.Put(abi.CidKey(proposal)); err != nil {
				t.Fatal(err)
			}
			st.PendingProposals = rootOf(t, set)
		})
	})
	for name, c := range map[string]struct {
		c    cid.Cid
		key  api.TipSetKey
		want bool
	}{
		"pending":   {proposal, key, true},
		"other":     {somePiece, key, false},
		"elsewhere": {proposal, nil, false},
	} {
		if got := must[bool](t)(n.StateMarketProposalPending(t.Context(), c.c, c.key)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	var invalid *api.ErrInvalid
	if _, err := n.StateMarketProposalPending(t.Context(), cid.Undef, nil); !errors.As(err, &invalid) {
		t.Errorf("without a CID: %v", err)
	}
}

// registered puts two allocations of f0100, one of f0101, a claim of f01000 and a
// verifier into the registry, and makes allocation 2 that of pending deal 5.
func registered(t testing.TB, v *view) {
	t.Helper()
	editRegistry(t, v, func(st *verifreg.State) {
		byClient, rows := emptyMap(t, v), map[uint64][]verifreg.AllocationId{100: {1, 2}, 101: {3}}
		for client, ids := range rows {
			m := emptyMap(t, v)
			for _, id := range ids {
				if err := m.Put(id, someAllocation(client, id)); err != nil {
					t.Fatal(err)
				}
			}
			root := cbg.CborCid(rootOf(t, m))
			if err := byClient.Put(abi.IdAddrKey(idAddr(t, client)), &root); err != nil {
				t.Fatal(err)
			}
		}
		st.Allocations = rootOf(t, byClient)
		byProvider, m := emptyMap(t, v), emptyMap(t, v)
		if err := m.Put(verifreg.ClaimId(9), someClaim()); err != nil {
			t.Fatal(err)
		}
		root := cbg.CborCid(rootOf(t, m))
		if err := byProvider.Put(abi.IdAddrKey(idAddr(t, 1000)), &root); err != nil {
			t.Fatal(err)
		}
		st.Claims = rootOf(t, byProvider)
		verifiers, left := emptyMap(t, v), big.NewInt(1<<40)
		if err := verifiers.Put(abi.AddrKey(idAddr(t, 100)), &left); err != nil {
			t.Fatal(err)
		}
		st.Verifiers = rootOf(t, verifiers)
	})
	deals(t, v, 6)
	editMarket(t, v, func(st *market.State) {
		m, id := emptyMap(t, v), cbg.CborInt(2)
		if err := m.Put(abi.UIntKey(5), &id); err != nil {
			t.Fatal(err)
		}
		st.PendingDealAllocationIds = rootOf(t, m)
	})
}

func someAllocation(client uint64, id verifreg.AllocationId) *verifreg.Allocation {
	return &verifreg.Allocation{
		Client:     abi.ActorID(client),
		Provider:   1000,
		Data:       somePiece,
		Size:       2048,
		TermMin:    abi.ChainEpoch(id),
		TermMax:    20,
		Expiration: 30,
	}
}

func someClaim() *verifreg.Claim {
	return &verifreg.Claim{
		Provider:  1000,
		Client:    100,
		Data:      somePiece,
		Size:      2048,
		TermMin:   1,
		TermMax:   2,
		TermStart: 3,
		Sector:    4,
	}
}

// What the registry holds is found by owner and number, listed by owner and as a
// whole; what it does not hold is nothing and no error.
func TestRegistryOfAllocationsAndClaims(t *testing.T) {
	n := newFixture(t, "lists").open(t)
	key := withState(t, n, func(v *view) { registered(t, v) })
	ctx, client, provider := t.Context(), idAddr(t, 100), idAddr(t, 1000)
	type Allocations = map[verifreg.AllocationId]verifreg.Allocation
	mine := Allocations{1: *someAllocation(100, 1), 2: *someAllocation(100, 2)}
	all := Allocations{1: mine[1], 2: mine[2], 3: *someAllocation(101, 3)}
	equal := func(name string, got any, err error, want any) {
		t.Helper()
		a, b := must[[]byte](t)(json.Marshal(got)), must[[]byte](t)(json.Marshal(want))
		if err != nil || string(a) != string(b) {
			t.Errorf("%s: got %s, %v, want %s", name, a, err, b)
		}
	}
	alloc, err := n.StateGetAllocation(ctx, client, 2, key)
	equal("allocation", alloc, err, mine[2])
	alloc, err = n.StateGetAllocation(ctx, client, 3, key)
	equal("allocation of another", alloc, err, nil)
	some, err := n.StateGetAllocations(ctx, client, key)
	equal("allocations", some, err, mine)
	some, err = n.StateGetAllocations(ctx, provider, key)
	equal("allocations of none", some, err, Allocations{})
	some, err = n.StateGetAllAllocations(ctx, key)
	equal("all allocations", some, err, all)
	id, err := n.StateGetAllocationIdForPendingDeal(ctx, 5, key)
	equal("allocation id of a pending deal", id, err, 2)
	id, err = n.StateGetAllocationIdForPendingDeal(ctx, 4, key)
	equal("allocation id of another deal", id, err, 0)
	alloc, err = n.StateGetAllocationForPendingDeal(ctx, 5, key)
	equal("allocation of a pending deal", alloc, err, mine[2])
	alloc, err = n.StateGetAllocationForPendingDeal(ctx, 4, key)
	equal("allocation of another deal", alloc, err, nil)
	claim, err := n.StateGetClaim(ctx, provider, 9, key)
	equal("claim", claim, err, someClaim())
	claim, err = n.StateGetClaim(ctx, provider, 8, key)
	equal("another claim", claim, err, nil)
	claims, err := n.StateGetClaims(ctx, provider, key)
	equal("claims", claims, err, map[verifreg.ClaimId]*verifreg.Claim{9: someClaim()})
	claims, err = n.StateGetAllClaims(ctx, key)
	equal("all claims", claims, err, map[verifreg.ClaimId]*verifreg.Claim{9: someClaim()})
	claims, err = n.StateGetClaims(ctx, client, key)
	equal("claims of none", claims, err, map[verifreg.ClaimId]*verifreg.Claim{})
	left, err := n.StateVerifierStatus(ctx, client, key)
	equal("verifier", left, err, "1099511627776")
	left, err = n.StateVerifierStatus(ctx, provider, key)
	equal("no verifier", left, err, nil)
	stranger := must[address.Address](t)(address.NewSecp256k1Address([]byte("nobody")))
	var unknown *api.ErrActorNotFound
	if _, err := n.StateGetClaims(ctx, stranger, key); !errors.As(err, &unknown) {
		t.Errorf("claims of a stranger: %v", err)
	}
}

// More rows than an answer may have are refused, not cut.
func TestTooManyRows(t *testing.T) {
	err := errTooMany("list of deals", "ask for single ones")
	var invalid *api.ErrInvalid
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "100000") || !strings.Contains(err.Error(), "ask for single ones") {
		t.Errorf("%v", err)
	}
	n := newFixture(t, "lists").open(t)
	v, _, err := n.at(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := emptyMap(t, v)
	if err := m.Put(verifreg.ClaimId(1), someClaim()); err != nil {
		t.Fatal(err)
	}
	for rows, refused := range map[int]bool{maxRows - 1: false, maxRows: true} {
		out := map[verifreg.ClaimId]verifreg.Claim{}
		for i := range rows {
			out[verifreg.ClaimId(i+2)] = verifreg.Claim{}
		}
		err := gatherInto[verifreg.ClaimId, verifreg.Claim](t.Context(), v, rootOf(t, m), out)
		if errors.As(err, &invalid) != refused {
			t.Errorf("after %d rows: %v", rows, err)
		}
	}
}
