package markets

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	"github.com/libp2p/go-libp2p/core/peer"
	cbg "github.com/whyrusleeping/cbor-gen"
	"golang.org/x/sync/errgroup"

	"quarry/api"
	"quarry/internal/lifecycle"
	"quarry/markets/ask"
	"quarry/markets/deals"
	mnet "quarry/markets/net"
	"quarry/markets/pieces"
	"quarry/markets/publish"
	"quarry/markets/retrieve"
	"quarry/markets/transfer"
	"quarry/markets/wire"
)

// Markets is the running subsystem. It implements api.Markets and api.Net.
type Markets struct {
	cfg       Config
	deps      Deps
	asks      *ask.Ask
	store     *deals.Store
	deals     *deals.Provider
	publisher *publish.Publisher
	pieces    *pieces.Store
	fetcher   *transfer.Fetcher
	retrieval *retrieve.Server
}

var (
	_ api.Markets = (*Markets)(nil)
	_ api.Net     = (*Markets)(nil)
)

// New reads the state of earlier runs; Run starts the work.
func New(ctx context.Context, cfg Config, deps Deps) (*Markets, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := deps.check(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	m := &Markets{cfg: cfg, deps: deps}
	if err := m.build(ctx); err != nil {
		return nil, fmt.Errorf("markets: %w", err)
	}
	return m, nil
}

func (m *Markets) prefixed(name string) datastore.Batching {
	return namespace.Wrap(m.deps.Store, datastore.NewKey(name))
}

func (m *Markets) build(ctx context.Context) (err error) {
	cfg, d := m.cfg, m.deps
	m.pieces = pieces.NewStore(m.prefixed("pieces"))
	m.asks = ask.New(ask.Config{
		Miner:         cfg.Miner,
		Price:         cfg.AskPrice,
		VerifiedPrice: cfg.AskVerifiedPrice,
		Duration:      cfg.AskDuration,
		MinPieceSize:  cfg.AskMinPieceSize,
		MaxPieceSize:  cfg.AskMaxPieceSize,
	}, ask.Deps{Store: m.prefixed("ask"), Chain: d.Chain})
	if m.publisher, err = publish.New(ctx, publish.Config{Miner: cfg.Miner, From: cfg.PublishAddress, Period: cfg.PublishPeriod,
		MaxDeals: cfg.MaxDealsPerMsg},
		publish.Deps{
			Store:  m.prefixed("publish"),
			Chain:  d.Chain,
			Msgs:   d.Msgs,
			Escrow: d.Escrow,
			Heads:  d.Heads,
			Log:    d.Log,
		}); err != nil {
		return err
	}
	if m.store, err = deals.OpenStore(ctx, m.prefixed("deals")); err != nil {
		return err
	}
	m.fetcher = transfer.New(transfer.Config{AllowPrivateIPs: cfg.AllowPrivateIPs, Stall: cfg.TransferStall,
		Attempts: cfg.TransferAttempts})
	if m.deals, err = deals.New(deals.Config{
		Policy:        cfg.policy(),
		StagingDir:    cfg.StagingDir,
		StagedBaseURL: cfg.StagedBaseURL,
		Transfers:     cfg.Transfers,
		CommP:         cfg.CommP,
		PollEpochs:    cfg.PollEpochs,
	},
		deals.Deps{
			Store:     m.store,
			Chain:     d.Chain,
			Heads:     d.Heads,
			Publisher: m.publisher,
			Sealing:   d.Sealing,
			Index:     m.pieces,
			Fetcher:   m.fetcher,
			Ask:       m.asks.Get,
			Indexed:   m.pieces.Get,
			Log:       d.Log,
		}); err != nil {
		return err
	}
	m.retrieval, err = retrieve.New(retrieve.Config{MaxRequests: cfg.MaxRetrievals}, retrieve.Deps{
		Find:   m.pieces,
		Source: m,
		Blame:  m,
		Log:    d.Log,
	})
	return err
}

// Run serves deals until ctx ends and returns when everything it started has
// ended.
func (m *Markets) Run(ctx context.Context) error {
	defer m.fetcher.Close()
	defer m.retrieval.Close()
	stop := mnet.Serve(ctx, m.deps.Host, mnet.DefaultLimits(wire.MaxMessage), m.cfg.Streams, m.deps.Log, m.handlers())
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	catch := lifecycle.NewCatcher(m.deps.Log) // a panic ends this life of the markets, not the process
	g.Go(func() error { return catch.Do("publishing", func() error { return m.publisher.Run(ctx) }) })
	g.Go(func() error { return catch.Do("deals", func() error { return m.deals.Run(ctx) }) })
	return g.Wait()
}

func (m *Markets) handlers() map[string]mnet.Handler {
	deal := func(ctx context.Context, from peer.ID, r io.Reader) (cbg.CBORMarshaler, error) {
		var req wire.DealParams
		if err := req.UnmarshalCBOR(r); err != nil {
			return nil, fmt.Errorf("read deal proposal: %w", err)
		}
		resp := m.deals.Propose(ctx, &req, from.String())
		return &resp, nil
	}
	return map[string]mnet.Handler{
		wire.ProtocolDeal120: deal,
		wire.ProtocolDeal121: deal,
		wire.ProtocolAsk: func(ctx context.Context, _ peer.ID, r io.Reader) (cbg.CBORMarshaler, error) {
			var req wire.AskRequest
			if err := req.UnmarshalCBOR(r); err != nil {
				return nil, fmt.Errorf("read ask request: %w", err)
			}
			if req.Miner != m.cfg.Miner {
				return &wire.AskResponse{}, nil
			}
			signed, err := m.asks.Signed(ctx)
			if err != nil {
				return nil, err
			}
			return &wire.AskResponse{Ask: signed}, nil
		},
		wire.ProtocolStatus: func(ctx context.Context, _ peer.ID, r io.Reader) (cbg.CBORMarshaler, error) {
			var req wire.DealStatusRequest
			if err := req.UnmarshalCBOR(r); err != nil {
				return nil, fmt.Errorf("read status request: %w", err)
			}
			resp := m.deals.Status(ctx, &req)
			return &resp, nil
		},
	}
}
