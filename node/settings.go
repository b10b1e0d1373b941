package node

import (
	"log/slog"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/chain/msgs"
	"quarry/markets"
)

// Settings is everything a process is composed from: the config file mapped
// onto what the parts understand, and the command line.
type Settings struct {
	RepoDir      string
	FullNodeInfo string // token:address of the full node
	Log          *slog.Logger
	Level        *slog.LevelVar // of Log; changed by LogSetLevel

	Mining, Sealing, SectorStorage, Markets bool
	SealerInfo, SectorIndexInfo             string // peers for what does not run here

	Listen          string // API, host:port or multiaddr
	RemoteURL       string // http://host:port others reach the API at; empty: as bound
	MaxRequestBytes int64

	SealingOpts SealingOptions
	Fees        FeeLimits
	ProvingOpts ProvingOptions
	LocalWorker bool
	WorkerTasks []api.TaskType // of the built-in worker
	ParentCache string         // directory of its parent cache files, empty for none

	Libp2pListen, Libp2pAnnounce []string
	RetrievalListen              string         // host:port of the public HTTP server
	MarketsOpts                  markets.Config // without Miner and directories

	StopBudget time.Duration
	PeerPoll   time.Duration // between questions whether a peer answers; zero: 5 s
}

// SealingOptions are the operator's choices about sectors; epochs.
type SealingOptions struct {
	WaitDealsDelay      abi.ChainEpoch
	CCLifetime          abi.ChainEpoch
	StartEpochBuffer    abi.ChainEpoch
	MaxWaitDealsSectors int
	MaxSealing          int
	AlwaysKeepUnsealed  bool
	MarkCC              bool // new sectors without deals can take deals later
	Synthetic           bool // seal with synthetic PoRep

	PreCommitBatch, CommitBatch         int // sectors in one message; up to 1: each on its own
	PreCommitBatchWait, CommitBatchWait abi.ChainEpoch
}

// FeeLimits bound the gas one message may cost, attoFIL; zero leaves it to the
// full node.
type FeeLimits struct {
	PreCommit, Commit, WindowPoSt, Publish, Escrow abi.TokenAmount
	PreCommitBatch, CommitBatch                    msgs.Fee // messages of several sectors
}

// ProvingOptions are the operator's choices about PoSt; zero values are good.
type ProvingOptions struct {
	ParallelReads      int // sectors opened at once
	MaxPartitions      int // per message
	NoWindow, NoBlocks bool
	Form               string // config.FormAuto and its kin; empty for auto
	ParameterDir       string // of Groth16 parameters; empty for the default
}
