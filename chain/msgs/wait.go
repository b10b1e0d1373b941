package msgs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

const (
	waitRetryMin = 100 * time.Millisecond
	waitRetryMax = 5 * time.Second
)

// Wait returns where the call of a message was executed, once the receipt is as
// old as Config.Confidence; MsgLookup.Message is the CID it had there, which
// differs from c when a dearer one or, after its nonce was lost, a new one took
// its place. An exit code other than zero is not an error. It outlives restarts
// of the node: it looks after the message until it is on chain or ctx ends.
// Errors: ErrReplaced, or ctx's, or those of the store.
func (s *Sender) Wait(ctx context.Context, c cid.Cid) (*api.MsgLookup, error) {
	key, known, err := s.keyFor(ctx, c)
	if err != nil {
		return nil, err
	}
	w := &waiter{
		s:     s,
		key:   key,
		cid:   c,
		known: known,
		pause: waitRetryMin,
	}
	defer s.settled(w)
	for {
		l, err := w.once(ctx)
		switch {
		case l != nil:
			return l, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("wait for message %s: %w", c, ctx.Err())
		case err != nil:
			return nil, fmt.Errorf("wait for message %s: %w", c, err)
		}
	}
}

// waiter follows one message of a key, whatever CIDs it takes on.
type waiter struct {
	s     *Sender
	key   string
	cid   cid.Cid
	known bool // the key is in the store
	pause time.Duration
	told  string // the trouble last logged
}

// once waits for the receipt until it is time to look after the message, and
// then does that. Neither an answer nor an error means: go on.
func (w *waiter) once(ctx context.Context) (*api.MsgLookup, error) {
	r, err := w.record(ctx)
	if err != nil {
		return nil, err
	}
	c, look := w.cid, unknownEpoch
	if m, ok := r.last(); ok {
		c, look = m.CID, r.Touched+w.s.cfg.StuckEpochs
	}
	l, err := w.s.receipt(ctx, c, look)
	if l != nil || ctx.Err() != nil {
		return l, ctx.Err()
	}
	if !w.known && err != nil && replaced(err) {
		return nil, fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	if err != nil {
		w.trouble(ctx, "waiting for a message again", err)
		if sleep(ctx, w.pause) != nil {
			return nil, ctx.Err()
		}
		w.pause = min(2*w.pause, waitRetryMax)
	}
	if !w.known {
		return nil, nil
	}
	return w.s.visit(ctx, w)
}

func (w *waiter) record(ctx context.Context) (r record, err error) {
	if w.known {
		r, w.known, err = w.s.load(ctx, w.key) // a forgotten key is followed by its last CID
	}
	return r, err
}

// receipt asks for a message's receipt and gives up, with neither answer nor
// error, when the head reaches the epoch look; never where that is unknown.
func (s *Sender) receipt(parent context.Context, c cid.Cid, look abi.ChainEpoch) (*api.MsgLookup, error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	due := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if look == unknownEpoch {
			return
		}
		if _, err := s.deps.Heads.WaitHeight(ctx, look); err == nil {
			close(due)
			cancel()
		}
	}()
	l, err := s.deps.Chain.StateWaitMsg(ctx, c, s.cfg.Confidence, noLookbackLimit, true)
	cancel()
	<-done
	select {
	case <-due:
		if l == nil {
			return nil, nil
		}
	default:
	}
	if l == nil && err == nil {
		err = &api.ErrUnreachable{Peer: "the full node", Reason: "it answered nothing"}
	}
	return l, err
}

// trouble is logged once, however long it lasts.
func (w *waiter) trouble(ctx context.Context, what string, err error) {
	level := slog.LevelDebug
	if t := err.Error(); t != w.told {
		w.told, level = t, slog.LevelInfo
	}
	w.s.deps.Log.Log(ctx, level, what, "key", w.key, "cid", w.cid, "cause", err)
}

// poller is the clock of a sender that was given none.
type poller struct{ chain Chain }

// WaitHeight implements Heads.
func (p poller) WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error) {
	for {
		head, err := p.chain.ChainHead(ctx)
		if err == nil && head.Height >= h {
			return head, nil
		}
		if err := sleep(ctx, waitRetryMax); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
