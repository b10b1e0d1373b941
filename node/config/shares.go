package config

import "fmt"

// maxCount is more than any process has descriptors for.
const maxCount = 1 << 20

// shares checks the numbers of what can be open at once. A share bigger than the
// whole is no mistake: then the whole is the limit.
func (c Config) shares() []error {
	api, d, l := c.API, c.Dealmaking, c.Libp2p
	type count struct {
		key string
		v   uint64
	}
	counts := []count{
		{"API.MaxConnections", api.MaxConnections},
		{"API.MaxConnectionsPerAddress", api.MaxConnectionsPerAddress},
		{"API.MaxWebsockets", api.MaxWebsockets},
		{"API.MaxWebsocketsPerAddress", api.MaxWebsocketsPerAddress},
	}
	if c.Subsystems.EnableMarkets {
		counts = append(counts, []count{
			{"Dealmaking.MaxRetrievalsPerAddress", d.MaxRetrievalsPerAddress},
			{"Dealmaking.MaxRetrievalConnections", d.MaxRetrievalConnections},
			{"Dealmaking.MaxRetrievalConnectionsPerAddress", d.MaxRetrievalConnectionsPerAddress},
			{"Libp2p.MaxConnections", l.MaxConnections},
			{"Libp2p.MaxConnectionsPerAddress", l.MaxConnectionsPerAddress},
			{"Libp2p.MaxConnectionsPerPeer", l.MaxConnectionsPerPeer},
			{"Libp2p.MaxStreams", l.MaxStreams},
			{"Libp2p.MaxStreamsPerPeer", l.MaxStreamsPerPeer},
			{"Libp2p.MaxRequests", l.MaxRequests},
			{"Libp2p.MaxRequestsPerAddress", l.MaxRequestsPerAddress},
			{"Libp2p.MaxRequestsPerPeer", l.MaxRequestsPerPeer},
		}...)
	}
	var errs []error
	for _, n := range counts {
		if n.v < 1 || n.v > maxCount {
			errs = append(errs, fmt.Errorf("%s: %d is outside 1 to %d", n.key, n.v, maxCount))
		}
	}
	if m := l.MaxMemoryBytes; c.Subsystems.EnableMarkets && (m < 16<<20 || m > 1<<40) {
		errs = append(errs, fmt.Errorf("Libp2p.MaxMemoryBytes: %d is outside 16 MiB to 1 TiB (%d to %d)", m, 16<<20, uint64(1)<<40))
	}
	return errs
}
