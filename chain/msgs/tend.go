package msgs

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/big"

	"quarry/api"
)

// visit looks at the messages of a key and does what is needed for one of them
// to be on chain. It answers when one is, for good.
func (s *Sender) visit(ctx context.Context, w *waiter) (*api.MsgLookup, error) {
	unlock, err := s.lock(ctx, w.key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	r, found, err := s.load(ctx, w.key)
	if err != nil || !found {
		return nil, err
	}
	if r.open() { // sent again already, and the process died before it was noted
		_, err := s.resume(ctx, r)
		return nil, s.again(ctx, w, r, err)
	}
	v, err := s.look(ctx, r)
	if err != nil {
		w.trouble(ctx, "cannot look after a message", err)
		return nil, sleepQuietly(ctx, w)
	}
	nonce := v.last.Message.Nonce
	switch {
	case v.landed != nil && v.sure:
		return v.landed, nil
	case v.landed != nil:
		s.report(w, r, v, "") // young: nothing to do but wait
	case v.spent:
		s.deps.Log.Warn("another message took the nonce of one of ours, which is sent again",
			"key", w.key, "cid", w.cid, "nonce", nonce, "sender", v.last.Message.From)
		_, err := s.start(ctx, r)
		return nil, s.again(ctx, w, r, err)
	case v.next > nonce:
		s.report(w, r, v, fmt.Sprintf("another message took nonce %d; it is sent again when that is certain", nonce))
	default:
		return nil, s.tend(ctx, w, r, v)
	}
	return nil, s.postpone(ctx, r, v)
}

// again judges the outcome of sending anew: what cannot be sent any more ends
// the wait, everything else is tried again.
func (s *Sender) again(ctx context.Context, w *waiter, r record, err error) error {
	switch {
	case err == nil:
		w.pause = waitRetryMin
		return nil
	case errors.Is(err, ErrRefused):
		return fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	w.trouble(ctx, "a message cannot be sent again yet", err)
	s.setWaiting(w, Status{Key: w.key, CID: w.cid, From: r.Want.From, Reason: err.Error()})
	return sleepQuietly(ctx, w)
}

// sleepQuietly paces repeated tries; the end of ctx is seen by the caller.
func sleepQuietly(ctx context.Context, w *waiter) error {
	if sleep(ctx, w.pause) == nil {
		w.pause = min(2*w.pause, waitRetryMax)
	}
	return nil
}

// postpone sets the next look one span on.
func (s *Sender) postpone(ctx context.Context, r record, v sight) error {
	r.Touched = v.head.Height
	return s.save(ctx, r)
}

// tend looks after a message that is neither on chain nor out of the running:
// it gives it back to a node that lost it, and replaces it by a dearer one when
// it has waited long enough and paying more would help.
func (s *Sender) tend(ctx context.Context, w *waiter, r record, v sight) error {
	m := &v.last.Message
	if v.head.Height < r.Touched+s.cfg.StuckEpochs { // here because of an error: perhaps another node
		_ = s.giveBack(ctx, w, v.last)
		return nil
	}
	held, err := s.holder(ctx, m.From, m.Nonce)
	if err != nil {
		w.trouble(ctx, "cannot look after a message", err)
		return sleepQuietly(ctx, w)
	}
	switch {
	case held == nil:
		reason := ""
		if err := s.giveBack(ctx, w, v.last); err != nil {
			reason = fmt.Sprintf("the full node does not take nonce %d of %s into its pool: %s", m.Nonce, m.From, err)
		}
		s.report(w, r, v, reason)
	case !held.Message.EqualCall(m):
		s.report(w, r, v, fmt.Sprintf("another message, %s, waits with nonce %d of %s", held.Cid(), m.Nonce, m.From))
	case v.next < m.Nonce && held.Message.GasFeeCap.GreaterThanEqual(baseFee(v.head)):
		s.report(w, r, v, fmt.Sprintf("it waits behind the message with nonce %d of %s", v.next, m.From))
	default:
		return s.replace(ctx, w, r, v, &held.Message)
	}
	return s.postpone(ctx, r, v)
}

// giveBack pushes a message as it is. A node that has it refuses it, and nothing
// is lost by that.
func (s *Sender) giveBack(ctx context.Context, w *waiter, m *api.SignedMessage) error {
	_, err := s.deps.Chain.MpoolPush(ctx, m)
	s.pool.forget()
	if err != nil {
		s.deps.Log.Debug("message not pushed again", "key", w.key, "cid", m.Cid(), "cause", err)
	}
	return err
}

// replace makes a dearer message with the same nonce. It is on disk before it is
// pushed: whatever happens then, it is known as one of the key's.
func (s *Sender) replace(ctx context.Context, w *waiter, r record, v sight, old *api.Message) error {
	ask := *old
	ask.Nonce, ask.GasFeeCap, ask.GasPremium = 0, big.Zero(), big.Zero()
	limit := s.limit(r)
	estimate, err := s.deps.Chain.GasEstimateMessageGas(ctx, &ask, &api.MessageSendSpec{MaxFee: limit}, v.head.Key())
	if err != nil {
		w.trouble(ctx, "cannot price the replacement of a message", err)
		return sleepQuietly(ctx, w)
	}
	next, why := dearer(old, estimate, baseFee(v.head), limit)
	if why != "" {
		s.report(w, r, v, fmt.Sprintf("it is stuck, and %s does not allow to pay more: %s; raise it, or wait for the base fee to fall",
			s.limitName(r), why))
		return s.postpone(ctx, r, v)
	}
	signed, err := s.deps.Chain.WalletSignMessage(ctx, next.From, next)
	if err != nil {
		w.trouble(ctx, "cannot sign the replacement of a message", err)
		return sleepQuietly(ctx, w)
	}
	raw, err := signed.Serialize()
	if err != nil {
		return fmt.Errorf("keep message %s: %w", signed.Cid(), err)
	}
	if !r.has(signed.Cid()) {
		r.Made = append(r.Made, made{signed.Cid(), raw})
	}
	if err := s.postpone(ctx, r, v); err != nil {
		return err
	}
	if _, err := s.deps.Chain.MpoolPush(ctx, signed); err != nil {
		w.trouble(ctx, "the replacement of a message is not taken", err)
		return sleepQuietly(ctx, w)
	}
	s.pool.forget()
	s.deps.Log.Info("a stuck message is replaced by a dearer one",
		"key", w.key, "old", old.Cid(), "new", signed.Cid(), "nonce", next.Nonce,
		"premium", next.GasPremium, "cap", next.GasFeeCap, "baseFee", baseFee(v.head))
	s.report(w, r, v, "")
	return nil
}
