package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"quarry/api"
	"quarry/chain/devnet"
	"quarry/chain/fvm"
	"quarry/chain/wallet"
	"quarry/internal/command"
	"quarry/internal/ownaddr"
	"quarry/internal/paramcache"
	"quarry/internal/printable"
	"quarry/node/repo"
	"quarry/node/serve"
)

// maxRequest bounds a request: vanilla proofs come as objects of some MiB, in
// base64.
const maxRequest = 100 << 20

func runCmd() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "make the chain on first use, then run the node",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", EnvVars: []string{"DEVNET_LISTEN"}, Value: "127.0.0.1:1234",
				Usage: "API `ADDRESS`, host:port or multiaddr"},
			&cli.DurationFlag{Name: "pace", EnvVars: []string{"DEVNET_PACE"}, Value: 100 * time.Millisecond,
				Usage: "wall-clock time of an epoch; 0 = as fast as it can"},
			&command.SizeFlag{StringFlag: cli.StringFlag{Name: "sector-size", Value: "2KiB",
				Usage: "of the genesis miner, 2KiB or 8MiB (first run only)"}},
			&cli.IntFlag{Name: "genesis-sectors", Value: 2, Usage: "sectors of the genesis miner (first run only)"},
			&cli.StringFlag{Name: "seed", Usage: "make the network reproducible from this text (first run only)"},
			&cli.BoolFlag{Name: "mine", Value: true, Usage: "let the genesis miner make blocks and prove its sectors"},
			&cli.IntFlag{Name: "idle-epochs", Value: 4,
				Usage: "epochs the genesis miner leaves to others while there is nothing to include; each block costs a proof"},
			&cli.StringFlag{Name: "log-level", EnvVars: []string{"GOLOG_LOG_LEVEL"}, Value: "info", Usage: "debug, info, warn or error"},
		},
		Action: runAction,
	}
}

func sealProof(c *cli.Context) (abi.RegisteredSealProof, error) {
	size, err := command.Bytes(c, "sector-size")
	switch {
	case err != nil:
		return 0, err
	case size == 2<<10:
		return abi.RegisteredSealProof_StackedDrg2KiBV1_1, nil
	case size == 8<<20:
		return abi.RegisteredSealProof_StackedDrg8MiBV1_1, nil
	}
	return 0, fmt.Errorf("--sector-size %q: the devnet knows 2KiB and 8MiB", c.String("sector-size"))
}

// checkFlags refuses what cannot be before anything is made.
func checkFlags(c *cli.Context) error {
	for _, name := range []string{"genesis-sectors", "idle-epochs"} {
		if n := c.Int(name); n < 0 {
			return fmt.Errorf("--%s %d is negative", name, n)
		}
	}
	_, err := sealProof(c)
	return err
}

func runAction(c *cli.Context) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return fmt.Errorf("--log-level %q is none of debug, info, warn, error", c.String("log-level"))
	}
	if err := checkFlags(c); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(printable.NewWriter(os.Stderr), &slog.HandlerOptions{Level: level}))
	dir, err := repo.Expand(c.String("repo"))
	if err != nil {
		return err
	}
	if err := repo.Init(dir, repo.KindDevnet); err != nil && !errors.As(err, new(*repo.ErrExists)) {
		return err
	}
	r, err := repo.Open(dir)
	if err != nil {
		return err
	}
	err = runNode(c, r, log)
	return errors.Join(err, r.Close())
}

func runNode(c *cli.Context, r *repo.Repo, log *slog.Logger) error {
	ctx, stop := context.WithCancel(c.Context)
	defer stop()
	engine, err := fvm.NewEngine(ctx, fvm.EngineConfig{CacheDir: cacheDir(r), Log: log})
	if err != nil {
		return err
	}
	defer func() { _ = engine.Close(context.WithoutCancel(ctx)) }()
	w, err := wallet.New(wallet.Deps{Keystore: walletKeys{r.Keystore()}})
	if err != nil {
		return err
	}
	if err := initChain(ctx, c, r, engine, w, log); err != nil {
		return err
	}
	keys, err := paramcache.New(paramcache.Config{Devnet: true}, paramcache.Deps{Log: log})
	if err != nil {
		return err
	}
	defer func() { _ = keys.Close() }()
	n, err := devnet.New(ctx, devnet.Config{
		Pace:       c.Duration("pace"),
		SectorDir:  r.Path("genesis-sectors"),
		Mine:       c.Bool("mine"),
		IdleEpochs: abi.ChainEpoch(c.Int("idle-epochs")),
		Shutdown:   stop,
	}, devnet.Deps{
		Store:  r.Datastore(repo.Devnet),
		Wallet: w,
		Engine: engine,
		Keys:   keys,
		Log:    log,
	})
	if err != nil {
		return err
	}
	defer func() { _ = n.Close() }()
	return serveNode(ctx, stop, c, r, n, log)
}

