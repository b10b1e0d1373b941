package window

import (
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
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
	"quarry/chain/heads"
)

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

// ChainGetPath knows the way up only.
func (s *sim) ChainGetPath(_ context.Context, from, to api.TipSetKey) ([]*api.HeadChange, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*api.HeadChange
	known := false
	for _, ts := range s.chain {
		if known {
			out = append(out, &api.HeadChange{Type: api.HeadApply, Val: ts})
		}
		if known = known || ts.Key().Equal(from); known && ts.Key().Equal(to) {
			return out, nil
		}
	}
	return nil, errors.New("no such tipset")
}

func (s *sim) ChainGetTipSet(_ context.Context, k api.TipSetKey) (*api.TipSet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ts := range s.chain {
		if ts.Key().Equal(k) {
			return ts, nil
		}
	}
	return nil, errors.New("no such tipset")
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
	if s.failReads > 0 {
		s.failReads--
		return nil, errors.New("node is syncing")
	}
	return append([]api.Partition(nil), s.parts[d]...), nil
}

func (s *sim) StateMinerSectors(_ context.Context, _ address.Address, f *bitfield.BitField,
	_ api.TipSetKey) ([]*miner.SectorOnChainInfo, error) {
	var out []*miner.SectorOnChainInfo
	err := f.ForEach(func(n uint64) error {
		out = append(out, &miner.SectorOnChainInfo{SectorNumber: abi.SectorNumber(n), SealProof: simSeal,
			SealedCID: sum(fmt.Sprint("sealed", n))})
		return nil
	})
	return out, err
}

func (s *sim) StateMinerInfo(context.Context, address.Address, api.TipSetKey) (api.MinerInfo, error) {
	return api.MinerInfo{Owner: s.worker, Worker: s.worker, WindowPoStProofType: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1}, nil
}

func (s *sim) StateGetRandomnessFromBeacon(_ context.Context, tag crypto.DomainSeparationTag, e abi.ChainEpoch, _ []byte,
	_ api.TipSetKey) (abi.Randomness, error) {
	return s.StateGetRandomnessFromTickets(context.Background(), tag, e, nil, nil)
}

func (s *sim) StateGetRandomnessFromTickets(_ context.Context, tag crypto.DomainSeparationTag, e abi.ChainEpoch, _ []byte,
	_ api.TipSetKey) (abi.Randomness, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failDraws > 0 {
		s.failDraws--
		return nil, errors.New("node is syncing")
	}
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
	s.requests = append(s.requests, r)
	for _, i := range r.Sectors {
		if s.poison[uint64(i.SectorNumber)] {
			panic("index out of range")
		}
	}
	if s.failProofs > 0 {
		s.failProofs--
		return api.WindowPoStResult{}, errors.New("storage is restarting")
	}
	var out api.WindowPoStResult
	var list []uint64
	for _, i := range r.Sectors {
		n := uint64(i.SectorNumber)
		if why, bad := s.broken[n]; bad {
			out.Skipped = append(out.Skipped, api.SectorFault{Sector: i.SectorNumber, Reason: why})
		} else {
			list = append(list, n)
		}
	}
	if len(list) > 0 {
		out.Vanilla = simProof(r.Randomness, list)
	}
	return out, nil
}

func (s *sim) CheckProvable(_ context.Context, r api.ProvableRequest) (api.ProvableResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, r)
	for _, i := range r.Sectors {
		if s.poison[uint64(i.Number)] {
			panic("index out of range")
		}
	}
	if s.failChecks > 0 {
		s.failChecks--
		return api.ProvableResult{}, errors.New("storage is restarting")
	}
	out := api.ProvableResult{Prints: map[abi.SectorNumber]string{}}
	for _, r := range r.Sectors {
		n := uint64(r.Number)
		why, bad := s.broken[n]
		if want := sum(fmt.Sprint("sealed", n)); !r.SealedCID.Equals(want) {
			why, bad = api.FaultOtherSeal, true
		}
		switch {
		case bad && !s.flaky[n]:
			out.Faults = append(out.Faults, api.SectorFault{Sector: r.Number, Reason: why})
		case r.Thorough:
			out.Prints[r.Number] = "as ever" + s.prints[n]
		}
	}
	return out, nil
}

func (s *sim) ProverState(context.Context) (api.ProverState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != nil {
		return *s.state, nil
	}
	return api.ProverState{Opened: true, Readable: 1, Paths: []api.StorageID{"a"}}, nil
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
	w, err := New(Config{Miner: s.miner, SubmitConfidence: 2, Settle: 8, EpochWall: s.epochWall}, Deps{
		Store:  store,
		Chain:  s,
		Prover: s,
		Snark:  s.snark,
		Heads:  f,
		Msgs:   s,
		Log:    s.log,
	})
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

// at is a head follower that stands at a height.
type at abi.ChainEpoch

func (a at) Head() *api.TipSet                            { return &api.TipSet{Height: abi.ChainEpoch(a)} }
func (a at) Subscribe(context.Context) <-chan heads.Event { return nil }
func (a at) WaitHeight(context.Context, abi.ChainEpoch) (*api.TipSet, error) {
	return a.Head(), nil
}

func onChain(numbers ...uint64) map[uint64]*miner.SectorOnChainInfo {
	out := map[uint64]*miner.SectorOnChainInfo{}
	for _, n := range numbers {
		out[n] = &miner.SectorOnChainInfo{SectorNumber: abi.SectorNumber(n), SealProof: simSeal}
	}
	return out
}
