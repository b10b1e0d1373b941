package net

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"

	"quarry/internal/loglimit"
)

// Config describes the libp2p host.
type Config struct {
	Key      crypto.PrivKey // identity; required
	Listen   []string       // multiaddrs, for example /ip4/0.0.0.0/tcp/24001; none: dial only
	Announce []string       // multiaddrs told to others instead of the listening ones
	QUIC     bool           // also speak quic-v1 (needed for /udp/../quic-v1 in Listen)
	ConnLow  int            // connections kept when trimming, 0 = 100
	ConnHigh int            // connections that start trimming, 0 = 200
	Limits   HostLimits
	Log      *slog.Logger
}

// NewHost opens the host; the caller closes it. TCP is always spoken, because
// older deal clients know nothing else; security is TLS or noise, over yamux.
func NewHost(cfg Config) (host.Host, error) {
	if cfg.Key == nil {
		return nil, errors.New("libp2p host: no identity key given")
	}
	if cfg.Log != nil {
		gologshim.SetDefaultHandler(loglimit.New(cfg.Log.Handler(), loglimit.Config{})) // strangers can cause some of its lines
	}
	announce, err := parseAddrs(cfg.Announce)
	if err != nil {
		return nil, fmt.Errorf("announce address: %w", err)
	}
	listen, err := parseAddrs(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen address: %w", err)
	}
	cm, err := connmgr.NewConnManager(orDefault(cfg.ConnLow, 100), orDefault(cfg.ConnHigh, 200))
	if err != nil {
		return nil, fmt.Errorf("libp2p connection manager: %w", err)
	}
	rm, err := cfg.Limits.manager()
	if err != nil {
		return nil, fmt.Errorf("libp2p resource manager: %w", err)
	}
	opts := append(options(cfg, announce), libp2p.ConnectionManager(cm), libp2p.ResourceManager(rm))
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open libp2p host: %w", err), cm.Close())
	}
	if len(listen) == 0 {
		return h, nil
	}
	if err := h.Network().Listen(listen...); err != nil {
		return nil, errors.Join(fmt.Errorf("open libp2p host on %v (is the port taken?): %w", cfg.Listen, err), h.Close())
	}
	return h, nil
}

// options are what the host speaks, and what it tells of itself.
func options(cfg Config, announce []ma.Multiaddr) []libp2p.Option {
	opts := []libp2p.Option{
		libp2p.Identity(cfg.Key),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.UserAgent("quarry"),
		libp2p.NoListenAddrs, // it listens later: libp2p leaves its goroutines behind when that fails within New
	}
	if cfg.QUIC {
		opts = append(opts, libp2p.Transport(quic.NewTransport))
	}
	if len(announce) > 0 {
		opts = append(opts, libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return announce }))
	}
	return opts
}

func orDefault(v, d int) int {
	if v == 0 {
		return d
	}
	return v
}

func parseAddrs(in []string) ([]ma.Multiaddr, error) {
	out := make([]ma.Multiaddr, 0, len(in))
	for _, s := range in {
		m, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
		out = append(out, m)
	}
	return out, nil
}
