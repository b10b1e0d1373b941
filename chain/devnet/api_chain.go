package devnet

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// maxObject bounds a block put from outside, in bytes.
const maxObject = 16 << 20

// ChainHead implements api.Chain.
func (n *Node) ChainHead(context.Context) (*api.TipSet, error) { return n.ledger.Head(), nil }

// ChainNotify implements api.Chain.
func (n *Node) ChainNotify(ctx context.Context) (<-chan []*api.HeadChange, error) {
	return n.notify.subscribe(ctx, n.ledger.Head), nil
}

// ChainGetTipSet implements api.Chain.
func (n *Node) ChainGetTipSet(ctx context.Context, tsk api.TipSetKey) (*api.TipSet, error) {
	return n.ledger.tipset(ctx, tsk)
}

// ChainGetTipSetByHeight implements api.Chain.
func (n *Node) ChainGetTipSetByHeight(ctx context.Context, epoch abi.ChainEpoch, tsk api.TipSetKey) (*api.TipSet, error) {
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return nil, err
	}
	return n.ledger.atOrBefore(ctx, ts, epoch)
}

// ChainGetTipSetAfterHeight implements api.Chain.
func (n *Node) ChainGetTipSetAfterHeight(ctx context.Context, epoch abi.ChainEpoch, tsk api.TipSetKey) (*api.TipSet, error) {
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return nil, err
	}
	return n.ledger.atOrAfter(ctx, ts, epoch)
}

// ChainGetGenesis implements api.Chain.
func (n *Node) ChainGetGenesis(ctx context.Context) (*api.TipSet, error) {
	return n.ledger.tipset(ctx, api.TipSetKey{n.params.Genesis})
}

// ChainGetBlock implements api.Chain.
func (n *Node) ChainGetBlock(ctx context.Context, c cid.Cid) (*api.BlockHeader, error) {
	return n.ledger.header(ctx, c)
}

// ChainGetBlockMessages implements api.Chain.
func (n *Node) ChainGetBlockMessages(ctx context.Context, c cid.Cid) (*api.BlockMessages, error) {
	h, err := n.ledger.header(ctx, c)
	if err != nil {
		return nil, err
	}
	ms, err := n.ledger.blockMessages(ctx, h)
	if err != nil {
		return nil, err
	}
	out := &api.BlockMessages{BlsMessages: []*api.Message{}, SecpkMessages: []*api.SignedMessage{}, Cids: []cid.Cid{}}
	for _, m := range ms {
		if m.signed == nil {
			out.BlsMessages = append(out.BlsMessages, m.msg)
		} else {
			out.SecpkMessages = append(out.SecpkMessages, m.signed)
		}
		out.Cids = append(out.Cids, m.cid)
	}
	return out, nil
}

// ChainGetParentMessages implements api.Chain.
func (n *Node) ChainGetParentMessages(ctx context.Context, c cid.Cid) ([]api.CidMessage, error) {
	h, err := n.ledger.header(ctx, c)
	if err != nil || h.Height == 0 {
		return nil, err
	}
	return n.ChainGetMessagesInTipset(ctx, h.Parents)
}

// ChainGetParentReceipts implements api.Chain.
func (n *Node) ChainGetParentReceipts(ctx context.Context, c cid.Cid) ([]*api.MessageReceipt, error) {
	h, err := n.ledger.header(ctx, c)
	if err != nil || h.Height == 0 {
		return nil, err
	}
	return n.ledger.receipts(ctx, h.ParentMessageReceipts)
}

// ChainGetMessagesInTipset implements api.Chain.
func (n *Node) ChainGetMessagesInTipset(ctx context.Context, tsk api.TipSetKey) ([]api.CidMessage, error) {
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return nil, err
	}
	if ts.Height == 0 {
		return nil, nil
	}
	ms, err := n.ledger.tipsetMessages(ctx, ts)
	if err != nil {
		return nil, err
	}
	out := make([]api.CidMessage, 0, len(ms))
	for _, m := range ms {
		out = append(out, api.CidMessage{Cid: m.cid, Message: m.msg})
	}
	return out, nil
}

// ChainGetMessage implements api.Chain.
func (n *Node) ChainGetMessage(ctx context.Context, c cid.Cid) (*api.Message, error) {
	m, _, err := n.ledger.loadMessage(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("failed to load message: %w", err)
	}
	return m, nil
}

// ChainReadObj implements api.Chain.
func (n *Node) ChainReadObj(ctx context.Context, c cid.Cid) ([]byte, error) {
	return n.blocks.Get(ctx, c)
}

// ChainHasObj implements api.Chain.
func (n *Node) ChainHasObj(ctx context.Context, c cid.Cid) (bool, error) { return n.blocks.Has(ctx, c) }

// ChainPutObj implements api.Chain. The block is on disk when it returns; it is
// how vanilla proofs get to the node.
func (n *Node) ChainPutObj(ctx context.Context, b api.ObjBlock) error {
	if len(b.Data) > maxObject {
		return &api.ErrInvalid{What: "block", Reason: fmt.Sprintf("%d bytes, limit %d", len(b.Data), maxObject)}
	}
	if !b.Cid.Defined() {
		return &api.ErrInvalid{What: "block", Reason: "it has no CID"}
	}
	p := b.Cid.Prefix()
	if p.Codec != cid.Raw && p.Codec != cid.DagCBOR {
		return &api.ErrInvalid{What: "block " + b.Cid.String(), Reason: "only raw and dag-cbor blocks are kept"}
	}
	got, err := p.Sum(b.Data)
	if err != nil || got != b.Cid {
		return &api.ErrInvalid{What: "block " + b.Cid.String(), Reason: "the bytes do not have this CID"}
	}
	return n.blocks.putNow(ctx, b.Cid, b.Data)
}

// ChainGetPath implements api.Chain.
func (n *Node) ChainGetPath(ctx context.Context, from, to api.TipSetKey) ([]*api.HeadChange, error) {
	a, err := n.ledger.tipset(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("loading from tipset: %w", err)
	}
	b, err := n.ledger.tipset(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("loading to tipset: %w", err)
	}
	revert, apply, err := n.ledger.path(ctx, a, b)
	if err != nil {
		return nil, err
	}
	out := []*api.HeadChange{}
	for _, ts := range revert {
		out = append(out, &api.HeadChange{Type: api.HeadRevert, Val: ts})
	}
	for _, ts := range apply {
		out = append(out, &api.HeadChange{Type: api.HeadApply, Val: ts})
	}
	return out, nil
}

// ChainTipSetWeight implements api.Chain.
func (n *Node) ChainTipSetWeight(ctx context.Context, tsk api.TipSetKey) (abi.TokenAmount, error) {
	ts, err := n.ledger.tipset(ctx, tsk)
	if err != nil {
		return abi.TokenAmount{}, err
	}
	return n.cons.weight(ctx, ts)
}
