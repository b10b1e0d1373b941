package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/chain/msgs"
)

// DroppedError says that the message is over and did not publish the deal. Where
// the message failed as a whole, no deal in it is to blame: after Release each
// may be published again.
type DroppedError struct {
	Reason  string
	Message bool // the message failed, not the deal
}

func (e *DroppedError) Error() string { return e.Reason }

// Confirm waits for the publish message and returns its final CID, which
// differs from c when fees were raised, and the deal's ID.
func (p *Publisher) Confirm(ctx context.Context, id api.UUID, signed []byte, c cid.Cid) (cid.Cid, abi.DealID, error) {
	lookup, err := p.deps.Msgs.Wait(ctx, c)
	if errors.Is(err, msgs.ErrReplaced) {
		return c, 0, &DroppedError{Reason: fmt.Sprintf("publish message %s: %s", c, err), Message: true}
	}
	if err != nil {
		return c, 0, fmt.Errorf("wait for publish message %s: %w", c, err)
	}
	if err := p.settle(ctx, id); err != nil {
		return c, 0, err
	}
	final := lookup.Message
	if lookup.Receipt.ExitCode != 0 {
		reason := fmt.Sprintf("publish message %s failed with exit code %d", final, lookup.Receipt.ExitCode)
		return final, 0, &DroppedError{Reason: reason, Message: true}
	}
	msg, err := p.deps.Chain.ChainGetMessage(ctx, final)
	if err != nil {
		return final, 0, fmt.Errorf("read publish message %s: %w", final, err)
	}
	dealID, err := MatchDeal(msg.Params, lookup.Receipt.Return, signed)
	if err != nil {
		return final, 0, fmt.Errorf("publish message %s: %w", final, err)
	}
	return final, dealID, p.compare(ctx, dealID, signed, lookup.TipSet)
}

// Release takes a deal out of the message that failed, so that Publish puts it
// into another one. Repeating it changes nothing.
func (p *Publisher) Release(ctx context.Context, id api.UUID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.batches[p.byDeal[id]]
	if !ok {
		return nil
	}
	next := *b
	next.Deals = slices.DeleteFunc(slices.Clone(b.Deals), func(e entry) bool { return e.UUID == id })
	if err := p.save(ctx, &next); err != nil {
		return err
	}
	*b = next
	delete(p.byDeal, id)
	return nil
}

func (p *Publisher) settle(ctx context.Context, id api.UUID) error {
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
	return 0, &DroppedError{Reason: "the deal is not in the message"}
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
		return 0, &DroppedError{Reason: "deal was invalid at publication"}
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
		return &DroppedError{Reason: fmt.Sprintf("deal %d on chain is another proposal", id)}
	}
	return nil
}
