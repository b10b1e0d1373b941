package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/urfave/cli/v2"

	"quarry/internal/command"
	"quarry/internal/ownaddr"
	"quarry/node"
	"quarry/node/config"
	"quarry/node/repo"
	"quarry/node/serve"
)

func initCommand() *cli.Command {
	listen := &cli.StringFlag{Name: "listen", Usage: "host:port of the API, written to the config"}
	advertise := &cli.StringFlag{Name: "advertise", Usage: "host:port or URL by which others reach the API (API.RemoteListenAddress)"}
	return &cli.Command{
		Name:  "init",
		Usage: "make the repo of a miner process",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "actor", Usage: "existing miner (f0...); without it a new one is created on chain"},
			&cli.StringFlag{Name: "owner", Usage: "owner of the new miner, a key in the full node's wallet"},
			&cli.StringFlag{Name: "worker", Usage: "worker key (f3...; default: the owner)"},
			&command.SizeFlag{StringFlag: cli.StringFlag{Name: "sector-size", Value: "8MiB", Usage: "2KiB or 8MiB"}, Least: 1},
			&cli.BoolFlag{Name: "no-local-storage", Usage: "do not make a storage path inside the repo"},
			listen, advertise, jsonFlag,
		},
		Action: initMiner,
		Subcommands: []*cli.Command{{
			Name: "service", Usage: "make the repo of a process that runs one part of a miner",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "type", Value: "markets", Usage: "markets"},
				&cli.StringFlag{Name: "api-sealer",
					Usage: "token:address of the node that seals, or @FILE with it (default: MINER_API_INFO)"},
				&cli.StringFlag{Name: "api-sector-index",
					Usage: "token:address of the node that stores, or @FILE with it (default: the sealer)"},
				&cli.StringSliceFlag{Name: "libp2p-listen", Usage: "multiaddr of the libp2p host",
					Value: cli.NewStringSlice("/ip4/0.0.0.0/tcp/24001")},
				&cli.StringSliceFlag{Name: "announce", Usage: "multiaddr by which clients reach the libp2p host (default: as it listens)"},
				&cli.StringFlag{Name: "retrieval-listen", Value: "0.0.0.0:7777", Usage: "host:port of the public HTTP server"},
				&cli.BoolFlag{Name: "publish-peer-info", Usage: "write peer id and addresses to the chain"},
				// Not the port of the private node, which may be on the same machine.
				&cli.StringFlag{Name: listen.Name, Usage: listen.Usage, Value: "127.0.0.1:2346"},
				advertise, jsonFlag,
				&cli.BoolFlag{Name: flagPull,
					Usage: "pull mode: the private node opens the link to this one, which holds no token; give --actor"},
				&cli.StringFlag{Name: "actor",
					Usage: "miner (f0...) that the markets node is for; with --pull, otherwise the sealing node tells"},
			},
			Action: initService,
		}},
	}
}

func optionalAddress(c *cli.Context, flag string) (address.Address, error) {
	s := c.String(flag)
	if s == "" {
		return address.Undef, nil
	}
	a, err := address.NewFromString(s)
	if err != nil {
		return address.Undef, fmt.Errorf("--%s %q: %w", flag, s, err)
	}
	return a, nil
}

func setListen(c *cli.Context, cfg *config.Config) {
	if l := c.String("listen"); l != "" {
		cfg.API.ListenAddress = l
	}
	cfg.API.RemoteListenAddress = c.String("advertise")
}

// made is what an init says.
type made struct {
	Miner string
	Repo  string
	Notes []string // what is still missing
	Link  string   `json:",omitempty"` // MarketsApiInfo of the private node, in pull mode
}

// sayMade prints it, with how to go on.
func sayMade(c *cli.Context, what string, m made) error {
	return show(c, m, func(w io.Writer) {
		fmt.Fprintf(w, "%s %s is ready in %s; start it with `miner --%s %s run`\n", what, m.Miner, m.Repo, flagMinerRepo, m.Repo)
		for _, note := range m.Notes {
			fmt.Fprintf(w, "note: %s\n", note)
		}
		if m.Link != "" {
			printLink(w, m.Link)
		}
	})
}

