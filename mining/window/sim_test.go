package window

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/envelope"
	"quarry/proofs/post"
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
	broken   map[uint64]api.FaultReason // what the files say
	prints   map[uint64]string          // what they look like; empty: as ever
	state    *api.ProverState           // nil: everything is open and was read
	checks   []api.ProvableRequest
	requests []api.WindowPoStRequest
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
	failChecks int               // checks that fail before one works
	failReads  int               // readings of partitions that fail before one works
	failDraws  int               // the same of randomness
	flaky      map[uint64]bool   // broken for proofs, not for checks
	poison     map[uint64]bool   // sectors that proofs and checks panic over
	nextExit   exitcode.ExitCode // forced on the next PoSt executed
	hold       bool              // keep messages out of blocks
	epochWall  func() time.Duration
	snark      Snark // nil: vanilla proofs
	log        *slog.Logger
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
	s := &sim{
		miner:    id(1000),
		worker:   id(100),
		parts:    map[uint64][]api.Partition{},
		posted:   map[uint64]map[uint64]bool{},
		broken:   map[uint64]api.FaultReason{},
		prints:   map[uint64]string{},
		blobs:    map[cid.Cid][]byte{},
		keys:     map[string]*simMsg{},
		rejected: map[exitcode.ExitCode]int{},
	}
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
	s.closeDeadlines(was, ts.Height)
	if !s.hold {
		for _, m := range s.mempool {
			m.code = s.execute(m.m, ts.Height)
			close(m.done)
		}
		s.mempool = nil
	}
	s.tell([]*api.HeadChange{{Type: api.HeadApply, Val: ts}})
}

// closeDeadlines does what the cron of the chain does at the end of each deadline:
// what was not proven is faulty, and no longer recovering.
func (s *sim) closeDeadlines(di *dline.Info, now abi.ChainEpoch) {
	for ; di.Close <= now; di = following(di, 1) {
		for i := range s.parts[di.Index] {
			if !s.posted[di.Index][uint64(i)] {
				p := &s.parts[di.Index][i]
				p.FaultySectors, p.RecoveringSectors = p.LiveSectors, bitfield.New()
			}
		}
		delete(s.posted, di.Index)
	}
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

// replace puts another chain in the place of the last n tipsets, without a word of
// what went: the node imported it, or another node answers now.
func (s *sim) replace(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fork++
	from := len(s.chain) - n
	for i := from; i < len(s.chain); i++ {
		s.chain[i] = s.tipset(s.chain[i-1], s.chain[i].Height)
	}
	s.tell([]*api.HeadChange{{Type: api.HeadCurrent, Val: s.head()}})
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
			part := &s.parts[f.Deadline][f.Partition]
			part.FaultySectors, _ = bitfield.MergeBitFields(part.FaultySectors, f.Sectors)
		}
	case builtin.MethodsMiner.DeclareFaultsRecovered:
		var p miner.DeclareFaultsRecoveredParams
		if err := p.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
			return exitcode.ErrSerialization
		}
		for _, f := range p.Recoveries {
			n, _ := f.Sectors.All(100)
			s.declared = append(s.declared, fmt.Sprint("recovered ", f.Deadline, "/", f.Partition, n))
			part := &s.parts[f.Deadline][f.Partition]
			part.RecoveringSectors, _ = bitfield.MergeBitFields(part.RecoveringSectors, f.Sectors)
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
	challenge := s.randomness(crypto.DomainSeparationTag_WindowedPoStChallengeSeed, di.Challenge)
	if !s.proves(p.Proofs[0], simProof(abi.PoStRandomness(challenge), want)) {
		return exitcode.ErrIllegalState
	}
	if s.posted[di.Index] == nil {
		s.posted[di.Index] = map[uint64]bool{}
	}
	for _, part := range p.Partitions {
		s.posted[di.Index][part.Index] = true
		on := &s.parts[di.Index][part.Index]
		healed, _ := bitfield.SubtractBitField(on.RecoveringSectors, part.Skipped)
		on.FaultySectors, _ = bitfield.SubtractBitField(on.FaultySectors, healed)
		on.FaultySectors, _ = bitfield.MergeBitFields(on.FaultySectors, part.Skipped)
		on.RecoveringSectors = bitfield.New()
	}
	return exitcode.Ok
}

// proves tells whether a proof field stands for a vanilla proof: as its name, or
// as its Groth16 form where the scheduler makes that.
func (s *sim) proves(p proof.PoStProof, vanilla []byte) bool {
	if s.snark != nil {
		return bytes.Equal(p.ProofBytes, simSnark(p.PoStProof, vanilla))
	}
	c, ok := envelope.Parse(p.ProofBytes)
	return ok && bytes.Equal(s.blobs[c], vanilla)
}

const simSeal = abi.RegisteredSealProof_StackedDrg2KiBV1_1

// simProof has the form of a real proof over the distinct sectors of a list.
func simProof(rand abi.PoStRandomness, sectors []uint64) []byte {
	sectors = slices.Compact(slices.Sorted(slices.Values(sectors)))
	size, err := post.WindowProofSize(simSeal)
	if err != nil {
		panic(err)
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(sectors)))
	for _, n := range sectors {
		one := binary.LittleEndian.AppendUint64(nil, n)
		one = append(one, rand...)
		out = append(out, one...)
		out = append(out, make([]byte, size-len(one))...)
	}
	return out
}
