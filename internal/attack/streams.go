package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"quarry/api/client"
	"quarry/markets/dealmaker"
	mnet "quarry/markets/net"
	"quarry/markets/wire"
)

// Peers and streams of a flood: more than a host has slots.
const (
	floodPeers   = 5
	floodStreams = 60
)

// streams floods the libp2p host of the markets node with streams that say little,
// and requires that an honest client gets an offer meanwhile.
func streams(chain *client.ChainAPI, miner address.Address) []try {
	var out []try
	for name, first := range map[string][]byte{
		"nothing":            nil,
		"one byte":           {0x58},
		"an endless message": {0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		for _, speaks := range []string{wire.ProtocolAsk, wire.ProtocolDeal121, wire.ProtocolStatus} {
			what := fmt.Sprintf("%d peers with %d streams %s each, saying %s", floodPeers, floodStreams, speaks, name)
			out = append(out, try{what, func(ctx context.Context) error { return offerDuring(ctx, chain, miner, speaks, first) }})
		}
	}
	return out
}

func offerDuring(ctx context.Context, chain *client.ChainAPI, miner address.Address, speaks string, first []byte) (err error) {
	var hosts []host.Host
	defer func() {
		for _, h := range hosts {
			err = errors.Join(err, h.Close())
		}
	}()
	for range floodPeers {
		h, err := newHost()
		if err != nil {
			return err
		}
		hosts = append(hosts, h)
		bad := dealmaker.Client{Chain: chain, Host: h}
		if p, err := bad.Provider(ctx, miner); err == nil { // else it gets no connection
			crowd(ctx, h, p.Peer.ID, speaks, first)
		}
	}
	h, err := newHost()
	if err != nil {
		return err
	}
	hosts = append(hosts, h)
	honest := dealmaker.Client{Chain: chain, Host: h}
	start := time.Now()
	p, err := honest.Provider(ctx, miner)
	if err == nil {
		_, err = honest.Ask(ctx, p)
	}
	if took := time.Since(start); err == nil && took > 10*time.Second {
		err = fmt.Errorf("it took %s", took)
	}
	if err != nil {
		return fmt.Errorf("an honest client gets no offer: %w", err)
	}
	return nil
}

func newHost() (host.Host, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	return mnet.NewHost(mnet.Config{Key: key})
}

// crowd opens as many streams as it gets.
func crowd(ctx context.Context, h host.Host, to peer.ID, speaks string, first []byte) {
	for range floodStreams {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := dribble(short, h, to, speaks, first)
		cancel()
		if err != nil {
			return
		}
	}
}

// dribble opens a stream, says little and leaves it open.
func dribble(ctx context.Context, h host.Host, to peer.ID, id string, first []byte) error {
	s, err := h.NewStream(ctx, to, protocol.ID(id))
	if err != nil {
		return err
	}
	_, err = s.Write(first)
	return err
}
