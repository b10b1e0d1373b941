package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"quarry/api"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		// The RPC library's reader of a websocket that closes between two frames
		// waits for ever to hand on the last one (go-jsonrpc v0.10.2 websocket.go:182).
		goleak.IgnoreTopFunction("github.com/filecoin-project/go-jsonrpc.(*wsConn).nextMessage"))
}

// publicRoutes is the short written list of what answers without a token. To
// add one, say here why it must.
var publicRoutes = []string{
	"/health/livez",  // for supervisors that hold no secret; says nothing but "ok"
	"/health/readyz", // same
}

func verify(_ context.Context, token string) ([]api.Permission, error) {
	switch token {
	case "admin":
		return api.AllPermissions, nil
	case "read":
		return []api.Permission{api.PermRead}, nil
	}
	return nil, errors.New("unknown")
}

func start(t *testing.T, cfg Config, deps Deps, register func(*Server)) *Server {
	t.Helper()
	cfg.Listen = "/ip4/127.0.0.1/tcp/0/http"
	deps.Verify = verify
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	if register != nil {
		register(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

func do(t *testing.T, method, url, auth string, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// Nothing answers without a token except the written list.
func TestRoutesWithoutToken(t *testing.T) {
	s := start(t, Config{}, Deps{}, func(s *Server) {
		ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, Permissions(r.Context())) })
		s.Handle("GET /remote/", api.PermStorageRead, ok)
		s.Handle("/staged/{id}", api.PermSealingPeer, ok)
	})
	for _, r := range s.Routes() {
		method, path, found := strings.Cut(r.Pattern, " ")
		if !found {
			method, path = http.MethodPost, r.Pattern
		}
		url := "http://" + s.Addr() + strings.ReplaceAll(path, "{id}", "x")
		want := http.StatusUnauthorized
		if slices.Contains(publicRoutes, r.Pattern) {
			want = http.StatusOK
		}
		if r.Public != (want == http.StatusOK) {
			t.Errorf("%s is public but not on the written list", r.Pattern)
		}
		for _, auth := range []string{"", "Bearer wrong", "admin", "Basic YWRtaW4=", "Bearer "} {
			if code, body := do(t, method, url, auth, "{}"); code != want {
				t.Errorf("%s with %q: %d %s", r.Pattern, auth, code, body)
			}
		}
		if r.Perm == "" {
			continue
		}
		if code, _ := do(t, method, url, "Bearer read", ""); code != http.StatusForbidden {
			t.Errorf("%s lets a weak token in: %d", r.Pattern, code)
		}
		if code, _ := do(t, method, url, "Bearer admin", ""); code != http.StatusOK {
			t.Errorf("%s refuses a good token: %d", r.Pattern, code)
		}
		if code, _ := do(t, method, url+"?token=admin", "", ""); code != http.StatusOK {
			t.Errorf("%s refuses a good token in the query: %d", r.Pattern, code)
		}
	}
	if code, _ := do(t, "GET", "http://"+s.Addr()+"/debug/pprof/", "", ""); code != http.StatusNotFound {
		t.Errorf("an unregistered path answers %d", code)
	}
}

type answer struct {
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
		Meta    json.RawMessage
	}
}

func rpc(t *testing.T, s *Server, path, body string) (int, answer) {
	t.Helper()
	code, text := do(t, "POST", "http://"+s.Addr()+path, "Bearer admin", body)
	var a answer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatalf("%d %s: %v", code, text, err)
	}
	return code, a
}

type chain struct{ api.ChainStruct }

func (chain) StateNetworkName(context.Context) (string, error) { return "devnet", nil }
func (chain) ChainHead(context.Context) (*api.TipSet, error) {
	return nil, fmt.Errorf("outer: %w", &api.ErrNotFound{What: "head", Hint: "wait"})
}

