package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"quarry/api"
	"quarry/build"
	"quarry/internal/interrupt"
	"quarry/node/repo"
)

// canary is an address that nobody should ever connect to.
type canary struct {
	net.Listener
	touched atomic.Int64
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &canary{Listener: l}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.touched.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	return c
}

// pullConfig is that of a markets node in pull mode, which listens on listen.
func pullConfig(listen, retrieval string) []byte {
	return []byte(fmt.Sprintf("[API]\nListenAddress = %q\n[Libp2p]\nListenAddresses = [\"/ip4/127.0.0.1/tcp/0\"]\n"+
		"[Dealmaking]\nPublishMsgPeriod = \"2 epochs\"\nAllowPrivateIPs = true\nRetrievalListenAddress = %q\n"+
		"[Subsystems]\nEnableMining = false\nEnableSealing = false\nEnableSectorStorage = false\n[Link]\nAccept = true\n", listen,
		retrieval))
}

// pulled is a markets node in pull mode and its private node, on a chain of their
// own. told is the address that the private node tells of itself.
type pulled struct {
	*monolith
	private *running // a process of its own
	kill    func()   // -9
	set     Settings // of the private node
	told    *canary
	through *crossing // between the two
}

// privateNode is the process of the private node.
func privateNode(dir, full string) int {
	return interrupt.Main(func(ctx context.Context) error {
		set, err := LoadSettings(dir, os.Environ())
		if err != nil {
			return err
		}
		set.FullNodeInfo, set.PeerPoll = full, 20*time.Millisecond
		return Run(ctx, set)
	})
}

// startPrivate starts that process.
func (p *pulled) startPrivate(t *testing.T) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NODE_TEST_PRIVATE="+p.set.RepoDir, "NODE_TEST_FULL_NODE="+p.set.FullNodeInfo,
		"MINER_LINK_MARKETSAPIINFO="+p.set.LinkInfo)
	cmd.Stderr = t.Output()
	old, _ := os.ReadFile(filepath.Join(p.set.RepoDir, repo.FileAPI)) // a killed one leaves it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	t.Cleanup(end)
	p.kill = end
	eventually(t, "the private node serves", func() bool {
		now, err := os.ReadFile(filepath.Join(p.set.RepoDir, repo.FileAPI))
		if err != nil || string(now) == string(old) {
			return false
		}
		info, err := repo.APIInfo(p.set.RepoDir)
		if err != nil {
			return false
		}
		p.private = &running{MinerAPI: dial(t, info), info: info}
		_, err = p.private.Version(t.Context())
		return err == nil
	})
}

