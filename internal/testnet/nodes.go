package testnet

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/api/client"
	"quarry/internal/apiinfo"
	"quarry/internal/secret"
)

// StartDevnet makes the chain and waits until it grows.
func (n *Network) StartDevnet(ctx context.Context) (err error) {
	if n.DevnetProc, err = n.RunDevnet("devnet", n.ports.devnet); err != nil {
		return err
	}
	return n.AwaitDevnet(ctx)
}

// RunDevnet starts a full node of a repo under the repo's name, on a port, and
// waits for nothing.
func (n *Network) RunDevnet(repo string, port int) (*Proc, error) {
	args := []string{"--repo", n.Repo(repo), "run", "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--sector-size", n.cfg.SectorSize}
	if n.cfg.Pace > 0 {
		args = append(args, "--pace", n.cfg.Pace.String())
	}
	return n.Procs.Start(repo, filepath.Join(n.cfg.Bin, "miner-devnet"), args, nil)
}

// AwaitDevnet connects to the devnet and waits until its chain grows.
func (n *Network) AwaitDevnet(ctx context.Context) error {
	var info string
	if err := n.Until(ctx, "the devnet's API", func(context.Context) (bool, error) {
		var err error
		info, err = n.APIInfo("devnet")
		return err == nil, err
	}); err != nil {
		return err
	}
	var err error
	if n.Chain, err = client.Chain(ctx, client.Config{Info: info}); err != nil {
		return err
	}
	return n.Until(ctx, "the first epochs", func(ctx context.Context) (bool, error) {
		h, err := n.Chain.ChainHead(ctx)
		if err != nil {
			return false, err
		}
		n.cfg.Note("epoch %d", h.Height)
		return h.Height >= 2, nil
	})
}

// CreateMiner makes the repo of the private node and the miner on chain.
func (n *Network) CreateMiner(ctx context.Context) (err error) {
	n.Owner, err = n.InitMiner(ctx, "miner", n.ports.miner)
	return err
}

// InitMiner makes a miner on chain, owned by a new key, and a repo for its
// private node, which will listen on the given port.
func (n *Network) InitMiner(ctx context.Context, repo string, port int) (owner string, err error) {
	full, err := n.FullNode("miner")
	if err != nil {
		return "", err
	}
	key, err := n.Chain.WalletNew(ctx, api.KeyBLS)
	if err != nil {
		return "", fmt.Errorf("new owner key: %w", err)
	}
	if err := n.Fund(ctx, key, 1000); err != nil {
		return "", err
	}
	args := []string{"--miner-repo", n.Repo(repo), "init",
		"--owner", key.String(), "--sector-size", n.cfg.SectorSize, "--listen", fmt.Sprintf("127.0.0.1:%d", port)}
	if n.cfg.Bare {
		args = append(args, "--no-local-storage")
	}
	_, err = n.Cmd(ctx, "miner", []string{full}, args...)
	return key.String(), err
}

// Fund sends whole FIL from the devnet's faucet and waits for them.
func (n *Network) Fund(ctx context.Context, to address.Address, fil int64) error {
	amount := abi.NewTokenAmount(fil)
	amount.Mul(amount.Int, abi.NewTokenAmount(1e18).Int)
	if _, err := n.Chain.DevnetFund(ctx, to, amount); err != nil {
		return fmt.Errorf("fund %s: %w", to, err)
	}
	return n.Until(ctx, "funds of "+to.String(), func(ctx context.Context) (bool, error) {
		b, err := n.Chain.WalletBalance(ctx, to)
		return err == nil && b.Sign() > 0, err
	})
}

// StartNodes starts private node, markets node and worker, and waits until the
// worker is known.
func (n *Network) StartNodes(ctx context.Context) error {
	for _, start := range []func(context.Context) error{n.StartMiner, n.StartMarkets, n.StartWorker} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// StartMiner starts the private node and connects to it.
func (n *Network) StartMiner(ctx context.Context) (err error) {
	if n.MinerProc, err = n.RunMiner("miner", "miner"); err != nil {
		return err
	}
	if n.Miner, err = n.Connect(ctx, "miner"); err != nil {
		return err
	}
	if n.MinerAddr, err = n.Miner.ActorAddress(ctx); err != nil {
		return fmt.Errorf("miner address: %w", err)
	}
	return nil
}

// RunMiner starts the private node of a repo under a name, with more environment,
// and waits for nothing.
func (n *Network) RunMiner(name, repo string, env ...string) (*Proc, error) {
	full, err := n.FullNode("miner")
	if err != nil {
		return nil, err
	}
	all := []string{full, "MINER_SUBSYSTEMS_ENABLEMARKETS=false", "MINER_PROVING_FORM=" + n.cfg.Form}
	if repo == "miner" && n.cfg.Linked { // sector files are fetched from it
		port, err := n.via("worker", "miner", n.ports.miner)
		if err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprintf("MINER_API_REMOTELISTENADDRESS=127.0.0.1:%d", port))
	}
	all = append(append(all, n.cfg.MinerEnv...), env...)
	return n.Procs.Start(name, filepath.Join(n.cfg.Bin, "miner"), []string{"--miner-repo", n.Repo(repo), "run"}, all)
}

// StartMarkets makes the repo of the markets node, starts it and connects to it.
func (n *Network) StartMarkets(ctx context.Context) error {
	info, err := n.TokenFor(ctx, api.RoleMarketsPeer, "markets")
	if err != nil {
		return err
	}
	if err := n.InitMarkets(ctx, info); err != nil {
		return err
	}
	if n.MarketsProc, err = n.RunMarkets("markets", "markets"); err != nil {
		return err
	}
	n.Markets, err = n.Connect(ctx, "markets")
	return err
}

