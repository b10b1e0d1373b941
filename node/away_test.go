package node

import (
	"errors"
	"fmt"
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
		"[Dealmaking]\nPublishMsgPeriod = \"2 epochs\"\nAllowPrivateIPs = true\nRetrievalListenAddress = %q\n[Subsystems]\nEnableMining = false\n"+
		"EnableSealing = false\nEnableSectorStorage = false\nSealerApiInfo = %q\nSectorIndexApiInfo = %q\n", freePort(t), token+":"+addr, token+":"+addr)
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

// The full node vanishes under both nodes while a deal is on its way, stays
// away, and comes back on the same chain: both say that it is away, keep
// running and serving, catch up, and the deal loses nothing.
func TestFullNodeAway(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a chain and seals two sectors")
	}
	m, private := newSplit(t)
	first := m.deal(t, 1400)
	m.sealAt(t, private, first)
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
	m.sealAt(t, private, second)
	m.retrieve(t, second)
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
