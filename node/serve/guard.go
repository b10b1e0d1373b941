package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"

	"quarry/api"
	"quarry/internal/redact"

	"github.com/filecoin-project/go-jsonrpc"
)

// guard enforces the permission of a method, turns panics into errors and puts
// errors into the form that crosses the wire.
func (s *Server) guard(ctx context.Context, m api.Method, call func(context.Context) error) (err error) {
	if err := s.allowed(ctx, m); err != nil {
		return wire(ctx, err)
	}
	defer func() {
		if p := recover(); p != nil {
			s.deps.Log.Error("panic in a method", "method", m.Name, "panic", p, "stack", string(debug.Stack()))
			err = wire(ctx, fmt.Errorf("%s failed with an internal error (a bug; the log of this process has the details)", m.Name))
		}
	}()
	return wire(ctx, call(ctx))
}

func (s *Server) allowed(ctx context.Context, m api.Method) error {
	perms := Permissions(ctx)
	// A websocket lives long: a token revoked meanwhile must stop working.
	if token, _ := ctx.Value(tokenKey{}).(string); token != "" && jsonrpc.GetConnectionType(ctx) == jsonrpc.ConnectionTypeWS {
		now, err := s.deps.Verify(ctx, token)
		if err != nil {
			return &api.ErrPermission{Method: m.Name, Need: m.Perm}
		}
		perms = api.Implied(now)
	}
	if !slices.Contains(perms, m.Perm) {
		return &api.ErrPermission{Method: m.Name, Need: m.Perm}
	}
	return nil
}

// absentGuard stands for a subsystem that runs elsewhere. Who may not call the
// method is not told where it is.
func (s *Server) absentGuard(sub api.Subsystem, servedBy string) api.Guard {
	return func(ctx context.Context, m api.Method, _ func(context.Context) error) error {
		if err := s.allowed(ctx, m); err != nil {
			return wire(ctx, err)
		}
		return wire(ctx, &api.ErrNotServedHere{Subsystem: sub, Method: m.Name, ServedBy: servedBy})
	}
}

// wireError is an error of package api on its way out: code and fields of the
// typed error, text of the whole chain around it.
type wireError struct {
	code  int
	typed error
	text  string
	// public says that the caller is no operator of this process: nothing of ours
	// that he has not named himself crosses.
	public bool
}

func (e *wireError) Error() string { return e.text }

// ToJSONRPCError implements jsonrpc.RPCErrorCodec.
func (e *wireError) ToJSONRPCError() (jsonrpc.JSONRPCError, error) {
	meta, err := json.Marshal(e.typed)
	if err != nil {
		return jsonrpc.JSONRPCError{}, err
	}
	if e.public {
		meta = redact.JSON(meta)
	}
	return jsonrpc.JSONRPCError{Code: jsonrpc.ErrorCode(e.code), Message: e.text, Meta: meta}, nil
}

// FromJSONRPCError implements jsonrpc.RPCErrorCodec; a server never decodes.
func (e *wireError) FromJSONRPCError(jsonrpc.JSONRPCError) error {
	return errors.New("serve: errors are only encoded here")
}

// wire finds the outermost error of package api in the chain.
func wire(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	text, public := err.Error(), outside(ctx)
	if public {
		text = redact.Text(text)
	}
	if code, typed := api.Typed(err); typed != nil {
		return &wireError{code: code, typed: typed, text: text, public: public}
	}
	return errors.New(text) // nothing but text crosses: no foreign MarshalJSON decides what is sent
}

// outside tells a markets peer, whose host is public: it learns what went wrong and
// not where.
func outside(ctx context.Context) bool {
	perms := Permissions(ctx)
	return slices.Contains(perms, api.PermSealingPeer) && !slices.Contains(perms, api.PermWrite)
}

// errorTable satisfies the library; wireError carries its own code.
func errorTable() jsonrpc.Errors {
	t := jsonrpc.NewErrors()
	for code, e := range api.ErrorTable() {
		t.Register(jsonrpc.ErrorCode(code), reflect.New(reflect.TypeOf(e)).Interface())
	}
	return t
}
