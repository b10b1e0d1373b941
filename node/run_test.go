package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/api/client"
	"quarry/node/repo"
)

// fakeNode serves a full node whose chain stands still; what a part asks
// beyond this answers an error, which parts must live with.
func fakeNode(t *testing.T) (info string) { return fakeNodeOf(t, "fake") }

func fakeNodeOf(t *testing.T, network string) (info string) {
	t.Helper()
	return serveFakeNode(t, network, "").Info(apitest.AdminToken)
}

func serveFakeNode(t *testing.T, network, listen string) *apitest.Server {
	t.Helper()
	parts := apitest.Standing(t, network, minerID, blsKey)
	parts.Listen = listen
	return apitest.Serve(t, parts)
}

var anyCID = api.TipSetKey{}.Cid()

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// privateSettings makes a miner's repo and reads its config.
func privateSettings(t *testing.T, full, listen string) Settings {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "miner")
	file := fmt.Sprintf("[API]\nListenAddress = %q\n[Subsystems]\nEnableMarkets = false\n", listen)
	if _, err := (InitMiner{Dir: dir, Actor: minerID, SectorSize: 2 << 10, Config: []byte(file)}).Run(t.Context(),
		newSetupChain(t)); err != nil {
		t.Fatal(err)
	}
	return load(t, dir, full)
}

func marketsSettings(t *testing.T, full, peer string) Settings {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "markets")
	file := fmt.Sprintf("[API]\nListenAddress = \"127.0.0.1:0\"\n[Libp2p]\nListenAddresses = [\"/ip4/127.0.0.1/tcp/0\"]\n"+
		"[Subsystems]\nEnableMining = false\n"+
		"EnableSealing = false\nEnableSectorStorage = false\nSealerApiInfo = %q\nSectorIndexApiInfo = %q\n", peer, peer)
	if err := (InitMarkets{Dir: dir, Miner: minerID, Config: []byte(file)}).Run(t.Context(), newSetupChain(t)); err != nil {
		t.Fatal(err)
	}
	return load(t, dir, full)
}

