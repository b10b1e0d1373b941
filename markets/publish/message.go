package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

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

// attempt makes one try: escrow, simulation, push. Only the escrow may take long.
func (p *Publisher) attempt(ctx context.Context, b *batch, failed map[api.UUID]error) (cid.Cid, error) {
	from, err := p.from(ctx)
	if err != nil {
		return cid.Undef, err
	}
	if err := p.fund(ctx, b, from); err != nil {
		return cid.Undef, err
	}
	select {
	case p.active <- struct{}{}:
		defer func() { <-p.active }()
	case <-ctx.Done():
		return cid.Undef, ctx.Err()
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
	if errors.Is(err, msgs.ErrRefused) {
		return cid.Undef, p.refused(ctx, b, err)
	}
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
	return &api.Message{
		To:         builtin.StorageMarketActorAddr,
		From:       from,
		Method:     method,
		Params:     buf.Bytes(),
		Value:      value,
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
	}, nil
}

// simulate takes out deals that the market actor refuses on their own, and those
// that cannot be asked about while others can. Once done the membership is final,
// because the message is keyed by it.
func (p *Publisher) simulate(ctx context.Context, b *batch, from address.Address, failed map[api.UUID]error) error {
	if b.Checked {
		return nil
	}
	var good []entry
	unknown := map[api.UUID]error{}
	for _, d := range b.Deals {
		err := p.simulateDeal(ctx, from, d)
		var bad *RefusedError
		switch {
		case errors.As(err, &bad):
			failed[d.UUID] = err
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			unknown[d.UUID] = err
		default:
			good = append(good, d)
		}
	}
	if len(good) == 0 && len(unknown) > 0 { // the trouble is the node's, not a deal's
		for _, err := range unknown {
			return err
		}
	}
	for id, err := range unknown {
		failed[id] = &api.ErrBusy{What: "publishing deal " + id.String(), Reason: err.Error()}
	}
	return p.keep(ctx, b, good, failed)
}

// keep makes the good deals the batch's final ones.
func (p *Publisher) keep(ctx context.Context, b *batch, good []entry, failed map[api.UUID]error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range failed {
		if p.byDeal[id] == b.ID {
			delete(p.byDeal, id)
		}
	}
	b.Deals, b.Checked = good, true
	if len(good) > 0 {
		return p.save(ctx, b)
	}
	return p.remove(ctx, b)
}

// remove forgets a batch; p.mu is held.
func (p *Publisher) remove(ctx context.Context, b *batch) error {
	delete(p.batches, b.ID)
	if err := p.deps.Store.Delete(ctx, datastore.NewKey("/batch/"+b.ID)); err != nil {
		return fmt.Errorf("forget publish batch %s: %w", b.ID, err)
	}
	return nil
}

// RefusedError says that the market actor takes a deal in no message, as a
// simulation showed; nothing was sent.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

// simulateDeal tries one deal on its own, for a limited time.
func (p *Publisher) simulateDeal(ctx context.Context, from address.Address, d entry) error {
	msg, err := p.message(from, []entry{d})
	if err != nil {
		return &RefusedError{err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, simulateLimit)
	defer cancel()
	res, err := p.deps.Chain.StateCall(ctx, msg, nil)
	if err != nil {
		return fmt.Errorf("simulating deal publish message: %w", err)
	}
	if res.MsgRct != nil && res.MsgRct.ExitCode != 0 {
		return &RefusedError{fmt.Sprintf("simulating deal publish message: non-zero exitcode %d; message: %s", res.MsgRct.ExitCode,
			res.Error)}
	}
	return nil
}

// simulateLimit is how long a node may take to try one deal.
const simulateLimit = 30 * time.Second
