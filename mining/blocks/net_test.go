package blocks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
)

const pace = 100 * time.Millisecond

// net is a node whose epochs pass when the test says so. Every election is
// won while power is set.
type net struct {
	mu        sync.Mutex
	order     sync.Mutex // see pass
	miner     address.Address
	head      *api.TipSet
	sub       chan []*api.HeadChange
	tried     []abi.ChainEpoch
	submitted []*api.BlockMsg
	blobs     map[cid.Cid][]byte
	power     int64
	eligible  bool
	nothing   bool // no base info at all
	proving   time.Duration
	failures  map[string]error
	stored    *dumbStore
	templates []*api.BlockTemplate
	asked     api.WinningPoStRequest // of the prover, last
	snark     Snark                  // nil: vanilla proofs
	log       *slog.Logger

	resubmitted int

	sync     string // answer of SyncState
	delay    uint64 // block delay in seconds, 0 = 1
	open     abi.ChainEpoch
	period   abi.ChainEpoch // start of the proving period
	live     map[uint64]bool
	posted   map[abi.ChainEpoch]bool // by opening of the deadline: on chain
	pending  []*api.SignedMessage
	included map[api.CidMessage]bool
}

// dumbStore counts writes, to see what is on disk when a block leaves.
type dumbStore struct {
	datastore.Batching
	mu   sync.Mutex
	puts []string
}

func (d *dumbStore) Put(ctx context.Context, k datastore.Key, v []byte) error {
	d.mu.Lock()
	d.puts = append(d.puts, k.String())
	d.mu.Unlock()
	return d.Batching.Put(ctx, k, v)
}

func newNet(t *testing.T) *net {
	t.Helper()
	m, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	n := &net{
		miner:    m,
		power:    1,
		eligible: true,
		blobs:    map[cid.Cid][]byte{},
		failures: map[string]error{},
		stored:   &dumbStore{Batching: dssync.MutexWrap(datastore.NewMapDatastore())},
	}
	n.head = n.tipset("genesis", nil, 0)
	return n
}

func sum(label string) cid.Cid {
	c, err := abi.CidBuilder.Sum([]byte(label))
	if err != nil {
		panic(err)
	}
	return c
}

func (n *net) tipset(label string, parent *api.TipSet, h abi.ChainEpoch) *api.TipSet {
	b := &api.BlockHeader{Height: h, Miner: n.miner, Ticket: &api.Ticket{VRFProof: []byte(label)}, Timestamp: uint64(time.Now().Unix())}
	if parent != nil {
		b.Parents, b.Timestamp = parent.Cids, parent.MinTimestamp()+max(1, n.delay)*uint64(h-parent.Height)
	}
	return &api.TipSet{Cids: []cid.Cid{sum(label)}, Blocks: []*api.BlockHeader{b}, Height: h}
}

// grow makes a head out of what was submitted for h, or of somebody else's
// block.
func (n *net) grow(h abi.ChainEpoch, ours bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ts := n.tipset(fmt.Sprint("theirs", h), n.head, h)
	if ours {
		last := n.submitted[len(n.submitted)-1].Header
		ts = &api.TipSet{Cids: []cid.Cid{last.Cid()}, Blocks: []*api.BlockHeader{last}, Height: h}
	}
	n.head = ts
	n.sub <- []*api.HeadChange{{Type: api.HeadApply, Val: ts}}
}

func (n *net) fail(what string) error {
	n.order.Lock()
	defer n.order.Unlock()
	return n.failures[what]
}

func (n *net) ChainHead(context.Context) (*api.TipSet, error) {
	n.order.Lock()
	defer n.order.Unlock()
	return n.head, nil
}

// pass lets bubble time go by and whatever it woke come to rest. Waiting orders
// the producer's writes before our reads; the locks order what we did before
// it wakes.
func (n *net) pass(d time.Duration) {
	n.mu.Lock()
	n.order.Lock()
	n.order.Unlock() //nolint:staticcheck // only for the order
	n.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
}

