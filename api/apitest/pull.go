package apitest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"quarry/api"
	"quarry/api/client"
	"quarry/internal/secret"
	"quarry/node/pull"
	"quarry/node/serve"
)

// LinkToken is accepted by the servers that take a link.
const LinkToken = "l.i.nk"

// Pulled gives what a markets node sees of a private process with p that opened
// the link of pull mode to it; perms are what the private process lets it do. Both
// ends work until the test ends.
func Pulled(t testing.TB, p Parts, perms ...api.Permission) *client.MinerAPI {
	t.Helper()
	at := pull.NewAcceptor(pull.AcceptorConfig{}, pull.AcceptorDeps{
		Identity: func() api.Identity { return api.Identity{Kind: "markets", Instance: uuid.New()} },
		Meet:     func(api.Introduction) error { return nil },
	})
	tokens := &Tokens{}
	tokens.Set(LinkToken, api.PermLink)
	s, err := serve.New(serve.Config{Listen: "127.0.0.1:0"}, serve.Deps{Verify: tokens.Verify})
	if err != nil {
		t.Fatal(err)
	}
	at.Handle(s.Handle)
	private := serve.NewDetached(serve.Config{MaxRequestBytes: p.MaxRequestBytes, Absent: p.Absent}, serve.Deps{},
		func(s *serve.Server) { register(s, p) })
	me := api.Introduction{Identity: api.Identity{Kind: "miner", Instance: uuid.New()}}
	from, err := pull.NewOpener(pull.OpenerConfig{
		Base:     "http://" + s.Addr(),
		Token:    secret.New(LinkToken),
		Perms:    perms,
		MaxCall:  p.MaxRequestBytes,
		RetryMin: time.Millisecond,
	}, pull.OpenerDeps{
		Introduce: func() api.Introduction { return me },
		Meet:      func(api.Identity) error { return nil },
		Answer:    private.Answer,
	})
	if err != nil {
		t.Fatal(err)
	}
	inBackground(t, s.Run)
	inBackground(t, from.Run)
	for !at.Status().Connected {
		time.Sleep(time.Millisecond) // a condition of another goroutine that tells nobody
	}
	c, err := client.Miner(context.Background(), client.Config{Carrier: at, Name: "the private node"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// inBackground runs f until the test ends, and waits for it.
func inBackground(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
	}))
}
