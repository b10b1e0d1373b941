package testnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"quarry/api/client"
	"quarry/internal/apiinfo"
	"quarry/internal/slowlink"
)

// Config of a Network.
type Config struct {
	Bin        string // directory with the built commands
	Dir        string // everything the run makes; emptied by New
	SectorSize string // 2KiB or 8MiB, nothing else on a devnet
	Form       string // config value of Proving.Form; empty: vanilla
	// Linked puts a link of its own between any two processes, which can be cut,
	// and Delay is what each of them takes, in each direction.
	Linked bool
	Delay  time.Duration
	// Pace is the wall-clock time of an epoch whenever the devnet starts; 0: the
	// devnet's default. DevnetSetPace changes it until then.
	Pace time.Duration
	// WorkerPath gives the worker a storage path for sealing, so that it gets the
	// tasks that make files.
	WorkerPath bool
	// Bare makes miners whose repo is no storage path: they seal and keep nothing
	// before AttachPath.
	Bare bool
	// More environment of the processes.
	MinerEnv, MarketsEnv, WorkerEnv []string
	// Note is told what is going on; nil: nobody.
	Note func(format string, args ...any)
}

// Network is the processes, in the order of their start, with connections to
// those that serve an API. The connections do not go through the links: they are
// for whoever looks on. Where a process does not run yet its fields are nil.
type Network struct {
	cfg  Config
	dir  string
	logs string

	// Procs are all the processes.
	Procs *Supervisor
	// Chain, Miner and Markets carry the admin tokens of their repos.
	Chain   *client.ChainAPI
	Miner   *client.MinerAPI
	Markets *client.MinerAPI

	DevnetProc, MinerProc, MarketsProc, WorkerProc *Proc

	// MinerAddr is the miner actor, f0..., and Owner the key that owns it.
	MinerAddr string
	Owner     string

	ports ports
	links map[string]*slowlink.Link // by the two ends, "worker->miner"

	workers map[string]string // API infos of workers, by their repos
}

// ports of the processes, all on the loopback address.
type ports struct {
	devnet, miner, markets, retrieval, libp2p, worker int
}

// New empties the directory and starts nothing.
func New(cfg Config) (*Network, error) {
	if cfg.Form == "" {
		cfg.Form = "vanilla"
	}
	if cfg.Note == nil {
		cfg.Note = func(string, ...any) {}
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("empty %s: %w", dir, err)
	}
	n := &Network{
		cfg:     cfg,
		dir:     dir,
		logs:    filepath.Join(dir, "logs"),
		links:   map[string]*slowlink.Link{},
		workers: map[string]string{},
	}
	if err := os.MkdirAll(n.logs, 0o700); err != nil { // tokens and keys lie below
		return nil, err
	}
	n.Procs = NewSupervisor(n.logs)
	p, err := FreePorts(6)
	if err != nil {
		return nil, err
	}
	n.ports = ports{p[0], p[1], p[2], p[3], p[4], p[5]}
	return n, nil
}

// Close stops the processes, each within the budget, and then the links.
func (n *Network) Close(budget time.Duration) error {
	for _, l := range n.links {
		l.Heal()
	}
	err := n.Procs.StopAll(budget)
	for _, l := range n.links {
		err = errors.Join(err, l.Close())
	}
	if n.Chain != nil {
		n.Chain.Close()
	}
	for _, c := range []*client.MinerAPI{n.Miner, n.Markets} {
		if c != nil {
			c.Close()
		}
	}
	return err
}

// Dir is where all the files are.
func (n *Network) Dir() string { return n.dir }

// Logs is where the logs are.
func (n *Network) Logs() string { return n.logs }

// Repo is the repo of a process: devnet, miner, markets, worker or client.
func (n *Network) Repo(name string) string { return filepath.Join(n.dir, name) }

// RetrievalURL is where the markets node serves over HTTP.
func (n *Network) RetrievalURL() (string, error) {
	port, err := n.via("client", "retrieval", n.ports.retrieval)
	return fmt.Sprintf("http://127.0.0.1:%d", port), err
}

// via is the port at which one process reaches another: that of a link when the
// network has links.
func (n *Network) via(from, to string, port int) (int, error) {
	if !n.cfg.Linked {
		return port, nil
	}
	name := from + "->" + to
	l, ok := n.links[name]
	if !ok {
		var err error
		if l, err = slowlink.New(slowlink.Config{To: fmt.Sprintf("127.0.0.1:%d", port), Delay: n.cfg.Delay}); err != nil {
			return 0, err
		}
		n.links[name] = l
	}
	return l.Port(), nil
}

// Links are the links from and to a process; the libp2p host, the retrieval
// server and the API of the markets node count as the markets node.
func (n *Network) Links(name string) (out []*slowlink.Link) {
	for ends, l := range n.links {
		from, to, _ := strings.Cut(ends, "->")
		if to == "libp2p" || to == "retrieval" {
			to = "markets"
		}
		if from == name || to == name {
			out = append(out, l)
		}
	}
	return out
}

// MinerPort is where the private node listens.
func (n *Network) MinerPort() int { return n.ports.miner }

// DevnetPort is where the full node listens.
func (n *Network) DevnetPort() int { return n.ports.devnet }

// APIInfo reads token and address of a running node from its repo; the token may
// do all.
func (n *Network) APIInfo(repo string) (string, error) {
	info, err := apiinfo.Load("@" + n.Repo(repo))
	if err != nil {
		return "", err
	}
	return apiinfo.Format(info.Token, info.Address()), nil
}

// FullNode is what the environment of a process needs to reach the devnet.
func (n *Network) FullNode(from string) (string, error) {
	info, err := n.APIInfo("devnet")
	if err != nil {
		return "", err
	}
	info, err = n.linked(info, from, "devnet", n.ports.devnet)
	return "FULLNODE_API_INFO=" + info, err
}

// linked replaces the port in an API info by that of the link from one process.
func (n *Network) linked(info, from, to string, port int) (string, error) {
	via, err := n.via(from, to, port)
	return strings.Replace(info, fmt.Sprintf("/tcp/%d", port), fmt.Sprintf("/tcp/%d", via), 1), err
}

// Cmd runs one of our commands to its end and gives what it printed.
func (n *Network) Cmd(ctx context.Context, name string, env []string, args ...string) (string, error) {
	out, err := Command(ctx, n.logs, filepath.Join(n.cfg.Bin, name), env, args...)
	return strings.TrimSpace(string(out)), err
}

// Fatal is an error that waiting does not mend: Until returns it at once.
type Fatal struct{ Err error }

// Error implements error.
func (f *Fatal) Error() string { return f.Err.Error() }

// Unwrap gives the error itself.
func (f *Fatal) Unwrap() error { return f.Err }

// Until asks cond until it says done; it also watches that no process died.
func (n *Network) Until(ctx context.Context, what string, cond func(context.Context) (bool, error)) error {
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		done, err := cond(ctx)
		var end *Fatal
		switch {
		case errors.As(err, &end):
			return end.Err
		case done && err == nil:
			return nil
		case err != nil:
			last = err
		}
		if err := n.Procs.Dead(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (last error: %v)", what, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}
