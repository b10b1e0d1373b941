package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/build"
)

// peerToken has the shape of a token.
const peerToken = "p.e.er"

// privateIdentity is that of the right private node.
func privateIdentity() api.Identity {
	return api.Identity{
		Miner:    minerID.String(),
		Network:  "net",
		Genesis:  "bafygenesis",
		Kind:     "miner",
		Repo:     uuid.MustParse("00000000-0000-4000-8000-000000000001"),
		Instance: uuid.New(),
		APIVersions: map[api.Subsystem]uint32{
			api.SubsystemMining:        build.MinerAPIVersion,
			api.SubsystemSealing:       build.MinerAPIVersion,
			api.SubsystemSectorStorage: build.MinerAPIVersion,
		},
	}
}

func marketsIdentity() api.Identity {
	return api.Identity{
		Miner:       minerID.String(),
		Network:     "net",
		Genesis:     "bafygenesis",
		Kind:        "markets",
		Repo:        uuid.MustParse("00000000-0000-4000-8000-000000000002"),
		Instance:    uuid.New(),
		Libp2p:      "12D3KooWmarkets",
		APIVersions: map[api.Subsystem]uint32{api.SubsystemMarkets: build.MinerAPIVersion},
	}
}

// Who a peer is, is compared in every respect; what is right passes, and what
// differs is named with both values.
func TestPeerIsCompared(t *testing.T) {
	me := marketsIdentity()
	for name, c := range map[string]struct {
		spoil   func(*api.Handshake)
		want    string // empty: it is right
		away    bool   // not known to be wrong
		warning string
	}{
		"right":                   {spoil: func(*api.Handshake) {}},
		"same release, other fix": {spoil: func(h *api.Handshake) { h.APIVersions[api.SubsystemSealing] ^= 1 }},
		"this process itself":     {spoil: func(h *api.Handshake) { h.Instance = me.Instance }, want: "is this process itself"},
		"a worker": {spoil: func(h *api.Handshake) { h.Miner, h.Kind = "", "worker" },
			want: "is that of a worker, which belongs to no miner"},
		"another miner": {spoil: func(h *api.Handshake) { h.Miner = "f01001" },
			want: "it is the node of miner f01001, this one is of " + me.Miner},
		"the other half": {spoil: func(h *api.Handshake) {
			h.APIVersions = map[api.Subsystem]uint32{api.SubsystemMarkets: 1}
			h.Kind = "markets"
		}, want: "Sealing does not run there (it is a markets node with Markets)"},
		"nothing runs": {spoil: func(h *api.Handshake) { h.APIVersions = nil }, want: "with no subsystem"},
		"another minor version": {spoil: func(h *api.Handshake) { h.APIVersions[api.SubsystemSealing] += 1 << 8 },
			want: "run the same release on both"},
		"another major version": {spoil: func(h *api.Handshake) { h.APIVersions[api.SubsystemSealing] += 1 << 16 },
			want: "run the same release on both"},
		"waits for its full node": {spoil: func(h *api.Handshake) { h.Network, h.Genesis = "", "" },
			want: "cannot tell its network yet", away: true},
		"another network": {spoil: func(h *api.Handshake) { h.Network = "calibration" },
			want: "it is on network calibration (genesis bafygenesis), this process on net (genesis bafygenesis)"},
		"another genesis": {spoil: func(h *api.Handshake) { h.Genesis = "bafyother" },
			want: "(genesis bafyother), this process on net (genesis bafygenesis)"},
		"token of a worker": {spoil: func(h *api.Handshake) { h.Allow, _ = api.RolePermissions(api.RoleWorker) },
			want: "the token does not allow sealing-peer; make one there with: miner auth api-info --role markets-peer"},
		"token for reading": {spoil: func(h *api.Handshake) { h.Allow = []api.Permission{api.PermRead} },
			want: "does not allow sealing-peer, storage-read"},
		"token for everything": {spoil: func(h *api.Handshake) { h.Allow = api.AllPermissions },
			warning: "replace it by one of role markets-peer"},
		"escapes in what it says": {spoil: func(h *api.Handshake) { h.Miner = "f01\x1b[2J\n" }, want: "of miner f01\\x1b[2J,"},
		"endless in what it says": {spoil: func(h *api.Handshake) { h.Miner = strings.Repeat("f", 1<<20) }, want: "of miner " +
			strings.Repeat("f", 200) + "...,"},
	} {
		t.Run(name, func(t *testing.T) {
			got := api.Handshake{Identity: privateIdentity(), Allow: peerPerms()}
			c.spoil(&got)
			warning, err := peerNeeds{me: me, name: "sealing", sub: api.SubsystemSealing, perms: peerPerms()}.compare(got)
			if !strings.Contains(warning, c.warning) || (c.warning == "") != (warning == "") {
				t.Errorf("warning %q", warning)
			}
			var wrong *wrongPeer
			switch {
			case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("got %v\nwant %s", err, c.want)
			case c.want != "" && errors.As(err, &wrong) == c.away:
				t.Fatalf("%v is taken for wrong: %v", err, !c.away)
			}
		})
	}
}

