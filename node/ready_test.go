package node

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"quarry/api"
	"quarry/api/apitest"
)

// readyz gives the answer of the process with its reasons.
func readyz(t *testing.T, p *running) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.addr+"/health/readyz", nil)
	if err != nil {
		t.Fatal(err)
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

// A process is ready while everything it needs is there, and else says what is
// missing, to strangers too: without hosts, ports and paths. It lives all along.
func TestReadyMeansIt(t *testing.T) {
	full := serveFakeNode(t, "net", "")
	private := start(t, privateSettings(t, full.Info(apitest.AdminToken), "127.0.0.1:0"))
	token, err := private.AuthCreate(t.Context(), api.TokenRequest{Name: "markets", Role: api.RoleMarketsPeer})
	if err != nil {
		t.Fatal(err)
	}
	peer := token + ":" + private.addr
	set := marketsSettings(t, full.Info(apitest.AdminToken), peer)
	markets := start(t, set)
	for name, p := range map[string]*running{"private": private, "markets": markets} {
		eventually(t, name+" is ready", func() bool {
			code, body := readyz(t, p)
			return code == http.StatusOK && body == "ok\n"
		})
	}
	away := func(p *running, reason string) {
		t.Helper()
		eventually(t, reason, func() bool {
			code, body := readyz(t, p)
			if secret := strings.Contains(body, "127.0.0.1") || strings.Contains(body, "/"); secret {
				t.Fatalf("told to strangers: %s", body)
			}
			return code == http.StatusServiceUnavailable && strings.Contains(body, "not ready: ") && strings.Contains(body, reason)
		})
		if code := status(t, http.MethodGet, "http://"+p.addr+"/health/livez", ""); code != http.StatusOK {
			t.Errorf("livez: %d", code)
		}
	}
	private.stop(t)
	away(markets, "the sealing node is unreachable since ")
	away(markets, "the sector storage node is unreachable since ")
	full.Stop()
	away(markets, "the full node is unreachable since ")
}

// A chain that stands still, or a full node that is behind its network, is no chain
// to work with.
func TestHeadTrouble(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	mainnet, devnet, fast := &epochs{}, &epochs{devnet: true}, &epochs{devnet: true}
	mainnet.length.Store(int64(30 * time.Second))
	devnet.length.Store(int64(100 * time.Millisecond))
	at := func(ago time.Duration) *api.TipSet {
		return &api.TipSet{Blocks: []*api.BlockHeader{{Timestamp: uint64(now.Add(-ago).Unix())}}}
	}
	year := 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		head  *api.TipSet
		seen  time.Duration // ago
		clock *epochs
		want  string
	}{
		"right":        {at(30 * time.Second), 10 * time.Second, mainnet, ""},
		"at the limit": {at(5 * time.Minute), 5 * time.Minute, mainnet, ""},
		"stands still": {at(0), 5*time.Minute + 1, mainnet, "the chain stands still since 2026-03-04T11:54:59Z"},
		"behind": {at(5*time.Minute + time.Second), time.Second, mainnet,
			"the full node is not synced: its head is of 2026-03-04T11:54:59Z"},
		"made-up time":           {at(year), time.Second, devnet, ""},
		"devnet at the limit":    {at(year), 30 * time.Second, devnet, ""},
		"devnet stands still":    {at(year), 30*time.Second + 1, devnet, "the chain stands still since 2026-03-04T11:59:29Z"},
		"as fast as it can":      {at(year), 30 * time.Second, fast, ""},
		"as fast, stands still":  {at(year), 31 * time.Second, fast, "stands still"},
		"a head without a block": {&api.TipSet{}, time.Second, mainnet, ""},
	} {
		if got := headTrouble(c.head, now.Add(-c.seen), now, c.clock); got != c.want &&
			(c.want == "" || !strings.HasPrefix(got, c.want) && !strings.Contains(got, c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// An API on every address is found by the commands of its host, tells others an
// address that answers, and names the setting for another.
func TestListeningOnEveryAddress(t *testing.T) {
	for _, host := range []string{"0.0.0.0", "[::]"} {
		t.Run(host, func(t *testing.T) {
			if host == "[::]" {
				if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
					host = "0.0.0.0" // a machine without IPv6
				} else {
					_ = l.Close()
				}
			}
			p := start(t, privateSettings(t, fakeNode(t), host+":0"))
			if !strings.Contains(p.info, "/ip4/127.0.0.1/tcp/") {
				t.Errorf("commands of this host are sent to %s", p.addr)
			}
			s, err := p.NodeStatus(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(s.Address, "0.0.0.0") || strings.Contains(s.Address, "[::]") ||
				status(t, http.MethodGet, s.Address+"/health/livez", "") != http.StatusOK {
				t.Errorf("others are told %s", s.Address)
			}
			if len(s.Notices) != 1 || s.Notices[0].Act || !strings.Contains(s.Notices[0].Text, "others are told "+s.Address) ||
				!strings.Contains(s.Notices[0].Do, "set API.RemoteListenAddress") {
				t.Errorf("notices %+v", s.Notices)
			}
		})
	}
	set := privateSettings(t, fakeNode(t), "0.0.0.0:0")
	set.RemoteURL = "https://storage.example"
	s, err := start(t, set).NodeStatus(t.Context())
	if err != nil || s.Address != "https://storage.example" || len(s.Notices) > 0 {
		t.Errorf("with the setting: %s, %+v, %v", s.Address, s.Notices, err)
	}
}

// The private node knows since when the markets node is silent, and tells only its
// operator.
func TestSilentMarketsNodeIsTold(t *testing.T) {
	full := fakeNode(t)
	private := start(t, privateSettings(t, full, "127.0.0.1:0"))
	token, err := private.AuthCreate(t.Context(), api.TokenRequest{Name: "markets", Role: api.RoleMarketsPeer})
	if err != nil {
		t.Fatal(err)
	}
	callers := func() []api.PeerStatus {
		s, err := private.NodeStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Callers
	}
	if got := callers(); len(got) != 0 {
		t.Errorf("before anybody called: %+v", got)
	}
	before := time.Now()
	markets := start(t, marketsSettings(t, full, token+":"+private.addr))
	eventually(t, "the markets node is heard of", func() bool {
		got := callers()
		return len(got) == 1 && got[0].Name == "markets" && got[0].Reachable && got[0].Since.After(before)
	})
	if s, err := dial(t, token+":"+private.addr).NodeStatus(t.Context()); err == nil || len(s.Callers) > 0 {
		t.Errorf("a peer is told of callers: %+v, %v", s.Callers, err)
	}
	gone := time.Now()
	markets.stop(t)
	eventually(t, "the markets node is missed", func() bool {
		got := callers()
		return len(got) == 1 && !got[0].Reachable && got[0].LastError != "" && got[0].Since.After(before)
	})
	if got := callers()[0].Since; got.After(gone.Add(time.Second)) {
		t.Errorf("missed since %s, stopped at %s", got, gone)
	}
}

func TestNoticesTellWhatIsNew(t *testing.T) {
	var n notices
	a, b := api.Notice{Text: "a"}, api.Notice{Text: "b", Act: true, Do: "c"}
	for i, c := range []struct {
		finder  string
		list    []api.Notice
		changed bool
		all     string
	}{
		{"z", nil, false, "[]"},
		{"z", []api.Notice{a}, true, "[{false a }]"},
		{"z", []api.Notice{a}, false, "[{false a }]"},
		{"y", []api.Notice{b}, true, "[{true b c} {false a }]"},
		{"z", nil, true, "[{true b c}]"},
	} {
		if got := n.set(c.finder, c.list...); got != c.changed || fmt.Sprint(n.all()) != c.all {
			t.Errorf("step %d: %v, %v", i, got, n.all())
		}
	}
}
