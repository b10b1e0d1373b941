package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"quarry/api"

	"github.com/filecoin-project/go-jsonrpc"
)

// JSON-RPC 2.0 and go-jsonrpc codes this package gives a meaning.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeMethodNotFound = -32601
	codeInvalidParams  = -32602
	codeConnection     = -1111111 // go-jsonrpc errors.go
)

// RemoteError is a typed error of the other side with the text it had there.
// errors.As finds the typed error.
type RemoteError struct {
	Text  string
	Typed error
}

// Error implements error.
func (e *RemoteError) Error() string { return e.Text }

// Unwrap gives the error of package api.
func (e *RemoteError) Unwrap() error { return e.Typed }

// ToJSONRPCError implements jsonrpc.RPCErrorCodec; a client never encodes.
func (e *RemoteError) ToJSONRPCError() (jsonrpc.JSONRPCError, error) {
	return jsonrpc.JSONRPCError{}, errors.New("client: errors are only decoded here")
}

// FromJSONRPCError implements jsonrpc.RPCErrorCodec.
func (e *RemoteError) FromJSONRPCError(j jsonrpc.JSONRPCError) error {
	proto, ok := api.ErrorTable()[int(j.Code)]
	if !ok {
		return fmt.Errorf("code %d is not in the error table", j.Code)
	}
	typed, _ := reflect.New(reflect.TypeOf(proto).Elem()).Interface().(error)
	if len(j.Meta) > 0 {
		if err := json.Unmarshal(j.Meta, typed); err != nil {
			return fmt.Errorf("fields of error %d: %w", j.Code, err)
		}
	}
	e.Text, e.Typed = j.Message, typed
	return nil
}

func errorTable() jsonrpc.Errors {
	t := jsonrpc.NewErrors()
	for code := range api.ErrorTable() {
		t.Register(jsonrpc.ErrorCode(code), new(*RemoteError))
	}
	return t
}

// translate gives the caller of m one error of a known shape.
func (c *conn) translate(ctx context.Context, m api.Method, sub api.Subsystem, err error) error {
	var remote *RemoteError
	var typed *api.ErrUnreachable
	var invalid *api.ErrInvalid
	var token *TokenError
	var rpc *jsonrpc.JSONRPCError
	var lost *jsonrpc.RPCConnectionError
	switch {
	case errors.As(err, &remote):
		return remote
	case ctx.Err() != nil:
		return fmt.Errorf("%s of %s: %w", m.Name, c.name, ctx.Err())
	case errors.As(err, &typed):
		return typed
	case errors.As(err, &invalid):
		return invalid
	case errors.As(err, &token):
		return token
	case errors.As(err, &lost):
		return &api.ErrUnreachable{Peer: c.name, Reason: lost.Error()}
	case errors.As(err, &rpc):
		return c.translateCode(m, sub, rpc)
	}
	return fmt.Errorf("%s of %s: %w", m.Name, c.name, err)
}

func (c *conn) translateCode(m api.Method, sub api.Subsystem, rpc *jsonrpc.JSONRPCError) error {
	switch {
	case rpc.Code == codeMethodNotFound:
		return &api.ErrNotServedHere{Subsystem: sub, Method: m.Name, ServedBy: "another process than " + c.name +
			", or another version of it"}
	case rpc.Code == codeConnection:
		return &api.ErrUnreachable{Peer: c.name, Reason: rpc.Message}
	case rpc.Code == codeParse || rpc.Code == codeInvalidRequest || rpc.Code == codeInvalidParams:
		// The same bytes will never be taken.
		return &api.ErrInvalid{What: m.Name + " of " + c.name, Reason: rpc.Message, Hint: "the two processes may be of different versions"}
	}
	return rpc
}