// addressNotes name the settings without which others do not find what listens on
// every address. published says that the chain has the libp2p addresses already.
func addressNotes(ctx context.Context, cfg config.Config, published bool) (out []string) {
	bound, err := serve.HostPort(cfg.API.ListenAddress)
	if at := ownaddr.ForOthers(ctx, ownaddr.Config{Bound: bound}); err == nil && at.Guessed && cfg.API.RemoteListenAddress == "" {
		out = append(out, fmt.Sprintf("the API will listen on every address and tell others http://%s; "+
			"where they reach it under another, set API.RemoteListenAddress (--advertise)", at.HostPort))
	}
	if cfg.Subsystems.EnableMarkets && !published {
		out = append(out, "no client finds it before the chain has its address: when it runs, `miner actor set-peer-id` and "+
			"`miner actor set-addrs` with the multiaddr by which clients reach this host")
	}
	return out
}

func initMiner(c *cli.Context) error {
	if err := command.NotWith(c, "actor", "owner", "worker", "sector-size"); err != nil {
		return err // the chain has those of a miner that exists
	}
	dir, err := repo.Expand(c.String(flagMinerRepo))
	if err != nil {
		return err
	}
	in := node.InitMiner{Dir: dir, NoStorage: c.Bool("no-local-storage"), Log: newLogger(os.Stderr, nil)}
	size, err := command.Bytes(c, "sector-size")
	if err != nil {
		return err
	}
	in.SectorSize = abi.SectorSize(size)
	for flag, to := range map[string]*address.Address{"actor": &in.Actor, "owner": &in.Owner, "worker": &in.Worker} {
		if *to, err = optionalAddress(c, flag); err != nil {
			return err
		}
	}
	cfg := config.Default()
	setListen(c, &cfg)
	if err := cfg.Validate(); err != nil {
		return err
	}
	in.Config = []byte(config.Render(cfg, true))
	chain, err := dialChain(c.Context)
	if err != nil {
		return err
	}
	defer chain.Close()
	maddr, err := in.Run(c.Context, chain)
	if err != nil {
		return err
	}
	return sayMade(c, "miner", made{Miner: maddr.String(), Repo: dir, Notes: addressNotes(c.Context, cfg, false)})
}

// serviceConfig is the config of a new markets node, and the addresses that it is
// found under.
func serviceConfig(c *cli.Context, half half) (cfg config.Config, announce []string, err error) {
	cfg = config.Default()
	setListen(c, &cfg)
	cfg.Subsystems = config.Subsystems{EnableMarkets: true, SealerApiInfo: half.sealer, SectorIndexApiInfo: half.index}
	cfg.Link.Accept = half.pull
	cfg.Libp2p.ListenAddresses = c.StringSlice("libp2p-listen")
	announce = c.StringSlice("announce")
	if len(announce) > 0 {
		cfg.Libp2p.AnnounceAddresses = announce
	} else {
		announce = cfg.Libp2p.ListenAddresses
	}
	cfg.Dealmaking.RetrievalListenAddress = c.String("retrieval-listen")
	return cfg, announce, cfg.Validate()
}

func initService(c *cli.Context) error {
	if c.String("type") != "markets" {
		return fmt.Errorf("--type %q: only markets can be a service of its own", c.String("type"))
	}
	if c.String(flagMarketsRepo) == "" {
		return errors.New("no repo is named: give --markets-repo or set MARKETS_PATH")
	}
	dir, err := repo.Expand(c.String(flagMarketsRepo))
	if err != nil {
		return err
	}
	half, err := otherHalf(c)
	if err != nil {
		return err
	}
	cfg, announce, err := serviceConfig(c, half)
	if err != nil {
		return err
	}
	chain, err := dialChain(c.Context)
	if err != nil {
		return err
	}
	defer chain.Close()
	log := newLogger(os.Stderr, nil)
	maddr, err := half.meet(c.Context, chain, log)
	if err != nil {
		return err
	}
	in := node.InitMarkets{
		Dir:             dir,
		Miner:           maddr,
		Config:          []byte(config.Render(cfg, true)),
		PublishPeerInfo: c.Bool("publish-peer-info"),
		Announce:        announce,
		AllowPrivate:    true,
		Log:             log,
	}
	if err := in.Run(c.Context, chain); err != nil {
		return err
	}
	m := made{Miner: maddr.String(), Repo: dir, Notes: addressNotes(c.Context, cfg, in.PublishPeerInfo)}
	if half.pull {
		if m.Link, err = linkInfo(c.Context, dir, cfg.API); err != nil {
			return err
		}
	}
	return sayMade(c, "markets node of", m)
}
