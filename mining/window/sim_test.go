package window

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
	"quarry/chain/heads"
	"quarry/proofs/envelope"
)

// Geometry of the simulated network: periods of 6 deadlines of 10 epochs.
const (
	simDeadlines = 6
	simWindow    = 10
	simPeriod    = simDeadlines * simWindow
	simLookback  = 4
	simCutoff    = 12
)

// sim is a chain with one miner actor that judges window PoSts by the rules of
// the real one, except that a proof is any blob naming the challenged sectors.
// Epochs pass only when a test says so.
type sim struct {
	mu       sync.Mutex
	miner    address.Address
	worker   address.Address
	chain    []*api.TipSet
	fork     int
	subs     []chan []*api.HeadChange
	parts    map[uint64][]api.Partition
	posted   map[uint64]map[uint64]bool
	broken   map[uint64]string // what the files say
	blobs    map[cid.Cid][]byte
	keys     map[string]*simMsg
	mempool  []*simMsg
	accepted int
	rejected map[exitcode.ExitCode]int
	declared []string
	proofs   int

	failSends  int               // sends that fail before one works
	sendError  error             // what they fail with
	failProofs int               // proofs that fail before one works
	nextExit   exitcode.ExitCode // forced on the next PoSt executed
	hold       bool              // keep messages out of blocks
}

type simMsg struct {
	c    cid.Cid
	m    *api.Message
	done chan struct{}
	code exitcode.ExitCode
}

