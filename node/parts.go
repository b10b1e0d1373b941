package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/api/client"
	"quarry/markets"
	mnet "quarry/markets/net"
	"quarry/mining"
	"quarry/node/repo"
	"quarry/sealing"
	"quarry/storage"
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
	return nil
}

func (n *Node) withStorage(ctx context.Context) error {
	remote := n.base + "/remote"
	if !n.set.SectorStorage {
		peer, err := n.peer(ctx, "sector storage", n.set.SectorIndexInfo)
		if err != nil {
			return err
		}
		n.storage = peer
		n.local, err = paths.Open(paths.Config{File: n.storageFile()}, paths.Deps{Index: peer, Log: n.log.With("part", "paths")})
		if err != nil {
			return err
		}
		return n.group.Go("paths", n.local.Run)
	}
	idx := index.New(index.Config{})
	local, err := paths.Open(paths.Config{File: n.storageFile(), URL: remote}, paths.Deps{Index: idx, Log: n.log.With("part", "paths")})
	if err != nil {
		return err
	}
	bulk, err := blobs.Open(blobs.Config{Dir: n.repo.Path(repo.DirBlobs)})
	if err != nil {
		return err
	}
	m, err := storage.New(storage.Config{ParallelReads: n.set.ProvingOpts.ParallelReads}, storage.Deps{
		Store: n.repo.Datastore(repo.Storage),
		Index: idx,
		Local: local,
		Blobs: bulk,
		Token: n.ownToken,
		Log:   n.log.With("part", "storage"),
	})
	if err != nil {
		return err
	}
	n.storage, n.stored, n.local = m, m, local
	n.srv.Handle("GET "+blobs.Route, api.PermWorker, blobs.Handler(bulk))
	n.srv.Handle("PUT "+blobs.Route, api.PermWorker, blobs.Handler(bulk))
	n.srv.RegisterStorage(m)
	n.srv.Handle("GET /remote/", api.PermStorageRead, fetch.Handler(n.local))
	n.srv.Handle("DELETE /remote/", api.PermWorker, fetch.RemoveHandler(n.local))
	if err := n.group.Go("storage", m.Run); err != nil {
		return err
	}
	if !n.set.LocalWorker {
		return nil
	}
	graphs := parents.New(parents.Config{Dir: n.set.ParentCache}, parents.Deps{Log: n.log.With("part", "parents")})
	n.onClose(func() { n.closeErr = append(n.closeErr, graphs.Close()) })
	w, err := worker.New(ctx, worker.Config{URL: remote, TaskTypes: n.set.WorkerTasks, MemBytes: worker.SystemMemory()}, worker.Deps{Storage: m, Local: n.local, Blobs: bulk,
		Store: n.repo.Datastore(repo.Worker), Token: n.ownToken, Snark: n.workerSnark(), Parents: graphs, Log: n.log.With("part", "worker")})
	if err != nil {
		return err
	}
	return n.group.Go("built-in worker", w.Run)
}

// peer dials another process of ours; it may be down now and later.
func (n *Node) peer(ctx context.Context, name, info string) (*client.MinerAPI, error) {
	if info == "" {
		return nil, fmt.Errorf("%s runs elsewhere but its API info is not in the config", name)
	}
	p, err := client.Miner(ctx, client.Config{Info: info, Name: "the " + name + " node", Log: n.log})
	if err != nil {
		return nil, err
	}
	n.onClose(func() { p.Close() })
	n.peers = append(n.peers, newPeerWatch(name, n.set.PeerPoll, n.log, p.Version))
	return p, nil
}

