package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"

	"quarry/chain/msgs"
)

// fund returns when the collateral of a batch is set aside in the provider's
// escrow. What is free there is taken by whoever comes first; who finds too
// little adds what lacks and waits for that message of its own. So an escrow
// message that is stuck holds the batch that needs it and no other.
func (p *Publisher) fund(ctx context.Context, b *batch, from address.Address) error {
	for !b.Funded {
		if b.TopUp.Nil() || b.TopUp.IsZero() {
			if err := p.setAside(ctx, b); err != nil {
				return err
			}
			continue
		}
		if err := p.topUp(ctx, b, from); err != nil {
			return err
		}
	}
	return nil
}

// setAside takes a batch's collateral from what is free, or notes what has to be
// added first.
func (p *Publisher) setAside(ctx context.Context, b *batch) error {
	p.escrow.Lock()
	defer p.escrow.Unlock()
	bal, err := p.deps.Chain.StateMarketBalance(ctx, p.cfg.Miner, nil)
	if err != nil {
		return fmt.Errorf("read escrow of %s: %w", p.cfg.Miner, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	need := b.collateral()
	free, others := big.Sub(bal.Escrow, bal.Locked), big.Zero()
	for _, o := range p.batches {
		switch _, working := p.busy[o.ID]; {
		case o == b || o.Settled:
		case o.Funded || o.Cid != nil:
			free = big.Sub(free, o.collateral())
		case working:
			others = big.Add(others, big.Sub(o.collateral(), orZero(o.TopUp)))
		}
	}
	if need.LessThanEqual(free) {
		b.Funded = true
	} else {
		b.TopUp = big.Sub(need, big.Max(big.Zero(), big.Sub(free, big.Max(others, big.Zero()))))
	}
	return p.save(ctx, b)
}

// topUp adds to the provider's escrow. What was added is free for all until it
// is set aside.
func (p *Publisher) topUp(ctx context.Context, b *batch, from address.Address) error {
	msg, err := marketMessage(from, builtin.MethodsMarket.AddBalance, b.TopUp, &p.cfg.Miner)
	if err != nil {
		return err
	}
	c, err := p.deps.Escrow.Send(ctx, b.escrowKey(), msg)
	if err != nil {
		return fmt.Errorf("add %s attoFIL to the escrow of %s: %w", b.TopUp, p.cfg.Miner, err)
	}
	var spent error
	lookup, err := p.deps.Escrow.Wait(ctx, c)
	switch {
	case errors.Is(err, msgs.ErrReplaced):
		spent = &escrowError{fmt.Sprintf("escrow message %s: %s", c, err)}
	case err != nil:
		return fmt.Errorf("wait for escrow message %s: %w", c, err)
	case lookup.Receipt.ExitCode != 0:
		spent = &escrowError{fmt.Sprintf("adding %s attoFIL to the escrow of %s failed on chain with exit code %d (message "+
			"%s); see that %s has the funds",
			b.TopUp, p.cfg.Miner, lookup.Receipt.ExitCode, c, from)}
	}
	// The next try asks again what is lacking and is a message of its own.
	return errors.Join(spent, p.change(ctx, b, func(b *batch) { b.TopUp, b.Rounds = big.Zero(), b.Rounds+1 }))
}

// escrowKey of the message sender: the same until that message was executed.
func (b *batch) escrowKey() string {
	if b.Rounds == 0 {
		return "escrow/" + b.ID
	}
	return fmt.Sprintf("escrow/%s/%d", b.ID, b.Rounds)
}

// escrowError says that a message was executed, and paid for, in vain.
type escrowError struct{ reason string }

func (e *escrowError) Error() string { return e.reason }

// collateral is what the provider puts up for the deals of a batch, attoFIL. One
// that cannot be read costs nothing: it is not published.
func (b *batch) collateral() abi.TokenAmount {
	sum := big.Zero()
	for _, d := range b.Deals {
		var cdp market.ClientDealProposal
		if cdp.UnmarshalCBOR(bytes.NewReader(d.Signed)) == nil {
			sum = big.Add(sum, cdp.Proposal.ProviderCollateral)
		}
	}
	return sum
}

func orZero(v abi.TokenAmount) abi.TokenAmount {
	if v.Nil() {
		return big.Zero()
	}
	return v
}
