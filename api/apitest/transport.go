package apitest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"quarry/api"
	"quarry/api/client"
	"quarry/node/serve"
)

// Parts are the implementations one test process serves. nil parts named in
// Absent answer api.ErrNotServedHere, others are unknown methods.
type Parts struct {
	Chain   api.Chain
	Tools   api.ChainTools
	Node    api.Node
	Devnet  api.Devnet
	Common  api.Common
	Net     api.Net
	Storage api.Storage
	Sealing api.Sealing
	Mining  api.Mining
	Markets api.Markets
	Absent  map[api.Subsystem]string
	// MaxRequestBytes of the server, 0 for its default.
	MaxRequestBytes int64
	// Listen fixes the address, for tests that restart the server; by default a
	// free port of 127.0.0.1.
	Listen string
	// Default is what callers without a token may do.
	Default []api.Permission
	// Instance of the server, see serve.Config; empty: none.
	Instance string
}

// Tokens is a token verifier over a table that tests change while serving.
type Tokens struct {
	mu sync.Mutex
	m  map[string][]api.Permission
}

// Set grants perms to token; none revokes it.
func (t *Tokens) Set(token string, perms ...api.Permission) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = map[string][]api.Permission{}
	}
	t.m[token] = perms
}

// Verify is serve.Deps.Verify.
func (t *Tokens) Verify(_ context.Context, token string) ([]api.Permission, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.m[token]; len(p) > 0 {
		return slices.Clone(p), nil
	}
	return nil, errors.New("unknown token")
}

// AdminToken is accepted by every server of this package; its shape is that of
// a JWT, as API info demands.
const AdminToken = "a.d.min"

// Server is a running test server.
type Server struct {
	Addr   string // host:port
	Tokens *Tokens
	Stop   func() // graceful; repeated by the test's cleanup
}

// Info is the API info for a token ("" for none).
func (s *Server) Info(token string) string {
	if token == "" {
		return "http://" + s.Addr
	}
	return token + ":http://" + s.Addr
}

// Serve runs a server with parts until the test ends or Stop.
func Serve(t testing.TB, p Parts) *Server {
	t.Helper()
	tokens := &Tokens{}
	tokens.Set(AdminToken, api.AllPermissions...)
	if p.Listen == "" {
		p.Listen = "127.0.0.1:0"
	}
	s, err := serve.New(serve.Config{
		Listen:          p.Listen,
		Absent:          p.Absent,
		MaxRequestBytes: p.MaxRequestBytes,
		DefaultPerms:    p.Default,
		Instance:        p.Instance,
	},
		serve.Deps{Verify: tokens.Verify})
	if err != nil {
		t.Fatal(err)
	}
	register(s, p)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return &Server{Addr: s.Addr(), Tokens: tokens, Stop: stop}
}

func register(s *serve.Server, p Parts) {
	if p.Chain != nil {
		s.RegisterChain(p.Chain)
	}
	if p.Tools != nil {
		s.RegisterChainTools(p.Tools)
	}
	if p.Node != nil {
		s.RegisterNode(p.Node)
	}
	if p.Devnet != nil {
		s.RegisterDevnet(p.Devnet)
	}
	if p.Common != nil {
		s.RegisterCommon(p.Common)
	}
	if p.Net != nil {
		s.RegisterNet(p.Net)
	}
	if p.Storage != nil {
		s.RegisterStorage(p.Storage)
	}
	if p.Sealing != nil {
		s.RegisterSealing(p.Sealing)
	}
	if p.Mining != nil {
		s.RegisterMining(p.Mining)
	}
	if p.Markets != nil {
		s.RegisterMarkets(p.Markets)
	}
}

// Chain dials a full node; the test's end closes the client.
func (s *Server) Chain(t testing.TB, token string) *client.ChainAPI {
	t.Helper()
	c, err := client.Chain(context.Background(), client.Config{Info: s.Info(token)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Miner dials a miner; the test's end closes the client.
func (s *Server) Miner(t testing.TB, token string) *client.MinerAPI {
	t.Helper()
	c, err := client.Miner(context.Background(), client.Config{Info: s.Info(token)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Suite runs one set of checks against a subsystem in process and over HTTP
// with permissions on. pick takes the interface out of the client, for example
//
//	apitest.Suite(t, impl, apitest.Parts{Storage: impl},
//		func(m *client.MinerAPI) api.Storage { return m }, checks)
//
// The checks run twice against the same implementation and must not assume that
// it is new.
func Suite[I any](t *testing.T, impl I, p Parts, pick func(*client.MinerAPI) I, checks func(t *testing.T, i I)) {
	t.Helper()
	t.Run("in process", func(t *testing.T) { checks(t, impl) })
	t.Run("http", func(t *testing.T) { checks(t, pick(Serve(t, p).Miner(t, AdminToken))) })
}
