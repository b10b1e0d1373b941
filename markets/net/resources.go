package net

import (
	"net/netip"

	lnet "github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

// HostLimits bound what strangers take of the host, before any protocol of ours
// sees them; zero values are the defaults stated.
type HostLimits struct {
	Conns           int   // open at once; 512
	ConnsPerAddress int   // of one IPv4 address or IPv6 /64; 16
	ConnsPerPeer    int   // 8
	Streams         int   // open at once, those being negotiated included; 4096
	StreamsPerPeer  int   // 128
	MemoryBytes     int64 // of buffers; 256 MiB
}

func (l HostLimits) withDefaults() HostLimits {
	l.Conns = orDefault(l.Conns, 512)
	l.ConnsPerAddress = orDefault(l.ConnsPerAddress, 16)
	l.ConnsPerPeer = orDefault(l.ConnsPerPeer, 8)
	l.Streams = orDefault(l.Streams, 4096)
	l.StreamsPerPeer = orDefault(l.StreamsPerPeer, 128)
	if l.MemoryBytes == 0 {
		l.MemoryBytes = 256 << 20
	}
	return l
}

// manager is the resource manager with these limits, and the library's for what
// they do not name, as on a host with MemoryBytes of memory.
func (l HostLimits) manager() (lnet.ResourceManager, error) {
	l = l.withDefaults()
	conns, streams := rcmgr.LimitVal(l.Conns), rcmgr.LimitVal(l.Streams)
	peers := rcmgr.ResourceLimits{
		Conns:          rcmgr.LimitVal(l.ConnsPerPeer),
		ConnsInbound:   rcmgr.LimitVal(l.ConnsPerPeer),
		Streams:        rcmgr.LimitVal(l.StreamsPerPeer),
		StreamsInbound: rcmgr.LimitVal(l.StreamsPerPeer),
	}
	partial := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns:          conns,
			ConnsInbound:   conns,
			Streams:        streams,
			StreamsInbound: streams,
			Memory:         rcmgr.LimitVal64(l.MemoryBytes),
		},
		// Handshakes under way.
		Transient:   rcmgr.ResourceLimits{Conns: max(conns/4, 1), ConnsInbound: max(conns/4, 1)},
		PeerDefault: peers,
	}
	perPrefix := func(bits int) rcmgr.ConnLimitPerSubnet {
		return rcmgr.ConnLimitPerSubnet{PrefixLength: bits, ConnCount: l.ConnsPerAddress}
	}
	return rcmgr.NewResourceManager(
		rcmgr.NewFixedLimiter(partial.Build(rcmgr.DefaultLimits.Scale(l.MemoryBytes, 4*l.Conns))),
		rcmgr.WithLimitPerSubnet([]rcmgr.ConnLimitPerSubnet{perPrefix(32)}, []rcmgr.ConnLimitPerSubnet{perPrefix(64)}),
		rcmgr.WithNetworkPrefixLimit(loopback(l.Conns), nil),
		rcmgr.WithMetricsDisabled(),
	)
}

// loopback gives programs of this host what all others have together: proxies
// and tests come from there.
func loopback(conns int) []rcmgr.NetworkPrefixLimit {
	return []rcmgr.NetworkPrefixLimit{{Network: netip.MustParsePrefix("127.0.0.0/8"), ConnCount: conns}}
}
