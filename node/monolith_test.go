package node

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	lcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"quarry/api"
	"quarry/markets/dealmaker"
	mnet "quarry/markets/net"
)

// monolith is a process with all four switches on, and a client.
type monolith struct {
	*running
	full   *fullNode
	set    Settings
	client *dealmaker.Client
	wallet address.Address
	at     *dealmaker.Provider
}

// newMonolith makes a miner on a chain of its own and starts it.
func newMonolith(t *testing.T, change ...func(*Settings)) *monolith {
	t.Helper()
	full := newFullNode(t)
	retrieval := freePort(t)
	file := fmt.Sprintf("[API]\nListenAddress = \"127.0.0.1:0\"\n[Libp2p]\nListenAddresses = [\"/ip4/127.0.0.1/tcp/0\"]\n"+
		"[Dealmaking]\nPublishMsgPeriod = \"2 epochs\"\nAllowPrivateIPs = true\nRetrievalListenAddress = %q\n", retrieval)
	dir := filepath.Join(t.TempDir(), "miner")
	owner := full.account(t, api.KeyBLS)
	maddr, err := (InitMiner{Dir: dir, Owner: owner, SectorSize: 2 << 10, Config: []byte(file)}).Run(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	m := &monolith{full: full, set: load(t, dir, full.info), wallet: full.account(t, api.KeySecp256k1)}
	for _, f := range change {
		f(&m.set)
	}
	m.running = start(t, m.set)
	m.connectClient(t, maddr)
	return m
}

// connectClient makes the client and connects it to the running process.
func (m *monolith) connectClient(t *testing.T, maddr address.Address) {
	t.Helper()
	key, _, err := lcrypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := mnet.NewHost(mnet.Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	m.client = &dealmaker.Client{Chain: m.full, Host: h}
	p, err := m.NetAddrsListen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info, err := m.full.StateMinerInfo(t.Context(), maddr, nil)
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for _, a := range p.Addrs {
		addrs = append(addrs, a+"/p2p/"+p.ID)
	}
	at, err := peer.AddrInfoFromString(addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	m.at = &dealmaker.Provider{Miner: maddr, Info: info, Peer: *at}
	if err := m.client.Host.Connect(t.Context(), *at); err != nil {
		t.Fatal(err)
	}
}

// stored is one deal of the test.
type stored struct {
	id   uuid.UUID
	data []byte
	car  *dealmaker.CAR
}

// deal proposes n bytes and waits until the provider has them.
func (m *monolith) deal(t *testing.T, n int) stored {
	t.Helper()
	data := make([]byte, n)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	car, err := dealmaker.Pack(t.Context(), file, file+".car", 2<<10)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := dealmaker.ServeFile(car.Path, "127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = srv.Close() }()
	ask, err := m.client.Ask(t.Context(), m.at)
	if err != nil {
		t.Fatal(err)
	}
	params, err := m.client.Proposal(t.Context(), m.at, ask, car, dealmaker.Terms{
		Wallet:        m.wallet,
		StartDelay:    5000,
		Duration:      518400,
		URL:           srv.URL,
		AutoAddEscrow: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.client.ProposeFunded(t.Context(), m.at, params); err != nil {
		t.Fatal(err)
	}
	s := stored{params.DealUUID, data, car}
	m.await(t, s.id, "is transferred", func(d api.DealInfo) bool { return d.Checkpoint != api.DealAccepted })
	return s
}

// await waits for a deal; one that failed for good ends the test. An error with
// another try to come is what a full node that is away looks like.
func (m *monolith) await(t *testing.T, id uuid.UUID, what string, done func(api.DealInfo) bool) api.DealInfo {
	t.Helper()
	var d api.DealInfo
	eventually(t, "deal "+what, func() bool {
		var err error
		if d, err = m.DealsGet(t.Context(), id, true); err != nil || d.Retry == api.DealRetryFatal && d.Err != "" {
			t.Fatalf("deal %s: %v, %s", id, err, d.Err)
		}
		return done(d)
	})
	return d
}

// seal waits until the deal's sector proves.
func (m *monolith) seal(t *testing.T, s stored) api.DealInfo {
	t.Helper()
	return m.sealAt(t, m.running, s)
}

// sealAt is seal where another process seals.
func (m *monolith) sealAt(t *testing.T, private *running, s stored) api.DealInfo {
	t.Helper()
	d := m.await(t, s.id, "is in a sector", func(d api.DealInfo) bool { return d.Placement != nil })
	startSealing(t, private, d)
	return m.await(t, s.id, "is active and its sector proves", func(d api.DealInfo) bool {
		return d.OnChainActive && d.SealingState == api.SectorProving
	})
}

// startSealing ends the wait for more deals, unless the sector began by itself.
func startSealing(t *testing.T, private *running, d api.DealInfo) {
	t.Helper()
	var invalid *api.ErrInvalid
	if err := private.SectorStartSealing(t.Context(), d.Placement.Sector.Number); err != nil && !errors.As(err, &invalid) {
		t.Fatal(err)
	}
}

// get reads a URL of the public listener, optionally a range of it.
func (m *monolith) get(t *testing.T, path, byteRange string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.set.RetrievalListen+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
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
	return resp.StatusCode, b
}

// One process does everything: a deal is made over libp2p, sealed, proven and
// fetched back; the public listener gives content and nothing else.
func TestMonolith(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a chain and seals two sectors")
	}
	m := newMonolith(t)
	first, second := m.deal(t, 1400), m.deal(t, 1300)
	for _, s := range []stored{first, second} {
		m.seal(t, s)
		m.retrieve(t, s)
	}
	m.publicListener(t, first)
}

// A sector whose file is truncated before its window PoSt is declared faulty,
// alone, while the other is proven and served; it recovers when the file is
// whole again. The chain says so, over several proving periods.
func TestDamagedSector(t *testing.T) {
	if os.Getenv("QUARRY_LONG") == "" {
		t.Skip("lets four proving periods pass, about a minute; set QUARRY_LONG=1 (make soak does)")
	}
	m := newMonolith(t, func(s *Settings) { s.ProvingOpts.NoBlocks = true }) // so that time runs fast
	broken, whole := m.deal(t, 1400), m.deal(t, 1300)
	m.seal(t, broken)
	m.seal(t, whole)
	number := func(s stored) uint64 {
		return uint64(m.await(t, s.id, "is in a sector", func(d api.DealInfo) bool { return d.Placement != nil }).Placement.Sector.Number)
	}
	bad, good := number(broken), number(whole)
	if bad == good {
		t.Fatalf("both deals are in sector %d", bad)
	}
	m.proves(t, "both sectors are proven", []uint64{})
	file := filepath.Join(m.set.RepoDir, "sectors", "sealed",
		api.SectorName(abi.SectorID{Miner: abi.ActorID(must(address.IDFromAddress(m.at.Miner))), Number: abi.SectorNumber(bad)}))
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, int64(len(content)/2)); err != nil {
		t.Fatal(err)
	}
	m.proves(t, "the truncated sector is faulty and the other is proven", []uint64{bad})
	m.retrieve(t, whole)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	m.proves(t, "the restored sector has recovered", []uint64{})
}

// proves lets chain time pass until a window PoSt was accepted and exactly the
// sectors named are faulty on chain.
func (m *monolith) proves(t *testing.T, what string, faulty []uint64) {
	t.Helper()
	p, err := m.ProvingStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := p.Accepted
	eventually(t, what, func() bool {
		m.skipIdle(t)
		p, err := m.ProvingStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		bits, err := m.full.StateMinerFaults(t.Context(), m.at.Miner, nil)
		if err != nil {
			t.Fatal(err)
		}
		have, err := bits.All(100)
		if err != nil {
			t.Fatal(err)
		}
		return p.Accepted > before && slices.Equal(have, faulty)
	})
}

// lookahead is how long before a deadline the miner may have something to say
// about it, epochs: four deadlines of a small network.
const lookahead = 240

// skipIdle warps to shortly before the miner's next deadline that has sectors,
// of which these tests have one.
func (m *monolith) skipIdle(t *testing.T) {
	t.Helper()
	at, err := m.full.StateSectorPartition(t.Context(), m.at.Miner, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	now, err := m.full.StateMinerProvingDeadline(t.Context(), m.at.Miner, nil)
	if err != nil {
		t.Fatal(err)
	}
	opens := now.PeriodStart + abi.ChainEpoch(at.Deadline)*now.WPoStChallengeWindow
	for opens+now.WPoStChallengeWindow < m.full.Epoch() {
		opens += now.WPoStProvingPeriod
	}
	if idle := opens - m.full.Epoch() - lookahead; idle > 0 {
		if _, err := m.full.DevnetWarp(t.Context(), idle, false); err != nil {
			t.Fatal(err)
		}
	}
}

func (m *monolith) retrieve(t *testing.T, s stored) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "back")
	if _, err := dealmaker.Retrieve(t.Context(), http.DefaultClient, "http://"+m.set.RetrievalListen, s.car.Root, out, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, s.data) {
		t.Fatalf("retrieved %d bytes, %v; want the %d stored", len(got), err, len(s.data))
	}
}

func (m *monolith) publicListener(t *testing.T, s stored) {
	t.Helper()
	car, err := os.ReadFile(s.car.Path)
	if err != nil {
		t.Fatal(err)
	}
	piece := "/piece/" + s.car.PieceCID.String()
	for _, c := range []struct {
		ask  string
		code int
		want []byte
	}{
		{"", http.StatusOK, car},
		{"bytes=0-9", http.StatusPartialContent, car[:10]},
		{"bytes=100-199", http.StatusPartialContent, car[100:200]},
		{"bytes=99999999-", http.StatusRequestedRangeNotSatisfiable, nil},
	} {
		// The piece may be served with the zeros behind the CAR.
		if code, b := m.get(t, piece, c.ask); code != c.code || c.want != nil && !bytes.HasPrefix(b, c.want) {
			t.Errorf("piece %q: %d, %d bytes", c.ask, code, len(b))
		}
	}
	if code, b := m.get(t, "/ipfs/"+s.car.Root.String()+"?format=raw", ""); code != http.StatusOK || !bytes.Equal(b, s.data) {
		t.Errorf("block: %d, %d bytes", code, len(b))
	}
	if code, _ := m.get(t, "/piece/baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq", ""); code != http.StatusNotFound {
		t.Errorf("unknown piece: %d", code)
	}
	_, admin, _ := strings.Cut(m.info, ":")
	token := strings.TrimSuffix(m.info, ":"+admin)
	for _, path := range []string{"/rpc/v0", "/rpc/v1", "/health/livez", "/remote/sealed/s-t01000-0", "/staged/" + s.id.String(),
		"/debug/pprof/", "/metrics", "/"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if code := status(t, method, "http://"+m.set.RetrievalListen+path, token); code != http.StatusNotFound &&
				code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s on the public listener answers %d", method, path, code)
			}
		}
	}
}
