package msgs

import (
	"errors"
	"fmt"
	"strings"

	"quarry/api"
)

// ErrReplaced says that another message took the nonce, one that is not the
// same call, and that the call cannot be sent again: the node tried it and it
// failed. The message will never be on chain.
var ErrReplaced = errors.New("the message was replaced by a different one")

// ErrRefused says that the node tried a message and it failed: nothing was sent.
var ErrRefused = errors.New("the node tried the message and it failed")

// pushError says what a refusal means and what to do.
func (s *Sender) pushError(r record, err error) error {
	what := fmt.Sprintf("push message %q (method %d of %s)", r.Key, r.Want.Method, r.Want.To)
	switch {
	case api.IsTemporary(err):
		return fmt.Errorf("%s: %w", what, err)
	case lacksFunds(err):
		return fmt.Errorf("%s: %w", what, &api.ErrBusy{What: "sender " + r.Want.From.String(),
			Reason: fmt.Sprintf("it has not the funds for the message; send FIL to it, or lower %s where it asks for more gas "+
				"than needed: %s",
				s.limitName(r), err)})
	case failedTrial(err):
		return fmt.Errorf("%s: %w: %w", what, ErrRefused, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// notSent tells of a push error whether the node decided against the message
// before it made one.
func notSent(err error) bool {
	var busy *api.ErrBusy
	return errors.Is(err, ErrRefused) || errors.As(err, &busy)
}

func (s *Sender) limitName(r record) string {
	name := s.cfg.Limit
	if r.Sectors > 0 {
		name = s.cfg.BatchLimit
	}
	if name == "" {
		return "the fee limit"
	}
	return name
}

// The RPC of full nodes has no codes for what follows, only words.

// lacksFunds recognises a sender that cannot pay: for gas (lotus
// node/impl/full/mpool.go, chain/messagepool) or the value (the exit code of
// the trial run, go-state-types exitcode.SysErrInsufficientFunds).
func lacksFunds(err error) bool {
	t := err.Error()
	return strings.Contains(t, "not enough funds") || strings.Contains(t, "SysErrInsufficientFunds")
}

// failedTrial recognises a message whose execution fails (lotus
// node/impl/full/gas.go).
func failedTrial(err error) bool { return strings.Contains(err.Error(), "message execution failed") }

// replaced recognises a nonce taken by another call (lotus
// chain/stmgr/searchwait.go).
func replaced(err error) bool {
	t := err.Error()
	return strings.Contains(t, "message was replaced") || strings.Contains(t, "NOT a valid replacement")
}

// notKnown recognises a message that the node has never seen (lotus
// chain/stmgr/searchwait.go).
func notKnown(err error) bool {
	var missing *api.ErrNotFound
	return errors.As(err, &missing) || strings.Contains(err.Error(), "failed to load message")
}