// An init knows no instance and no miner yet: neither makes a peer wrong.
func TestPeerOfAnInitIsCompared(t *testing.T) {
	me := api.Identity{Network: "net", Genesis: "bafygenesis"}
	if _, err := (peerNeeds{me: me, name: "sealing",
		sub: api.SubsystemSealing}).compare(api.Handshake{Identity: privateIdentity()}); err != nil {
		t.Fatal(err)
	}
}

// fakePeer answers as a process that a test describes, and counts what is sent to
// it besides the question who it is.
type fakePeer struct {
	*apitest.Server
	mu   sync.Mutex
	sent int
}

func (f *fakePeer) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// fakeHalf listens on addr as id; tokens and answers are as the test says.
func fakeHalf(t *testing.T, addr string, id api.Identity, perms []api.Permission) *fakePeer {
	t.Helper()
	f := &fakePeer{}
	note := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.sent++
	}
	var common api.CommonStruct
	common.Internal.Version = func(context.Context) (api.VersionInfo, error) { return api.VersionInfo{Version: "peer"}, nil }
	common.Internal.Handshake = func(context.Context, api.Introduction) (api.Handshake, error) {
		return api.Handshake{Identity: id, Allow: perms}, nil
	}
	var sealing api.SealingStruct
	sealing.Internal.SectorAddPiece = func(context.Context, api.AddPieceRequest) (api.PiecePlacement, error) {
		note()
		return api.PiecePlacement{Sector: abi.SectorID{Number: 7}}, nil
	}
	f.Server = apitest.Serve(t, apitest.Parts{Common: &common, Sealing: &sealing, Listen: addr, Instance: id.Instance.String()})
	f.Tokens.Set(peerToken, perms...)
	return f
}

