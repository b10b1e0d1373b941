package sealing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"go.uber.org/goleak"
	"golang.org/x/crypto/blake2b"

	"quarry/api"
	"quarry/chain/msgs"
	"quarry/proofs/commp"
	"quarry/proofs/envelope"
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
	blobs     map[cid.Cid][]byte
	removed   map[abi.SectorID]bool

	keyed    map[string]cid.Cid
	lookups  map[cid.Cid]*api.MsgLookup
	commits  []miner.ProveCommitSectors3Params
	executed map[abi.MethodNum]int // messages that took effect

	tasks     map[string]*api.TaskStatus
	byID      map[uuid.UUID]*api.TaskStatus
	submitted []api.TaskSpec
	block     map[api.TaskType]chan struct{} // tasks of the type wait for it

	proof       abi.RegisteredSealProof
	computeWith func(api.TaskSpec) (any, error) // instead of compute
	verifyWith  func(pre *miner.SectorPreCommitOnChainInfo, unsealed abi.PieceInfo, blob []byte) error

	taskFails map[api.TaskType][]taskFail
	exits     map[abi.MethodNum][]misdeed
	replaced  int            // how many waits find the message replaced
	flaky     map[string]int // call name -> how many times it cannot be reached
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
	return &world{height: 1000, proof: testProof, moved: make(chan struct{}),
		allocated: map[abi.SectorNumber]bool{0: true, 1: true}, // pre-sealed
		pre:       map[abi.SectorNumber]*miner.SectorPreCommitOnChainInfo{}, sectors: map[abi.SectorNumber]*miner.SectorOnChainInfo{},
		blobs: map[cid.Cid][]byte{}, removed: map[abi.SectorID]bool{}, keyed: map[string]cid.Cid{},
		lookups: map[cid.Cid]*api.MsgLookup{}, executed: map[abi.MethodNum]int{},
		tasks: map[string]*api.TaskStatus{}, byID: map[uuid.UUID]*api.TaskStatus{}, block: map[api.TaskType]chan struct{}{},
		taskFails: map[api.TaskType][]taskFail{}, exits: map[abi.MethodNum][]misdeed{},
		flaky: map[string]int{}, calls: map[string]int{}}
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

func (w *world) StateMinerPreCommitDepositForPower(ctx context.Context, _ address.Address, _ miner.SectorPreCommitInfo, _ api.TipSetKey) (abi.TokenAmount, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return big.NewInt(700), w.reach(ctx, "StateMinerPreCommitDepositForPower")
}

func (w *world) StateMinerInitialPledgeForSector(ctx context.Context, _ abi.ChainEpoch, _ abi.SectorSize, _ uint64, _ api.TipSetKey) (abi.TokenAmount, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return big.NewInt(1000), w.reach(ctx, "StateMinerInitialPledgeForSector")
}

func (w *world) StateSectorPreCommitInfo(ctx context.Context, _ address.Address, n abi.SectorNumber, _ api.TipSetKey) (*miner.SectorPreCommitOnChainInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pre[n], w.reach(ctx, "StateSectorPreCommitInfo")
}

func (w *world) StateSectorGetInfo(ctx context.Context, _ address.Address, n abi.SectorNumber, _ api.TipSetKey) (*miner.SectorOnChainInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sectors[n], w.reach(ctx, "StateSectorGetInfo")
}

func draw(tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte) abi.Randomness {
	h := blake2b.Sum256(fmt.Appendf(nil, "%d/%d/%x", tag, epoch, entropy))
	return h[:]
}

func (w *world) StateGetRandomnessFromTickets(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte, _ api.TipSetKey) (abi.Randomness, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return draw(tag, epoch, entropy), w.reach(ctx, "StateGetRandomnessFromTickets")
}

func (w *world) StateGetRandomnessFromBeacon(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte, _ api.TipSetKey) (abi.Randomness, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if epoch > w.height {
		return nil, errors.New("the future is not drawn yet")
	}
	return draw(tag, epoch, entropy), w.reach(ctx, "StateGetRandomnessFromBeacon")
}

