package devnet

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// MarketAddBalance implements api.Chain.
func (n *Node) MarketAddBalance(ctx context.Context, wallet, addr address.Address, amt abi.TokenAmount) (cid.Cid, error) {
	params, err := encodeParams(&addr)
	if err != nil {
		return cid.Undef, &api.ErrInvalid{What: "address", Reason: err.Error()}
	}
	s, err := n.MpoolPushMessage(ctx, marketMessage(wallet, amt, builtin.MethodsMarket.AddBalance, params), nil)
	if err != nil {
		return cid.Undef, err
	}
	return s.Cid(), nil
}

// escrowOf checks what a call about reserved funds was given, and names the
// account by its id: all its addresses have one escrow.
func (n *Node) escrowOf(ctx context.Context, a address.Address, amt abi.TokenAmount) (address.Address, error) {
	if err := checkAmount(amt); err != nil {
		return a, err
	}
	if a == address.Undef {
		return a, &api.ErrInvalid{What: "address", Reason: "none given"}
	}
	id, err := n.StateLookupID(ctx, a, nil)
	if err != nil {
		return a, fmt.Errorf("escrow of %s: %w", a, err)
	}
	return id, nil
}

// MarketReserveFunds implements api.ChainTools.
func (n *Node) MarketReserveFunds(ctx context.Context, wallet, addr address.Address, amt abi.TokenAmount) (cid.Cid, error) {
	id, err := n.escrowOf(ctx, addr, amt)
	if err != nil {
		return cid.Undef, err
	}
	return n.funds.reserve(ctx, wallet, id, amt)
}

// MarketReleaseFunds implements api.ChainTools.
func (n *Node) MarketReleaseFunds(ctx context.Context, addr address.Address, amt abi.TokenAmount) error {
	id, err := n.escrowOf(ctx, addr, amt)
	if err != nil {
		return err
	}
	return n.funds.release(ctx, id, amt)
}

// MarketGetReserved implements api.ChainTools: zero for an address that nobody
// has heard of.
func (n *Node) MarketGetReserved(ctx context.Context, addr address.Address) (abi.TokenAmount, error) {
	id, err := n.escrowOf(ctx, addr, big.Zero())
	var unknown *api.ErrActorNotFound
	if errors.As(err, &unknown) {
		return big.Zero(), nil
	}
	if err != nil {
		return big.Zero(), err
	}
	return n.funds.reserved(ctx, id)
}

// MarketWithdraw implements api.ChainTools.
func (n *Node) MarketWithdraw(ctx context.Context, wallet, addr address.Address, amt abi.TokenAmount) (cid.Cid, error) {
	id, err := n.escrowOf(ctx, addr, amt)
	if err != nil {
		return cid.Undef, err
	}
	return n.funds.withdraw(ctx, wallet, id, amt)
}