func newSim(t *testing.T) *sim {
	t.Helper()
	id := func(n uint64) address.Address {
		a, err := address.NewIDAddress(n)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	s := &sim{miner: id(1000), worker: id(100), parts: map[uint64][]api.Partition{}, posted: map[uint64]map[uint64]bool{},
		broken: map[uint64]string{}, blobs: map[cid.Cid][]byte{}, keys: map[string]*simMsg{}, rejected: map[exitcode.ExitCode]int{}}
	s.chain = []*api.TipSet{s.tipset(nil, 0)}
	return s
}

func sum(label string) cid.Cid {
	c, err := abi.CidBuilder.Sum([]byte(label))
	if err != nil {
		panic(err)
	}
	return c
}

func (s *sim) tipset(parent *api.TipSet, h abi.ChainEpoch) *api.TipSet {
	b := &api.BlockHeader{Height: h}
	if parent != nil {
		b.Parents = parent.Cids
	}
	return &api.TipSet{Cids: []cid.Cid{sum(fmt.Sprintf("%d/%d", s.fork, h))}, Blocks: []*api.BlockHeader{b}, Height: h}
}

func (s *sim) head() *api.TipSet { return s.chain[len(s.chain)-1] }

// partition adds a partition to a deadline.
func (s *sim) partition(deadline uint64, all, terminated, faulty, recovering []uint64) {
	live, err := bitfield.SubtractBitField(bitfield.NewFromSet(all), bitfield.NewFromSet(terminated))
	if err != nil {
		panic(err)
	}
	s.parts[deadline] = append(s.parts[deadline], api.Partition{
		AllSectors: bitfield.NewFromSet(all), LiveSectors: live,
		FaultySectors: bitfield.NewFromSet(faulty), RecoveringSectors: bitfield.NewFromSet(recovering),
	})
}

// tick lets n epochs pass, each with everything settled before the next.
func (s *sim) tick(n int) {
	for range n {
		s.advance(1)
		synctest.Wait()
	}
}

// advance adds one tipset, after skipped-1 null rounds.
func (s *sim) advance(skipped abi.ChainEpoch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.deadlineAt(s.head().Height)
	ts := s.tipset(s.head(), s.head().Height+skipped)
	s.chain = append(s.chain, ts)
	if now := s.deadlineAt(ts.Height); now.Open != was.Open {
		delete(s.posted, was.Index)
	}
	if !s.hold {
		for _, m := range s.mempool {
			m.code = s.execute(m.m, ts.Height)
			close(m.done)
		}
		s.mempool = nil
	}
	s.tell([]*api.HeadChange{{Type: api.HeadApply, Val: ts}})
}

// reorg replaces the last n tipsets by others of the same heights.
func (s *sim) reorg(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var changes []*api.HeadChange
	var heights []abi.ChainEpoch
	for range n {
		heights = append([]abi.ChainEpoch{s.head().Height}, heights...)
		changes = append(changes, &api.HeadChange{Type: api.HeadRevert, Val: s.head()})
		s.chain = s.chain[:len(s.chain)-1]
	}
	s.fork++
	for _, h := range heights {
		s.chain = append(s.chain, s.tipset(s.head(), h))
		changes = append(changes, &api.HeadChange{Type: api.HeadApply, Val: s.head()})
	}
	s.tell(changes)
}

func (s *sim) tell(changes []*api.HeadChange) {
	for _, c := range s.subs {
		c <- changes
	}
}

func (s *sim) deadlineAt(h abi.ChainEpoch) *dline.Info {
	start := h / simPeriod * simPeriod
	return dline.NewInfo(start, uint64((h-start)/simWindow), h, simDeadlines, simPeriod, simWindow, simLookback, simCutoff)
}

// randomness depends on the tipset at the epoch, so that forks differ.
func (s *sim) randomness(tag crypto.DomainSeparationTag, epoch abi.ChainEpoch) abi.Randomness {
	for _, ts := range s.chain {
		if ts.Height >= epoch {
			h := sum(fmt.Sprint(tag, ts.Cids[0])).Hash()
			return abi.Randomness(h[len(h)-32:])
		}
	}
	return nil
}

func (s *sim) execute(m *api.Message, h abi.ChainEpoch) exitcode.ExitCode {
	code := exitcode.Ok
	switch m.Method {
	case builtin.MethodsMiner.SubmitWindowedPoSt:
		var p miner.SubmitWindowedPoStParams
		if err := p.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
			return exitcode.ErrSerialization
		}
		if code = s.judge(&p, h); code == 0 {
			s.accepted++
		} else {
			s.rejected[code]++
		}
	case builtin.MethodsMiner.DeclareFaults:
		var p miner.DeclareFaultsParams
		if err := p.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
			return exitcode.ErrSerialization
		}
		for _, f := range p.Faults {
			n, _ := f.Sectors.All(100)
			s.declared = append(s.declared, fmt.Sprint("faulty ", f.Deadline, "/", f.Partition, n))
			s.parts[f.Deadline][f.Partition].FaultySectors, _ = bitfield.MergeBitFields(s.parts[f.Deadline][f.Partition].FaultySectors, f.Sectors)
		}
	case builtin.MethodsMiner.DeclareFaultsRecovered:
		var p miner.DeclareFaultsRecoveredParams
		if err := p.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
			return exitcode.ErrSerialization
		}
		for _, f := range p.Recoveries {
			n, _ := f.Sectors.All(100)
			s.declared = append(s.declared, fmt.Sprint("recovered ", f.Deadline, "/", f.Partition, n))
			s.parts[f.Deadline][f.Partition].RecoveringSectors, _ = bitfield.MergeBitFields(s.parts[f.Deadline][f.Partition].RecoveringSectors, f.Sectors)
		}
	}
	return code
}