// Send executes the message at once, one epoch later.
func (w *world) Send(ctx context.Context, key string, m *api.Message) (cid.Cid, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.reach(ctx, "Send"); err != nil {
		return cid.Undef, err
	}
	if c, ok := w.keyed[key]; ok {
		return c, nil
	}
	sent := *m
	sent.Nonce = uint64(len(w.keyed))
	c := sent.Cid()
	w.keyed[key] = c
	w.advance(w.height + 1)
	var bad misdeed
	if q := w.exits[m.Method]; len(q) > 0 {
		bad, w.exits[m.Method] = q[0], q[1:]
	}
	look := &api.MsgLookup{Message: c, Height: w.height + 1}
	w.lookups[c] = look
	switch {
	case bad.codes != nil:
		look.Receipt.Return = encode(&batch.BatchReturn{FailCodes: bad.codes})
		return c, nil
	case bad.exit != 0 && !bad.stored:
		look.Receipt.ExitCode = bad.exit
		return c, nil
	}
	if err := w.execute(&sent); err != nil {
		look.Receipt.ExitCode = exitcode.ErrIllegalArgument
		look.Receipt.Return = []byte(err.Error())
		return c, nil
	}
	look.Receipt.ExitCode = bad.exit
	look.Receipt.Return = encode(&batch.BatchReturn{SuccessCount: 1})
	return c, nil
}

func (w *world) Wait(ctx context.Context, c cid.Cid) (*api.MsgLookup, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.reach(ctx, "Wait"); err != nil {
		return nil, err
	}
	if w.replaced > 0 {
		w.replaced--
		return nil, fmt.Errorf("message %s: %w", c, msgs.ErrReplaced)
	}
	return w.lookups[c], nil
}

func encode(b *batch.BatchReturn) []byte {
	var out bytes.Buffer
	if err := b.MarshalCBOR(&out); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// execute does what the miner actor does, as far as sealing can get it wrong.
func (w *world) execute(m *api.Message) error {
	w.executed[m.Method]++
	switch m.Method {
	case 28:
		var p miner.PreCommitSectorBatchParams2
		if err := p.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
			return err
		}
		return w.preCommit(p.Sectors[0], m.Value)
	case 34:
		var p miner.ProveCommitSectors3Params
		if err := p.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
			return err
		}
		return w.proveCommit(p, m.Value)
	}
	return fmt.Errorf("method %d", m.Method)
}

func (w *world) preCommit(i miner.SectorPreCommitInfo, value abi.TokenAmount) error {
	active := w.height + maxProveCommit + testDelay
	switch {
	case w.allocated[i.SectorNumber]:
		return errors.New("number allocated")
	case i.SealRandEpoch >= w.height || i.SealRandEpoch < w.height-3780:
		return errors.New("ticket epoch")
	case i.Expiration-active < 180*2880 || i.Expiration > w.height+1278*2880:
		return errors.New("expiration")
	case value.LessThan(big.NewInt(700)):
		return errors.New("deposit")
	}
	w.allocated[i.SectorNumber] = true
	w.pre[i.SectorNumber] = &miner.SectorPreCommitOnChainInfo{Info: i, PreCommitDeposit: big.NewInt(700), PreCommitEpoch: w.height}
	return nil
}

func (w *world) proveCommit(p miner.ProveCommitSectors3Params, value abi.TokenAmount) error {
	a := p.SectorActivations[0]
	pre := w.pre[a.SectorNumber]
	if pre == nil || w.height <= pre.PreCommitEpoch+testDelay {
		return errors.New("no pre-commitment or too early")
	}
	var infos []abi.PieceInfo
	for _, q := range a.Pieces {
		infos = append(infos, abi.PieceInfo{PieceCID: q.CID, Size: q.Size})
	}
	got, err := commp.CommD(w.proof, infos)
	if err != nil {
		return err
	}
	size, _ := w.proof.SectorSize()
	want := commp.ZeroPiece(abi.PaddedPieceSize(size))
	if pre.Info.UnsealedCid != nil {
		want = *pre.Info.UnsealedCid
	}
	blob, isEnvelope := envelope.Parse(p.SectorProofs[0])
	switch {
	case got != want:
		return errors.New("CommD")
	case !isEnvelope || w.blobs[blob] == nil:
		return errors.New("proof blob is not on the node")
	case w.verifyWith != nil:
		if err := w.verifyWith(pre, abi.PieceInfo{PieceCID: got}, w.blobs[blob]); err != nil {
			return err
		}
	case string(w.blobs[blob]) != fmt.Sprintf("vanilla %x", draw(crypto.DomainSeparationTag_InteractiveSealChallengeSeed, pre.PreCommitEpoch+testDelay, minerEntropy())):
		return errors.New("invalid proof")
	}
	if value.LessThan(big.NewInt(300)) {
		return errors.New("pledge")
	}
	delete(w.pre, a.SectorNumber)
	w.commits = append(w.commits, p)
	w.sectors[a.SectorNumber] = &miner.SectorOnChainInfo{SectorNumber: a.SectorNumber, SealedCID: pre.Info.SealedCID,
		Activation: w.height, Expiration: pre.Info.Expiration}
	return nil
}

