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
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
	"quarry/chain/msgs"
)

// errEmpty says that every deal of a batch was taken out.
var errEmpty = errors.New("no deal of the batch can be published")

// attempt makes one try: escrow, simulation, push.
func (p *Publisher) attempt(ctx context.Context, b *batch, failed map[api.UUID]error) (cid.Cid, error) {
	from, err := p.from(ctx)
	if err != nil {
		return cid.Undef, err
	}
	if err := p.topUp(ctx, b, from); err != nil {
		return cid.Undef, err
	}
	if err := p.simulate(ctx, b, from, failed); err != nil {
		return cid.Undef, err
	}
	if len(b.Deals) == 0 {
		return cid.Undef, errEmpty
	}
	msg, err := p.message(from, b.Deals)
	if err != nil {
		return cid.Undef, err
	}
	c, err := p.deps.Msgs.Send(ctx, "publish/"+b.ID, msg)
	if err != nil {
		return cid.Undef, fmt.Errorf("push PublishStorageDeals with %d deals: %w", len(b.Deals), err)
	}
	p.deps.Log.Info("published deals", "message", c, "deals", len(b.Deals))
	return c, p.change(ctx, b, func(b *batch) { b.Cid = &c })
}

// change updates a batch in memory and on disk.
func (p *Publisher) change(ctx context.Context, b *batch, f func(*batch)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(b)
	return p.save(ctx, b)
}

func (p *Publisher) from(ctx context.Context) (address.Address, error) {
	if p.cfg.From != address.Undef {
		return p.cfg.From, nil
	}
	info, err := p.deps.Chain.StateMinerInfo(ctx, p.cfg.Miner, nil)
	if err != nil {
		return address.Undef, fmt.Errorf("find the worker of %s: %w", p.cfg.Miner, err)
	}
	return info.Worker, nil
}

func (p *Publisher) message(from address.Address, deals []entry) (*api.Message, error) {
	var params market.PublishStorageDealsParams
	for _, d := range deals {
		var cdp market.ClientDealProposal
		if err := cdp.UnmarshalCBOR(bytes.NewReader(d.Signed)); err != nil {
			return nil, fmt.Errorf("proposal of deal %s: %w", d.UUID, err)
		}
		params.Deals = append(params.Deals, cdp)
	}
	return marketMessage(from, builtin.MethodsMarket.PublishStorageDeals, big.Zero(), &params)
}

func marketMessage(from address.Address, method abi.MethodNum, value abi.TokenAmount, params cbg.CBORMarshaler) (*api.Message, error) {
	var buf bytes.Buffer
	if err := params.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode params of market method %d: %w", method, err)
	}
	return &api.Message{To: builtin.StorageMarketActorAddr, From: from, Method: method, Params: buf.Bytes(),
		Value: value, GasFeeCap: big.Zero(), GasPremium: big.Zero()}, nil
}

// topUp adds to the provider's escrow what the collateral of this batch and of
// those not yet executed lacks.
func (p *Publisher) topUp(ctx context.Context, b *batch, from address.Address) error {
	if b.TopUp.Nil() || b.TopUp.IsZero() {
		lacking, err := p.lacking(ctx)
		if err != nil || lacking.IsZero() {
			return err
		}
		if err := p.change(ctx, b, func(b *batch) { b.TopUp = lacking }); err != nil {
			return err
		}
	}
	msg, err := marketMessage(from, builtin.MethodsMarket.AddBalance, b.TopUp, &p.cfg.Miner)
	if err != nil {
		return err
	}
	c, err := p.deps.Msgs.Send(ctx, b.escrowKey(), msg)
	if err != nil {
		return fmt.Errorf("add %s attoFIL to the escrow of %s: %w", b.TopUp, p.cfg.Miner, err)
	}
	lookup, err := p.deps.Msgs.Wait(ctx, c)
	switch {
	case errors.Is(err, msgs.ErrReplaced):
		err = &escrowError{fmt.Sprintf("escrow message %s: %s", c, err)}
	case err != nil:
		return fmt.Errorf("wait for escrow message %s: %w", c, err)
	case lookup.Receipt.ExitCode != 0:
		err = &escrowError{fmt.Sprintf("adding %s attoFIL to the escrow of %s failed on chain with exit code %d (message %s); see that %s has the funds",
			b.TopUp, p.cfg.Miner, lookup.Receipt.ExitCode, c, from)}
	default:
		return nil
	}
	// The next try asks again what is lacking and is a message of its own.
	return errors.Join(err, p.change(ctx, b, func(b *batch) { b.TopUp, b.Failed = big.Zero(), b.Failed+1 }))
}

// escrowKey of the message sender: the same until that message failed on chain.
func (b *batch) escrowKey() string {
	if b.Failed == 0 {
		return "escrow/" + b.ID
	}
	return fmt.Sprintf("escrow/%s/%d", b.ID, b.Failed)
}

// escrowError says that a message was executed, and paid for, in vain.
type escrowError struct{ reason string }

func (e *escrowError) Error() string { return e.reason }

func (p *Publisher) lacking(ctx context.Context) (abi.TokenAmount, error) {
	need := big.Zero()
	p.mu.Lock()
	for _, b := range p.batches {
		if b.Settled {
			continue
		}
		for _, d := range b.Deals {
			var cdp market.ClientDealProposal
			if cdp.UnmarshalCBOR(bytes.NewReader(d.Signed)) == nil {
				need = big.Add(need, cdp.Proposal.ProviderCollateral)
			}
		}
	}
	p.mu.Unlock()
	bal, err := p.deps.Chain.StateMarketBalance(ctx, p.cfg.Miner, nil)
	if err != nil {
		return need, fmt.Errorf("read escrow of %s: %w", p.cfg.Miner, err)
	}
	return big.Max(big.Zero(), big.Sub(need, big.Sub(bal.Escrow, bal.Locked))), nil
}

// simulate takes out deals that the market actor refuses on their own. Once
// done the membership is final, because the message is keyed by it.
func (p *Publisher) simulate(ctx context.Context, b *batch, from address.Address, failed map[api.UUID]error) error {
	if b.Checked {
		return nil
	}
	var good []entry
	for _, d := range b.Deals {
		msg, err := p.message(from, []entry{d})
		if err == nil {
			err = p.simulateOne(ctx, msg)
		}
		var bad *RefusedError
		switch {
		case errors.As(err, &bad):
			failed[d.UUID] = err
		case err != nil:
			return err
		default:
			good = append(good, d)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range failed {
		delete(p.byDeal, id)
	}
	b.Deals, b.Checked = good, true
	if len(good) > 0 {
		return p.save(ctx, b)
	}
	delete(p.batches, b.ID)
	return p.deps.Store.Delete(ctx, datastore.NewKey("/batch/"+b.ID))
}

// RefusedError says that the market actor does not take a deal, as a simulation of
// its message showed; nothing was sent.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

func (p *Publisher) simulateOne(ctx context.Context, msg *api.Message) error {
	res, err := p.deps.Chain.StateCall(ctx, msg, nil)
	if err != nil {
		return fmt.Errorf("simulating deal publish message: %w", err)
	}
	if res.MsgRct != nil && res.MsgRct.ExitCode != 0 {
		return &RefusedError{fmt.Sprintf("simulating deal publish message: non-zero exitcode %d; message: %s", res.MsgRct.ExitCode, res.Error)}
	}
	return nil
}
