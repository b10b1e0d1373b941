package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/chain/msgs"
	"quarry/internal/apiinfo"
	"quarry/markets"
	mnet "quarry/markets/net"
	"quarry/node/config"
	"quarry/node/repo"
)

// LoadSettings reads the config of a repo, with the environment over it, and
// maps it onto the parts. The file is shaped as operators know it; the parts
// are shaped as the code wants it; this function is the only place that knows
// both.
func LoadSettings(dir string, env []string) (Settings, error) {
	kind, none := repo.KindOf(dir)
	cfg, err := config.Load(filepath.Join(dir, repo.FileConfig), env)
	var missing *config.ErrMissing
	switch {
	case errors.As(err, &missing) && none != nil:
		return Settings{}, none // it is no repo at all
	case err != nil:
		return Settings{}, err
	}
	if err := cfg.Validate(); err != nil {
		return Settings{}, err
	}
	set, err := MapConfig(dir, cfg)
	if err != nil {
		return Settings{}, err
	}
	set.EnvNotes = config.BorrowedListeners(env)
	if none == nil {
		err = set.fits(kind)
	}
	return set, err // Run refuses what is no repo
}

// MapConfig is LoadSettings without the file.
func MapConfig(dir string, cfg config.Config) (Settings, error) {
	m, err := marketsConfig(cfg)
	if err != nil {
		return Settings{}, err
	}
	sub := cfg.Subsystems
	sealer, err1 := peerInfo("Subsystems.SealerApiInfo", sub.SealerApiInfo)
	index, err2 := peerInfo("Subsystems.SectorIndexApiInfo", sub.SectorIndexApiInfo)
	link, err3 := peerInfo("Link.MarketsApiInfo", cfg.Link.MarketsApiInfo)
	if err := errors.Join(err1, err2, err3); err != nil {
		return Settings{}, err
	}
	return Settings{
		RepoDir:         dir,
		Mining:          sub.EnableMining,
		Sealing:         sub.EnableSealing,
		SectorStorage:   sub.EnableSectorStorage,
		Markets:         sub.EnableMarkets,
		SealerInfo:      sealer,
		SectorIndexInfo: index,
		LinkAccept:      cfg.Link.Accept,
		LinkInfo:        link,
		Listen:          cfg.API.ListenAddress,
		RemoteURL:       remoteURL(cfg.API.RemoteListenAddress),
		MaxRequestBytes: cfg.API.MaxRequestBytes,
		Limits:          listenLimits(cfg),
		SealingOpts: SealingOptions{
			WaitDealsDelay:      cfg.Sealing.WaitDealsDelay.Epoch(),
			CCLifetime:          cfg.Sealing.CommittedCapacitySectorLifetime.Epoch(),
			StartEpochBuffer:    cfg.Dealmaking.StartEpochSealingBuffer.Epoch(),
			MaxWaitDealsSectors: int(cfg.Sealing.MaxWaitDealsSectors),
			MaxSealing:          int(cfg.Sealing.MaxSealingSectors),
			AlwaysKeepUnsealed:  cfg.Sealing.AlwaysKeepUnsealedCopy,
			MarkCC:              cfg.Sealing.MakeCCSectorsAvailable,
			Synthetic:           cfg.Sealing.UseSyntheticPoRep,
			PreCommitBatch:      preCommitBatch(cfg.Sealing),
			CommitBatch:         int(cfg.Sealing.MaxCommitBatch),
			PreCommitBatchWait:  cfg.Sealing.PreCommitBatchWait.Epoch(),
			CommitBatchWait:     cfg.Sealing.CommitBatchWait.Epoch(),
		},
		ProvingOpts: ProvingOptions{
			ParallelReads: int(cfg.Proving.ParallelCheckLimit),
			MaxPartitions: int(cfg.Proving.MaxPartitionsPerPoStMessage),
			NoWindow:      cfg.Proving.DisableBuiltinWindowPoSt,
			NoBlocks:      cfg.Proving.DisableBuiltinWinningPoSt,
			Form:          cfg.Proving.Form,
			ParameterDir:  cfg.Proving.ParameterDir,
		},
		Fees: FeeLimits{
			PreCommit:      cfg.Fees.MaxPreCommitGasFee.Amount(),
			Commit:         cfg.Fees.MaxCommitGasFee.Amount(),
			WindowPoSt:     cfg.Fees.MaxWindowPoStGasFee.Amount(),
			Publish:        cfg.Fees.MaxPublishDealsFee.Amount(),
			Escrow:         cfg.Fees.MaxMarketBalanceAddFee.Amount(),
			PreCommitBatch: batchFee(cfg.Fees.MaxPreCommitBatchGasFee),
			CommitBatch:    batchFee(cfg.Fees.MaxCommitBatchGasFee),
		},
		LocalWorker:     cfg.Storage.LocalWorker,
		WorkerTasks:     workerTasks(cfg.Storage),
		ParentCache:     cfg.Storage.ParentCacheDir,
		Libp2pListen:    cfg.Libp2p.ListenAddresses,
		Libp2pAnnounce:  cfg.Libp2p.AnnounceAddresses,
		RetrievalListen: cfg.Dealmaking.RetrievalListenAddress,
		MarketsOpts:     m,
	}, nil
}

