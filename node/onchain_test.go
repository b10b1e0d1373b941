package node

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/multiformats/go-multiaddr"

	"quarry/api"
)

const (
	ownID   = "12D3KooWGRUqwKPUmQTBt3NPjXBNcZTkyZTDuVEDfMAyaqvSvMHs"
	otherID = "12D3KooWAfPDpPRRRBrmqy9is2zjU5srQ4hKuZitiGmh4NTTpS2d"
)

// What the chain says is compared with the host that runs: what keeps clients away
// is the operator's turn, the rest is told.
func TestChainIsComparedWithTheHost(t *testing.T) {
	const public, router, loop = "/ip4/203.0.113.7/tcp/24001", "/ip4/198.51.100.1/tcp/1", "/ip4/127.0.0.1/tcp/24001"
	for name, c := range map[string]struct {
		id        string
		chain     []string
		own       []string
		announced bool
		act       []string // parts of notices that need the operator
		tell      []string // and of others
	}{
		"same":                {id: ownID, chain: []string{public}, own: []string{public}, announced: true},
		"same, not announced": {id: ownID, chain: []string{public}, own: []string{loop, public}},
		"nothing on chain":    {own: []string{public}, act: []string{"no peer id of this miner", "no address of this miner"}},
		"another peer": {id: otherID, chain: []string{public}, own: []string{public},
			act: []string{"is libp2p peer " + otherID + ", but this node is " + ownID}},
		"no addresses": {id: ownID, own: []string{public}, act: []string{"no address of this miner: no client can make a deal"}},
		"another address": {id: ownID, chain: []string{router}, own: []string{loop},
			act: []string{"to use " + router + ", which this node does not have"}},
		"one of two is stale": {id: ownID, chain: []string{router, loop}, own: []string{loop},
			tell: []string{"to use " + router + ", which"}},
		"announced, not on chain": {
			id:        ownID,
			chain:     []string{public},
			own:       []string{public, router},
			announced: true,
			tell:      []string{"announces " + router + ", which is not on chain"},
		},
		"announced something else": {
			id:        ownID,
			chain:     []string{public},
			own:       []string{router},
			announced: true,
			act:       []string{public},
			tell:      []string{router},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var act, tell []string
			for _, n := range identityNotices(minerOnChain(t, c.id, c.chain), api.PeerInfo{ID: ownID, Addrs: c.own}, c.announced) {
				if n.Do == "" || !strings.Contains(n.Do, "miner actor set-") {
					t.Errorf("what to do about %q is %q", n.Text, n.Do)
				}
				if strings.Contains(n.Text, "which this node does not have") == c.announced && strings.Contains(n.Do, "AnnounceAddresses") {
					t.Errorf("announced is %v, and what to do is %q", c.announced, n.Do)
				}
				if n.Act {
					act = append(act, n.Text)
				} else {
					tell = append(tell, n.Text)
				}
			}
			for what, l := range map[string][2][]string{"to do": {act, c.act}, "told": {tell, c.tell}} {
				if got, want := l[0], l[1]; len(got) != len(want) || !slices.EqualFunc(got, want, strings.Contains) {
					t.Errorf("%s: %q, want %q", what, got, want)
				}
			}
		})
	}
	odd := "\xff\xfe"
	if got := peerOnChain(api.MinerInfo{PeerId: &odd}); got != "?" {
		t.Errorf("bytes that are no peer id are shown as %q", got)
	}
	if got := addrsOnChain(api.MinerInfo{Multiaddrs: []abi.Multiaddrs{{1, 2}}}); len(got) != 1 || got[0] != "0102 (no multiaddr)" {
		t.Errorf("bytes that are no multiaddr are shown as %q", got)
	}
}

func minerOnChain(t *testing.T, id string, addrs []string) (info api.MinerInfo) {
	t.Helper()
	if id != "" {
		info.PeerId = &id
	}
	for _, s := range addrs {
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			t.Fatal(err)
		}
		info.Multiaddrs = append(info.Multiaddrs, a.Bytes())
	}
	return info
}

