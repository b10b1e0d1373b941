package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"

	"quarry/api"
	"quarry/internal/breaker"
	"quarry/internal/holder"
	"quarry/internal/lifecycle"
	"quarry/mining"
	"quarry/node/repo"
	"quarry/node/serve"
	"quarry/sealing"
	"quarry/storage"
	"quarry/storage/access"
	"quarry/storage/blobs"
	"quarry/storage/fetch"
	"quarry/storage/index"
	"quarry/storage/parents"
	"quarry/storage/paths"
	"quarry/storage/worker"
)

// learnRetry is the pause between questions to a full node that is down at
// start; the process keeps trying, so that the order of starts does not matter.
const learnRetry = time.Second

// learnMiner asks the chain for what never changes: sector size and proof
// kind, and whether the network takes vanilla proofs. It waits for the full
// node: nothing can be done without these answers. Meanwhile the operator finds
// a process that tells what it waits for.
func (n *Node) learnMiner(ctx context.Context) error {
	missing := n.askMiner(ctx)
	if missing == nil || !isUnreachable(missing) {
		return missing
	}
	n.log.Warn("waiting for the full node", "error", missing)
	early, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- n.srv.RunEarly(early, n.common, missing) }()
	err := errors.Join(n.repo.WriteAPI(n.srv.Multiaddr()), n.keepAsking(ctx))
	stop()
	return errors.Join(err, <-served)
}

func (n *Node) keepAsking(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(learnRetry):
		}
		if err := n.askMiner(ctx); err == nil || !isUnreachable(err) {
			return err
		}
	}
}

func isUnreachable(err error) bool {
	var u *api.ErrUnreachable
	return errors.As(err, &u)
}

func (n *Node) askMiner(ctx context.Context) error {
	info, err := n.chain.StateMinerInfo(ctx, n.maddr, nil)
	if err != nil {
		return fmt.Errorf("miner %s: %w", n.maddr, err)
	}
	n.sector = info.SectorSize
	if n.proof, err = sealing.SealProofType(info); err != nil {
		return err
	}
	n.epochs, err = learnEpochs(ctx, n.chain)
	if err != nil {
		return err
	}
	for _, k := range n.epochs.proofKinds {
		n.vanilla, n.groth16 = n.vanilla || k == "vanilla", n.groth16 || k == "groth16"
	}
	n.devnet = n.epochs.devnet
	n.clock.Store(n.epochs)
	return n.belong(ctx)
}

func (n *Node) withStorage(ctx context.Context) (err error) {
	if !n.set.SectorStorage {
		n.storage = n.store
		n.local, err = paths.Open(paths.Config{File: n.storageFile(), ReadOnly: true},
			paths.Deps{Index: n.store, Log: n.log.With("part", "paths")})
		if err != nil {
			return err
		}
		return n.keep(ctx, "paths", n.local.Run)
	}
	remote := n.base + "/remote"
	signer := access.NewSigner(n.repo.Tokens().FileKey)
	idx, err := n.openIndex(ctx, signer)
	if err != nil {
		return err
	}
	disks := breaker.New(breaker.Config{Places: n.set.ProvingOpts.ParallelReads, Log: n.log.With("part", "paths")})
	if n.local, err = n.openPaths(remote, idx, disks); err != nil {
		return err
	}
	bulk, err := blobs.Open(blobs.Config{Dir: n.repo.Path(repo.DirBlobs)})
	if err != nil {
		return err
	}
	m, err := storage.New(storage.Config{ParallelReads: n.set.ProvingOpts.ParallelReads}, storage.Deps{
		Store:   n.repo.Datastore(repo.Storage),
		Index:   idx,
		Local:   n.local,
		Blobs:   bulk,
		Breaker: disks,
		Log:     n.log.With("part", "storage"),
	})
	if err != nil {
		return err
	}
	n.storage, n.stored = m, m
	n.srv.Handle("GET "+blobs.Route, api.PermWorker, blobs.Handler(bulk))
	n.srv.Handle("PUT "+blobs.Route, api.PermWorker, blobs.Handler(bulk))
	n.srv.RegisterStorage(m)
	if err := n.serveFiles(remote, signer); err != nil {
		return err
	}
	if err := n.group.Go("storage", m.Run); err != nil {
		return err
	}
	return n.withWorker(ctx, remote, bulk)
}

// openIndex makes the index, which knows no path yet, but whose URLs are.
func (n *Node) openIndex(ctx context.Context, signer *access.Signer) (*index.Index, error) {
	return index.Open(ctx, index.Config{}, index.Deps{
		Store:  namespace.Wrap(n.repo.Datastore(repo.Node), datastore.NewKey("urls")),
		Valid:  n.repo.Tokens().Valid,
		Signer: signer,
		Log:    n.log.With("part", "index"),
	})
}