// serveNode serves the node's API and runs both until ctx ends.
func serveNode(ctx context.Context, stop func(), c *cli.Context, r *repo.Repo, n *devnet.Node, log *slog.Logger) error {
	s, err := serve.New(serve.Config{Listen: c.String("listen"), DefaultPerms: []api.Permission{api.PermRead}, MaxRequestBytes: maxRequest},
		serve.Deps{Verify: r.Tokens().Verify, Log: log})
	if err != nil {
		return err
	}
	s.RegisterChain(n)
	s.RegisterChainTools(n)
	s.RegisterNode(n)
	s.RegisterDevnet(n)
	if err := r.WriteAPI(s.Multiaddr()); err != nil {
		return err
	}
	if err := announce(c.App.Writer, os.Stdout, r.Dir()); err != nil {
		return err
	}
	if at := ownaddr.ForOthers(ctx, ownaddr.Config{Bound: s.Addr()}); at.Guessed {
		log.Info("the API listens on every address; on other hosts put this one into FULLNODE_API_INFO, behind the token",
			"address", "http://"+at.HostPort)
	}
	log.Info("devnet runs; every proof is verified in full", "accepts", strings.Join(n.ProofKinds(), ", "),
		"network", n.Params().NetworkName, "epoch", n.Epoch(), "pace", c.Duration("pace"))
	return runBoth(ctx, stop, n, s)
}

// announce prints the line that others find this node by. Where it goes into a file
// or to the system's log, which keep it for others to read, it names the repo
// instead of the token in it; every command of ours takes that too.
func announce(w io.Writer, out *os.File, dir string) error {
	st, err := out.Stat()
	if err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	info := "@" + dir
	if !st.Mode().IsRegular() && st.Mode()&fs.ModeSocket == 0 {
		if info, err = repo.APIInfo(dir); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(w, "FULLNODE_API_INFO="+info)
	return err
}

func runBoth(ctx context.Context, stop func(), n *devnet.Node, s *serve.Server) error {
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		return n.Run(ctx)
	})
	g.Go(func() error {
		defer stop()
		return s.Run(ctx)
	})
	return g.Wait()
}

// cacheDir is where compiled actors are kept: one place for all repos of a
// user, or the repo itself when there is none.
func cacheDir(r *repo.Repo) string {
	d, err := os.UserCacheDir()
	if err != nil {
		return r.Path("actors-cache")
	}
	d = filepath.Join(d, "quarry-actors")
	if err := os.MkdirAll(d, 0o755); err != nil {
		return r.Path("actors-cache")
	}
	return d
}

func initChain(ctx context.Context, c *cli.Context, r *repo.Repo, e *fvm.Engine, w *wallet.Wallet, log *slog.Logger) error {
	proof, err := sealProof(c)
	if err != nil {
		return err
	}
	seed, err := initSeed(c, r)
	if err != nil {
		return err
	}
	// Sub-second epochs make chain time run ahead of the clock; a year of
	// headroom keeps it in the past.
	stamp := time.Now().Add(-365 * 24 * time.Hour).Unix()
	if c.IsSet("seed") {
		stamp = 1_700_000_000
	}
	b := e.Bundle()
	return devnet.Init(ctx, devnet.InitConfig{
		Seed:      seed,
		Timestamp: uint64(stamp),
		SealProof: proof,
		Sectors:   c.Int("genesis-sectors"),
		SectorDir: r.Path("genesis-sectors"),
	},
		devnet.InitDeps{
			Store:    r.Datastore(repo.Devnet),
			Wallet:   w,
			Engine:   e,
			Manifest: b.Manifest,
			Log:      log,
			Blocks: func(put func(cid.Cid, []byte) error) error {
				for _, blk := range b.Blocks {
					if err := put(blk.Cid, blk.Data); err != nil {
						return err
					}
				}
				return nil
			},
		})
}

// initSeed draws the network's seed once and keeps it while the chain is being
// made, so that an interrupted first run makes the same keys again.
func initSeed(c *cli.Context, r *repo.Repo) ([]byte, error) {
	if c.IsSet("seed") {
		return []byte(c.String("seed")), nil
	}
	path := r.Path("seed")
	b, err := os.ReadFile(path)
	if err == nil && len(b) == 32 {
		return b, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	b = make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	return b, os.WriteFile(path, b, 0o600)
}