// marketsOf is a markets node being composed, as far as its peers go.
func marketsOf(t *testing.T) *Node {
	t.Helper()
	n := newNode(Settings{Markets: true})
	n.maddr = minerID
	n.common = &common{parts: n.group.Status}
	n.common.learn(func(in *api.Introduction) { in.Identity = marketsIdentity() })
	t.Cleanup(func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// handOver makes one call. A connection that died with the last process at the
// address costs a try, as ever: what was not answered is repeated.
func handOver(t *testing.T, h *half) error {
	t.Helper()
	for {
		_, err := h.SectorAddPiece(t.Context(), api.AddPieceRequest{Key: "deal"})
		if err == nil || !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "reset") {
			return err
		}
	}
}

// The peer of a node that runs is replaced by another process at the same
// address, from one call to the next and with no question in between: nothing is
// handed to a stranger, the reason is told, and when the right one is there again
// work goes on by itself. A restart of the right one costs no call at all.
func TestNothingIsSentToAStranger(t *testing.T) {
	addr := freePort(t)
	right := privateIdentity()
	n := marketsOf(t)
	h, err := n.dialHalf(t.Context(), "sealing", api.SubsystemSealing, peerToken+":"+addr)
	if err != nil {
		t.Fatal(err)
	}
	var away *api.ErrUnreachable
	if err := handOver(t, h); !errors.As(err, &away) {
		t.Fatalf("nobody there: %v", err)
	}
	p := fakeHalf(t, addr, right, peerPerms())
	if err := handOver(t, h); err != nil || p.count() != 1 {
		t.Fatalf("the right one: %v, %d calls", err, p.count())
	}
	p.Stop()

	restarted := right
	restarted.Instance = uuid.New()
	p = fakeHalf(t, addr, restarted, peerPerms())
	if err := handOver(t, h); err != nil || p.count() != 1 {
		t.Fatalf("the right one, restarted: %v, %d calls", err, p.count())
	}
	p.Stop()

	stranger := right
	stranger.Instance, stranger.Repo, stranger.Miner = uuid.New(), uuid.New(), "f01001"
	p = fakeHalf(t, addr, stranger, peerPerms())
	for range 2 {
		if err := handOver(t, h); !errors.As(err, &away) || !strings.Contains(err.Error(), "node of miner f01001") {
			t.Errorf("a stranger: %v", err)
		}
	}
	if s := h.watch.status(); s.Reachable || !strings.Contains(s.LastError, "refused: it is the node of miner f01001") {
		t.Errorf("what info shows: %+v", s)
	}
	if p.count() != 0 {
		t.Errorf("%d calls reached the stranger", p.count())
	}
	p.Stop()

	p = fakeHalf(t, addr, right, peerPerms())
	h.watch.once(t.Context()) // as every poll does
	if err := handOver(t, h); err != nil || p.count() != 1 {
		t.Fatalf("the right one again: %v, %d calls", err, p.count())
	}
	if s := h.watch.status(); !s.Reachable || s.LastError != "" || s.Version != "peer" || s.Name != "sealing" {
		t.Errorf("what info shows: %+v", s)
	}
}

// Sealing and sector storage of two copies of the right node are not one node.
func TestHalvesAreOneNode(t *testing.T) {
	n := marketsOf(t)
	first, other := privateIdentity(), privateIdentity()
	other.Repo = uuid.New()
	sealer := fakeHalf(t, "127.0.0.1:0", first, peerPerms())
	index := fakeHalf(t, "127.0.0.1:0", other, peerPerms())
	h1, err := n.dialHalf(t.Context(), "sealing", api.SubsystemSealing, sealer.Info(peerToken))
	if err != nil {
		t.Fatal(err)
	}
	h2, err := n.dialHalf(t.Context(), "sector storage", api.SubsystemSectorStorage, index.Info(peerToken))
	if err != nil {
		t.Fatal(err)
	}
	h1.watch.once(t.Context())
	h2.watch.once(t.Context())
	if err := h1.watch.wrong(); err != nil {
		t.Errorf("the first: %v", err)
	}
	if err := h2.watch.wrong(); err == nil || !strings.Contains(err.Error(), "another node of miner "+minerID.String()+
		" than the sealing node") {
		t.Errorf("the second: %v", err)
	}
	sealer.Stop()
	h1.watch.once(t.Context())
	h2.watch.once(t.Context())
	if err := h2.watch.wrong(); err != nil {
		t.Errorf("the one that is left: %v", err)
	}
}

// A comparison that many wait for is made twice at the most: the one that was
// under way, and one that began after they asked.
func TestCallersShareAComparison(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	p := newPeerWatch("x", 0, marketsOf(t).log)
	p.check = func(context.Context) (answer, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return answer{instance: "i"}, nil
	}
	p.asking <- struct{}{} // one is under way
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if id, err := p.Allow(t.Context(), api.Method{Name: "Any"}); id != "i" || err != nil {
				t.Errorf("%q, %v", id, err)
			}
		})
	}
	<-p.asking
	wg.Wait()
	if asked > 2+1 { // callers that asked late may see one more
		t.Errorf("asked %d times", asked)
	}
}

