package node

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/chain/msgs"
	"quarry/markets"
	"quarry/node/repo"
)

// Settings is everything a process is composed from: the config file mapped
// onto what the parts understand, and the command line.
type Settings struct {
	RepoDir      string
	FullNodeInfo string   // token:address of the full node
	EnvNotes     []string // lines for the start: what the environment overrides, perhaps by mistake
	Log          *slog.Logger
	Level        *slog.LevelVar // of Log; changed by LogSetLevel

	Mining, Sealing, SectorStorage, Markets bool
	SealerInfo, SectorIndexInfo             string // peers for what does not run here
	LinkAccept                              bool   // pull mode: the private node opens the link to this one
	LinkInfo                                string // pull mode: token:address of the markets node that this one opens a link to

	Listen          string // API, host:port or multiaddr
	RemoteURL       string // http://host:port others reach the API at; empty: as bound
	MaxRequestBytes int64
	Limits          ListenLimits

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

// fits refuses a choice of parts that a repo is not for. The kind of a repo is
// chosen once, when it is made: nothing in a config, an environment or a file
// that has vanished makes a markets node prove sectors.
func (s Settings) fits(kind repo.Kind) error {
	what := &api.ErrInvalid{What: "repo " + s.RepoDir}
	switch {
	case kind == repo.KindMarkets && (s.Mining || s.Sealing || s.SectorStorage):
		what.Reason = "it is a markets repo, and the config lets it mine, seal or store"
		what.Hint = "set EnableMining, EnableSealing and EnableSectorStorage to false under [Subsystems] (and see that no " +
			"MINER_SUBSYSTEMS_ variable is set), or run the private node's repo"
	case kind == repo.KindMarkets && !s.Markets:
		what.Reason = "it is a markets repo, and the config turns markets off"
		what.Hint = "set EnableMarkets = true under [Subsystems]"
	case kind == repo.KindMiner && !s.Mining:
		what.Reason = "it is the repo of a miner, whose sectors must be proven, and the config turns mining off"
		what.Hint = "set EnableMining, EnableSealing and EnableSectorStorage to true under [Subsystems]; a markets node has a " +
			"repo of its own (miner init service)"
	case kind != repo.KindMarkets && kind != repo.KindMiner:
		what.Reason = fmt.Sprintf("it is the repo of a %s", kind)
		what.Hint = "name the repo of a miner or of a markets node with --miner-repo"
	default:
		return nil
	}
	return what
}
