package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"quarry/api"
	"quarry/internal/secret"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

var anyone = func(api.Introduction) error { return nil }

// acceptorAt serves an acceptor, as node/serve does but for tokens.
func acceptorAt(t *testing.T, cfg AcceptorConfig, meet func(api.Introduction) error) (*Acceptor, *httptest.Server) {
	t.Helper()
	a := NewAcceptor(cfg, AcceptorDeps{Meet: meet, Identity: func() api.Identity { return api.Identity{Kind: "markets", Miner: "f01000"} }})
	mux := http.NewServeMux()
	a.Handle(func(pattern string, perm api.Permission, h http.Handler) {
		require.Equal(t, api.PermLink, perm)
		mux.Handle(pattern, h)
	})
	ctx, cancel := context.WithCancel(context.Background())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		both, end := context.WithCancel(r.Context()) // a hijacked connection outlives the server
		defer end()
		defer context.AfterFunc(ctx, end)()
		mux.ServeHTTP(w, r.WithContext(both))
	}))
	t.Cleanup(func() {
		cancel()
		srv.CloseClientConnections()
		srv.Close()
	})
	return a, srv
}

func introduction(place string) api.Introduction {
	return api.Introduction{Identity: api.Identity{Kind: "miner", Instance: uuid.New()}, Host: "host of " + place, PID: 7, Place: place}
}

type answerFunc = func(context.Context, []api.Permission, []byte) []byte

// echo answers every call with its parameters.
func echo(_ context.Context, _ []api.Permission, call []byte) []byte {
	m := parse(call)
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, m.Params)
}

func openerTo(t *testing.T, base string, change func(*OpenerConfig, *OpenerDeps)) *Opener {
	t.Helper()
	me := introduction("here")
	cfg := OpenerConfig{
		Base:     base,
		Token:    secret.New("l.i.nk"),
		Perms:    []api.Permission{api.PermRead},
		RetryMin: time.Millisecond,
		RetryMax: 2 * time.Millisecond,
	}
	deps := OpenerDeps{Introduce: func() api.Introduction { return me }, Meet: func(api.Identity) error { return nil }, Answer: echo}
	if change != nil {
		change(&cfg, &deps)
	}
	o, err := NewOpener(cfg, deps)
	require.NoError(t, err)
	return o
}

// run runs an opener until the test or the returned function ends it.
func run(t *testing.T, o *Opener) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(end)
	return end
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, time.Minute, time.Millisecond, what)
}

// pair is both ends of a link that is open.
func pair(t *testing.T, cfg AcceptorConfig, change func(*OpenerConfig, *OpenerDeps)) (*Acceptor, *Opener) {
	t.Helper()
	a, srv := acceptorAt(t, cfg, anyone)
	o := openerTo(t, srv.URL, change)
	run(t, o)
	eventually(t, "the link is open", func() bool { return a.Status().Connected && o.Status().Connected })
	return a, o
}

func callOf(id, method, params string) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, method, params)
}

// rawPrivate opens a link by hand.
func rawPrivate(t *testing.T, srv *httptest.Server, in api.Introduction) (*websocket.Conn, error) {
	t.Helper()
	me, err := inHeader(in)
	require.NoError(t, err)
	ws, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http")+routeLink, http.Header{headerOpens: {me}})
	if resp != nil && err != nil {
		err = refused(resp, err)
	}
	if ws != nil {
		t.Cleanup(func() { _ = ws.Close() })
	}
	return ws, err
}

// rawMarkets is a host that accepts every link and does with it what the test says.
func rawMarkets(t *testing.T, with func(ws *websocket.Conn)) string {
	t.Helper()
	me, err := inHeader(api.Identity{Kind: "markets"})
	require.NoError(t, err)
	var serving sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serving.Add(1)
		defer serving.Done()
		up := websocket.Upgrader{}
		ws, err := up.Upgrade(w, r, http.Header{headerAccepts: {me}})
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		with(ws)
	}))
	t.Cleanup(func() {
		srv.Close()
		serving.Wait()
	})
	return srv.URL
}

var errTest = errors.New("as the test wants it")
