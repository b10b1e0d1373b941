package node

import (
	"quarry/internal/listen"
	mnet "quarry/markets/net"
	"quarry/node/config"
)

// ListenLimits bound what strangers take of the listeners of a process; zero
// values are good.
type ListenLimits struct {
	API       listen.Limits
	Retrieval listen.Limits
	Libp2p    mnet.HostLimits
}

func listenLimits(c config.Config) ListenLimits {
	d, l := c.Dealmaking, c.Libp2p
	return ListenLimits{
		API: listen.Limits{
			Conns:             int(c.API.MaxConnections),
			ConnsPerAddress:   int(c.API.MaxConnectionsPerAddress),
			Sockets:           int(c.API.MaxWebsockets),
			SocketsPerAddress: int(c.API.MaxWebsocketsPerAddress),
		},
		Retrieval: listen.Limits{
			Conns:              int(d.MaxRetrievalConnections),
			ConnsPerAddress:    int(d.MaxRetrievalConnectionsPerAddress),
			Requests:           int(d.SimultaneousTransfersForRetrieval),
			RequestsPerAddress: int(d.MaxRetrievalsPerAddress),
		},
		Libp2p: mnet.HostLimits{
			Conns:           int(l.MaxConnections),
			ConnsPerAddress: int(l.MaxConnectionsPerAddress),
			ConnsPerPeer:    int(l.MaxConnectionsPerPeer),
			Streams:         int(l.MaxStreams),
			StreamsPerPeer:  int(l.MaxStreamsPerPeer),
			MemoryBytes:     int64(l.MaxMemoryBytes),
		},
	}
}