func (n *net) ChainNotify(context.Context) (<-chan []*api.HeadChange, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sub = make(chan []*api.HeadChange, 16)
	n.sub <- []*api.HeadChange{{Type: api.HeadCurrent, Val: n.head}}
	return n.sub, nil
}
func (n *net) ChainGetPath(context.Context, api.TipSetKey, api.TipSetKey) ([]*api.HeadChange, error) {
	return nil, errors.New("not needed here")
}
func (n *net) ChainGetTipSet(context.Context, api.TipSetKey) (*api.TipSet, error) {
	return nil, errors.New("not needed here")
}
func (n *net) StateGetBeaconEntry(context.Context, abi.ChainEpoch) (*api.BeaconEntry, error) {
	return &api.BeaconEntry{}, n.fail("beacon")
}
func (n *net) StateGetNetworkParams(context.Context) (*api.NetworkParams, error) {
	return &api.NetworkParams{BlockDelaySecs: max(1, n.delay)}, n.fail("params")
}

func (n *net) MinerGetBaseInfo(_ context.Context, _ address.Address, e abi.ChainEpoch, _ api.TipSetKey) (*api.MiningBaseInfo, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tried = append(n.tried, e)
	if n.nothing || n.fail("info") != nil {
		return nil, n.fail("info")
	}
	return &api.MiningBaseInfo{
		MinerPower:        big.NewInt(n.power),
		NetworkPower:      big.NewInt(1),
		WorkerKey:         n.miner,
		EligibleForMining: n.eligible,
		PrevBeaconEntry:   api.BeaconEntry{Round: 1, Data: []byte{1}},
		BeaconEntries:     []api.BeaconEntry{{Round: 2, Data: []byte{2}}},
		Sectors: []proof.ExtendedSectorInfo{{SealProof: abi.RegisteredSealProof_StackedDrg8MiBV1_1, SectorNumber: 7,
			SealedCID: sum("sealed")}},
	}, nil
}

// WalletSign gives a VRF that wins with all the power, see the vectors of
// package election.
func (n *net) WalletSign(context.Context, address.Address, []byte) (*crypto.Signature, error) {
	return &crypto.Signature{Type: crypto.SigTypeBLS, Data: make([]byte, 96)}, n.fail("sign")
}
func (n *net) MpoolSelect(context.Context, api.TipSetKey, float64) ([]*api.SignedMessage, error) {
	return nil, n.fail("select")
}
func (n *net) ChainPutObj(_ context.Context, b api.ObjBlock) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blobs[b.Cid] = b.Data
	return n.fail("put")
}

func (n *net) MinerCreateBlock(_ context.Context, t *api.BlockTemplate) (*api.BlockMsg, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.templates = append(n.templates, t)
	if err := n.fail("create"); err != nil {
		return nil, err
	}
	c := sum("empty")
	return &api.BlockMsg{Header: &api.BlockHeader{
		Miner:                 t.Miner,
		Ticket:                t.Ticket,
		ElectionProof:         t.Eproof,
		BeaconEntries:         t.BeaconValues,
		WinPoStProof:          t.WinningPoStProof,
		Parents:               t.Parents,
		ParentWeight:          big.Zero(),
		Height:                t.Epoch,
		ParentStateRoot:       c,
		ParentMessageReceipts: c,
		Messages:              c,
		BLSAggregate:          &crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte{0}},
		Timestamp:             t.Timestamp,
		BlockSig:              &crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte{0}},
		ParentBaseFee:         big.Zero(),
	}}, nil
}

func (n *net) SyncSubmitBlock(_ context.Context, b *api.BlockMsg) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	// State before action: the guard must have it on disk by now.
	n.stored.mu.Lock()
	onDisk := strings.Contains(strings.Join(n.stored.puts, " "), fmt.Sprintf("/slashfilter/epoch/%s/%d", b.Header.Miner, b.Header.Height))
	n.stored.mu.Unlock()
	if !onDisk {
		return errors.New("the block left before the guard wrote it down")
	}
	if last := len(n.submitted) - 1; last >= 0 && n.submitted[last].Header.Cid() == b.Header.Cid() {
		n.resubmitted++
		return n.fail("submit")
	}
	n.submitted = append(n.submitted, b)
	return n.fail("submit")
}

func (n *net) ProveWinning(ctx context.Context, r api.WinningPoStRequest) ([]byte, error) {
	if r.Miner != 1000 || len(r.Randomness) != 32 || len(r.Sectors) != 1 {
		return nil, errors.New("wrong question asked")
	}
	n.mu.Lock()
	n.asked = r
	n.mu.Unlock()
	if err := wait(ctx, n.proving); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "proof %x", []byte(r.Randomness)), n.fail("prove")
}