func testMiner() address.Address { a, _ := address.NewIDAddress(1000); return a }

func minerEntropy() []byte { b, _ := addressEntropy(testMiner()); return b }

func (w *world) TaskSubmit(ctx context.Context, spec api.TaskSpec) (api.TaskStatus, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.reach(ctx, "TaskSubmit"); err != nil {
		return api.TaskStatus{}, err
	}
	if t, ok := w.tasks[spec.Key]; ok {
		if t.State == api.TaskQueued || t.State == api.TaskRunning {
			t.Spec = spec // a fresh address for the same data
		}
		return *t, nil
	}
	t := &api.TaskStatus{ID: uuid.New(), Spec: spec, State: api.TaskQueued, Submitted: time.Now()}
	w.tasks[spec.Key], w.byID[t.ID] = t, t
	w.submitted = append(w.submitted, spec)
	return *t, nil
}

func (w *world) TaskGet(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.byID[id]
	if !ok {
		return api.TaskStatus{}, &api.ErrNotFound{What: "task"}
	}
	return *t, w.reach(ctx, "TaskGet")
}

// TaskWait is also where the work happens.
func (w *world) TaskWait(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	w.mu.Lock()
	gate := chan struct{}(nil)
	if t, ok := w.byID[id]; ok {
		gate = w.block[t.Spec.Type]
	}
	w.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return api.TaskStatus{}, ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.reach(ctx, "TaskWait"); err != nil {
		return api.TaskStatus{}, err
	}
	t, ok := w.byID[id]
	if !ok {
		return api.TaskStatus{}, &api.ErrNotFound{What: "task"}
	}
	switch {
	case t.State == api.TaskQueued: // first time: not done yet
		t.State = api.TaskRunning
	case t.State == api.TaskRunning:
		w.work(t)
	}
	return *t, nil
}

func (w *world) work(t *api.TaskStatus) {
	if q := w.taskFails[t.Spec.Type]; len(q) > 0 {
		w.taskFails[t.Spec.Type] = q[1:]
		t.State, t.Error, t.Retryable = api.TaskFailed, q[0].text, q[0].retryable
		return
	}
	compute := w.compute
	if w.computeWith != nil {
		compute = w.computeWith
	}
	res, err := compute(t.Spec)
	if err != nil {
		t.State, t.Error = api.TaskFailed, err.Error()
		return
	}
	t.State = api.TaskDone
	t.Result, _ = json.Marshal(res)
}

type fakePC1 struct {
	Ticket []byte
	CommD  string
}

