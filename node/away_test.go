package node

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"quarry/api"
	"quarry/node/repo"
)

// newSplit is a private and a markets process on a chain of their own. The
// monolith's fields are those of the markets process.
func newSplit(t *testing.T) (m *monolith, private *running) {
	t.Helper()
	full := newFullNode(t)
	dir := t.TempDir()
	owner := full.account(t, api.KeyBLS)
	addr := freePort(t)
	in := InitMiner{Dir: filepath.Join(dir, "miner"), Owner: owner, SectorSize: 2 << 10,
		Config: []byte(fmt.Sprintf("[API]\nListenAddress = %q\n[Subsystems]\nEnableMarkets = false\n", addr))}
	maddr, err := in.Run(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(in.Dir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := r.Tokens().Create(t.Context(), api.TokenRequest{Name: "markets", Role: api.RoleMarketsPeer})
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	file := fmt.Sprintf("[API]\nListenAddress = \"127.0.0.1:0\"\n[Libp2p]\nListenAddresses = [\"/ip4/127.0.0.1/tcp/0\"]\n"+
		"[Dealmaking]\nPublishMsgPeriod = \"2 epochs\"\nAllowPrivateIPs = true\nRetrievalListenAddress = %q\n[Subsystems]\n"+
		"EnableMining = false\n"+
		"EnableSealing = false\nEnableSectorStorage = false\nSealerApiInfo = %q\nSectorIndexApiInfo = %q\n", freePort(t), token+":"+
		addr, token+":"+addr)
	mdir := filepath.Join(dir, "markets")
	if err := (InitMarkets{Dir: mdir, Miner: maddr, Config: []byte(file)}).Run(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	private = start(t, load(t, in.Dir, full.info))
	m = &monolith{full: full, set: load(t, mdir, full.info), wallet: full.account(t, api.KeySecp256k1)}
	m.running = start(t, m.set)
	m.connectClient(t, maddr)
	return m, private
}

// The full node vanishes under both nodes while one deal is on its way and the
// sector of another is being sealed, stays away, and comes back on the same
// chain: both say that it is away, keep running and serving, catch up, and
// nothing is lost.
func TestFullNodeAway(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a chain and seals two sectors")
	}
	m, private := newSplit(t)
	first := m.deal(t, 1400)
	d := m.await(t, first.id, "is indexed", func(d api.DealInfo) bool { return d.Checkpoint == api.DealIndexed })
	startSealing(t, private, d)
	second := m.deal(t, 1300)

	for round := range 2 {
		m.full.stop()
		for name, p := range map[string]*running{"private": private, "markets": m.running} {
			eventually(t, "the "+name+" node tells that the full node is away", func() bool {
				s, err := p.NodeStatus(t.Context())
				return err == nil && !s.Chain.Reachable && s.Chain.LastError != ""
			})
		}
		m.retrieve(t, first) // what is here needs no chain
		if d, err := m.DealsGet(t.Context(), second.id, false); err != nil || d.OnChainActive || d.Retry != api.DealRetryAuto {
			t.Fatalf("round %d: %+v, %v", round, d, err)
		}
		m.full.open(t, hostPort(m.full.info))
	}
	for _, s := range []stored{first, second} {
		m.sealAt(t, private, s)
		m.retrieve(t, s)
	}
	list, err := private.SectorsList(t.Context(), 0, 10)
	if err != nil || len(list) != 2 {
		t.Errorf("sectors %v, %v", list, err)
	}
	for _, s := range []stored{first, second} {
		d, err := m.DealsGet(t.Context(), s.id, true)
		if err != nil || d.Checkpoint != api.DealComplete || d.Err != "" {
			t.Errorf("deal %s: %+v, %v", s.id, d, err)
		}
	}
	if _, err := m.full.StateMarketStorageDeal(t.Context(), 2, nil); err == nil {
		t.Error("two deals were made, but the chain has a third")
	}
}

// hostPort of token:/ip4/host/tcp/port/http.
func hostPort(info string) string {
	parts := strings.Split(info, "/")
	return parts[2] + ":" + parts[4]
}

// A process started before its full node tells so to the operator, who can make
// tokens meanwhile, and begins to work when the full node is there.
func TestServesWhileWaiting(t *testing.T) {
	full := newFullNode(t)
	owner := full.account(t, api.KeyBLS)
	in := InitMiner{Dir: filepath.Join(t.TempDir(), "miner"), Owner: owner, SectorSize: 2 << 10,
		Config: []byte("[API]\nListenAddress = \"127.0.0.1:0\"\n[Subsystems]\nEnableMarkets = false\n")}
	maddr, err := in.Run(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	full.stop()
	p := start(t, load(t, in.Dir, full.info))
	if v, err := p.Version(t.Context()); err != nil || v.Version == "" {
		t.Fatalf("version: %+v, %v", v, err)
	}
	eventually(t, "the process tells that the full node is away", func() bool {
		s, err := p.NodeStatus(t.Context())
		return err == nil && s.Miner == maddr.String() && !s.Chain.Reachable && s.Chain.LastError != ""
	})
	token, err := p.AuthCreate(t.Context(), api.TokenRequest{Name: "worker", Role: api.RoleWorker})
	if err != nil {
		t.Fatal(err)
	}
	var away *api.ErrUnreachable
	if _, err := p.SectorsList(t.Context(), 0, 10); !errors.As(err, &away) || !strings.Contains(err.Error(), "full node") {
		t.Errorf("a method that needs the chain: %v", err)
	}
	for path, want := range map[string]int{"/health/livez": http.StatusOK, "/health/readyz": http.StatusServiceUnavailable,
		"/remote/sealed/s-t01000-0": http.StatusNotFound} {
		if code := status(t, http.MethodGet, "http://"+p.addr+path, ""); code != want {
			t.Errorf("%s answers %d", path, code)
		}
	}
	if code := status(t, http.MethodPost, "http://"+p.addr+"/rpc/v1", "wrong"); code != http.StatusUnauthorized {
		t.Errorf("a wrong token answers %d", code)
	}
	full.open(t, hostPort(full.info))
	eventually(t, "the process works", func() bool {
		_, err := p.SectorsList(t.Context(), 0, 10)
		return err == nil
	})
	if code := status(t, http.MethodGet, "http://"+p.addr+"/health/readyz", ""); code != http.StatusOK {
		t.Errorf("ready answers %d", code)
	}
	if perms, err := p.AuthVerify(t.Context(), token); err != nil || len(perms) == 0 {
		t.Errorf("the token made meanwhile: %v, %v", perms, err)
	}
}