func newPulled(t *testing.T) *pulled {
	t.Helper()
	full := newFullNode(t)
	dir := t.TempDir()
	p := &pulled{told: newCanary(t)}
	in := InitMiner{Dir: filepath.Join(dir, "miner"), Owner: full.account(t, api.KeyBLS), SectorSize: 2 << 10}
	listen := freePort(t)
	p.through = newCrossing(t, listen)
	mdir := filepath.Join(dir, "markets")
	in.Config = []byte(fmt.Sprintf("[API]\nListenAddress = \"127.0.0.1:0\"\nRemoteListenAddress = %q\n"+
		"[Subsystems]\nEnableMarkets = false\n", p.told.Addr()))
	maddr, err := in.Run(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	if err := (InitMarkets{Dir: mdir, Miner: maddr, Config: pullConfig(listen, freePort(t))}).Run(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	token, err := LinkToken(t.Context(), mdir)
	if err != nil {
		t.Fatal(err)
	}
	p.set = load(t, in.Dir, full.info)
	p.set.LinkInfo = token + ":http://" + p.through.Addr().String()
	p.monolith = &monolith{full: full, set: load(t, mdir, full.info), wallet: full.account(t, api.KeySecp256k1)}
	p.running = start(t, p.monolith.set)
	p.connectClient(t, maddr)
	p.startPrivate(t)
	return p
}

func (p *pulled) link(t *testing.T, of *running) api.LinkStatus {
	t.Helper()
	s, err := of.NodeStatus(t.Context())
	if err != nil || s.Link == nil {
		t.Fatalf("%+v, %v", s, err)
	}
	return *s.Link
}

// linked waits until both ends say so, and both halves are right.
func (p *pulled) linked(t *testing.T) {
	t.Helper()
	eventually(t, "the link is open and the halves have met", func() bool {
		s, err := p.NodeStatus(t.Context())
		return err == nil && s.Link.Connected && p.link(t, p.private).Connected &&
			len(s.Peers) == 2 && s.Peers[0].Reachable && s.Peers[1].Reachable
	})
}

// In pull mode a deal is made, handed over, sealed, and read back from the private
// node, which nobody ever connected to; the link may be cut, and either node
// started anew, at any time.
func TestPullMode(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a chain and seals two sectors")
	}
	p := newPulled(t)
	p.linked(t)
	first := p.deal(t, 1400)
	p.sealAt(t, p.private, first)
	p.fromThePrivateNode(t, first)

	p.through.cut(t)
	eventually(t, "both ends tell that the link is lost", func() bool {
		return !p.link(t, p.running).Connected && !p.link(t, p.private).Connected && p.link(t, p.private).LastError != ""
	})
	second := p.deal(t, 1300) // is taken meanwhile
	p.through.heal()
	p.linked(t)
	d := p.await(t, second.id, "is in a sector", func(d api.DealInfo) bool { return d.Placement != nil })

	p.kill()
	p.running.stop(t)
	p.startPrivate(t)
	p.running = start(t, p.monolith.set)
	p.linked(t)
	startSealing(t, p.private, d)
	p.await(t, second.id, "is active and its sector proves", func(d api.DealInfo) bool {
		return d.OnChainActive && d.SealingState == api.SectorProving
	})
	p.fromThePrivateNode(t, second)
	if n := p.told.touched.Load(); n != 0 {
		t.Errorf("%d connections to the address that the private node tells of itself", n)
	}
	p.holdsNothing(t)
}

// fromThePrivateNode retrieves what is not on the markets node any more.
func (p *pulled) fromThePrivateNode(t *testing.T, s stored) {
	t.Helper()
	eventually(t, "the staged bytes are gone", func() bool {
		left, err := os.ReadDir(filepath.Join(p.monolith.set.RepoDir, "deal-staging"))
		return err == nil && !slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), s.id.String()) })
	})
	p.retrieve(t, s)
	p.publicListener(t, s)
}

// holdsNothing looks through the public host for what opens the private node.
func (p *pulled) holdsNothing(t *testing.T) {
	t.Helper()
	token, at, _ := strings.Cut(p.private.info, ":")
	file, err := os.ReadFile(filepath.Join(p.monolith.set.RepoDir, repo.FileConfig))
	if err != nil || strings.Contains(string(file), token) || strings.Contains(string(file), hostPort("x:"+at)) {
		t.Errorf("the config of the markets node: %v\n%s", err, file)
	}
	list, err := p.private.AuthList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list {
		if k.Role == api.RoleMarketsPeer {
			t.Errorf("the private node issued %+v", k)
		}
	}
}

