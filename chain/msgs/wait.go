package msgs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/api"
)

// noLookbackLimit is Lotus's LookbackNoLimit (api/api_full.go).
const noLookbackLimit = abi.ChainEpoch(-1)

const (
	waitRetryMin = 100 * time.Millisecond
	waitRetryMax = 5 * time.Second
)

// ErrReplaced says that another message took the nonce, one that is not the
// same call: this message will never be on chain.
var ErrReplaced = errors.New("the message was replaced by a different one")

// Wait returns where the message (or a replacement making the same call, see
// MsgLookup.Message) was executed, once the receipt is as old as
// Config.Confidence. An exit code other than zero is not an error. It outlives
// restarts of the node: it asks again until ctx ends, and pushes the message
// again when the node forgot it. Errors: ErrReplaced, or ctx's.
func (s *Sender) Wait(ctx context.Context, c cid.Cid) (*api.MsgLookup, error) {
	pause, level := waitRetryMin, slog.LevelInfo // told once, however long it takes
	for {
		l, err := s.deps.Chain.StateWaitMsg(ctx, c, s.cfg.Confidence, noLookbackLimit, true)
		switch {
		case err == nil && l != nil:
			return l, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("wait for message %s: %w", c, ctx.Err())
		case err != nil && replaced(err):
			return nil, fmt.Errorf("wait for message %s: %w: %w", c, ErrReplaced, err)
		}
		s.deps.Log.Log(ctx, level, "waiting for a message again", "cid", c, "cause", err, "pause", pause)
		level = slog.LevelDebug
		if sleep(ctx, pause) != nil {
			return nil, fmt.Errorf("wait for message %s: %w", c, ctx.Err())
		}
		pause = min(2*pause, waitRetryMax)
		s.revive(ctx, c)
	}
}

// revive gives the message back to a node that knows it neither on chain nor
// in its pool. The node refuses a message it still has, which is fine.
func (s *Sender) revive(ctx context.Context, c cid.Cid) {
	l, err := s.deps.Chain.StateSearchMsg(ctx, nil, c, noLookbackLimit, true)
	if err != nil || l != nil {
		return
	}
	m, err := s.signed(ctx, c)
	if err != nil || m == nil {
		return
	}
	if _, err := s.deps.Chain.MpoolPush(ctx, m); err != nil {
		s.deps.Log.Debug("message not pushed again", "cid", c, "cause", err)
	}
}

// replaced recognises the words of lotus chain/stmgr/searchwait.go; the RPC
// carries no code for it.
func replaced(err error) bool {
	t := err.Error()
	return strings.Contains(t, "message was replaced") || strings.Contains(t, "NOT a valid replacement")
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
