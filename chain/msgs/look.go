package msgs

import (
	"context"
	"fmt"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// noLookbackLimit is Lotus's LookbackNoLimit (api/api_full.go).
const noLookbackLimit = abi.ChainEpoch(-1)

// sight is what the chain says of a key's messages at one head.
type sight struct {
	head   *api.TipSet
	last   *api.SignedMessage // the message on its way
	landed *api.MsgLookup     // where one of the key's messages was executed
	sure   bool               // as old as the configured confidence
	next   uint64             // nonce that the chain takes next from the sender
	spent  bool               // the message's nonce went to another, surely
}

// look asks for every message ever made for a key. Nothing is decided when one
// of them cannot be asked for.
func (s *Sender) look(ctx context.Context, r record) (v sight, err error) {
	on, _ := r.last()
	if v.last, err = api.DecodeSignedMessage(on.Signed); err != nil {
		return v, fmt.Errorf("the send record of %q is damaged: %w", r.Key, err)
	}
	if v.head, err = s.deps.Chain.ChainHead(ctx); err != nil {
		return v, fmt.Errorf("ask for the head: %w", err)
	}
	for _, m := range r.Made {
		if v.landed, err = s.landed(ctx, v.head, m.CID); err != nil {
			return v, err
		}
		if v.landed != nil {
			v.sure = v.head.Height >= v.landed.Height+abi.ChainEpoch(s.cfg.Confidence) // small
			return v, nil
		}
	}
	from, nonce := v.last.Message.From, v.last.Message.Nonce
	if v.next, err = s.nonce(ctx, from, v.head); err != nil {
		return v, err
	}
	if v.next > nonce {
		v.spent, err = s.spent(ctx, from, nonce, v.head)
	}
	return v, err
}

// landed finds where a message, or one that makes the same call with the same
// nonce, was executed.
func (s *Sender) landed(ctx context.Context, head *api.TipSet, c cid.Cid) (*api.MsgLookup, error) {
	l, err := s.deps.Chain.StateSearchMsg(ctx, head.Key(), c, noLookbackLimit, true)
	if err != nil && (replaced(err) || notKnown(err)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for message %s: %w", c, err)
	}
	return l, nil
}

func (s *Sender) nonce(ctx context.Context, from address.Address, at *api.TipSet) (uint64, error) {
	a, err := s.deps.Chain.StateGetActor(ctx, from, at.Key())
	if err != nil {
		return 0, fmt.Errorf("ask for the nonce of %s at %d: %w", from, at.Height, err)
	}
	return a.Nonce, nil
}

// spent tells whether the nonce was used as long ago as receipts must be old.
func (s *Sender) spent(ctx context.Context, from address.Address, nonce uint64, head *api.TipSet) (bool, error) {
	then := head.Height - abi.ChainEpoch(s.cfg.Confidence) // small
	if then < 0 {
		return false, nil
	}
	ts, err := s.deps.Chain.ChainGetTipSetByHeight(ctx, then, head.Key())
	if err != nil {
		return false, fmt.Errorf("ask for the tipset of epoch %d: %w", then, err)
	}
	n, err := s.nonce(ctx, from, ts)
	return n > nonce, err
}

// poolView is the node's pool as it was at one head, asked for once for all
// messages that are stuck: on a busy network it is large.
type poolView struct {
	mu   sync.Mutex
	head string
	all  []*api.SignedMessage
}

func (p *poolView) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.head, p.all = "", nil
}

// pending lists what is in the node's pool, and the head that it belongs to: what
// left the pool for a block is in the ancestry of that head.
func (s *Sender) pending(ctx context.Context) (*api.TipSet, []*api.SignedMessage, error) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	for {
		head, err := s.deps.Chain.ChainHead(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("ask for the head: %w", err)
		}
		id := string(head.Key().Bytes())
		if s.pool.head == id {
			return head, s.pool.all, nil
		}
		all, err := s.deps.Chain.MpoolPending(ctx, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("ask for the message pool: %w", err)
		}
		s.pool.head, s.pool.all = id, all // believed when the head is still the same
	}
}

// holder is the pending message with a sender's nonce, nil when there is none.
func (s *Sender) holder(ctx context.Context, from address.Address, nonce uint64) (*api.SignedMessage, error) {
	_, all, err := s.pending(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.Message.Nonce == nonce && m.Message.From == from {
			return m, nil
		}
	}
	return nil, nil
}

// baseFee of the blocks of a tipset, attoFIL.
func baseFee(ts *api.TipSet) abi.TokenAmount {
	if len(ts.Blocks) == 0 {
		return big.Zero()
	}
	return orZero(ts.Blocks[0].ParentBaseFee)
}
