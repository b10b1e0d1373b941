package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"quarry/internal/listen"
	mnet "quarry/markets/net"
	"quarry/node/config"
)

// Every key of a limit reaches the listener it is for.
func TestLimitsReachTheirListeners(t *testing.T) {
	c := config.Default()
	c.API.MaxConnections, c.API.MaxConnectionsPerAddress = 1, 2
	c.API.MaxWebsockets, c.API.MaxWebsocketsPerAddress = 3, 4
	d, l := &c.Dealmaking, &c.Libp2p
	d.MaxRetrievalConnections, d.MaxRetrievalConnectionsPerAddress = 5, 6
	d.SimultaneousTransfersForRetrieval, d.MaxRetrievalsPerAddress = 7, 8
	l.MaxConnections, l.MaxConnectionsPerAddress, l.MaxConnectionsPerPeer = 9, 10, 11
	l.MaxStreams, l.MaxStreamsPerPeer, l.MaxMemoryBytes = 12, 13, 14<<20
	l.MaxRequests, l.MaxRequestsPerAddress, l.MaxRequestsPerPeer = 15, 16, 17
	set, err := MapConfig(t.TempDir(), c)
	require.NoError(t, err)
	require.Equal(t, ListenLimits{
		API:       listen.Limits{Conns: 1, ConnsPerAddress: 2, Sockets: 3, SocketsPerAddress: 4},
		Retrieval: listen.Limits{Conns: 5, ConnsPerAddress: 6, Requests: 7, RequestsPerAddress: 8},
		Libp2p: mnet.HostLimits{
			Conns:           9,
			ConnsPerAddress: 10,
			ConnsPerPeer:    11,
			Streams:         12,
			StreamsPerPeer:  13,
			MemoryBytes:     14 << 20,
		},
	}, set.Limits)
	require.Equal(t, mnet.Slots{All: 15, PerAddress: 16, PerPeer: 17}, set.MarketsOpts.Streams)
	require.Equal(t, 7, set.MarketsOpts.MaxRetrievals)
}
