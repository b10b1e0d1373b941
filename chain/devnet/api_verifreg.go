package devnet

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/util/adt"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
)

func (v *view) verifreg(ctx context.Context) (*verifreg.State, error) {
	var st verifreg.State
	_, err := v.load(ctx, builtin.VerifiedRegistryActorAddr, &st)
	return &st, err
}

// registryView is the verified registry with the tree that it lies in, and the ID
// address of whom a call is about.
type registryView struct {
	*view
	st *verifreg.State
	id address.Address
}

// registryAt reads the registry for a call with key tsk about a; address.Undef is
// nobody.
func (n *Node) registryAt(ctx context.Context, a address.Address, tsk api.TipSetKey) (*registryView, error) {
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return nil, err
	}
	id := a
	if a != address.Undef {
		if id, err = v.lookupID(ctx, a); err != nil {
			return nil, err
		}
	}
	st, err := v.verifreg(ctx)
	if err != nil {
		return nil, err
	}
	return &registryView{view: v, st: st, id: id}, nil
}

// StateVerifierStatus implements api.ChainTools: the bytes of datacap a verifier
// may still hand out; nil for who is none.
func (n *Node) StateVerifierStatus(ctx context.Context, a address.Address, tsk api.TipSetKey) (*abi.StoragePower, error) {
	r, err := n.registryAt(ctx, a, tsk)
	if err != nil {
		return nil, err
	}
	m, err := adt.AsMap(r.store, r.st.Verifiers, builtin.DefaultHamtBitwidth)
	if err != nil {
		return nil, fmt.Errorf("verifiers: %w", err)
	}
	var left abi.StoragePower
	found, err := m.Get(abi.AddrKey(r.id), &left)
	if err != nil || !found {
		return nil, err
	}
	return &left, nil
}

// StateGetAllocation implements api.ChainTools; nil when there is none.
func (n *Node) StateGetAllocation(
	ctx context.Context, client address.Address, id verifreg.AllocationId, tsk api.TipSetKey,
) (*verifreg.Allocation, error) {
	r, err := n.registryAt(ctx, client, tsk)
	if err != nil {
		return nil, err
	}
	out, found, err := r.st.FindAllocation(r.store, r.id, id)
	if err != nil || !found {
		return nil, err
	}
	return out, nil
}

// StateGetAllocations implements api.ChainTools.
func (n *Node) StateGetAllocations(
	ctx context.Context, client address.Address, tsk api.TipSetKey,
) (map[verifreg.AllocationId]verifreg.Allocation, error) {
	r, err := n.registryAt(ctx, client, tsk)
	if err != nil {
		return nil, err
	}
	return listed[verifreg.AllocationId, verifreg.Allocation](ctx, n, r.view, r.st.Allocations, r.id)
}

// StateGetAllAllocations implements api.ChainTools.
func (n *Node) StateGetAllAllocations(ctx context.Context, tsk api.TipSetKey) (map[verifreg.AllocationId]verifreg.Allocation, error) {
	r, err := n.registryAt(ctx, address.Undef, tsk)
	if err != nil {
		return nil, err
	}
	return listed[verifreg.AllocationId, verifreg.Allocation](ctx, n, r.view, r.st.Allocations, r.id)
}

// StateGetClaim implements api.ChainTools; nil when there is none.
func (n *Node) StateGetClaim(
	ctx context.Context, provider address.Address, id verifreg.ClaimId, tsk api.TipSetKey,
) (*verifreg.Claim, error) {
	r, err := n.registryAt(ctx, provider, tsk)
	if err != nil {
		return nil, err
	}
	out, found, err := r.st.FindClaim(r.store, r.id, id)
	if err != nil || !found {
		return nil, err
	}
	return out, nil
}

// StateGetClaims implements api.ChainTools.
func (n *Node) StateGetClaims(
	ctx context.Context, provider address.Address, tsk api.TipSetKey,
) (map[verifreg.ClaimId]verifreg.Claim, error) {
	r, err := n.registryAt(ctx, provider, tsk)
	if err != nil {
		return nil, err
	}
	return listed[verifreg.ClaimId, verifreg.Claim](ctx, n, r.view, r.st.Claims, r.id)
}

// StateGetAllClaims implements api.ChainTools.
func (n *Node) StateGetAllClaims(ctx context.Context, tsk api.TipSetKey) (map[verifreg.ClaimId]verifreg.Claim, error) {
	r, err := n.registryAt(ctx, address.Undef, tsk)
	if err != nil {
		return nil, err
	}
	return listed[verifreg.ClaimId, verifreg.Claim](ctx, n, r.view, r.st.Claims, r.id)
}

// StateGetAllocationIdForPendingDeal implements api.ChainTools; 0 for a deal that
// is not verified, is active already, or does not exist.
func (n *Node) StateGetAllocationIdForPendingDeal(ctx context.Context, deal abi.DealID, tsk api.TipSetKey) (verifreg.AllocationId, error) {
	v, _, err := n.at(ctx, tsk)
	if err != nil {
		return 0, err
	}
	st, err := v.market(ctx)
	if err != nil {
		return 0, err
	}
	m, err := adt.AsMap(v.store, st.PendingDealAllocationIds, builtin.DefaultHamtBitwidth)
	if err != nil {
		return 0, fmt.Errorf("allocations of pending deals: %w", err)
	}
	var id cbg.CborInt
	if _, err := m.Get(abi.UIntKey(uint64(deal)), &id); err != nil {
		return 0, fmt.Errorf("allocation of deal %d: %w", deal, err)
	}
	return verifreg.AllocationId(id), nil
}

// StateGetAllocationForPendingDeal implements api.ChainTools; nil where the id
// would be 0.
func (n *Node) StateGetAllocationForPendingDeal(ctx context.Context, deal abi.DealID, tsk api.TipSetKey) (*verifreg.Allocation, error) {
	ts, err := n.ledger.tipset(ctx, tsk) // once: the head may move between the steps
	if err != nil {
		return nil, err
	}
	id, err := n.StateGetAllocationIdForPendingDeal(ctx, deal, ts.Key())
	if err != nil || id == 0 {
		return nil, err
	}
	d, err := n.StateMarketStorageDeal(ctx, deal, ts.Key())
	if err != nil {
		return nil, err
	}
	return n.StateGetAllocation(ctx, d.Proposal.Client, id, ts.Key())
}