// Who asks and gives up says nothing of the peer.
func TestGivenUpComparison(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newPeerWatch("x", 0, marketsOf(t).log, "Open")
	p.check = func(ctx context.Context) (answer, error) { cancel(); <-ctx.Done(); return answer{}, ctx.Err() }
	if _, err := p.Allow(ctx, api.Method{Name: "Any"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if s := p.status(); s.LastError != notAsked {
		t.Errorf("noted: %+v", s)
	}
	if id, err := p.Allow(ctx, api.Method{Name: "Open"}); id != "" || err != nil {
		t.Errorf("the question itself is held back: %q, %v", id, err)
	}
}

// callerOf is a private node that others introduce themselves to.
func callerOf(t *testing.T) (*apitest.Server, *common) {
	t.Helper()
	n := newNode(Settings{})
	c := &common{parts: n.group.Status, callers: newCallers(0)}
	c.learn(func(in *api.Introduction) { in.Identity = privateIdentity() })
	s := apitest.Serve(t, apitest.Parts{Common: c})
	perms, _ := api.RolePermissions(api.RoleMarketsPeer)
	s.Tokens.Set(peerToken, perms...)
	s.Tokens.Set("w.or.ker", api.PermRead, api.PermStorageRead, api.PermWorker)
	return s, c
}

// Two markets nodes with one repo, or with one libp2p key, are a copy: the second
// is refused with the name of the first. One that only asks, a restart, and nodes
// of their own are not.
func TestSecondMarketsNodeIsRefused(t *testing.T) {
	s, _ := callerOf(t)
	ctx := t.Context()
	peer, worker := dial(t, s.Info(peerToken)), dial(t, s.Info("w.or.ker"))
	first := api.Introduction{Identity: marketsIdentity(), Host: "alpha", PID: 11, Place: "here"}
	answer, err := peer.Handshake(ctx, first)
	if err != nil || answer.Miner != minerID.String() || !slices.Equal(slices.Sorted(slices.Values(answer.Allow)),
		slices.Sorted(slices.Values(peerPerms()))) {
		t.Fatalf("%+v, %v", answer, err)
	}
	if !maps.Equal(answer.APIVersions, privateIdentity().APIVersions) || answer.Network != "net" || answer.Genesis != "bafygenesis" {
		t.Errorf("%+v", answer)
	}
	other := func(change func(*api.Introduction)) api.Introduction {
		in := first
		in.Instance, in.Host, in.PID, in.Place = uuid.New(), "beta", 12, "there"
		change(&in)
		return in
	}
	for name, in := range map[string]api.Introduction{
		"copy of the repo": other(func(in *api.Introduction) { in.Libp2p = "" }),
		"copy of the key":  other(func(in *api.Introduction) { in.Repo = uuid.New() }),
		"copy of both":     other(func(*api.Introduction) {}),
	} {
		var used *api.ErrInUse
		if _, err := peer.Handshake(ctx, in); !errors.As(err, &used) ||
			!strings.HasPrefix(used.Holder, "process 11 on alpha since ") || !strings.Contains(err.Error(), "stop one") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, in := range map[string]api.Introduction{
		"again":            first,
		"another node":     other(func(in *api.Introduction) { in.Repo, in.Libp2p = uuid.New(), "12D3other" }),
		"of another miner": other(func(in *api.Introduction) { in.Miner = "f01001" }),
		"of another chain": other(func(in *api.Introduction) { in.Genesis = "bafyother" }),
		"not markets":      other(func(in *api.Introduction) { in.Kind = "miner" }),
		"only asking":      other(func(in *api.Introduction) { in.Instance = uuid.Nil }),
	} {
		if _, err := peer.Handshake(ctx, in); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := worker.Handshake(ctx, other(func(*api.Introduction) {})); err != nil {
		t.Errorf("a token that hands nothing over takes nothing: %v", err)
	}
	restart := other(func(in *api.Introduction) { in.Place = "here" })
	if _, err := peer.Handshake(ctx, restart); err != nil {
		t.Errorf("a restart: %v", err)
	}
}
