package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"

	"quarry/api"
	"quarry/api/client"
	"quarry/chain/heads"
	"quarry/chain/msgs"
	"quarry/internal/lifecycle"
	"quarry/node/pull"
	"quarry/node/repo"
	"quarry/node/serve"
	"quarry/proofs/snark"
	"quarry/storage"
	"quarry/storage/paths"
)

// messageConfidence is how many epochs old a receipt must be before it is
// believed: MessageConfidence of Lotus (chain/messagepool, storage/pipeline).
const messageConfidence = 5

// Node is a process being composed; its fields are filled from top to bottom
// and read only afterwards.
type Node struct {
	set    Settings
	budget time.Duration // of a stop
	log    *slog.Logger
	repo   *repo.Repo
	group  *lifecycle.Group
	srv    *serve.Server
	base   string // URL of the API as others reach it

	maddr    address.Address
	mid      abi.ActorID
	sector   abi.SectorSize
	proof    abi.RegisteredSealProof
	vanilla  bool          // the network takes vanilla proofs
	groth16  bool          // and the devnet has keys for Groth16 ones
	snark    *snark.Prover // makes Groth16 proofs; nil: vanilla ones are sent
	devnet   bool          // the full node is an embedded one
	epochs   *epochs       // how long epochs last on this network
	chain    *client.ChainAPI
	full     *peerWatch // of chain
	pin      networkID  // that this repo belongs to
	heads    *heads.Follower
	local    *paths.Local
	storage  api.Storage
	stored   *storage.Manager // nil where sector storage runs elsewhere
	sealing  api.Sealing
	proving  *late[api.Mining]
	clock    atomic.Pointer[epochs] // epochs, for who asks while they are learnt
	peers    []*peerWatch           // full first
	halvesMu sync.Mutex
	halves   []*half
	sealer   *half          // nil where sealing runs here
	store    *half          // nil where sector storage runs here
	accepts  *pull.Acceptor // nil: not in pull mode, or the other end of it
	common   *common
	closers  []closer
}

// closer takes down what is no part.
type closer struct {
	name string
	run  func() error
}

// defaultBudget is how long a stop may take in all.
const defaultBudget = 30 * time.Second

func newNode(set Settings) *Node {
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	if set.Level == nil {
		set.Level = new(slog.LevelVar)
	}
	budget := set.StopBudget
	if budget <= 0 {
		budget = defaultBudget
	}
	// The parts have most of the budget, what they stood on has the rest.
	return &Node{
		set:     set,
		proving: newLate[api.Mining]("mining"),
		budget:  budget,
		log:     set.Log,
		group:   lifecycle.New(budget*2/3, set.Log),
	}
}

// Run composes the process and works until ctx ends, Shutdown is called, or a
// vital part fails; then it stops everything, last started first, within the
// stop budget.
func Run(ctx context.Context, set Settings) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	n := newNode(set)
	for _, note := range set.EnvNotes {
		n.log.Warn(note)
	}
	defer func() { err = errors.Join(err, n.close()) }()
	if err := n.compose(ctx, stop); err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil // told to stop while waiting for the full node
		}
		return err
	}
	n.log.Info("running", "miner", n.maddr, "api", n.srv.Multiaddr(), "others reach it at", n.base, "subsystems", n.subsystems())
	err = n.group.Wait(ctx)
	n.log.Info("stopping", "because", err)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// compose is the order of things: what a part needs is built above it.
