package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"quarry/api"
)

// identityPolls is how many polls of peers pass between looks at what the chain
// says of this miner's libp2p host.
const identityPolls = 6

// watchIdentity compares peer id and addresses on chain, where clients look for
// them, with those of the host that runs here. A difference is told once, and shown
// while it lasts.
func (n *Node) watchIdentity(ctx context.Context, now *late[*liveMarkets]) error {
	every := n.set.PeerPoll
	if every <= 0 {
		every = defaultPoll
	}
	tick := time.NewTicker(identityPolls * every)
	defer tick.Stop()
	for {
		if list, err := n.compareIdentity(ctx, now); err == nil && n.common.notices.set("identity", list...) {
			for _, note := range list {
				n.log.Warn(note.Text, "do", note.Do)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// compareIdentity asks both. Where one does not answer nothing is known, which
// others tell.
func (n *Node) compareIdentity(ctx context.Context, now *late[*liveMarkets]) ([]api.Notice, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	m, err := now.get()
	if err != nil {
		return nil, err
	}
	own, err := m.NetAddrsListen(ctx)
	if err != nil {
		return nil, err
	}
	info, err := n.chain.StateMinerInfo(ctx, n.maddr, nil)
	if err != nil {
		return nil, fmt.Errorf("miner %s: %w", n.maddr, err)
	}
	return identityNotices(info, own, len(n.set.Libp2pAnnounce) > 0), nil
}

// identityNotices says how the chain differs from the host. announced tells whether
// the host's addresses are the operator's choice, or what it is bound to: behind a
// router clients use others.
func identityNotices(info api.MinerInfo, own api.PeerInfo, announced bool) (out []api.Notice) {
	const setID, setAddrs = "miner actor set-peer-id", "miner actor set-addrs"
	switch id := peerOnChain(info); {
	case id == "":
		out = append(out, api.Notice{Act: true, Text: "the chain has no peer id of this miner: no client can make a deal", Do: setID})
	case id != own.ID:
		out = append(out, api.Notice{Act: true, Do: setID + ", unless that one is another process of this miner",
			Text: fmt.Sprintf("the chain says that this miner is libp2p peer %s, but this node is %s: clients look for the other",
				id, own.ID)})
	}
	chain := addrsOnChain(info)
	if len(chain) == 0 {
		return append(out, api.Notice{Act: true, Text: "the chain has no address of this miner: no client can make a deal",
			Do: setAddrs + " with the multiaddr by which clients reach this host"})
	}
	stale, missing := without(chain, own.Addrs), without(own.Addrs, chain)
	if len(stale) > 0 {
		note := api.Notice{Act: len(stale) == len(chain), Do: setAddrs + " with those that are right",
			Text: fmt.Sprintf("the chain tells clients to use %s, which this node does not have", strings.Join(stale, ", "))}
		if !announced {
			note.Do += "; where these lead here, as through a router, name them in Libp2p.AnnounceAddresses"
		}
		out = append(out, note)
	}
	if announced && len(missing) > 0 {
		out = append(out, api.Notice{Do: setAddrs,
			Text: fmt.Sprintf("this node announces %s, which is not on chain", strings.Join(missing, ", "))})
	}
	return out
}

// peerOnChain is the peer id in its text form, empty for none.
func peerOnChain(info api.MinerInfo) string {
	if info.PeerId == nil {
		return ""
	}
	id, err := peer.Decode(*info.PeerId)
	if err != nil {
		return strings.ToValidUTF8(*info.PeerId, "?")
	}
	return id.String()
}

func addrsOnChain(info api.MinerInfo) []string {
	out := []string{}
	for _, b := range info.Multiaddrs {
		if a, err := multiaddr.NewMultiaddrBytes(b); err == nil {
			out = append(out, a.String())
		} else {
			out = append(out, fmt.Sprintf("%x (no multiaddr)", b))
		}
	}
	return out
}

// canonical are multiaddrs as the chain gives them back; what is none stays.
func canonical(addrs []string) (out []string) {
	for _, s := range addrs {
		if a, err := multiaddr.NewMultiaddr(s); err == nil {
			s = a.String()
		}
		out = append(out, s)
	}
	return out
}

// without are those of a that are not in b.
func without(a, b []string) (out []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}