func batchFee(f config.BatchFee) msgs.Fee {
	return msgs.Fee{Base: f.Base.Amount(), PerSector: f.PerSector.Amount()}
}

func preCommitBatch(s config.Sealing) int {
	if !s.BatchPreCommits {
		return 1
	}
	return int(s.MaxPreCommitBatch)
}

// remoteURL turns host:port, or a URL, into the base of a URL.
func remoteURL(s string) string {
	if s == "" || strings.Contains(s, "://") {
		return strings.TrimSuffix(s, "/")
	}
	return "http://" + s
}

func workerTasks(s config.Storage) []api.TaskType {
	tasks := []api.TaskType{api.TaskFinalize, api.TaskFinalizeUpdate}
	for _, t := range []struct {
		on   bool
		kind api.TaskType
	}{{s.AllowAddPiece, api.TaskAddPiece}, {s.AllowPreCommit1, api.TaskPreCommit1}, {s.AllowPreCommit2, api.TaskPreCommit2},
		{s.AllowCommit, api.TaskCommit1}, {s.AllowCommit, api.TaskCommit2}, {s.AllowUnseal, api.TaskUnseal},
		{s.AllowReplicaUpdate, api.TaskUpdate}, {s.AllowReplicaUpdate, api.TaskProveUpdate1},
		{s.AllowProveReplicaUpdate2, api.TaskProveUpdate2}} {
		if t.on {
			tasks = append(tasks, t.kind)
		}
	}
	return tasks
}

func marketsConfig(cfg config.Config) (markets.Config, error) {
	d, m := cfg.Dealmaking, markets.DefaultConfig()
	m.ConsiderOnline = d.ConsiderOnlineStorageDeals
	m.ConsiderVerified, m.ConsiderUnverified = d.ConsiderVerifiedStorageDeals, d.ConsiderUnverifiedStorageDeals
	for _, s := range d.PieceCidBlocklist {
		c, err := cid.Decode(s)
		if err != nil {
			return m, fmt.Errorf("config [Dealmaking] PieceCidBlocklist: %q: %w", s, err)
		}
		m.Blocklist = append(m.Blocklist, c)
	}
	if list := cfg.Addresses.DealPublishControl; len(list) > 0 {
		a, err := address.NewFromString(list[0])
		if err != nil {
			return m, fmt.Errorf("config [Addresses] DealPublishControl: %q: %w", list[0], err)
		}
		m.PublishAddress = a
	}
	m.MinSealing, m.MaxStartDelay, m.PublishPeriod = d.ExpectedSealDuration.Epoch(), d.MaxDealStartDelay.Epoch(), d.PublishMsgPeriod.Epoch()
	m.MaxDealsPerMsg, m.CollateralMultiplier = int(d.MaxDealsPerPublishMsg), int64(d.MaxProviderCollateralMultiplier)
	m.MaxStagingBytes, m.PublishBuffer = d.MaxStagingDealsBytes, d.StartEpochSealingBuffer.Epoch()
	m.Transfers, m.MaxRetrievals = int(d.SimultaneousTransfersForStorage), int(d.SimultaneousTransfersForRetrieval)
	m.Streams = mnet.Slots{
		All:        int(cfg.Libp2p.MaxRequests),
		PerPeer:    int(cfg.Libp2p.MaxRequestsPerPeer),
		PerAddress: int(cfg.Libp2p.MaxRequestsPerAddress),
	}
	m.AllowPrivateIPs, m.UnsealOnRetrieval = d.AllowPrivateIPs, d.UnsealOnRetrieval
	return m, nil
}

// peerInfo reads the API info of another process as the config has it. What is in
// a file stays there: the client reads it, again when its token has changed.
func peerInfo(key, s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if at, ok := strings.CutPrefix(s, "@"); ok && !filepath.IsAbs(at) {
		return "", &api.ErrInvalid{What: key, Reason: "the file after @ is not named from the root", Hint: "write @ and an absolute path"}
	}
	info, err := apiinfo.Load(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", key, err)
	case info.Token.Empty():
		return "", &api.ErrInvalid{
			What:   key,
			Reason: "it has an address and no token before it",
			Hint: "make one there with miner auth api-info (of role " + string(api.RoleMarketsPeer) + ", for a link " +
				string(api.RoleLink) + ")",
		}
	case apiinfo.FromFile(s):
		return s, nil
	}
	return apiinfo.Format(info.Token, info.Address()), nil
}
