package devnet

import (
	"errors"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/builtin/v18/util/adt"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/chain/fvm/bundle"
	"quarry/chain/genesis"
)

// The actors are those of the bundle, and only of this network's version.
func TestActorsOfTheNetwork(t *testing.T) {
	n := newFixture(t, "tools").open(t)
	got := must[cid.Cid](t)(n.StateActorManifestCID(t.Context(), genesis.Version))
	if got.String() != bundle.DevnetManifest {
		t.Errorf("manifest %s, want %s", got, bundle.DevnetManifest)
	}
	codes := must[map[string]cid.Cid](t)(n.StateActorCodeCIDs(t.Context(), genesis.Version))
	want := testEngine(t).Bundle().Actors
	if len(codes) != len(want) {
		t.Errorf("%d actors, want %d", len(codes), len(want))
	}
	for _, e := range want {
		if codes[e.Name] != e.Code {
			t.Errorf("%s is %s, want %s", e.Name, codes[e.Name], e.Code)
		}
	}
	var missing *api.ErrNotFound
	if _, err := n.StateActorCodeCIDs(t.Context(), 18); !errors.As(err, &missing) || !strings.Contains(err.Error(), "network version 28") {
		t.Errorf("of another version: %v", err)
	}
	var invalid *api.ErrInvalid
	if _, err := n.StateActorManifestCID(t.Context(), 999); !errors.As(err, &invalid) {
		t.Errorf("of no version: %v", err)
	}
}

// Fast finality is off in every method of it, and says so by its type.
func TestF3IsDisabled(t *testing.T) {
	n := newFixture(t, "tools").open(t)
	ctx := t.Context()
	_, running := n.F3IsRunning(ctx)
	_, cert := n.F3GetLatestCertificate(ctx)
	_, list := n.F3GetManifest(ctx)
	_, progress := n.F3GetProgress(ctx)
	_, ticket := n.F3GetOrRenewParticipationTicket(ctx, n.params.Miner, nil, 5)
	_, part := n.F3Participate(ctx, nil)
	for _, err := range []error{running, cert, list, progress, ticket, part} {
		var off *api.ErrF3Disabled
		if !errors.As(err, &off) || err.Error() != "f3 is disabled" {
			t.Errorf("got %v", err)
		}
	}
}

// The finalised tipset lies 900 epochs back, in the beginning it is genesis.
func TestFinalizedTipSet(t *testing.T) {
	n := newFixture(t, "tools").open(t)
	step(t, n, 20)
	first := must[*api.TipSet](t)(n.ChainGetGenesis(t.Context()))
	if ts := must[*api.TipSet](t)(n.ChainGetFinalizedTipSet(t.Context())); !ts.Equal(first) || finality != 900 {
		t.Errorf("at the start: %d", ts.Height)
	}
	head := n.ledger.Head()
	for _, back := range []abi.ChainEpoch{0, 1, 7, head.Height, head.Height + 1} {
		ts := must[*api.TipSet](t)(n.ledger.below(t.Context(), head, back))
		want := must[*api.TipSet](t)(n.ChainGetTipSetByHeight(t.Context(), max(0, head.Height-back), nil))
		if !ts.Equal(want) || ts.Height > max(0, head.Height-back) {
			t.Errorf("%d below %d is %d, want %d", back, head.Height, ts.Height, want.Height)
		}
	}
}

