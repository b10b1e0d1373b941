package window

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/chain/heads"
	"quarry/internal/lifecycle"
	"quarry/mining/outage"
)

// Chain is what window PoSt needs of a full node.
type Chain interface {
	StateMinerProvingDeadline(ctx context.Context, a address.Address, tsk api.TipSetKey) (*dline.Info, error)
	StateMinerDeadlines(ctx context.Context, a address.Address, tsk api.TipSetKey) ([]api.Deadline, error)
	StateMinerPartitions(ctx context.Context, a address.Address, deadline uint64, tsk api.TipSetKey) ([]api.Partition, error)
	StateMinerSectors(ctx context.Context, a address.Address, filter *bitfield.BitField,
		tsk api.TipSetKey) ([]*miner.SectorOnChainInfo, error)
	StateMinerInfo(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MinerInfo, error)
	StateGetRandomnessFromBeacon(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch,
		entropy []byte, tsk api.TipSetKey) (abi.Randomness, error)
	StateGetRandomnessFromTickets(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch,
		entropy []byte, tsk api.TipSetKey) (abi.Randomness, error)
	StateAccountKey(ctx context.Context, a address.Address, tsk api.TipSetKey) (address.Address, error)
	WalletHas(ctx context.Context, a address.Address) (bool, error)
	WalletBalance(ctx context.Context, a address.Address) (abi.TokenAmount, error)
	ChainPutObj(ctx context.Context, block api.ObjBlock) error
}

// Prover makes window PoSts and looks after the files.
type Prover interface {
	ProveWindow(ctx context.Context, r api.WindowPoStRequest) (api.WindowPoStResult, error)
	CheckProvable(ctx context.Context, r api.ProvableRequest) (api.ProvableResult, error)
	ProverState(ctx context.Context) (api.ProverState, error)
}

// Heads is the head follower.
type Heads interface {
	Head() *api.TipSet
	Subscribe(ctx context.Context) <-chan heads.Event
	WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error)
}

// Msgs is the durable sender; see chain/msgs.
type Msgs interface {
	Send(ctx context.Context, key string, m *api.Message) (cid.Cid, error)
	Sent(ctx context.Context, key string) (c cid.Cid, ok bool, err error)
	Wait(ctx context.Context, c cid.Cid) (*api.MsgLookup, error)
	Forget(ctx context.Context, key string) error
}

// Config says for whom and with how much caution.
type Config struct {
	Miner address.Address // ID address
	// ChallengeConfidence is how many epochs the challenge must be deep before
	// it is proven (0 = 1); SubmitConfidence the same for the opening of the
	// deadline before submission (0 = 4). Lotus storage/wdpost.
	ChallengeConfidence, SubmitConfidence abi.ChainEpoch
	// MaxPartitions bounds the partitions of one message (0 = what the actor
	// takes, 3).
	MaxPartitions int
	// Settle is how many epochs after the close of a deadline its messages are
	// still waited for (0 = 30).
	Settle abi.ChainEpoch
	// MinFunds is the balance in attoFIL a control address needs to be chosen
	// as sender (zero = 0.05 FIL). The worker is the last choice.
	MinFunds abi.TokenAmount
	// EpochWall is the wall-clock length of an epoch where somebody knows it; nil,
	// or 0 from it: the pace of the heads is observed.
	EpochWall func() time.Duration
}

// Deps are the collaborators.
type Deps struct {
	Store  datastore.Batching // prefixed for window PoSt
	Chain  Chain
	Prover Prover
	Snark  Snark // nil: proofs travel as vanilla ones, where the network takes them
	Heads  Heads
	Msgs   Msgs
	Log    *slog.Logger
}

// Snark makes the Groth16 proof of what a vanilla window proof shows. The
// result is the concatenation of one proof per partition of the circuit.
type Snark interface {
	Window(ctx context.Context, info proof.WindowPoStVerifyInfo, vanilla []byte) ([]byte, error)
}

// Scheduler runs one job per deadline. Use New, then Run.
type Scheduler struct {
	cfg     Config
	deps    Deps
	actor   abi.ActorID
	entropy []byte
	proving chan struct{} // one proof at a time
	book    *book
	node    outage.Watch
	pace    pace

	catch     *lifecycle.Catcher
	wg        sync.WaitGroup
	jobs      map[abi.ChainEpoch]*job       // by opening epoch; owned by Run
	ahead     map[abi.ChainEpoch]*declaring // the same
	earlyAt   abi.ChainEpoch                // opening of the deadline in which recoveries were last looked for
	earlyBusy atomic.Bool
	last      *dline.Info // at the last head; owned by Run
	suspect   bool        // the chain may have been replaced below a challenge; owned by Run

	mu         sync.Mutex
	deadline   uint64
	unreadable map[uint64][]api.SectorFault // by deadline, at the last look
	alerts     map[uint64]string            // by deadline
}

// job is the work for one deadline occurrence.
type job struct {
	info *dline.Info
	// window ends when the deadline closes, life when its messages are no
	// longer waited for. Cancelling life ends window too.
	window, life         context.Context
	closeWindow, endLife context.CancelCauseFunc
	// rand is the challenge that is proven, nil before it is known.
	rand atomic.Pointer[abi.Randomness]
}

