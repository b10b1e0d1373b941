package api

import (
	"context"
	"slices"
)

// Caller is who calls a method from another process. What belongs to a caller
// belongs to its token.
type Caller struct {
	// Token is the identity of the token: its ID where it has one, else a hash of
	// it. Empty: a caller without a token, who may do what strangers may.
	Token string
	// Perms is what the token may do.
	Perms []Permission
}

// May tells whether the caller holds one of the permissions.
func (c Caller) May(one ...Permission) bool {
	return slices.ContainsFunc(one, func(p Permission) bool { return slices.Contains(c.Perms, p) })
}

type callerKey struct{}

// WithCaller marks a context as that of a call from another process. Whoever
// serves methods to others does so for every call.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf tells who calls. Not from outside: it is the process itself, which may
// do everything.
func CallerOf(ctx context.Context) (c Caller, outside bool) {
	c, outside = ctx.Value(callerKey{}).(Caller)
	return c, outside
}
