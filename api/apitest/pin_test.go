package apitest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/api/client"
)

// gate is a client.Gate that pins calls to an instance, which each Replaced sets
// to the next of a list.
type gate struct {
	mu   sync.Mutex
	list []string
	err  error
	seen []string // instances that Replaced was told of
	asks []api.Method
}

func (g *gate) Allow(_ context.Context, m api.Method) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asks = append(g.asks, m)
	return g.list[0], g.err
}

func (g *gate) Replaced(instance string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = append(g.seen, instance)
	if len(g.list) > 1 {
		g.list = g.list[1:]
	}
}

// counting counts the pieces it is given.
type counting struct {
	api.SealingStruct
	mu sync.Mutex
	n  int
}

func (c *counting) SectorAddPiece(context.Context, api.AddPieceRequest) (api.PiecePlacement, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return api.PiecePlacement{Sector: abi.SectorID{Number: 7}}, nil
}

// A call pinned to a process reaches that process only, once; the gate is told of
// another one, and may let the call be made to it.
func TestPinnedCalls(t *testing.T) {
	gone := errors.New("not the one")
	for name, c := range map[string]struct {
		instances []string
		refuse    error
		want      string // of the error; empty: the call succeeds
		replaced  int
	}{
		"the right one": {instances: []string{"here"}},
		"any":           {instances: []string{""}},
		"restarted":     {instances: []string{"before", "here"}, replaced: 1},
		"replaced over and over": {instances: []string{"a", "b", "c"}, want: "being replaced by another process again and again",
			replaced: 2},
		"held back by the gate": {instances: []string{"here"}, refuse: gone, want: "not the one"},
	} {
		t.Run(name, func(t *testing.T) {
			impl, g := &counting{}, &gate{list: c.instances, err: c.refuse}
			s := Serve(t, Parts{Sealing: impl, Instance: "here"})
			m, err := client.Miner(t.Context(), client.Config{Info: s.Info(AdminToken), Name: "the peer", Gate: g})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			at, err := m.SectorAddPiece(t.Context(), api.AddPieceRequest{})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
			calls, number := 1, abi.SectorNumber(7)
			if c.want != "" {
				calls, number = 0, 0
			}
			if impl.n != calls || at.Sector.Number != number || len(g.seen) != c.replaced {
				t.Errorf("%d calls were served, %v, replaced: %q", impl.n, at, g.seen)
			}
			if c.replaced > 0 && g.seen[0] != c.instances[0] {
				t.Errorf("replaced: %q", g.seen)
			}
			if g.asks[0].Name != "SectorAddPiece" || g.asks[0].Perm != api.PermSealingPeer {
				t.Errorf("asked about %v", g.asks)
			}
		})
	}
}

// A subscription is held back too.
func TestGateBeforeSubscription(t *testing.T) {
	s := Serve(t, Parts{})
	g := &gate{list: []string{""}, err: errors.New("not the one")}
	c, err := client.Chain(t.Context(), client.Config{Info: s.Info(AdminToken), Gate: g})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ChainNotify(t.Context()); !errors.Is(err, g.err) || g.asks[0].Name != "ChainNotify" {
		t.Errorf("got %v", err)
	}
}

// Who may not call is told so and learns nothing of the instance; a server without
// one takes every call.
func TestPinOnTheWire(t *testing.T) {
	impl := &counting{}
	s, any := Serve(t, Parts{Sealing: impl, Instance: "here"}), Serve(t, Parts{Sealing: impl})
	for name, c := range map[string]struct {
		addr, token, pin string
		want             int
		tells            string
	}{
		"stranger":    {s.Addr, "wrong", "other", http.StatusUnauthorized, ""},
		"other":       {s.Addr, AdminToken, "other", http.StatusPreconditionFailed, "here"},
		"right":       {s.Addr, AdminToken, "here", http.StatusOK, ""},
		"none":        {s.Addr, AdminToken, "", http.StatusOK, ""},
		"no instance": {any.Addr, AdminToken, "other", http.StatusOK, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+c.addr+"/rpc/v1",
			strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"Filecoin.ActorAddress","params":[]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.token)
		if c.pin != "" {
			req.Header.Set(api.HeaderInstance, c.pin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.want || resp.Header.Get(api.HeaderInstance) != c.tells {
			t.Errorf("%s: %s, %q", name, resp.Status, resp.Header.Get(api.HeaderInstance))
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