// judge applies the actor's rules to a submission.
func (s *sim) judge(p *miner.SubmitWindowedPoStParams, h abi.ChainEpoch) exitcode.ExitCode {
	if s.nextExit != 0 {
		defer func() { s.nextExit = 0 }()
		return s.nextExit
	}
	di := s.deadlineAt(h)
	if p.Deadline != di.Index || len(p.Proofs) != 1 || p.ChainCommitEpoch < di.Challenge || p.ChainCommitEpoch >= h {
		return exitcode.ErrIllegalArgument
	}
	if !bytes.Equal(p.ChainCommitRand, s.randomness(crypto.DomainSeparationTag_PoStChainCommit, p.ChainCommitEpoch)) {
		return exitcode.ErrIllegalArgument
	}
	var all, ignored []bitfield.BitField
	for _, part := range p.Partitions {
		if s.posted[di.Index][part.Index] {
			return exitcode.ErrIllegalArgument
		}
		on := s.parts[di.Index][part.Index]
		faulty, _ := bitfield.SubtractBitField(on.FaultySectors, on.RecoveringSectors)
		terminated, _ := bitfield.SubtractBitField(on.AllSectors, on.LiveSectors)
		all = append(all, on.AllSectors)
		ignored = append(ignored, faulty, terminated, part.Skipped)
	}
	union, _ := bitfield.MultiMerge(all...)
	skip, _ := bitfield.MultiMerge(ignored...)
	good, _ := bitfield.SubtractBitField(union, skip)
	first, err := good.First()
	if err != nil {
		return exitcode.ErrIllegalArgument
	}
	var want []uint64
	_ = union.ForEach(func(n uint64) error {
		if out, _ := skip.IsSet(n); out {
			n = first
		}
		want = append(want, n)
		return nil
	})
	c, ok := envelope.Parse(p.Proofs[0].ProofBytes)
	challenge := s.randomness(crypto.DomainSeparationTag_WindowedPoStChallengeSeed, di.Challenge)
	if !ok || !bytes.Equal(s.blobs[c], simProof(abi.PoStRandomness(challenge), want)) {
		return exitcode.ErrIllegalState
	}
	if s.posted[di.Index] == nil {
		s.posted[di.Index] = map[uint64]bool{}
	}
	for _, part := range p.Partitions {
		s.posted[di.Index][part.Index] = true
	}
	return exitcode.Ok
}

func simProof(rand abi.PoStRandomness, sectors []uint64) []byte {
	return fmt.Appendf(nil, "%x over %v", []byte(rand), sectors)
}

// --- the full node ---

func (s *sim) ChainHead(context.Context) (*api.TipSet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head(), nil
}

func (s *sim) ChainNotify(context.Context) (<-chan []*api.HeadChange, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan []*api.HeadChange, 256)
	c <- []*api.HeadChange{{Type: api.HeadCurrent, Val: s.head()}}
	s.subs = append(s.subs, c)
	return c, nil
}

func (s *sim) ChainGetPath(context.Context, api.TipSetKey, api.TipSetKey) ([]*api.HeadChange, error) {
	return nil, errors.New("not needed here")
}

func (s *sim) ChainGetTipSet(context.Context, api.TipSetKey) (*api.TipSet, error) {
	return nil, errors.New("not needed here")
}

func (s *sim) StateMinerProvingDeadline(context.Context, address.Address, api.TipSetKey) (*dline.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deadlineAt(s.head().Height), nil
}

func (s *sim) StateMinerDeadlines(context.Context, address.Address, api.TipSetKey) ([]api.Deadline, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]api.Deadline, simDeadlines)
	for i := range out {
		out[i].PostSubmissions = bitfield.New()
		for p := range s.posted[uint64(i)] {
			out[i].PostSubmissions.Set(p)
		}
	}
	return out, nil
}

func (s *sim) StateMinerPartitions(_ context.Context, _ address.Address, d uint64, _ api.TipSetKey) ([]api.Partition, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]api.Partition(nil), s.parts[d]...), nil
}

func (s *sim) StateMinerSectors(_ context.Context, _ address.Address, f *bitfield.BitField, _ api.TipSetKey) ([]*miner.SectorOnChainInfo, error) {
	var out []*miner.SectorOnChainInfo
	err := f.ForEach(func(n uint64) error {
		out = append(out, &miner.SectorOnChainInfo{SectorNumber: abi.SectorNumber(n), SealProof: abi.RegisteredSealProof_StackedDrg2KiBV1_1, SealedCID: sum(fmt.Sprint("sealed", n))})
		return nil
	})
	return out, err
}

func (s *sim) StateMinerInfo(context.Context, address.Address, api.TipSetKey) (api.MinerInfo, error) {
	return api.MinerInfo{Owner: s.worker, Worker: s.worker, WindowPoStProofType: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1}, nil
}