func (n *Node) compose(ctx context.Context, stop context.CancelFunc) error {
	n.common = &common{
		session:    newSession(),
		started:    time.Now(),
		subsystems: n.subsystems(),
		level:      n.set.Level,
		stop:       stop,
		callers:    newCallers(n.set.PeerPoll),
		parts:      n.group.Status,
	}
	for _, step := range []struct {
		what string
		run  func(context.Context) error
	}{
		{"open the repo", n.openRepo},
		{"bind the API", n.bind},
		{"connect the full node", n.connectChain},
		{"learn about the miner", n.learnMiner},
		{"accept the link", n.acceptLink},
		{"compare with the other half", n.meetHalves},
		{"choose the form of proofs", n.chooseForm},
		{"storage", n.withStorage},
		{"sealing", n.withSealing},
		{"mining", n.withMining},
		{"markets", n.withMarkets},
		{"open the link", n.openLink},
	} {
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	n.srv.RegisterCommon(n.common)
	for _, p := range n.peers[1:] {
		if err := n.keep(ctx, "watch "+p.name, p.run); err != nil {
			return err
		}
	}
	if err := n.group.Go("api", n.srv.Run); err != nil {
		return err
	}
	return n.repo.WriteAPI(n.srv.Multiaddr())
}

func (n *Node) openRepo(context.Context) (err error) {
	kind, err := repo.KindOf(n.set.RepoDir)
	if err != nil {
		return err
	}
	if err := n.set.fits(kind); err != nil {
		return err
	}
	if n.repo, err = repo.OpenAs(n.set.RepoDir, kind); err != nil {
		return err
	}
	n.onClose("repo", n.closeRepo)
	for _, w := range n.repo.Warnings() {
		n.log.Warn("the repo is not private", "what", w)
	}
	if n.maddr, err = MinerAddress(n.repo); err != nil {
		return err
	}
	id, err := address.IDFromAddress(n.maddr)
	n.mid = abi.ActorID(id)
	if err != nil {
		return err
	}
	if n.pin, err = pinned(n.repo); err != nil {
		return err
	}
	n.common.tokens = n.repo.Tokens()
	n.introduce()
	return nil
}

// closeRepo tells apart what the operator should read from what is a failure: a
// store that could not write its tables has lost nothing.
func (n *Node) closeRepo() error {
	err := n.repo.Close()
	var unflushed *repo.ErrUnflushed
	if errors.As(err, &unflushed) {
		n.log.Warn("stopped, but not in order", "error", err)
		return nil
	}
	return err
}

func (n *Node) subsystems() []api.Subsystem {
	var out []api.Subsystem
	for _, s := range []struct {
		on   bool
		name api.Subsystem
	}{{n.set.Mining, api.SubsystemMining}, {n.set.Sealing, api.SubsystemSealing},
		{n.set.SectorStorage, api.SubsystemSectorStorage}, {n.set.Markets, api.SubsystemMarkets}} {
		if s.on {
			out = append(out, s.name)
		}
	}
	return out
}

// absent says where the subsystems that do not run here are found.
func (n *Node) absent() map[api.Subsystem]string {
	where := map[api.Subsystem]string{}
	add := func(on bool, s api.Subsystem, text string) {
		if !on {
			where[s] = text
		}
	}
	private := "the miner process named by SealerApiInfo in this node's config (set MINER_API_INFO or --miner-repo to it)"
	if n.set.LinkAccept {
		private = "the private node, which opens a link to this one and is asked on its own host (there: MINER_API_INFO or --miner-repo)"
	}
	add(n.set.Mining, api.SubsystemMining, private)
	add(n.set.Sealing, api.SubsystemSealing, private)
	add(n.set.SectorStorage, api.SubsystemSectorStorage, private)
	add(n.set.Markets, api.SubsystemMarkets, "the markets process (set MARKETS_API_INFO or --markets-repo to it)")
	return where
}

func (n *Node) bind(ctx context.Context) (err error) {
	if err := retireDataToken(ctx, n.repo); err != nil {
		return err
	}
	cfg := serve.Config{
		Listen:          n.set.Listen,
		MaxRequestBytes: n.set.MaxRequestBytes,
		Absent:          n.absent(),
		StopBudget:      min(10*time.Second, n.budget/3),
		Instance:        n.common.session.String(),
		Limits:          n.set.Limits.API,
	}
	n.srv, err = serve.New(cfg, serve.Deps{Verify: n.repo.Tokens().Verify, Ready: n.ready, Log: n.log.With("part", "api")})
	if err != nil {
		return err
	}
	n.onClose("api", func() error { _ = n.srv.Close(); return nil }) // most often closed by its Run
	n.tellAddress(ctx)
	return nil
}

func (n *Node) connectChain(ctx context.Context) (err error) {
	if n.set.FullNodeInfo == "" {
		return errors.New("no full node is named: set FULLNODE_API_INFO=token:address")
	}
	n.full = newPeerWatch("full node", n.set.PeerPoll, n.log, "Version", "StateNetworkName", "ChainGetGenesis")
	n.full.check = n.meetFullNode
	n.chain, err = client.Chain(ctx, client.Config{Info: n.set.FullNodeInfo, Name: "the full node", Gate: n.full, Log: n.log})
	if err != nil {
		return err
	}
	n.onClose("client of the full node", func() error { n.chain.Close(); return nil })
	n.peers = append(n.peers, n.full)
	n.common.setPeers(n.peers)
	n.full.once(ctx)
	if err := n.full.wrong(); err != nil {
		return err
	}
	if err := n.keep(ctx, "watch full node", n.full.run); err != nil {
		return err
	}
	n.heads = heads.New(heads.Config{}, heads.Deps{Chain: n.chain, Log: n.log.With("part", "heads")})
	return n.keep(ctx, "heads", n.heads.Run)
}

// sender makes the sender of one kind of messages; what it sent is kept under
// name, limits are what cfg says.
func (n *Node) sender(name string, cfg msgs.Config) *msgs.Sender {
	cfg.Confidence = messageConfidence
	s := msgs.New(cfg, msgs.Deps{Chain: n.chain, Heads: n.heads, Log: n.log.With("part", "msgs"),
		Store: namespace.Wrap(n.repo.Datastore(repo.Messages), datastore.NewKey(name))})
	n.common.follow(s)
	return s
}

func (n *Node) onClose(name string, f func() error) {
	n.closers = append(n.closers, closer{name, f})
}

// keep runs a part that has nothing to build, and whose failure ends nothing.
func (n *Node) keep(ctx context.Context, name string, run func(context.Context) error) error {
	return n.group.Keep(ctx, lifecycle.Keep{Name: name, Run: func(ctx context.Context, up func()) error {
		up()
		return run(ctx)
	}})
}

// close stops the parts and takes down the rest, in reverse, within the budget.
// What hangs is named and left to end with the process.
func (n *Node) close() error {
	limit, cancel := context.WithTimeout(context.Background(), n.budget)
	defer cancel()
	errs := []error{n.group.Stop()}
	for i := len(n.closers) - 1; i >= 0; i-- {
		c := n.closers[i]
		done := make(chan error, 1)
		go func() { done <- c.run() }()
		select {
		case err := <-done:
			errs = append(errs, err)
		case <-limit.Done():
			errs = append(errs, fmt.Errorf("%s was not closed within the stop budget of %s", c.name, n.budget))
		}
	}
	return errors.Join(errs...)
}

func (n *Node) storageFile() string { return n.repo.Path(repo.FileStorage) }