// serveFiles serves the sector files of this process to bearers that are good for
// one of them, and to an admin.
func (n *Node) serveFiles(remote string, signer *access.Signer) error {
	check, err := access.NewChecker(remote, signer)
	if err != nil {
		return fmt.Errorf("address of this process (API.RemoteListenAddress): %w", err)
	}
	opens := serve.Opens{Is: access.Is, Check: check.Check}
	n.srv.HandleBearer("GET /remote/", api.PermAdmin, opens, fetch.Handler(n.local))
	n.srv.HandleBearer("DELETE /remote/", api.PermAdmin, opens, fetch.RemoveHandler(n.local))
	return nil
}

// holdFile is the lock of a directory of sectors: one private node at a time
// seals into it and proves from it. Workers and markets nodes that share the
// directory do not take it.
const holdFile = ".private-node"

// beaconFile says the same to private nodes on other machines, where the locks of
// a network file system may not reach.
const beaconFile = ".private-node.beacon"

// openPaths opens the storage paths of the private node. Each directory is held
// from its first use; one that another private node uses at the start is refused,
// one that comes later waits until it is free.
func (n *Node) openPaths(remote string, idx *index.Index, disks *breaker.Breaker) (*paths.Local, error) {
	var mu sync.Mutex // several are opened at once
	var first error
	hold := func(dir string) (func(), error) {
		release, err := n.holdPath(dir)
		mu.Lock()
		defer mu.Unlock()
		first = errors.Join(first, err)
		return release, err
	}
	local, err := paths.Open(paths.Config{File: n.storageFile(), URL: remote}, paths.Deps{
		Index:   idx,
		Breaker: disks,
		Hold:    hold,
		Log:     n.log.With("part", "paths"),
	})
	if err != nil {
		return nil, err
	}
	n.onClose("holds of storage paths", func() error { local.Release(); return nil })
	mu.Lock()
	defer mu.Unlock()
	return local, first
}

// holdPath keeps other private nodes from a directory of sectors. Where neither a
// lock nor a beacon can be had nothing can be done but to say so.
func (n *Node) holdPath(dir string) (func(), error) {
	who := holder.Self("repo " + n.repo.Dir() + " of miner " + n.maddr.String())
	release := func() {}
	l, err := holder.Take(filepath.Join(dir, holdFile), who)
	if err == nil {
		release = func() { _ = l.Release() }
	} else if taken := n.taken(dir, err); taken != nil {
		return nil, taken
	}
	b, berr := holder.Light(holder.BeaconConfig{
		Path: filepath.Join(dir, beaconFile),
		Who:  who,
		Home: holder.Home(n.repo.Dir()),
		Lost: func(other string) {
			n.log.Error("another private node uses a directory of sectors of this one: stop one of the two, they destroy each "+
				"other's files",
				"path", dir, "holder", other)
		},
	})
	switch taken := n.taken(dir, berr); {
	case berr == nil:
		lock := release
		return func() { _ = b.Release(); lock() }, nil
	case taken != nil:
		release()
		return nil, taken
	case err != nil:
		n.log.Warn("a storage path cannot be held; see that no other private node uses it", "path", dir, "error", errors.Join(err, berr))
	}
	return release, nil
}

// taken is the refusal of a directory that another private node has, nil for
// other errors.
func (n *Node) taken(dir string, err error) error {
	var used *holder.ErrHeld
	if !errors.As(err, &used) {
		return nil
	}
	return &api.ErrInUse{What: "storage path " + dir, Holder: used.Holder,
		Hint: "two private nodes must not share a directory of sectors: stop that one, or name another directory in " + n.storageFile()}
}

func (n *Node) withWorker(ctx context.Context, remote string, bulk *blobs.Store) error {
	if !n.set.LocalWorker {
		return nil
	}
	graphs := parents.New(parents.Config{Dir: n.set.ParentCache}, parents.Deps{Log: n.log.With("part", "parents")})
	n.onClose("parent graphs", graphs.Close)
	run := func(ctx context.Context, up func()) error {
		cfg := worker.Config{Place: holder.Place(n.repo.Dir()), URL: remote, TaskTypes: n.set.WorkerTasks, MemBytes: worker.SystemMemory()}
		w, err := worker.New(ctx, cfg, worker.Deps{
			Storage: n.stored,
			Local:   n.local,
			Blobs:   bulk,
			Store:   n.repo.Datastore(repo.Worker),
			Snark:   n.workerSnark(),
			Parents: graphs,
			Log:     n.log.With("part", "worker"),
		})
		if err != nil {
			return err
		}
		up()
		return w.Run(ctx)
	}
	return n.group.Keep(ctx, lifecycle.Keep{Name: "built-in worker", Run: run})
}

func (n *Node) withSealing(ctx context.Context) error {
	if !n.set.Sealing {
		n.sealing = n.sealer
		return nil
	}
	if n.stored == nil {
		return errors.New("sealing needs sector storage in the same process: set EnableSectorStorage = true")
	}
	o, proof := n.set.SealingOpts, n.proof
	if o.Synthetic {
		var err error
		if proof, err = sealing.SyntheticProofType(proof); err != nil {
			return err
		}
	}
	book, err := n.faultBook(ctx)
	if err != nil {
		return err
	}
	cfg := sealing.Config{
		Miner:                   n.maddr,
		ProofType:               proof,
		VanillaAccepted:         n.vanilla,
		Groth16:                 n.snark != nil,
		WaitDealsDelay:          o.WaitDealsDelay,
		StartEpochSealingBuffer: o.StartEpochBuffer,
		CCLifetime:              o.CCLifetime,
		AlwaysKeepUnsealed:      o.AlwaysKeepUnsealed,
		MaxWaitDealsSectors:     o.MaxWaitDealsSectors,
		MaxSealing:              o.MaxSealing,
		MarkCC:                  o.MarkCC,
		MaxPreCommitBatch:       o.PreCommitBatch,
		PreCommitBatchWait:      n.epochs.spanOf(o.PreCommitBatchWait),
		MaxCommitBatch:          o.CommitBatch,
		CommitBatchWait:         n.epochs.spanOf(o.CommitBatchWait),
	}
	if err := n.keep(ctx, "pace of the network", n.epochs.follow); err != nil {
		return err
	}
	return n.keepSealing(ctx, cfg, book)
}

func (n *Node) keepSealing(ctx context.Context, cfg sealing.Config, book sealing.Faults) error {
	preCommits, commits := n.sender("precommit", n.set.Fees.preCommits()), n.sender("commit", n.set.Fees.commits())
	deps := sealing.Deps{
		Store:           n.repo.Datastore(repo.Sealing),
		Chain:           n.chain,
		Storage:         n.stored,
		Heads:           n.heads,
		Msgs:            preCommits,
		CommitMsgs:      commits,
		BatchMsgs:       func(sectors int) sealing.Messages { return preCommits.Batch(sectors) },
		CommitBatchMsgs: func(sectors int) sealing.Messages { return commits.Batch(sectors) },
		Verify:          n.sealChecker(),
		Faults:          book,
		Log:             n.log.With("part", "sealing"),
	}
	now := newLate[api.Sealing]("sealing")
	n.sealing = &api.SealingLate{Get: now.get}
	n.srv.RegisterSealing(servedSealing{n.sealing})
	return n.group.Keep(ctx, lifecycle.Keep{Name: "sealing", Run: func(ctx context.Context, up func()) error {
		s, err := sealing.New(cfg, deps)
		if err != nil {
			return err
		}
		defer now.is(s)()
		up()
		return s.Run(ctx)
	}})
}

// withMining is a must when the process starts: without it there is nobody who
// proves. A failure later is no reason to stop either.
func (n *Node) withMining(ctx context.Context) error {
	if !n.set.Mining {
		return nil
	}
	o := n.set.ProvingOpts
	cfg := mining.Config{
		Miner:                       n.maddr,
		VanillaAccepted:             n.vanilla,
		EpochWall:                   n.epochs.wall(),
		OpenEpoch:                   n.epochs.openEpoch(),
		DisableBlocks:               o.NoBlocks,
		DisableWindow:               o.NoWindow,
		MaxPartitionsPerPoStMessage: o.MaxPartitions,
	}
	deps := mining.Deps{
		Store:   n.repo.Datastore(repo.Mining),
		Chain:   n.chain,
		Storage: n.storage,
		Snark:   n.miningSnark(),
		Heads:   n.heads,
		Msgs:    n.sender("post", n.set.Fees.posts()),
		Log:     n.log.With("part", "mining"),
	}
	now := n.proving
	n.srv.RegisterMining(&api.MiningLate{Get: now.get})
	return n.group.Keep(ctx, lifecycle.Keep{Name: "mining", Must: true, Run: func(ctx context.Context, up func()) error {
		m, err := mining.New(cfg, deps)
		if err != nil {
			return err
		}
		defer now.is(m)()
		up()
		return m.Run(ctx)
	}})
}