func (s *sim) StateGetRandomnessFromBeacon(_ context.Context, tag crypto.DomainSeparationTag, e abi.ChainEpoch, _ []byte, _ api.TipSetKey) (abi.Randomness, error) {
	return s.StateGetRandomnessFromTickets(context.Background(), tag, e, nil, nil)
}

func (s *sim) StateGetRandomnessFromTickets(_ context.Context, tag crypto.DomainSeparationTag, e abi.ChainEpoch, _ []byte, _ api.TipSetKey) (abi.Randomness, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.randomness(tag, e); r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("epoch %d is in the future", e)
}

func (s *sim) StateAccountKey(_ context.Context, a address.Address, _ api.TipSetKey) (address.Address, error) {
	return a, nil
}
func (s *sim) WalletHas(context.Context, address.Address) (bool, error) { return true, nil }
func (s *sim) WalletBalance(context.Context, address.Address) (abi.TokenAmount, error) {
	return big.NewInt(1e18), nil
}

func (s *sim) ChainPutObj(_ context.Context, b api.ObjBlock) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[b.Cid] = b.Data
	return nil
}

// --- the storage ---

func (s *sim) ProveWindow(_ context.Context, r api.WindowPoStRequest) (api.WindowPoStResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proofs++
	if s.failProofs > 0 {
		s.failProofs--
		return api.WindowPoStResult{}, errors.New("storage is restarting")
	}
	var out api.WindowPoStResult
	var list []uint64
	for _, i := range r.Sectors {
		if _, bad := s.broken[uint64(i.SectorNumber)]; bad {
			out.Skipped = append(out.Skipped, i.SectorNumber)
		}
		list = append(list, uint64(i.SectorNumber))
	}
	out.Vanilla = simProof(r.Randomness, list)
	return out, nil
}

func (s *sim) CheckProvable(_ context.Context, refs []api.SectorRef) (map[abi.SectorNumber]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[abi.SectorNumber]string{}
	for _, r := range refs {
		if why, bad := s.broken[uint64(r.ID.Number)]; bad {
			out[r.ID.Number] = why
		}
	}
	return out, nil
}

// --- the sender: keyed, and it outlives the scheduler as the real one's disk does ---

func (s *sim) Send(_ context.Context, key string, m *api.Message) (cid.Cid, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failSends > 0 {
		s.failSends--
		return cid.Undef, s.sendError
	}
	if old := s.keys[key]; old != nil {
		return old.c, nil
	}
	msg := &simMsg{c: sum(fmt.Sprint(key, len(s.keys))), m: m, done: make(chan struct{})}
	s.keys[key] = msg
	s.mempool = append(s.mempool, msg)
	return msg.c, nil
}

func (s *sim) Sent(_ context.Context, key string) (cid.Cid, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.keys[key]; old != nil {
		return old.c, true, nil
	}
	return cid.Undef, false, nil
}

func (s *sim) Wait(ctx context.Context, c cid.Cid) (*api.MsgLookup, error) {
	s.mu.Lock()
	var found *simMsg
	for _, m := range s.keys {
		if m.c == c {
			found = m
		}
	}
	s.mu.Unlock()
	if found == nil {
		return nil, errors.New("unknown message")
	}
	select {
	case <-found.done:
		return &api.MsgLookup{Message: c, Receipt: api.MessageReceipt{ExitCode: found.code}}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *sim) Forget(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, key)
	return nil
}

// process is one life of the scheduler over a store.
type process struct {
	*Scheduler
	stop func()
}

func (s *sim) start(t *testing.T, store datastore.Batching) *process {
	t.Helper()
	f := heads.New(heads.Config{}, heads.Deps{Chain: s})
	w, err := New(Config{Miner: s.miner, SubmitConfidence: 2, Settle: 8}, Deps{Store: store, Chain: s, Prover: s, Heads: f, Msgs: s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.Run(ctx) })
	wg.Go(func() {
		if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	synctest.Wait()
	return &process{w, func() {
		cancel()
		wg.Wait()
		s.mu.Lock()
		s.subs = nil
		s.mu.Unlock()
	}}
}

func memory() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }
