package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Carrier brings calls to a peer that cannot be dialled.
type Carrier interface {
	// Carry gives the answer to one JSON-RPC call, which has an id. instance is the
	// start of the peer that may see it, empty for any. Errors: ErrReplaced where
	// the peer is another one, *api.ErrUnreachable, *api.ErrBusy, or those of ctx.
	Carry(ctx context.Context, instance string, call []byte) ([]byte, error)
}

// ErrReplaced is a carrier's refusal of a call that is meant for another start of
// the peer: nobody has seen it.
var ErrReplaced = errors.New("the peer is another process than before")

// carry is post over the carrier.
func (c *conn) carry(ctx context.Context, body []byte) (io.ReadCloser, error) {
	instance, _ := ctx.Value(instanceKey{}).(string)
	answer, err := c.cfg.Carrier.Carry(ctx, instance, body)
	switch {
	case errors.Is(err, ErrReplaced):
		return nil, &replacedError{peer: c.name}
	case err != nil:
		return nil, err
	case int64(len(answer)) > c.cfg.MaxResponseBytes:
		return nil, fmt.Errorf("the answer of %s is bigger than %d bytes", c.name, c.cfg.MaxResponseBytes)
	}
	return io.NopCloser(bytes.NewReader(answer)), nil
}