func (w *world) compute(spec api.TaskSpec) (any, error) {
	switch spec.Type {
	case api.TaskAddPiece:
		var p api.AddPieceParams
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		if p.Data.URL == "wrong" {
			return nil, &api.ErrPieceMismatch{Want: p.Piece.PieceCID.String(), Got: "baga-other"}
		}
	case api.TaskPreCommit1:
		var p api.PreCommit1Params
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		d, err := commp.CommD(spec.Sector.ProofType, p.Pieces)
		return fakePC1{p.Ticket, d.String()}, err
	case api.TaskPreCommit2:
		var p api.PreCommit2Params
		var in fakePC1
		if err := errors.Join(json.Unmarshal(spec.Params, &p), json.Unmarshal(p.PreCommit1Out, &in)); err != nil {
			return nil, err
		}
		h := blake2b.Sum256(fmt.Appendf(nil, "%s %x %s", spec.Sector, in.Ticket, in.CommD))
		h[31] &= 0x3f
		r, err := commcid.ReplicaCommitmentV1ToCID(h[:])
		return api.PreCommit2Result{SealedCID: api.CidString(r.String()), UnsealedCID: api.CidString(in.CommD), Commitments: json.RawMessage(`{}`)}, err
	case api.TaskCommit1:
		var p api.Commit1Params
		if err := json.Unmarshal(spec.Params, &p); err != nil {
			return nil, err
		}
		return api.Commit1Result{Vanilla: fmt.Appendf(nil, "vanilla %x", p.Seed)}, nil
	}
	return struct{}{}, nil
}

func (w *world) TaskForget(ctx context.Context, id api.UUID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t, ok := w.byID[id]; ok {
		delete(w.byID, id)
		delete(w.tasks, t.Spec.Key)
	}
	return w.reach(ctx, "TaskForget")
}

func (w *world) RemoveSector(ctx context.Context, id abi.SectorID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.removed[id] = true
	return w.reach(ctx, "RemoveSector")
}

// checkSpent fails when a setback that was prepared never happened. Callers
// hold mu.
func (w *world) checkSpent(t testing.TB) {
	t.Helper()
	for k, n := range w.flaky {
		if n > 0 {
			t.Errorf("%s was never called often enough: %d failures left", k, n)
		}
	}
	for k, q := range w.taskFails {
		if len(q) > 0 {
			t.Errorf("%d failures of %s tasks left", len(q), k)
		}
	}
	for k, q := range w.exits {
		if len(q) > 0 {
			t.Errorf("%d failures of method %d left", len(q), k)
		}
	}
}

func memStore() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

func testConfig() Config {
	return Config{Miner: testMiner(), ProofType: testProof, VanillaAccepted: true, WaitDealsDelay: 20,
		RetryMin: time.Millisecond, RetryMax: 4 * time.Millisecond}
}

func open(t testing.TB, w *world, ds datastore.Batching, cfg Config) *Sealing {
	t.Helper()
	s, err := New(cfg, Deps{Store: ds, Chain: w, Storage: w, Heads: w, Msgs: w})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs s until the test ends or stop is called.
func start(t testing.TB, s *Sealing) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// until waits for a condition on a sector, and fails with its history.
func until(t testing.TB, s *Sealing, n abi.SectorNumber, what string, ok func(api.SectorInfo) bool) api.SectorInfo {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		info, err := s.SectorsStatus(context.Background(), n, true)
		if err == nil && ok(info) {
			return info
		}
		if time.Now().After(deadline) {
			for _, l := range info.Log {
				t.Logf("%s %s", l.State, l.Message)
			}
			t.Fatalf("sector %d never %s: state %s, last error %q (%v)", n, what, info.State, info.LastErr, err)
		}
		time.Sleep(time.Millisecond)
	}
}

func untilState(t testing.TB, s *Sealing, n abi.SectorNumber, st api.SectorState) api.SectorInfo {
	t.Helper()
	return until(t, s, n, "reached "+string(st), func(i api.SectorInfo) bool { return i.State == st })
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came about that %s", what)
		}
	}
}

// aPiece is a request for a piece of its own content.
func aPiece(t testing.TB, key string, size abi.PaddedPieceSize) api.AddPieceRequest {
	t.Helper()
	h := blake2b.Sum256([]byte(key))
	h[31] &= 0x3f
	c, err := commcid.DataCommitmentV1ToCID(h[:])
	if err != nil {
		t.Fatal(err)
	}
	return api.AddPieceRequest{Key: key, Piece: abi.PieceInfo{Size: size, PieceCID: c},
		Deal: api.PieceDealInfo{DealID: abi.DealID(7 + len(key)), StartEpoch: 5000, EndEpoch: 5000 + 400*2880},
		Data: api.DataRef{URL: "http://staged/" + key, Token: "t", Size: uint64(size.Unpadded())}}
}

var _ Chain = (*world)(nil)
var _ Storage = (*world)(nil)