// An address is read as it is written; what is none is refused.
func TestValidateAddress(t *testing.T) {
	n := newFixture(t, "tools").open(t)
	for _, a := range []address.Address{n.params.Faucet, n.params.Miner} {
		if got := must[address.Address](t)(n.WalletValidateAddress(t.Context(), a.String())); got != a {
			t.Errorf("%s became %s", a, got)
		}
	}
	var invalid *api.ErrInvalid
	for _, text := range []string{"", "t0", "t1abc", "x01000", strings.Repeat("t", 1<<20)} {
		if _, err := n.WalletValidateAddress(t.Context(), text); !errors.As(err, &invalid) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// Sector numbers once taken are listed as StateMinerSectorAllocated has them.
func TestAllocatedNumbers(t *testing.T) {
	n := newFixture(t, "tools").open(t)
	bf := must[*bitfield.BitField](t)(n.StateMinerAllocated(t.Context(), n.params.Miner, nil))
	all := must[[]uint64](t)(bf.All(100))
	if len(all) != 2 || all[0] != uint64(n.params.Sectors[0].Number) || all[1] != uint64(n.params.Sectors[1].Number) {
		t.Errorf("allocated %v", all)
	}
	for _, s := range all {
		if !must[bool](t)(n.StateMinerSectorAllocated(t.Context(), n.params.Miner, abi.SectorNumber(s), nil)) {
			t.Errorf("%d is not allocated", s)
		}
	}
	var unknown *api.ErrActorNotFound
	if _, err := n.StateMinerAllocated(t.Context(), idAddr(t, 99_999), nil); !errors.As(err, &unknown) {
		t.Errorf("of no miner: %v", err)
	}
}

// The pledge for a pre-commitment is that for a sector of its life and of the
// verified bytes of its deals.
func TestPledgeOfAPreCommit(t *testing.T) {
	n := newFixture(t, "tools").open(t)
	step(t, n, 2)
	head := n.ledger.Head().Height
	pci := miner.SectorPreCommitInfo{
		SealProof:  n.params.SealProof,
		SealedCID:  somePiece,
		Expiration: head + 600_000,
		DealIDs:    []abi.DealID{0},
	}
	key := withState(t, n, func(v *view) {
		deals(t, v, 1)
		editMarket(t, v, func(st *market.State) {
			props := must[*market.DealArray](t)(market.AsDealProposalArray(v.store, st.Proposals))
			d := someDeal(t, 0)
			d.VerifiedDeal, d.StartEpoch, d.EndEpoch = true, head+1000, head+600_000
			d.PieceSize = 1024
			if err := props.Array.Set(0, d); err != nil {
				t.Fatal(err)
			}
			st.Proposals = rootOf(t, props)
			st.States = rootOf(t, must[*adt.Array](t)(adt.MakeEmptyArray(v.store, market.StatesAmtBitwidth)))
		})
	})
	ctx := t.Context()
	duration := pci.Expiration - head
	weight := big.Mul(big.NewInt(1024), big.NewInt(int64(duration))) // for as long as the sector lives
	want := must[abi.TokenAmount](t)(n.pledge(ctx, miner.QAPowerForWeight(2048, duration, weight), key))
	if got := must[abi.TokenAmount](t)(n.StateMinerInitialPledgeCollateral(ctx, n.params.Miner, pci, key)); !got.Equals(margin(want)) {
		t.Errorf("with a verified deal %s, want %s", got, margin(want))
	}
	pci.DealIDs = nil
	plain := must[abi.TokenAmount](t)(n.StateMinerInitialPledgeCollateral(ctx, n.params.Miner, pci, key))
	same := must[abi.TokenAmount](t)(n.StateMinerInitialPledgeForSector(ctx, duration, 2048, 0, key))
	if !plain.Equals(same) || plain.IsZero() {
		t.Errorf("without deals %s, want %s", plain, same)
	}
	var invalid *api.ErrInvalid
	for name, edit := range map[string]func(*miner.SectorPreCommitInfo){
		"unknown deal":  func(p *miner.SectorPreCommitInfo) { p.DealIDs = []abi.DealID{77} },
		"past":          func(p *miner.SectorPreCommitInfo) { p.Expiration = head },
		"no such proof": func(p *miner.SectorPreCommitInfo) { p.SealProof = 999 },
	} {
		bad := pci
		edit(&bad)
		if _, err := n.StateMinerInitialPledgeCollateral(ctx, n.params.Miner, bad, key); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := n.StateMinerInitialPledgeCollateral(ctx, n.params.Worker, pci, key); err != nil {
		t.Errorf("without deals the miner does not matter: %v", err)
	}
}

// The embedded node is alone, and has the same name as long as its network lives.
func TestNodeIsAlone(t *testing.T) {
	f := newFixture(t, "tools")
	a, b := must[string](t)(f.open(t).ID(t.Context())), must[string](t)(f.open(t).ID(t.Context()))
	other := must[string](t)(newFixture(t, "other tools").open(t).ID(t.Context()))
	if a != b || a == other || !strings.HasPrefix(a, "12D3KooW") {
		t.Errorf("%s, %s; another network has %s", a, b, other)
	}
	n := f.open(t)
	if p := must[[]api.PeerInfo](t)(n.NetPeers(t.Context())); p == nil || len(p) != 0 {
		t.Errorf("peers %v", p)
	}
	if s := must[api.NetBandwidth](t)(n.NetBandwidthStats(t.Context())); s != (api.NetBandwidth{}) {
		t.Errorf("traffic %v", s)
	}
	if s := must[api.NetReachability](t)(n.NetAutoNatStatus(t.Context())); s.Reachability != 0 || s.PublicAddrs != nil {
		t.Errorf("reachable %v", s)
	}
}