// InitMarkets makes the repo of the markets node with the API info of its
// private node, and tells the chain where it is.
func (n *Network) InitMarkets(ctx context.Context, peer string) error {
	full, err := n.FullNode("markets")
	if err != nil {
		return err
	}
	public, err := n.via("client", "libp2p", n.ports.libp2p)
	if err != nil {
		return err
	}
	_, err = n.Cmd(ctx, "miner", []string{full, "MINER_API_INFO=" + peer}, "--markets-repo", n.Repo("markets"), "init", "service",
		"--type=markets",
		"--listen", fmt.Sprintf("127.0.0.1:%d", n.ports.markets),
		"--libp2p-listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", n.ports.libp2p),
		"--announce", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", public),
		"--retrieval-listen", fmt.Sprintf("127.0.0.1:%d", n.ports.retrieval),
		"--publish-peer-info")
	return err
}

// RunMarkets starts the markets node of a repo under a name, with more
// environment, and waits for nothing.
func (n *Network) RunMarkets(name, repo string, env ...string) (*Proc, error) {
	full, err := n.FullNode("markets")
	if err != nil {
		return nil, err
	}
	all := []string{full, "MINER_DEALMAKING_ALLOWPRIVATEIPS=true"}
	if n.cfg.Linked { // staged pieces are pulled from it
		port, err := n.via("miner", "markets", n.ports.markets)
		if err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprintf("MINER_API_REMOTELISTENADDRESS=127.0.0.1:%d", port))
	}
	all = append(append(all, n.cfg.MarketsEnv...), env...)
	return n.Procs.Start(name, filepath.Join(n.cfg.Bin, "miner"), []string{"--miner-repo", n.Repo(repo), "run"}, all)
}

// StartWorker starts the worker and waits until the private node knows it.
func (n *Network) StartWorker(ctx context.Context) (err error) {
	if n.cfg.WorkerPath {
		if _, err := n.Cmd(ctx, "miner-worker", nil, "--worker-repo", n.Repo("worker"), "storage", "attach", "--init", "--seal",
			n.Repo("worker-path")); err != nil {
			return err
		}
	}
	if n.WorkerProc, err = n.RunWorker(ctx, "worker", "worker"); err != nil {
		return err
	}
	return n.Until(ctx, "the worker", func(ctx context.Context) (bool, error) {
		ws, err := n.Miner.WorkerList(ctx)
		n.cfg.Note("%s, %d workers", n.MinerAddr, len(ws))
		known := slices.ContainsFunc(ws, func(w api.WorkerStatus) bool { return w.Hostname == n.WorkerProc.Name })
		return known, err
	})
}

// Use is what a storage path is for.
type Use string

// The uses, as the command that attaches a path calls them.
const (
	Seal         Use = "--seal"
	Store        Use = "--store"
	SealAndStore Use = "--seal --store"
)

// AttachPath makes a directory a storage path of the private node, with a weight
// that is compared with the 10 of its repo.
func (n *Network) AttachPath(ctx context.Context, dir string, use Use, weight int) error {
	args := []string{"--miner-repo", n.Repo("miner"), "storage", "attach", "--init", "--weight", strconv.Itoa(weight)}
	_, err := n.Cmd(ctx, "miner", nil, append(append(args, strings.Fields(string(use))...), dir)...)
	return err
}

// RunWorker starts a worker of a repo under a name and waits for nothing.
func (n *Network) RunWorker(ctx context.Context, name, repo string) (*Proc, error) {
	info, ok := n.workers[repo] // its URL belongs to its token
	if !ok {
		var err error
		if info, err = n.TokenFor(ctx, api.RoleWorker, "worker"); err != nil {
			return nil, err
		}
		n.workers[repo] = info
	}
	listen := 0 // any port, for all workers but the first
	args := []string{"--worker-repo", n.Repo(repo), "run", "--name", name}
	if name == "worker" {
		listen = n.ports.worker
	}
	args = append(args, "--listen", fmt.Sprintf("127.0.0.1:%d", listen))
	if n.cfg.Linked && listen != 0 {
		port, err := n.via("miner", "worker", listen)
		if err != nil {
			return nil, err
		}
		args = append(args, "--url", fmt.Sprintf("http://127.0.0.1:%d", port))
	}
	return n.Procs.Start(name, filepath.Join(n.cfg.Bin, "miner-worker"), args,
		append([]string{"MINER_API_INFO=" + info}, n.cfg.WorkerEnv...))
}

// Connect waits for a node's API and returns a client with its own token.
func (n *Network) Connect(ctx context.Context, repo string) (*client.MinerAPI, error) {
	var out *client.MinerAPI
	err := n.Until(ctx, "the API of "+repo, func(ctx context.Context) (bool, error) {
		info, err := n.APIInfo(repo)
		if err != nil {
			return false, err
		}
		c, err := client.Miner(ctx, client.Config{Info: info})
		if err != nil {
			return false, err
		}
		if _, err := c.Version(ctx); err != nil {
			c.Close()
			return false, err
		}
		out = c
		return true, nil
	})
	return out, err
}

// TokenFor makes a token of the private node that carries no more than the role
// needs, and gives the API info with it for one process.
func (n *Network) TokenFor(ctx context.Context, role api.Role, from string) (string, error) {
	token, err := n.Miner.AuthCreate(ctx, api.TokenRequest{Name: from + " of the network", Role: role})
	if err != nil {
		return "", fmt.Errorf("token for %s: %w", role, err)
	}
	admin, err := apiinfo.Load("@" + n.Repo("miner"))
	if err != nil {
		return "", err
	}
	return n.linked(apiinfo.Format(secret.New(token), admin.Address()), from, "miner", n.ports.miner)
}
