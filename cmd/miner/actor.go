package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/node"
)

// actorCommand changes what the chain says of the miner.
func actorCommand() *cli.Command {
	flags := []cli.Flag{
		jsonFlag,
		&cli.StringFlag{Name: "from", Usage: "address that sends: worker, owner or a control address (default: the worker)"},
		&cli.DurationFlag{Name: "timeout", Value: 15 * time.Minute, Usage: "wait no longer than this; the message goes on"},
	}
	return &cli.Command{
		Name: "actor", Usage: "what the chain says of this miner",
		Subcommands: []*cli.Command{
			{
				Name:        "set-addrs",
				Usage:       "write the addresses by which clients reach this miner",
				ArgsUsage:   "[multiaddr...]",
				Flags:       flags,
				Description: "Without an address, those are written that the running node announces (Libp2p.AnnounceAddresses).",
				Action: func(c *cli.Context) error {
					addrs, err := addrsArg(c)
					if err != nil {
						return err
					}
					return changeActor(c, func(ctx context.Context, a node.Actor) (node.Change, error) { return a.SetAddrs(ctx, addrs) })
				},
			},
			{
				Name:        "set-peer-id",
				Usage:       "write the libp2p peer id that clients look for",
				ArgsUsage:   "[peer id]",
				Flags:       flags,
				Description: "Without a peer id, that of the running markets node is written.",
				Action: func(c *cli.Context) error {
					id := c.Args().First()
					if id == "" {
						own, err := ownPeer(c)
						if err != nil {
							return err
						}
						id = own.ID
					}
					return changeActor(c, func(ctx context.Context, a node.Actor) (node.Change, error) { return a.SetPeerID(ctx, id) })
				},
			},
		},
	}
}

// ownPeer asks the process with the libp2p host who it is.
func ownPeer(c *cli.Context) (api.PeerInfo, error) {
	n, err := dialMarkets(c)
	if err != nil {
		return api.PeerInfo{}, err
	}
	defer n.Close()
	p, err := n.NetAddrsListen(c.Context)
	if err != nil {
		return p, fmt.Errorf("ask the markets node for its libp2p host: %w", err)
	}
	return p, nil
}

// addrsArg are the addresses of the line, or those that the node announces to
// everybody.
func addrsArg(c *cli.Context) ([]string, error) {
	if c.NArg() > 0 {
		var out []string
		for _, s := range c.Args().Slice() {
			a, err := bareAddr(s)
			if err != nil {
				return nil, err
			}
			out = append(out, a)
		}
		return out, nil
	}
	own, err := ownPeer(c)
	if err != nil {
		return nil, err
	}
	if out := publicAddrs(own.Addrs); len(out) > 0 {
		return out, nil
	}
	return nil, fmt.Errorf("the node announces no address that clients elsewhere could dial (it has %s); name one, for example "+
		"/ip4/203.0.113.7/tcp/24001, or set Libp2p.AnnounceAddresses", strings.Join(own.Addrs, ", "))
}

// bareAddr takes the /p2p/ part off: the chain has the peer id in a field of its own.
func bareAddr(s string) (string, error) {
	a, err := multiaddr.NewMultiaddr(s)
	if err != nil {
		return "", fmt.Errorf("%q is not a multiaddr such as /ip4/203.0.113.7/tcp/24001", s)
	}
	transport, _ := multiaddr.SplitFunc(a, func(p multiaddr.Component) bool { return p.Protocol().Code == multiaddr.P_P2P })
	if len(transport) == 0 {
		return "", fmt.Errorf("%q names a peer and no address; that is for `miner actor set-peer-id`", s)
	}
	return transport.String(), nil
}

func changeActor(c *cli.Context, change func(context.Context, node.Actor) (node.Change, error)) error {
	from, err := optionalAddress(c, "from")
	if err != nil {
		return err
	}
	maddr, err := minerAddress(c)
	if err != nil {
		return err
	}
	chain, err := dialChain(c.Context)
	if err != nil {
		return err
	}
	defer chain.Close()
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	got, err := change(ctx, node.Actor{Chain: chain, Miner: maddr, From: from, Log: newLogger(os.Stderr, nil)})
	if err != nil {
		return err
	}
	return show(c, got, func(w io.Writer) {
		if got.Message == nil {
			fmt.Fprintf(w, "nothing to do: the chain says so already: %s\n", strings.Join(got.Is, ", "))
			return
		}
		fmt.Fprintf(w, "message %s is on chain at epoch %d; it says now: %s\n", got.Message, got.Height, strings.Join(got.Is, ", "))
	})
}

// minerAddress asks whichever half runs: both know whose they are.
func minerAddress(c *cli.Context) (address.Address, error) {
	var all []error
	for _, dial := range []dialFunc{dialMiner, dialMarkets} {
		s, err := whose(c, dial)
		if err == nil {
			return address.NewFromString(s)
		}
		all = append(all, err)
	}
	return address.Undef, fmt.Errorf("which miner? neither half answers: %w", errors.Join(all...))
}

// whose asks one process for the miner it belongs to.
func whose(c *cli.Context, dial dialFunc) (string, error) {
	n, err := dial(c)
	if err != nil {
		return "", err
	}
	defer n.Close()
	s, err := n.NodeStatus(c.Context)
	return s.Miner, err
}

// publicAddrs are those that anybody can dial: names, and addresses outside private
// networks.
func publicAddrs(list []string) (out []string) {
	for _, s := range list {
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			continue
		}
		if _, err := manet.ToIP(a); err != nil || manet.IsPublicAddr(a) {
			out = append(out, s)
		}
	}
	return out
}
