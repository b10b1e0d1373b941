package sealing

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"
	"golang.org/x/crypto/blake2b"

	"quarry/api"
	"quarry/proofs/commp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testProof = abi.RegisteredSealProof_StackedDrg8MiBV1_1
	testSize  = abi.PaddedPieceSize(8 << 20)
	testDelay = abi.ChainEpoch(10)
)

// world is a chain, a sector storage and a message sender in one, with a clock
// that jumps to whatever epoch somebody waits for. It checks what the miner
// actor checks and misbehaves where told.
type world struct {
	mu        sync.Mutex
	height    abi.ChainEpoch
	hold      bool // the clock stands
	moved     chan struct{}
	allocated map[abi.SectorNumber]bool
	pre       map[abi.SectorNumber]*miner.SectorPreCommitOnChainInfo
	sectors   map[abi.SectorNumber]*miner.SectorOnChainInfo
	deadline  uint64                        // of every sector
	active    map[abi.DealID]abi.ChainEpoch // deals that are active since
	faults    []error                       // messages that were wrong in themselves
	inactive  int                           // how many times the sectors are said not to be active
	blobs     map[cid.Cid][]byte
	retried   []api.UUID // tasks
	removed   map[abi.SectorID]bool
	cancelled []string     // keys of tasks
	missing   api.FileType // is on no path, of any sector
	needs     api.TaskType // that waits for it

	keyed    map[string]cid.Cid
	lookups  map[cid.Cid]*api.MsgLookup
	commits  []miner.ProveCommitSectors3Params
	updates  []miner.ProveReplicaUpdates3Params
	executed map[abi.MethodNum]int // messages that took effect

	tasks     map[string]*api.TaskStatus
	byID      map[uuid.UUID]*api.TaskStatus
	submitted []api.TaskSpec
	block     map[api.TaskType]chan struct{} // tasks of the type wait for it

	groth16     bool // the network takes no envelopes
	proof       abi.RegisteredSealProof
	computeWith func(api.TaskSpec) (any, error) // instead of compute
	verifyWith  func(pre *miner.SectorPreCommitOnChainInfo, unsealed abi.PieceInfo, blob []byte) error

	updateWith func(old, fresh, data cid.Cid, blob []byte) error

	taskFails map[api.TaskType][]taskFail
	exits     map[abi.MethodNum][]misdeed
	refuse    func(*api.Message) error // what the node does not take
	lost      int                      // how many answers of Send get lost
	replaced  int                      // how many waits find the message replaced
	flaky     map[string]int           // call name -> how many times it cannot be reached
	calls     map[string]int
}

type taskFail struct {
	text      string
	retryable bool
}

// misdeed is what a message does instead of what it should.
type misdeed struct {
	exit   exitcode.ExitCode
	stored bool // it took effect nevertheless
	codes  []batch.FailCode
}

func newWorld() *world {
	return &world{
		height:    1000,
		proof:     testProof,
		deadline:  30,
		moved:     make(chan struct{}),
		allocated: map[abi.SectorNumber]bool{0: true, 1: true}, // pre-sealed
		pre:       map[abi.SectorNumber]*miner.SectorPreCommitOnChainInfo{},
		sectors:   map[abi.SectorNumber]*miner.SectorOnChainInfo{},
		blobs:     map[cid.Cid][]byte{},
		removed:   map[abi.SectorID]bool{},
		keyed:     map[string]cid.Cid{},
		lookups:   map[cid.Cid]*api.MsgLookup{},
		executed:  map[abi.MethodNum]int{},
		tasks:     map[string]*api.TaskStatus{},
		byID:      map[uuid.UUID]*api.TaskStatus{},
		block:     map[api.TaskType]chan struct{}{},
		taskFails: map[api.TaskType][]taskFail{},
		exits:     map[abi.MethodNum][]misdeed{},
		flaky:     map[string]int{},
		calls:     map[string]int{},
	}
}

// reach counts a call and fails it when told to. Callers hold mu.
func (w *world) reach(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.calls[name]++
	if w.flaky[name] > 0 {
		w.flaky[name]--
		return &api.ErrUnreachable{Peer: name, Reason: "told to fail"}
	}
	return nil
}

func (w *world) tipset() *api.TipSet {
	return &api.TipSet{Height: w.height, Cids: []cid.Cid{commp.ZeroPiece(128)}}
}