func (n *Node) withSealing(ctx context.Context) error {
	if !n.set.Sealing {
		peer, err := n.peer(ctx, "sealing", n.set.SealerInfo)
		if err != nil {
			return err
		}
		n.sealing = peer
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
	preCommits, commits := n.sender("precommit", n.set.Fees.preCommits()), n.sender("commit", n.set.Fees.commits())
	s, err := sealing.New(sealing.Config{Miner: n.maddr, ProofType: proof, VanillaAccepted: n.vanilla, Groth16: n.snark != nil,
		WaitDealsDelay: o.WaitDealsDelay, StartEpochSealingBuffer: o.StartEpochBuffer, CCLifetime: o.CCLifetime, AlwaysKeepUnsealed: o.AlwaysKeepUnsealed,
		MaxWaitDealsSectors: o.MaxWaitDealsSectors, MaxSealing: o.MaxSealing, MarkCC: o.MarkCC,
		MaxPreCommitBatch: o.PreCommitBatch, PreCommitBatchWait: n.epochs.span(o.PreCommitBatchWait),
		MaxCommitBatch: o.CommitBatch, CommitBatchWait: n.epochs.span(o.CommitBatchWait)},
		sealing.Deps{Store: n.repo.Datastore(repo.Sealing), Chain: n.chain, Storage: n.stored, Heads: n.heads,
			Msgs: preCommits, CommitMsgs: commits,
			BatchMsgs:       func(sectors int) sealing.Messages { return preCommits.Batch(sectors) },
			CommitBatchMsgs: func(sectors int) sealing.Messages { return commits.Batch(sectors) },
			Verify:          n.sealChecker(),
			Log:             n.log.With("part", "sealing")})
	if err != nil {
		return err
	}
	n.sealing = s
	n.srv.RegisterSealing(s)
	return n.group.Go("sealing", s.Run)
}

func (n *Node) withMining(context.Context) error {
	if !n.set.Mining {
		return nil
	}
	o := n.set.ProvingOpts
	m, err := mining.New(mining.Config{Miner: n.maddr, VanillaAccepted: n.vanilla, EpochWall: n.epochs.wall(), OpenEpoch: n.epochs.openEpoch(),
		DisableBlocks: o.NoBlocks, DisableWindow: o.NoWindow, MaxPartitionsPerPoStMessage: o.MaxPartitions},
		mining.Deps{Store: n.repo.Datastore(repo.Mining), Chain: n.chain, Storage: n.storage, Snark: n.miningSnark(), Heads: n.heads,
			Msgs: n.sender("post", n.set.Fees.posts()), Log: n.log.With("part", "mining")})
	if err != nil {
		return err
	}
	n.srv.RegisterMining(m)
	return n.group.Go("mining", m.Run)
}

func (n *Node) withMarkets(ctx context.Context) error {
	if !n.set.Markets {
		return nil
	}
	priv, err := Libp2pKey(n.repo.Keystore())
	if err != nil {
		return err
	}
	h, err := mnet.NewHost(mnet.Config{Key: priv, Listen: n.set.Libp2pListen, Announce: n.set.Libp2pAnnounce, Log: n.log.With("part", "libp2p")})
	if err != nil {
		return err
	}
	n.onClose(func() { h.Close() })
	reader := fetch.NewReader(fetch.ReaderConfig{Token: n.remoteToken, Holder: "markets"},
		fetch.ReaderDeps{Local: n.local, Index: n.storage, Log: n.log.With("part", "reader")})
	n.onClose(reader.Close)
	cfg := n.set.MarketsOpts
	cfg.Miner, cfg.StagingDir, cfg.StagedBaseURL = n.maddr, filepath.Join(n.set.RepoDir, "deal-staging"), n.base
	m, err := markets.New(ctx, cfg, markets.Deps{Store: n.repo.Datastore(repo.Markets), Chain: n.chain, Sealing: n.sealing,
		Reader: markets.PieceReaderFunc(func(ctx context.Context, s abi.SectorID, off, size abi.PaddedPieceSize) (markets.UnsealedReader, error) {
			return reader.OpenUnsealed(ctx, s, off, size)
		}),
		Host: h, Heads: n.heads, Log: n.log.With("part", "markets"),
		Msgs: n.sender("publish", n.set.Fees.publishes()),
		// In the same table: what was sent under the keys of the escrow stays known.
		Escrow: n.sender("publish", n.set.Fees.escrows())})
	if err != nil {
		return err
	}
	n.srv.RegisterMarkets(m)
	n.srv.RegisterNet(m)
	n.srv.HandlePublic("/staged/", m.StagedHandler()) // checks the deal's own bearer
	if err := n.group.Go("markets", m.Run); err != nil {
		return err
	}
	return n.serveRetrieval(m.RetrievalHandler())
}

func (n *Node) ownToken() string { return n.token }

// remoteToken is what other processes want for sector files: theirs, when the
// storage is theirs.
func (n *Node) remoteToken() string {
	if n.set.SectorStorage {
		return n.token
	}
	info, err := client.ParseInfo(n.set.SectorIndexInfo)
	if err != nil { // refused before, when the peer was dialled
		return ""
	}
	return info.Token.Reveal()
}

// serveRetrieval opens the public listener: no token, no RPC, only content.
func (n *Node) serveRetrieval(h http.Handler) error {
	if n.set.RetrievalListen == "" {
		return nil
	}
	ln, err := net.Listen("tcp", n.set.RetrievalListen)
	if err != nil {
		return fmt.Errorf("listen for retrievals on %s (is the port taken?): %w", n.set.RetrievalListen, err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	n.log.Info("serving retrievals", "address", ln.Addr().String())
	return n.group.Go("retrieval", func(ctx context.Context) error {
		done := make(chan error, 1)
		go func() { done <- srv.Serve(ln) }()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
		}
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(stop); err != nil {
			srv.Close()
		}
		<-done
		return nil
	})
}