var (
	errClosed   = errors.New("the deadline closed")
	errSettled  = errors.New("the deadline closed some time ago")
	errReverted = errors.New("the chain was reorganised below the challenge")
)

// Run proves until ctx ends and every job has ended.
func (s *Scheduler) Run(ctx context.Context) error {
	defer s.wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	clear(s.jobs) // of a life before this one: they have ended
	clear(s.ahead)
	if err := s.resume(ctx); err != nil {
		return err
	}
	for ev := range s.deps.Heads.Subscribe(ctx) {
		s.node.Back() // a head comes from a node that answers
		s.pace.observe(ev.Head)
		s.expire(ev)
		s.recheck(ctx, ev)
		if err := s.schedule(ctx, ev.Head); err != nil && ctx.Err() == nil {
			s.repeated(err, "window PoSt: scheduling", "height", ev.Head.Height)
		}
		s.sweep(ev.Head)
	}
	return ctx.Err()
}

// expire ends what a new head makes pointless.
func (s *Scheduler) expire(ev heads.Event) {
	for open, j := range s.jobs {
		switch h := ev.Head.Height; {
		case revertedTo(ev) <= j.info.Challenge:
			s.deps.Log.Info("window PoSt: proving again after a reorganisation", "deadline", j.info.Index, "open", open)
			j.endLife(errReverted)
			delete(s.jobs, open)
		case h >= j.info.Close+s.cfg.Settle:
			j.endLife(errSettled)
		case h >= j.info.Close:
			j.closeWindow(errClosed)
		}
	}
}

// sweep forgets jobs that ended long ago, after those that passed unseen were told
// from them.
func (s *Scheduler) sweep(head *api.TipSet) {
	for open, j := range s.jobs {
		if head.Height >= j.info.Close+s.cfg.Settle+j.info.WPoStProvingPeriod {
			delete(s.jobs, open)
		}
	}
}

// revertedTo is the lowest height that was reverted.
func revertedTo(ev heads.Event) abi.ChainEpoch {
	low := abi.ChainEpoch(1<<62 - 1)
	for _, ts := range ev.Reverts {
		low = min(low, ts.Height)
	}
	return low
}

// schedule starts the jobs that are due at a head: for the current deadline,
// and for the next one once its challenge is known; and it notes those that
// opened and closed since the last one.
func (s *Scheduler) schedule(ctx context.Context, head *api.TipSet) error {
	cur, err := s.deps.Chain.StateMinerProvingDeadline(ctx, s.cfg.Miner, head.Key())
	if err != nil {
		return fmt.Errorf("ask for the current deadline of %s: %w", s.cfg.Miner, err)
	}
	s.mu.Lock()
	s.deadline = cur.Index
	s.mu.Unlock()
	s.passed(ctx, head)
	s.last = cur
	for _, di := range []*dline.Info{cur, following(cur, 1)} {
		if head.Height < di.Challenge+s.cfg.ChallengeConfidence || head.Height >= di.Close {
			continue
		}
		if s.jobs[di.Open] == nil {
			s.start(ctx, di)
		}
	}
	s.declareAhead(ctx, cur, head)
	s.recoverEarly(ctx, cur)
	return nil
}

// following is the n-th deadline after di, in this proving period or the next.
func following(di *dline.Info, n uint64) *dline.Info {
	index, start := di.Index+n, di.PeriodStart
	for index >= di.WPoStPeriodDeadlines {
		index -= di.WPoStPeriodDeadlines
		start += di.WPoStProvingPeriod
	}
	return dline.NewInfo(start, index, di.CurrentEpoch, di.WPoStPeriodDeadlines, di.WPoStProvingPeriod,
		di.WPoStChallengeWindow, di.WPoStChallengeLookback, di.FaultDeclarationCutoff)
}

func (s *Scheduler) start(ctx context.Context, di *dline.Info) {
	j := &job{info: di}
	j.life, j.endLife = context.WithCancelCause(ctx)
	j.window, j.closeWindow = context.WithCancelCause(j.life)
	s.jobs[di.Open] = j
	s.spawn(fmt.Sprintf("the proof of deadline %d", di.Index), func() {
		defer j.endLife(nil)
		s.prove(j)
	})
}

// spawn is a goroutine that Run waits for. A panic in it ends that work only.
func (s *Scheduler) spawn(what string, work func()) {
	s.wg.Go(func() {
		_ = s.catch.Do(what, func() error { work(); return nil }) // told by the catcher
	})
}

// Deadline is the index of the deadline at the last head.
func (s *Scheduler) Deadline() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deadline
}

// repeated logs the failure of a step that will be repeated: a warning, but only
// the first one while the node is away.
func (s *Scheduler) repeated(err error, what string, args ...any) {
	s.deps.Log.Log(context.Background(), s.node.Level(err), what, append(args, "error", err)...)
}

// pause sleeps between repetitions and returns the next, longer pause.
func pause(ctx context.Context, d time.Duration) time.Duration {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return min(2*d, 5*time.Second)
}
