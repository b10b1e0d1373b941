package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"quarry/api"
)

// trust is how long an answer of the private node about a token is believed;
// revoking a token takes effect on workers after at most this time.
const trust = 20 * time.Second

// maxTrusted bounds what is remembered; callers without a right could fill it.
const maxTrusted = 1000

// maxAsking bounds the questions to the private node under way: whoever can
// reach this worker could otherwise flood that one through it.
const maxAsking = 4

// maxToken is the longest token in bytes that is worth a question.
const maxToken = 8 << 10

type tokens interface {
	Verify(ctx context.Context, token string) ([]api.Permission, error)
}

type authVerifier interface {
	AuthVerify(ctx context.Context, token string) ([]api.Permission, error)
}

// verifier accepts this worker's own tokens, for everything they say, and
// tokens of the private node, for reading and removing sector files only.
type verifier struct {
	own    tokens
	miner  authVerifier
	asking chan struct{} // capacity maxAsking

	mu    sync.Mutex
	known map[[32]byte]known
}

type known struct {
	perms []api.Permission
	until time.Time
}

func newVerifier(own tokens, miner authVerifier) *verifier {
	return &verifier{own: own, miner: miner, asking: make(chan struct{}, maxAsking), known: map[[32]byte]known{}}
}

// Verify gives what a token may do here.
func (v *verifier) Verify(ctx context.Context, token string) ([]api.Permission, error) {
	if perms, err := v.own.Verify(ctx, token); err == nil {
		return perms, nil
	}
	key := sha256.Sum256([]byte(token))
	v.mu.Lock()
	k, ok := v.known[key]
	v.mu.Unlock()
	if ok && time.Now().Before(k.until) {
		return slices.Clone(k.perms), nil
	}
	all, err := v.ask(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("neither this worker nor the private node knows the token: %w", err)
	}
	perms := slices.DeleteFunc(slices.Clone(all), func(p api.Permission) bool {
		return p != api.PermStorageRead && p != api.PermWorker
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxTrusted {
		clear(v.known)
	}
	v.known[key] = known{perms, time.Now().Add(trust)}
	return slices.Clone(perms), nil
}

func (v *verifier) ask(ctx context.Context, token string) ([]api.Permission, error) {
	if len(token) > maxToken || strings.Count(token, ".") != 2 {
		return nil, errors.New("it is no token at all")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case v.asking <- struct{}{}:
		defer func() { <-v.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return v.miner.AuthVerify(ctx, token)
}