func TestWireForm(t *testing.T) {
	s := start(t, Config{MaxRequestBytes: 1024}, Deps{}, func(s *Server) { s.RegisterChain(&chain{}) })
	for _, path := range []string{"/rpc/v0", "/rpc/v1"} {
		if code, a := rpc(t, s, path, `{"jsonrpc":"2.0","id":1,"method":"Filecoin.StateNetworkName","params":[]}`); code != 200 ||
			string(a.Result) != `"devnet"` {
			t.Errorf("%s: %d %s", path, code, a.Result)
		}
	}
	if code, a := rpc(t, s, "/rpc/v1", `{"jsonrpc":"2.0","id":1,"method":"Filecoin.ChainHead"}`); code != 200 || a.Error == nil ||
		a.Error.Code != 102 ||
		a.Error.Message != "outer: head not found; wait" || string(a.Error.Meta) != `{"What":"head","Hint":"wait"}` {
		t.Errorf("%d %+v", code, a.Error)
	}
	if _, a := rpc(t, s, "/rpc/v1", `{"jsonrpc":"2.0","id":1,"method":"Filecoin.Nothing"}`); a.Error == nil || a.Error.Code != -32601 {
		t.Errorf("%+v", a.Error)
	}
	if _, a := rpc(t, s, "/rpc/v1", `{"jsonrpc":"2.0","id":1,"method":"Filecoin.ChainNotify"}`); a.Error == nil || a.Error.Code != -32601 {
		t.Errorf("%+v", a.Error)
	}
	if code, a := rpc(t, s, "/rpc/v1", `{"jsonrpc":"2.0","id":1,"method":"`+strings.Repeat("x", 2000)+
		`"}`); code != http.StatusRequestEntityTooLarge || a.Error == nil || a.Error.Code != -32700 {
		t.Errorf("%d %+v", code, a.Error)
	}
	if code, _ := do(t, "GET", "http://"+s.Addr()+"/rpc/v1", "Bearer admin", ""); code != http.StatusMethodNotAllowed {
		t.Errorf("GET answers %d", code)
	}
}

func TestReadyz(t *testing.T) {
	var state error
	s := start(t, Config{}, Deps{Ready: func(context.Context) error { return state }}, nil)
	if code, _ := do(t, "GET", "http://"+s.Addr()+"/health/readyz", "", ""); code != 200 {
		t.Fatal(code)
	}
	state = errors.New("no chain")
	if code, body := do(t, "GET", "http://"+s.Addr()+"/health/readyz", "", ""); code != 503 || !strings.Contains(body, "no chain") {
		t.Fatal(code, body)
	}
}

func TestPanickingRoute(t *testing.T) {
	s := start(t, Config{}, Deps{}, func(s *Server) {
		s.Handle("/boom", api.PermRead, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }))
	})
	for range 2 {
		if code, _ := do(t, "GET", "http://"+s.Addr()+"/boom", "Bearer read", ""); code != 500 {
			t.Fatal(code)
		}
	}
}

// A stop lets a short request finish and cuts one that ignores its context.
func TestGracefulStop(t *testing.T) {
	entered, release := make(chan struct{}, 2), make(chan struct{})
	s, err := New(Config{Listen: "127.0.0.1:0", StopBudget: 300 * time.Millisecond}, Deps{Verify: verify})
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("/polite", api.PermRead, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
		fmt.Fprint(w, "bye")
	}))
	s.Handle("/stubborn", api.PermRead, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	get := func(path string) chan error {
		out := make(chan error, 1)
		go func() {
			resp, err := http.Get("http://" + s.Addr() + path + "?token=read")
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			out <- err
		}()
		return out
	}
	polite, stubborn := get("/polite"), get("/stubborn")
	<-entered
	<-entered
	cancel()
	if err := <-polite; err != nil {
		t.Errorf("a polite request was cut: %v", err)
	}
	if err := <-stubborn; err == nil {
		t.Error("a stubborn request was waited for")
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.Addr()); err == nil {
		t.Error("still listening")
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestConstruction(t *testing.T) {
	if _, err := New(Config{Listen: "127.0.0.1:0"}, Deps{}); err == nil {
		t.Error("a server without a verifier")
	}
	for _, l := range []string{"", "nowhere", "/ip4/127.0.0.1/udp/1/x", "/unix/x", "300.1.1.1:1"} {
		if s, err := New(Config{Listen: l}, Deps{Verify: verify}); err == nil {
			t.Errorf("listens on %q", l)
			_ = s.Close()
		}
	}
	s, err := New(Config{Listen: "/ip4/127.0.0.1/tcp/0"}, Deps{Verify: verify})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if !strings.HasPrefix(s.Multiaddr(), "/ip4/127.0.0.1/tcp/") || !strings.HasSuffix(s.Multiaddr(), "/http") {
		t.Error(s.Multiaddr())
	}
	if _, err := New(Config{Listen: s.Addr()}, Deps{Verify: verify}); err == nil || !strings.Contains(err.Error(), "API.ListenAddress") {
		t.Errorf("two listeners on one port: %v", err)
	}
}
