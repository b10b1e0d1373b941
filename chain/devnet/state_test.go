package devnet

import (
	"context"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/util/adt"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
)

// withState makes a tipset beside the chain whose state is that of the head after
// an edit, and gives its key.
func withState(t testing.TB, n *Node, edit func(v *view)) api.TipSetKey {
	t.Helper()
	ctx := context.Background()
	head := n.ledger.Head()
	v, err := n.ledger.view(ctx, head.ParentState())
	if err != nil {
		t.Fatal(err)
	}
	edit(v)
	root, err := v.tree.Flush(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.tree.Buffer().Flush(ctx, root); err != nil {
		t.Fatal(err)
	}
	h := *head.Blocks[0]
	h.ParentStateRoot = root
	if err := n.storeHeader(ctx, &h); err != nil {
		t.Fatal(err)
	}
	return api.TipSetKey{h.Cid()}
}

// replace writes the state of an actor.
func replace(t testing.TB, v *view, a address.Address, st cbg.CBORMarshaler) {
	t.Helper()
	act, err := v.actor(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	if act.Head, err = v.store.Put(context.Background(), st); err != nil {
		t.Fatal(err)
	}
	id, err := address.IDFromAddress(a)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.tree.SetActor(abi.ActorID(id), act); err != nil {
		t.Fatal(err)
	}
}

// must gives the value or ends the test.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func idAddr(t testing.TB, id uint64) address.Address {
	t.Helper()
	return must[address.Address](t)(address.NewIDAddress(id))
}

// emptyMap opens a new map of the usual shape.
func emptyMap(t testing.TB, v *view) *adt.Map {
	t.Helper()
	return must[*adt.Map](t)(adt.MakeEmptyMap(v.store, builtin.DefaultHamtBitwidth))
}

func rootOf(t testing.TB, m interface{ Root() (cid.Cid, error) }) cid.Cid {
	t.Helper()
	return must[cid.Cid](t)(m.Root())
}

// editMarket changes the market's state.
func editMarket(t testing.TB, v *view, edit func(st *market.State)) {
	t.Helper()
	st := must[*market.State](t)(v.market(context.Background()))
	edit(st)
	replace(t, v, builtin.StorageMarketActorAddr, st)
}

// editRegistry changes the verified registry's state.
func editRegistry(t testing.TB, v *view, edit func(st *verifreg.State)) {
	t.Helper()
	st := must[*verifreg.State](t)(v.verifreg(context.Background()))
	edit(st)
	replace(t, v, builtin.VerifiedRegistryActorAddr, st)
}
