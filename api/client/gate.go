package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"quarry/api"
)

// Gate decides before each call whether the peer may be asked at all.
type Gate interface {
	// Allow gives the instance that the peer must be, empty for any, or why
	// nothing is sent to it.
	Allow(ctx context.Context, m api.Method) (instance string, err error)
	// Replaced says that the peer is not that instance (any more). The call that
	// showed it was refused unread and is made once more, if Allow lets it.
	Replaced(instance string)
}

// replacedError is a refusal with 412.
type replacedError struct{ peer string }

func (e *replacedError) Error() string { return e.peer + " is another process than before" }

type instanceKey struct{}

// guarded makes one call through the gate.
func (c *conn) guarded(ctx context.Context, m api.Method, call func(context.Context) error) error {
	if c.cfg.Gate == nil {
		return call(ctx)
	}
	var replaced *replacedError
	for try := 0; ; try++ {
		instance, err := c.cfg.Gate.Allow(ctx, m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		err = call(context.WithValue(ctx, instanceKey{}, instance))
		if !errors.As(err, &replaced) {
			return err
		}
		c.cfg.Gate.Replaced(instance)
		if try > 0 {
			return &api.ErrUnreachable{Peer: c.name, Reason: "it is being replaced by another process again and again"}
		}
	}
}

// pin says in the header which instance the peer must be.
func pin(req *http.Request) {
	if id, _ := req.Context().Value(instanceKey{}).(string); id != "" {
		req.Header.Set(api.HeaderInstance, id)
	}
}