func load(t *testing.T, dir, full string) Settings {
	t.Helper()
	set, err := LoadSettings(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	set.FullNodeInfo, set.StopBudget, set.PeerPoll = full, 10*time.Second, 20*time.Millisecond
	return set
}

// running is a process of this package inside the test.
type running struct {
	*client.MinerAPI
	info string
	addr string
	done chan error
}

// start runs set until Shutdown, at the latest until the test ends.
func start(t *testing.T, set Settings) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &running{done: make(chan error, 1)}
	go func() {
		p.done <- Run(ctx, set)
		close(p.done)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-p.done; err != nil {
			t.Errorf("run of %s: %v", set.RepoDir, err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	eventually(t, "the process serves", func() bool {
		select {
		case err := <-p.done:
			t.Fatalf("the process ended: %v", err)
		default:
		}
		var err error
		p.info, err = repo.APIInfo(set.RepoDir)
		return err == nil
	})
	addr, err := os.ReadFile(filepath.Join(set.RepoDir, repo.FileAPI))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(strings.TrimSpace(string(addr)), "/") // /ip4/127.0.0.1/tcp/port/http
	p.addr = net.JoinHostPort(parts[2], parts[4])
	p.MinerAPI = dial(t, p.info)
	return p
}

func dial(t *testing.T, info string) *client.MinerAPI {
	t.Helper()
	c, err := client.Miner(context.Background(), client.Config{Info: info})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (p *running) stop(t *testing.T) {
	t.Helper()
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-p.done; err != nil {
		t.Fatalf("run ended with %v", err)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-limit.C:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func status(t *testing.T, method, url, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestRunPrivate(t *testing.T) {
	set := privateSettings(t, fakeNode(t), "127.0.0.1:0")
	for _, round := range []string{"first start", "restart"} {
		p := start(t, set)
		subs, err := p.RuntimeSubsystems(t.Context())
		if want := []api.Subsystem{api.SubsystemMining, api.SubsystemSealing, api.SubsystemSectorStorage}; err != nil ||
			!reflect.DeepEqual(subs, want) {
			t.Fatalf("%s: %v, %v", round, subs, err)
		}
		for _, token := range []string{"", "wrong", apitest.AdminToken} {
			if code := status(t, http.MethodPost, "http://"+p.addr+"/rpc/v1", token); code != http.StatusUnauthorized {
				t.Errorf("token %q answers %d", token, code)
			}
		}
		var absent *api.ErrNotServedHere
		_, err = p.MarketGetAsk(t.Context())
		if !errors.As(err, &absent) || absent.Subsystem != api.SubsystemMarkets || !strings.Contains(err.Error(), "MARKETS_API_INFO") {
			t.Errorf("call to an absent subsystem: %v", err)
		}
		var locked *repo.ErrLocked
		if err := Run(t.Context(), set); !errors.As(err, &locked) || !strings.Contains(locked.Holder, fmt.Sprint(os.Getpid())) {
			t.Errorf("second run on one repo: %v", err)
		}
		eventually(t, "the full node is reachable", func() bool {
			s, err := p.NodeStatus(t.Context())
			return err == nil && s.Chain.Reachable && s.Chain.Version == "fake" && s.Miner == minerID.String()
		})
		p.stop(t)
		noStrays(t, set.RepoDir)
	}
}

// The markets node lives without the private node and tells so, until it is
// there.
func TestRunMarkets(t *testing.T) {
	full, addr := fakeNode(t), freePort(t)
	private := privateSettings(t, full, addr)
	r, err := repo.Open(private.RepoDir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := r.Tokens().Create(t.Context(), api.TokenRequest{Name: "markets", Role: api.RoleMarketsPeer})
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	set := marketsSettings(t, full, token+":"+addr)
	m := start(t, set)
	if subs, err := m.RuntimeSubsystems(t.Context()); err != nil || !slices.Equal(subs, []api.Subsystem{api.SubsystemMarkets}) {
		t.Fatalf("%v, %v", subs, err)
	}
	peers := func(up bool) func() bool {
		return func() bool {
			s, err := m.NodeStatus(t.Context())
			if err != nil || len(s.Peers) != 2 {
				t.Fatalf("%+v, %v", s, err)
			}
			for _, p := range s.Peers {
				if p.Reachable != up || p.LastError == "not asked yet" || (p.LastError == "") != up {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "both peers are unreachable", peers(false))
	var absent *api.ErrNotServedHere
	if _, err := m.SectorsSummary(t.Context()); !errors.As(err, &absent) || !strings.Contains(err.Error(), "SealerApiInfo") {
		t.Errorf("call to an absent subsystem: %v", err)
	}
	p := start(t, private)
	eventually(t, "both peers are reachable", peers(true))
	p.stop(t)
	eventually(t, "both peers are unreachable again", peers(false))
	m.stop(t)
	noStrays(t, set.RepoDir)
}

// openRoutes is the short written list of what answers without a token of the
// API. To add one, say here why it must.
var openRoutes = map[string]int{
	"/health/livez":  http.StatusOK,           // for supervisors that hold no secret; says nothing but "ok"
	"/health/readyz": http.StatusOK,           // same; says what is missing, without hosts and paths
	"/staged/":       http.StatusUnauthorized, // the token is the deal's own, made for the one who pulls it
}

func TestRoutesWithoutToken(t *testing.T) {
	full := fakeNode(t)
	for name, set := range map[string]Settings{"private": privateSettings(t, full, "127.0.0.1:0"),
		"markets": marketsSettings(t, full, "a.b.c:"+freePort(t))} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			n := newNode(set)
			defer func() {
				if err := n.close(); err != nil {
					t.Error(err)
				}
				http.DefaultClient.CloseIdleConnections()
			}()
			if err := n.compose(ctx, cancel); err != nil {
				t.Fatal(err)
			}
			for _, r := range n.srv.Routes() {
				method, path, found := strings.Cut(r.Pattern, " ")
				if !found {
					method, path = http.MethodGet, r.Pattern
				}
				want, open := openRoutes[path]
				if r.Public != open {
					t.Errorf("%s: public is %v, but the written list says %v", r.Pattern, r.Public, open)
				}
				if !open {
					want = http.StatusUnauthorized
				}
				if path == "/health/readyz" && !set.Sealing {
					want = http.StatusServiceUnavailable // its private node is away
				}
				if strings.HasSuffix(path, "/staged/") {
					path += "00000000-0000-4000-8000-000000000000"
				}
				for _, token := range []string{"", "wrong"} {
					if code := status(t, method, "http://"+n.srv.Addr()+path, token); code != want {
						t.Errorf("%s with token %q: %d", r.Pattern, token, code)
					}
				}
			}
		})
	}
}

// A process told to stop while it waits for the full node has not failed.
func TestStopWhileWaiting(t *testing.T) {
	set := privateSettings(t, "a.b.c:"+freePort(t), "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	set.Log = slog.New(slog.NewTextHandler(onLine(func(line string) {
		if strings.Contains(line, "waiting for the full node") {
			cancel()
		}
	}), nil))
	if err := Run(ctx, set); err != nil || ctx.Err() == nil {
		t.Fatalf("run ended with %v", err)
	}
	set.FullNodeInfo = ""
	if err := Run(t.Context(), set); err == nil || !strings.Contains(err.Error(), "FULLNODE_API_INFO") {
		t.Errorf("no full node named: %v", err)
	}
}

// onLine is a writer of log lines.
type onLine func(line string)

func (f onLine) Write(b []byte) (int, error) { f(string(b)); return len(b), nil }
