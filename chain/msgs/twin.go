package msgs

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// A push whose answer was lost may have made a message that the node no longer
// finds by its id: it died before it noted the id, or it is another node. The
// message itself is then in a pool or on chain.

// twin finds a message that makes the record's call, was sent since the push was
// intended, and was made for no other key; nil when there is none.
func (s *Sender) twin(ctx context.Context, r record) (*made, error) {
	if r.Since == unknownEpoch {
		return nil, nil // of an earlier version: the id is all there is
	}
	from, err := s.deps.Chain.StateAccountKey(ctx, r.Want.From, nil)
	if err != nil {
		return nil, fmt.Errorf("send %q: ask for the key of %s: %w", r.Key, r.Want.From, err)
	}
	head, all, err := s.pending(ctx)
	if err != nil {
		return nil, fmt.Errorf("send %q: %w", r.Key, err)
	}
	for _, sm := range all {
		if free, err := s.fits(ctx, r, from, &sm.Message, sm.Cid()); err != nil || !free {
			if err != nil {
				return nil, err
			}
			continue
		}
		raw, err := sm.Serialize()
		if err != nil {
			return nil, fmt.Errorf("keep message %s: %w", sm.Cid(), err)
		}
		return &made{sm.Cid(), raw}, nil
	}
	return s.twinOnChain(ctx, r, from, head)
}

// fits tells whether a message may be the record's.
func (s *Sender) fits(ctx context.Context, r record, from address.Address, m *api.Message, c cid.Cid) (bool, error) {
	if m.From != from || !sameCall(m, r.Want) || r.has(c) {
		return false, nil
	}
	key, known, err := s.keyFor(ctx, c)
	return err == nil && (!known || key == r.Key), err
}

// twinOnChain looks through what the sender sent since, halving the epochs in
// which its nonce rose.
func (s *Sender) twinOnChain(ctx context.Context, r record, from address.Address, head *api.TipSet) (*made, error) {
	if m, err := s.within(ctx, r, from, head); m != nil || err != nil || head.Height <= r.Since {
		return m, err // the head's messages are in no state yet
	}
	low, err := s.deps.Chain.ChainGetTipSetByHeight(ctx, r.Since, head.Key())
	if err != nil {
		return nil, fmt.Errorf("send %q: ask for the tipset of epoch %d: %w", r.Key, r.Since, err)
	}
	return s.between(ctx, r, from, low, head)
}

// between searches the tipsets whose messages the state of high has and that of
// low has not: from low on, and not high itself.
func (s *Sender) between(ctx context.Context, r record, from address.Address, low, high *api.TipSet) (*made, error) {
	a, err := s.nonce(ctx, from, low)
	if err != nil {
		return nil, err
	}
	b, err := s.nonce(ctx, from, high)
	if err != nil || a == b {
		return nil, err
	}
	mid, err := s.middle(ctx, low, high)
	if err != nil {
		return nil, err
	}
	if mid == nil {
		return s.within(ctx, r, from, low)
	}
	if m, err := s.between(ctx, r, from, low, mid); m != nil || err != nil {
		return m, err
	}
	return s.between(ctx, r, from, mid, high)
}

// middle is a tipset between two, nil when one follows the other.
func (s *Sender) middle(ctx context.Context, low, high *api.TipSet) (*api.TipSet, error) {
	for h := low.Height + (high.Height-low.Height)/2; h < high.Height; h++ {
		ts, err := s.deps.Chain.ChainGetTipSetByHeight(ctx, h, high.Key())
		if err != nil {
			return nil, fmt.Errorf("ask for the tipset of epoch %d: %w", h, err)
		}
		if ts.Height > low.Height && ts.Height < high.Height {
			return ts, nil
		}
	}
	return nil, nil
}

// within searches one tipset. The chain keeps no signature of a message with a
// BLS key, so it is signed again: it may have to be pushed again after a reorg.
func (s *Sender) within(ctx context.Context, r record, from address.Address, ts *api.TipSet) (*made, error) {
	list, err := s.deps.Chain.ChainGetMessagesInTipset(ctx, ts.Key())
	if err != nil {
		return nil, fmt.Errorf("send %q: ask for the messages of epoch %d: %w", r.Key, ts.Height, err)
	}
	for _, m := range list {
		if m.Message == nil {
			continue
		}
		free, err := s.fits(ctx, r, from, m.Message, m.Cid)
		if err != nil {
			return nil, err
		}
		if free {
			signed, err := s.deps.Chain.WalletSignMessage(ctx, from, m.Message)
			if err != nil {
				return nil, fmt.Errorf("sign message %s again: %w", m.Cid, err)
			}
			raw, err := signed.Serialize()
			if err != nil {
				return nil, fmt.Errorf("keep message %s: %w", m.Cid, err)
			}
			return &made{m.Cid, raw}, nil
		}
	}
	return nil, nil
}
