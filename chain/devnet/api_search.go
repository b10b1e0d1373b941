package devnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
)

// maxConfidence is the deepest that StateWaitMsg waits for.
const maxConfidence = finality

// errReplaced says that another message took the place of the one looked for.
var errReplaced = errors.New("message was replaced")

// locate finds the canonical tipset that includes a message; nil when none.
func (n *Node) locate(ctx context.Context, c cid.Cid) (*location, error) {
	raw, err := n.ds.Get(ctx, datastore.RawKey(recMsg+c.String()))
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up message %s: %w", c, err)
	}
	var loc location
	if err := json.Unmarshal(raw, &loc); err != nil {
		return nil, fmt.Errorf("look up message %s: %w", c, err)
	}
	return &loc, nil
}

// search finds where a message, or a valid replacement, was executed in the
// ancestry of from; nil when it was not.
func (n *Node) search(
	ctx context.Context, from *api.TipSet, c cid.Cid, lookback abi.ChainEpoch, allowReplaced bool,
) (*api.MsgLookup, error) {
	loc, err := n.locate(ctx, c)
	if err != nil {
		return nil, err
	}
	if loc == nil {
		other, err := n.replacement(ctx, c)
		if err != nil || !other.Defined() {
			return nil, err
		}
		if !allowReplaced {
			return nil, fmt.Errorf("%w: message %s by %s", errReplaced, c, other)
		}
		if loc, err = n.locate(ctx, other); err != nil || loc == nil {
			return nil, err
		}
		c = other
	}
	if loc.Height >= from.Height || (lookback >= 0 && loc.Height < from.Height-lookback) {
		return nil, nil
	}
	child, err := n.ledger.atOrAfter(ctx, from, loc.Height+1)
	if err != nil || !child.Parents().Equal(loc.TipSet) {
		return nil, err
	}
	rs, err := n.ledger.receipts(ctx, child.Blocks[0].ParentMessageReceipts)
	if err != nil {
		return nil, err
	}
	if loc.Index >= len(rs) {
		return nil, fmt.Errorf("receipt %d of message %s is missing", loc.Index, c)
	}
	r := rs[loc.Index]
	ret, err := n.decodeReturn(ctx, c, r, child)
	if err != nil {
		return nil, err
	}
	return &api.MsgLookup{
		Message:   c,
		Receipt:   *r,
		ReturnDec: ret,
		TipSet:    child.Key(),
		Height:    child.Height,
	}, nil
}

// replacement finds the message that took the nonce of c, when it makes the
// same call.
func (n *Node) replacement(ctx context.Context, c cid.Cid) (cid.Cid, error) {
	m, _, err := n.ledger.loadMessage(ctx, c)
	if errors.Is(err, errNoBlock) {
		return cid.Undef, nil
	}
	if err != nil {
		return cid.Undef, err
	}
	v, err := n.headView(ctx)
	if err != nil {
		return cid.Undef, err
	}
	key, err := v.accountKey(ctx, m.From)
	if err != nil {
		return cid.Undef, nil
	}
	raw, err := n.ds.Get(ctx, datastore.RawKey(nonceKey(key, m.Nonce)))
	if errors.Is(err, datastore.ErrNotFound) {
		return cid.Undef, nil
	}
	if err != nil {
		return cid.Undef, err
	}
	other, err := cid.Cast(raw)
	if err != nil {
		return cid.Undef, err
	}
	if loc, err := n.locate(ctx, other); err != nil || loc == nil {
		return cid.Undef, err
	}
	om, _, err := n.ledger.loadMessage(ctx, other)
	if err != nil {
		return cid.Undef, err
	}
	if !m.EqualCall(om) {
		return cid.Undef, fmt.Errorf("%w: found message with equal nonce as the one we are looking for, "+
			"but NOT a valid replacement: %s", errReplaced, other)
	}
	return other, nil
}

// StateSearchMsg implements api.Chain.
func (n *Node) StateSearchMsg(
	ctx context.Context, from api.TipSetKey, msg cid.Cid, lookback abi.ChainEpoch, allowReplaced bool,
) (*api.MsgLookup, error) {
	ts, err := n.ledger.tipset(ctx, from)
	if err != nil {
		return nil, err
	}
	l, err := n.search(ctx, ts, msg, lookback, allowReplaced)
	if errors.Is(err, errReplaced) && !allowReplaced {
		return nil, nil
	}
	return l, err
}

// StateWaitMsg implements api.Chain.
func (n *Node) StateWaitMsg(
	ctx context.Context, msg cid.Cid, confidence uint64, lookback abi.ChainEpoch, allowReplaced bool,
) (*api.MsgLookup, error) {
	if confidence > maxConfidence {
		return nil, &api.ErrInvalid{What: "confidence", Reason: fmt.Sprintf("%d epochs is more than finality (%d)", confidence,
			maxConfidence)}
	}
	if _, _, err := n.ledger.loadMessage(ctx, msg); err != nil {
		return nil, fmt.Errorf("failed to load message: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		sub := n.notify.subscribe(ctx, n.ledger.Head)
		for range sub {
			head := n.ledger.Head()
			l, err := n.search(ctx, head, msg, lookback, allowReplaced)
			if err != nil {
				return nil, err
			}
			if l != nil && head.Height >= l.Height+abi.ChainEpoch(confidence) {
				return l, nil
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if n.notify.isClosed() {
			return nil, &api.ErrUnreachable{Peer: "node", Reason: "it is shutting down"}
		}
	}
}