// A miner in one process, made with the defaults, is not to be found by clients
// until the chain has its address; it says so, and the two commands mend it.
func TestActorIsMadeToBeFound(t *testing.T) {
	full := newFullNode(t)
	m := newMonolithOn(t, full)
	texts := func() (out []string) {
		s, err := m.NodeStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range s.Notices {
			if n.Act {
				out = append(out, n.Text)
			}
		}
		return out
	}
	eventually(t, "it says that no client finds it", func() bool {
		got := texts()
		return len(got) == 1 && strings.Contains(got[0], "the chain has no address of this miner")
	})
	own, err := m.NetAddrsListen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	actor := Actor{Chain: full, Miner: m.maddr}
	first, err := actor.SetAddrs(t.Context(), own.Addrs[:1])
	if err != nil || first.Message == nil || first.Height <= 0 || !slices.Equal(first.Is, own.Addrs[:1]) {
		t.Fatalf("%+v, %v", first, err)
	}
	eventually(t, "nothing is left to do", func() bool { return len(texts()) == 0 })
	again, err := actor.SetAddrs(t.Context(), own.Addrs[:1])
	if err != nil || again.Message != nil || !slices.Equal(again.Is, own.Addrs[:1]) {
		t.Errorf("the same once more: %+v, %v", again, err)
	}

	other, err := actor.SetPeerID(t.Context(), otherID)
	if err != nil || other.Message == nil || !slices.Equal(other.Is, []string{otherID}) {
		t.Fatalf("%+v, %v", other, err)
	}
	eventually(t, "it says that clients look for another", func() bool {
		got := texts()
		return len(got) == 1 && strings.Contains(got[0], "is libp2p peer "+otherID+", but this node is "+own.ID)
	})
	if back, err := actor.SetPeerID(t.Context(), own.ID); err != nil || back.Message == nil || !slices.Equal(back.Is, []string{own.ID}) {
		t.Fatalf("%+v, %v", back, err)
	}
	eventually(t, "clients look for it again", func() bool { return len(texts()) == 0 })
	refusals(t, full, actor)
}

// onePlace is a miner in one process on a chain that the test has.
type onePlace struct {
	*running
	maddr address.Address
}

func newMonolithOn(t *testing.T, full *fullNode) *onePlace {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "miner")
	file := "[API]\nListenAddress = \"127.0.0.1:0\"\n[Libp2p]\nListenAddresses = [\"/ip4/127.0.0.1/tcp/0\"]\n"
	maddr, err := (InitMiner{Dir: dir, Owner: full.account(t, api.KeyBLS), SectorSize: 2 << 10,
		Config: []byte(file)}).Run(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	return &onePlace{running: start(t, load(t, dir, full.info)), maddr: maddr}
}

// refusals are changes that are refused before anything is sent, or by the chain.
func refusals(t *testing.T, full *fullNode, actor Actor) {
	t.Helper()
	for want, addrs := range map[string][]string{
		"cannot be dialed":        {"/ip4/0.0.0.0/tcp/24001"},
		"no port that can be":     {"/ip4/203.0.113.7/tcp/0"},
		"no multiaddrs given":     nil,
		"the chain stores at mos": slices.Repeat([]string{"/dns4/" + strings.Repeat("a", 60) + "/tcp/1"}, 20),
	} {
		var invalid *api.ErrInvalid
		if _, err := actor.SetAddrs(t.Context(), addrs); !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", addrs, err)
		}
	}
	if _, err := actor.SetPeerID(t.Context(), "nobody"); err == nil || !strings.Contains(err.Error(), `peer id "nobody"`) {
		t.Errorf("no peer id: %v", err)
	}
	unknown := actor
	unknown.From = stranger
	if _, err := unknown.SetPeerID(t.Context(), otherID); err == nil ||
		!strings.Contains(err.Error(), "its key is not in the full node's wallet") {
		t.Errorf("a sender without a key: %v", err)
	}
	nobody := actor
	nobody.From = full.account(t, api.KeySecp256k1)
	if _, err := nobody.SetPeerID(t.Context(), otherID); err == nil {
		t.Error("a stranger's message was taken")
	}
}

// A command that was interrupted after its message went out finds that message and
// waits for it, instead of sending another.
func TestRepeatedChangeFindsItsMessage(t *testing.T) {
	chain := newSetupChain(t)
	info := minerOnChain(t, otherID, nil)
	info.Worker = blsKey
	chain.Internal.StateMinerInfo = func(context.Context, address.Address, api.TipSetKey) (api.MinerInfo, error) { return info, nil }
	var sent []*api.SignedMessage
	chain.Internal.MpoolPending = func(context.Context, api.TipSetKey) ([]*api.SignedMessage, error) { return sent, nil }
	actor := Actor{Chain: chain, Miner: minerID}
	ctx, cancel := context.WithCancel(t.Context())
	chain.wait = func(context.Context) error {
		cancel() // the command is interrupted while it waits
		return context.Canceled
	}
	if _, err := actor.SetPeerID(ctx, ownID); err == nil || len(chain.pushed) != 1 || !strings.Contains(err.Error(), "it is on its way") {
		t.Fatalf("%d messages, %v", len(chain.pushed), err)
	}
	signed := *chain.pushed[0]
	signed.Nonce = 1
	sent = []*api.SignedMessage{{Message: signed}}
	chain.wait = func(context.Context) error { return nil }
	got, err := actor.SetPeerID(t.Context(), ownID)
	if err != nil || len(chain.pushed) != 1 || got.Message == nil || *got.Message != sent[0].Cid() {
		t.Errorf("%d messages, %+v, %v", len(chain.pushed), got, err)
	}
}