func (w *world) advance(to abi.ChainEpoch) {
	if to > w.height {
		w.height = to
		close(w.moved)
		w.moved = make(chan struct{})
	}
}

// release lets the clock jump again, also for those who wait already.
func (w *world) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold = false
	close(w.moved)
	w.moved = make(chan struct{})
}

func (w *world) setHeight(to abi.ChainEpoch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance(to)
}

func (w *world) Head() *api.TipSet {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tipset()
}

func (w *world) ChainHead(ctx context.Context) (*api.TipSet, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tipset(), w.reach(ctx, "ChainHead")
}

func (w *world) WaitHeight(ctx context.Context, epoch abi.ChainEpoch) (*api.TipSet, error) {
	for {
		w.mu.Lock()
		if err := w.reach(ctx, "WaitHeight"); err != nil {
			w.mu.Unlock()
			return nil, err
		}
		if !w.hold {
			w.advance(epoch)
		}
		ts, moved := w.tipset(), w.moved
		w.mu.Unlock()
		if ts.Height >= epoch {
			return ts, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (w *world) ChainPutObj(ctx context.Context, b api.ObjBlock) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.reach(ctx, "ChainPutObj"); err != nil {
		return err
	}
	w.blobs[b.Cid] = b.Data
	return nil
}

func (w *world) StateGetNetworkParams(ctx context.Context) (*api.NetworkParams, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &api.NetworkParams{PreCommitChallengeDelay: testDelay}, w.reach(ctx, "StateGetNetworkParams")
}

func (w *world) StateMinerInfo(ctx context.Context, _ address.Address, _ api.TipSetKey) (api.MinerInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	worker, _ := address.NewIDAddress(1001)
	return api.MinerInfo{Worker: worker}, w.reach(ctx, "StateMinerInfo")
}

func (w *world) StateMinerSectorAllocated(ctx context.Context, _ address.Address, n abi.SectorNumber, _ api.TipSetKey) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.allocated[n], w.reach(ctx, "StateMinerSectorAllocated")
}

func (w *world) StateMinerPreCommitDepositForPower(ctx context.Context, _ address.Address, _ miner.SectorPreCommitInfo,
	_ api.TipSetKey) (abi.TokenAmount, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return big.NewInt(700), w.reach(ctx, "StateMinerPreCommitDepositForPower")
}

func (w *world) StateMinerInitialPledgeForSector(ctx context.Context, _ abi.ChainEpoch, _ abi.SectorSize, _ uint64,
	_ api.TipSetKey) (abi.TokenAmount, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return big.NewInt(1000), w.reach(ctx, "StateMinerInitialPledgeForSector")
}

func (w *world) StateSectorPreCommitInfo(ctx context.Context, _ address.Address, n abi.SectorNumber,
	_ api.TipSetKey) (*miner.SectorPreCommitOnChainInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pre[n], w.reach(ctx, "StateSectorPreCommitInfo")
}

func (w *world) StateSectorGetInfo(ctx context.Context, _ address.Address, n abi.SectorNumber,
	_ api.TipSetKey) (*miner.SectorOnChainInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sectors[n], w.reach(ctx, "StateSectorGetInfo")
}

func (w *world) StateMarketStorageDeal(ctx context.Context, id abi.DealID, _ api.TipSetKey) (*api.MarketDeal, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.reach(ctx, "StateMarketStorageDeal"); err != nil {
		return nil, err
	}
	start, ok := w.active[id]
	switch {
	case !ok:
		start = -1
	case start == 0:
		return nil, &api.ErrNotFound{What: fmt.Sprintf("deal %d", id)}
	}
	return &api.MarketDeal{State: api.MarketDealState{SectorStartEpoch: start}}, nil
}

func draw(tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte) abi.Randomness {
	h := blake2b.Sum256(fmt.Appendf(nil, "%d/%d/%x", tag, epoch, entropy))
	return h[:]
}

func (w *world) StateGetRandomnessFromTickets(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch,
	entropy []byte, _ api.TipSetKey) (abi.Randomness, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return draw(tag, epoch, entropy), w.reach(ctx, "StateGetRandomnessFromTickets")
}

func (w *world) StateGetRandomnessFromBeacon(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch,
	entropy []byte, _ api.TipSetKey) (abi.Randomness, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if epoch > w.height {
		return nil, errors.New("the future is not drawn yet")
	}
	return draw(tag, epoch, entropy), w.reach(ctx, "StateGetRandomnessFromBeacon")
}
