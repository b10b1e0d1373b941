package api

import (
	"context"
	"fmt"
)

//go:generate go run ../internal/proxygen

// Page is how a method returning a slice and a cursor crosses RPC, which
// carries one value per answer.
type Page[T any] struct {
	Items []T
	Next  string // cursor, empty at the end
}

// Method names a method on the wire (without namespace) and the permission it
// needs.
type Method struct {
	Name string
	Perm Permission
}

// Guard stands before every served method: it decides whether call may run,
// and turns what it returns into what the caller gets.
type Guard func(ctx context.Context, m Method, call func(context.Context) error) error

// notConnected answers calls on a proxy struct whose field was never filled.
func notConnected(method string) error {
	return &ErrUnreachable{Peer: "the peer serving " + method, Reason: fmt.Sprintf("no client is connected for %s", method)}
}