// linkedPair is a markets node in pull mode and a private one on a chain that
// stands still; change may spoil the private node's settings.
func linkedPair(t *testing.T, change func(private *Settings, token string)) (public, private *running) {
	t.Helper()
	full := fakeNode(t)
	listen, dir := freePort(t), filepath.Join(t.TempDir(), "markets")
	if err := (InitMarkets{Dir: dir, Miner: minerID, Config: pullConfig(listen, "")}).Run(t.Context(), newSetupChain(t)); err != nil {
		t.Fatal(err)
	}
	token, err := LinkToken(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	set := privateSettings(t, full, "127.0.0.1:0")
	set.LinkInfo = token + ":http://" + listen
	if change != nil {
		change(&set, token)
	}
	return start(t, load(t, dir, full)), start(t, set)
}

// The token of the link opens it and nothing else.
func TestLinkTokenIsGoodForTheLinkOnly(t *testing.T) {
	var token string
	public, _ := linkedPair(t, func(_ *Settings, made string) { token = made })
	c := dial(t, token+":"+public.addr)
	var denied *api.ErrPermission
	if _, err := c.Version(t.Context()); !errors.As(err, &denied) {
		t.Errorf("version: %v", err)
	}
	if _, err := c.DealsList(t.Context(), "", 1); err == nil {
		t.Error("it lists deals")
	}
	for method, path := range map[string]string{http.MethodGet: "/link", http.MethodPut: "/push/" + strings.Repeat("0", 32)} {
		for name, is := range map[string]struct {
			token string
			code  int
		}{"none": {"", 401}, "wrong": {"a.b.c", 401}, "read": {tokenOver(t, public, api.PermRead), 403}} {
			if code := status(t, method, "http://"+public.addr+path, is.token); code != is.code {
				t.Errorf("%s with token %s: %d", path, name, code)
			}
		}
	}
}

func tokenOver(t *testing.T, p *running, perm api.Permission) string {
	t.Helper()
	token, err := p.AuthCreate(t.Context(), api.TokenRequest{Perm: perm})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A link that joins the wrong processes is refused, says why at both ends where
// both can know, and is tried on.
func TestWrongLinks(t *testing.T) {
	for name, c := range map[string]struct {
		change func(private *Settings, token string)
		want   string
	}{
		"wrong token": {func(s *Settings, token string) {
			s.LinkInfo = strings.Replace(s.LinkInfo, token, "a.b.c", 1)
		}, "refused the token of the link"},
		"nobody": {func(s *Settings, token string) { s.LinkInfo = token + ":http://127.0.0.1:1" }, "connection refused"},
		"another network": {func(s *Settings, _ string) { s.FullNodeInfo = fakeNodeOf(t, "other") },
			"let both use full nodes of one network"},
	} {
		t.Run(name, func(t *testing.T) {
			public, private := linkedPair(t, c.change)
			eventually(t, "the private node says why", func() bool {
				s, err := private.NodeStatus(t.Context())
				return err == nil && s.Link != nil && s.Link.Opens && !s.Link.Connected && strings.Contains(s.Link.LastError, c.want)
			})
			s, err := public.NodeStatus(t.Context())
			if err != nil || s.Link.Connected || s.Link.Opens {
				t.Errorf("%+v, %v", s.Link, err)
			}
			if told := strings.Contains(s.Link.LastError, c.want); told != (name == "another network") {
				t.Errorf("the markets node says %s", s.Link.LastError)
			}
		})
	}
}

// What differs between the two ends of a link.
func TestLinkedCompare(t *testing.T) {
	both := []api.Subsystem{api.SubsystemSealing, api.SubsystemSectorStorage}
	me := api.Identity{Miner: "f01000", Network: "net", Genesis: "gen", Instance: uuid.New()}
	right := func() api.Identity {
		return api.Identity{
			Miner:    "f01000",
			Network:  "net",
			Genesis:  "gen",
			Instance: uuid.New(),
			Kind:     "miner",
			APIVersions: map[api.Subsystem]uint32{
				api.SubsystemSealing:       build.MinerAPIVersion,
				api.SubsystemSectorStorage: build.MinerAPIVersion + 1,
			},
		}
	}
	for name, c := range map[string]struct {
		spoil func(*api.Identity)
		want  string
	}{
		"right":  {func(*api.Identity) {}, ""},
		"itself": {func(id *api.Identity) { id.Instance = me.Instance }, "leads to this process itself"},
		"other miner": {func(id *api.Identity) { id.Miner = "f01001" },
			`there is "f01001", here f01000; name the private node of f01000`},
		"other network": {func(id *api.Identity) { id.Network = "x" }, `one network: there is "x", here "net"`},
		"other genesis": {func(id *api.Identity) { id.Genesis = "x" }, "one network: the genesis there is x, here gen"},
		"no storage": {func(id *api.Identity) { delete(id.APIVersions, api.SubsystemSectorStorage) },
			"does not run there (it is a miner node)"},
		"other release": {func(id *api.Identity) { id.APIVersions[api.SubsystemSealing] += 1 << 8 }, "run the same release on both"},
	} {
		got := right()
		c.spoil(&got)
		err := linked{me, "private", both}.compare(got)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A second private node is refused while the first has the link, and told who has.
func TestOneLinkPerMiner(t *testing.T) {
	var set Settings
	public, _ := linkedPair(t, func(s *Settings, _ string) { set = *s })
	eventually(t, "the first has the link", func() bool {
		s, err := public.NodeStatus(t.Context())
		return err == nil && s.Link.Connected
	})
	second := privateSettings(t, set.FullNodeInfo, "127.0.0.1:0")
	second.LinkInfo = set.LinkInfo
	p := start(t, second)
	eventually(t, "the second is refused", func() bool {
		s, err := p.NodeStatus(t.Context())
		return err == nil && strings.Contains(s.Link.LastError, fmt.Sprintf("in use by process %d on ", os.Getpid()))
	})
	if s, err := public.NodeStatus(t.Context()); err != nil || !s.Link.Connected {
		t.Errorf("%+v, %v", s.Link, err)
	}
}
