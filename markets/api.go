package markets

import (
	"context"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"quarry/api"
)

// maxPage bounds one page of any list.
const maxPage = 1000

func pageSize(limit int) int {
	if limit <= 0 || limit > maxPage {
		return maxPage
	}
	return limit
}

// DealsList pages through deals, newest first.
func (m *Markets) DealsList(_ context.Context, cursor string, limit int) (api.DealPage, error) {
	return m.store.Page(api.DealQuery{Cursor: cursor, Limit: limit})
}

// DealsQuery pages through the deals that a query picks, newest first.
func (m *Markets) DealsQuery(_ context.Context, q api.DealQuery) (api.DealPage, error) {
	return m.store.Page(q)
}

// DealsSummary counts deals by checkpoint.
func (m *Markets) DealsSummary(context.Context) (map[api.DealCheckpoint]int, error) {
	return m.store.Count(), nil
}

// DealsGet returns one deal.
func (m *Markets) DealsGet(_ context.Context, id api.UUID, log bool) (api.DealInfo, error) {
	rec, err := m.store.Get(id)
	if err != nil {
		return api.DealInfo{}, err
	}
	return rec.Shown(log), nil
}

// DealsRetry lets a deal that waits for the operator go on.
func (m *Markets) DealsRetry(ctx context.Context, id api.UUID) error { return m.deals.Retry(ctx, id) }

// MarketGetAsk is the current offer.
func (m *Markets) MarketGetAsk(ctx context.Context) (api.StorageAskInfo, error) {
	return m.asks.Get(ctx)
}

// MarketSetAsk replaces the offer.
func (m *Markets) MarketSetAsk(ctx context.Context, price, verified abi.TokenAmount, duration abi.ChainEpoch,
	lo, hi abi.PaddedPieceSize) error {
	return m.asks.Set(ctx, price, verified, duration, lo, hi)
}

// MarketPendingDeals lists deals that wait for a publish message.
func (m *Markets) MarketPendingDeals(context.Context) ([]api.UUID, error) {
	return m.publisher.Pending(), nil
}

// MarketPublishPendingDeals sends them without waiting for the period.
func (m *Markets) MarketPublishPendingDeals(context.Context) error {
	m.publisher.Flush()
	return nil
}

// PiecesList pages through pieces.
func (m *Markets) PiecesList(ctx context.Context, cursor string, limit int) ([]api.PieceRecord, string, error) {
	return m.pieces.List(ctx, cursor, pageSize(limit))
}

// PiecesGet returns one piece.
func (m *Markets) PiecesGet(ctx context.Context, piece cid.Cid) (api.PieceRecord, error) {
	return m.pieces.Get(ctx, piece)
}

// ID is the host's peer ID.
func (m *Markets) ID(context.Context) (string, error) { return m.deps.Host.ID().String(), nil }

// NetAddrsListen are the addresses the host can be reached at.
func (m *Markets) NetAddrsListen(context.Context) (api.PeerInfo, error) {
	return peerInfo(m.deps.Host.ID(), m.deps.Host.Addrs()), nil
}

// NetPeers lists connected peers.
func (m *Markets) NetPeers(context.Context) ([]api.PeerInfo, error) {
	out := []api.PeerInfo{}
	for _, c := range m.deps.Host.Network().Conns() {
		out = append(out, peerInfo(c.RemotePeer(), []ma.Multiaddr{c.RemoteMultiaddr()}))
	}
	return out, nil
}

// NetConnect dials a peer.
func (m *Markets) NetConnect(ctx context.Context, p api.PeerInfo) error {
	id, err := peer.Decode(p.ID)
	if err != nil {
		return &api.ErrInvalid{What: "peer id " + p.ID, Reason: err.Error()}
	}
	info := peer.AddrInfo{ID: id}
	for _, s := range p.Addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return &api.ErrInvalid{What: "multiaddr " + s, Reason: err.Error()}
		}
		info.Addrs = append(info.Addrs, a)
	}
	return m.deps.Host.Connect(ctx, info)
}

func peerInfo(id peer.ID, addrs []ma.Multiaddr) api.PeerInfo {
	out := api.PeerInfo{ID: id.String(), Addrs: []string{}}
	for _, a := range addrs {
		out.Addrs = append(out.Addrs, a.String())
	}
	return out
}
