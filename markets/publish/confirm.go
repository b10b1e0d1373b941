package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/chain/msgs"
)

// DroppedError says that the message was executed but did not publish the deal.
type DroppedError struct{ Reason string }

func (e *DroppedError) Error() string { return e.Reason }

// maxMessages is how many messages Confirm spends on one deal before it leaves
// the decision to the caller.
const maxMessages = 3

// Confirm waits for the publish message and returns its final CID and the deal's
// ID. The CID differs from c when the message was replaced, and when the deal
// had to be published again: a message that failed, or did not take the deal
// though the market actor has nothing against it, publishes it in vain, and it
// goes out on its own. A DroppedError is the market actor's last word.
func (p *Publisher) Confirm(ctx context.Context, id api.UUID, signed []byte, c cid.Cid) (cid.Cid, abi.DealID, error) {
	var why *vainError
	for range maxMessages {
		if now, ok := p.cidOf(id); ok {
			c = now
		}
		final, dealID, err := p.confirmOne(ctx, id, signed, c)
		if !errors.As(err, &why) {
			return final, dealID, err
		}
		p.deps.Log.Warn("a deal was not published, it is tried on its own", "deal", id, "message", c, "reason", why.reason)
		if err := p.giveUp(ctx, id, c, why.whole); err != nil {
			return c, 0, err
		}
		next, err := p.Publish(ctx, id, signed)
		var bad *RefusedError
		if errors.As(err, &bad) {
			return c, 0, &DroppedError{fmt.Sprintf("%s; %s", why.reason, bad.Reason)}
		}
		if err != nil {
			return c, 0, fmt.Errorf("%s; publish it again: %w", why.reason, err)
		}
		c = next
	}
	if !why.whole {
		return c, 0, &DroppedError{fmt.Sprintf("%s, in the last of %d messages", why.reason, maxMessages)}
	}
	return c, 0, &api.ErrBusy{What: "publishing deal " + id.String(),
		Reason: fmt.Sprintf("%d messages were spent in vain, the last one: %s", maxMessages, why.reason)}
}

// vainError says that a message did not publish a deal; whole when it published
// none.
type vainError struct {
	reason string
	whole  bool
}

func (e *vainError) Error() string { return e.reason }

// confirmOne follows one message.
func (p *Publisher) confirmOne(ctx context.Context, id api.UUID, signed []byte, c cid.Cid) (cid.Cid, abi.DealID, error) {
	lookup, err := p.deps.Msgs.Wait(ctx, c)
	if errors.Is(err, msgs.ErrReplaced) {
		return c, 0, &vainError{fmt.Sprintf("publish message %s: %s", c, err), true}
	}
	if err != nil {
		return c, 0, fmt.Errorf("wait for publish message %s: %w", c, err)
	}
	final := lookup.Message
	if lookup.Receipt.ExitCode != 0 {
		return final, 0, &vainError{fmt.Sprintf("publish message %s failed with exit code %d", final, lookup.Receipt.ExitCode), true}
	}
	if err := p.settle(ctx, id); err != nil {
		return c, 0, err
	}
	msg, err := p.deps.Chain.ChainGetMessage(ctx, final)
	if err != nil {
		return final, 0, fmt.Errorf("read publish message %s: %w", final, err)
	}
	dealID, err := MatchDeal(msg.Params, lookup.Receipt.Return, signed)
	var dropped *DroppedError
	if errors.As(err, &dropped) {
		return final, 0, &vainError{fmt.Sprintf("publish message %s: %s", final, dropped.Reason), false}
	}
	if err != nil {
		return final, 0, fmt.Errorf("publish message %s: %w", final, err)
	}
	return final, dealID, p.compare(ctx, dealID, signed, lookup.TipSet)
}

// settle notes that the collateral of a deal's batch is locked on chain, and not
// while somebody weighs it against a balance read before.
func (p *Publisher) settle(ctx context.Context, id api.UUID) error {
	p.escrow.Lock()
	defer p.escrow.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.batches[p.byDeal[id]]
	if !ok || b.Settled {
		return nil
	}
	b.Settled = true
	return p.save(ctx, b)
}

// MatchDeal finds the ID of a signed proposal: its place in the parameters, and
// the rank of that place among the valid ones in the return value.
func MatchDeal(params, ret, signed []byte) (abi.DealID, error) {
	var in market.PublishStorageDealsParams
	if err := in.UnmarshalCBOR(bytes.NewReader(params)); err != nil {
		return 0, fmt.Errorf("decode parameters: %w", err)
	}
	var out market.PublishStorageDealsReturn
	if err := out.UnmarshalCBOR(bytes.NewReader(ret)); err != nil {
		return 0, fmt.Errorf("decode return value: %w", err)
	}
	for i := range in.Deals {
		var buf bytes.Buffer
		if err := in.Deals[i].MarshalCBOR(&buf); err != nil {
			return 0, fmt.Errorf("encode proposal %d: %w", i, err)
		}
		if bytes.Equal(buf.Bytes(), signed) {
			return rank(out, uint64(i))
		}
	}
	return 0, &DroppedError{"the deal is not in the message"}
}

func rank(out market.PublishStorageDealsReturn, index uint64) (abi.DealID, error) {
	n := 0
	found := false
	err := out.ValidDeals.ForEach(func(i uint64) error {
		if i < index {
			n++
		}
		found = found || i == index
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read valid deals: %w", err)
	}
	if !found {
		return 0, &DroppedError{"deal was invalid at publication"}
	}
	if n >= len(out.IDs) {
		return 0, fmt.Errorf("return value names %d deals, wanted number %d", len(out.IDs), n)
	}
	return out.IDs[n], nil
}

// compare checks that the chain holds our proposal under that ID. The actor
// stores the client as an ID address.
func (p *Publisher) compare(ctx context.Context, id abi.DealID, signed []byte, at api.TipSetKey) error {
	var cdp market.ClientDealProposal
	if err := cdp.UnmarshalCBOR(bytes.NewReader(signed)); err != nil {
		return err
	}
	onChain, err := p.deps.Chain.StateMarketStorageDeal(ctx, id, at)
	if err != nil {
		return fmt.Errorf("read deal %d: %w", id, err)
	}
	want := cdp.Proposal
	if want.Client, err = p.deps.Chain.StateLookupID(ctx, want.Client, at); err != nil {
		return fmt.Errorf("look up client of deal %d: %w", id, err)
	}
	var a, b bytes.Buffer
	if err := want.MarshalCBOR(&a); err != nil {
		return err
	}
	if err := onChain.Proposal.MarshalCBOR(&b); err != nil {
		return err
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		return &DroppedError{fmt.Sprintf("deal %d on chain is another proposal", id)}
	}
	return nil
}
