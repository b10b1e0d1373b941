package deals

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/markets/transfer"
	"quarry/proofs/commp"
)

const (
	dealID    = abi.DealID(0) // the first deal of a chain has this number
	sealTime  = abi.ChainEpoch(20)
	dealStart = abi.ChainEpoch(2880)
)

// epoch is how long one is on the clock of a test.
const epoch = time.Second

// place is a piece in a sector of the world.
type place struct {
	at      api.PiecePlacement
	ready   abi.ChainEpoch // when its deal becomes active
	givenUp error
}

// world is everything around a Provider: a chain whose epochs are seconds of the
// fake clock, a sealing side, a client's server. fail makes named calls fail.
type world struct {
	view
	t       *testing.T
	born    time.Time
	payload []byte
	dir     string

	mu        sync.Mutex
	fail      map[string][]error // the next answers of a call
	calls     map[string]int
	places    map[string]*place
	adds      []api.AddPieceRequest
	served    []byte // what the client's server sends
	sectors   map[abi.SectorNumber]api.SectorState
	index     map[api.PiecePlacement]int
	published int
	active    abi.ChainEpoch // of the deal, -1 until then
	slashed   abi.ChainEpoch
	missing   bool // the chain does not have the deal
	seal      abi.ChainEpoch
	rests     api.SectorState // of the sector of an active deal
	hang      map[string]bool // calls that only end with their context
	buffer    abi.ChainEpoch  // before the start nothing is published
	onAdd     func(r api.AddPieceRequest) error
	headless  bool // no head has come yet
}

func newWorld(t *testing.T) *world {
	payload := bytes.Repeat([]byte("quarry!"), 100)
	return &world{
		view:    view{escrow: 518400},
		t:       t,
		born:    time.Now(),
		payload: payload,
		served:  payload,
		dir:     t.TempDir(),
		active:  -1,
		slashed: -1,
		seal:    sealTime,
		rests:   api.SectorProving,
		fail:    map[string][]error{},
		calls:   map[string]int{},
		places:  map[string]*place{},
		sectors: map[abi.SectorNumber]api.SectorState{},
		index:   map[api.PiecePlacement]int{},
	}
}

// err is the prepared answer of a call. Callers hold mu.
func (w *world) err(call string) error {
	w.calls[call]++
	q := w.fail[call]
	if len(q) == 0 {
		return nil
	}
	w.fail[call] = q[1:]
	return q[0]
}

func (w *world) now() abi.ChainEpoch { return head + abi.ChainEpoch(time.Since(w.born)/epoch) }

func (w *world) tip() *api.TipSet { return &api.TipSet{Height: w.now()} }

func (w *world) Head() *api.TipSet {
	if w.headless {
		return nil
	}
	return w.tip()
}

func (w *world) ChainHead(context.Context) (*api.TipSet, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tip(), w.err("ChainHead")
}

func (w *world) WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error) {
	if err := sleep(ctx, time.Until(w.born.Add(time.Duration(h-head)*epoch))); err != nil {
		return nil, err
	}
	return w.tip(), nil
}

func (w *world) StateMarketStorageDeal(_ context.Context, id abi.DealID, _ api.TipSetKey) (*api.MarketDeal, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.err("StateMarketStorageDeal"); err != nil {
		return nil, err
	}
	if id != dealID || w.missing {
		return nil, &api.ErrNotFound{What: fmt.Sprintf("deal %d", id)}
	}
	for _, p := range w.places {
		if w.active < 0 && p.givenUp == nil && p.at.Size > 0 && p.ready <= w.now() && p.ready <= dealStart {
			w.active = p.ready
		}
	}
	return &api.MarketDeal{State: api.MarketDealState{SectorStartEpoch: w.active, SlashEpoch: w.slashed}}, nil
}

// held waits for the end of ctx where the call is to hang.
func (w *world) held(ctx context.Context, call string) error {
	w.mu.Lock()
	hang := w.hang[call]
	w.mu.Unlock()
	if !hang {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (w *world) Publish(context.Context, api.UUID, []byte) (cid.Cid, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.err("Publish"); err != nil {
		return cid.Undef, err
	}
	w.published++
	return rootCid, nil
}

func (w *world) Confirm(_ context.Context, _ api.UUID, _ []byte, c cid.Cid) (cid.Cid, abi.DealID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return c, dealID, w.err("Confirm")
}

func (w *world) SectorAddPiece(ctx context.Context, r api.AddPieceRequest) (api.PiecePlacement, error) {
	if err := w.held(ctx, "SectorAddPiece"); err != nil {
		return api.PiecePlacement{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.err("SectorAddPiece"); err != nil {
		return api.PiecePlacement{}, err
	}
	if w.onAdd != nil {
		if err := w.onAdd(r); err != nil {
			return api.PiecePlacement{}, err
		}
	}
	if p, ok := w.places[r.Key]; ok {
		return p.at, p.givenUp
	}
	staged, err := os.ReadFile(w.dir + r.Data.URL[len("/staged"):] + stagedSuffix)
	if err != nil || !bytes.Equal(staged, w.payload) {
		w.t.Errorf("the staged bytes are not there at the hand-off (%d bytes, %v)", len(staged), err)
	}
	n := abi.SectorNumber(len(w.places) + 1)
	w.adds = append(w.adds, r)
	w.sectors[n] = api.SectorPreCommit1
	p := &place{at: api.PiecePlacement{Sector: abi.SectorID{Miner: 1000, Number: n}, Offset: 128, Size: r.Piece.Size},
		ready: w.now() + w.seal}
	w.places[r.Key] = p
	return p.at, nil
}

func (w *world) SectorPlacement(_ context.Context, key string) (api.PiecePlacement, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.err("SectorPlacement"); err != nil {
		return api.PiecePlacement{}, err
	}
	p, ok := w.places[key]
	switch {
	case !ok:
		return api.PiecePlacement{}, &api.ErrNotFound{What: "piece " + key}
	case p.givenUp != nil:
		return api.PiecePlacement{}, p.givenUp
	}
	return p.at, nil
}

func (w *world) SectorsStatus(_ context.Context, n abi.SectorNumber, _ bool) (api.SectorInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.sectors[n]
	if w.active >= 0 {
		st = w.rests
	}
	return api.SectorInfo{State: st}, w.err("SectorsStatus")
}

func (w *world) AddDeal(_ context.Context, _ cid.Cid, _ api.UUID, _ uint64, at api.PiecePlacement) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.err("AddDeal"); err != nil {
		return err
	}
	w.index[at] = 1
	return nil
}

func (w *world) ForgetSector(_ context.Context, _ cid.Cid, at api.PiecePlacement) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.err("ForgetSector"); err != nil {
		return err
	}
	delete(w.index, at)
	return nil
}

func (w *world) Index(_ context.Context, _ cid.Cid, r io.ReaderAt, size uint64) error {
	got, err := io.ReadAll(io.NewSectionReader(r, 0, int64(size)+1))
	if err != nil || !bytes.Equal(got, w.payload) {
		w.t.Errorf("indexed are %d other bytes (%v)", len(got), err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err("Index")
}

func (w *world) Fetch(ctx context.Context, r transfer.Request) error {
	if err := w.held(ctx, "Fetch"); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.err("Fetch"); err != nil {
		return err
	}
	if st, err := os.Stat(r.Path); err == nil && uint64(st.Size()) > r.Size {
		return &transfer.FatalError{Err: errors.New("the file is too long")}
	}
	r.Progress(r.Size)
	return os.WriteFile(r.Path, w.served, 0o600)
}

func (w *world) ask(context.Context) (api.StorageAskInfo, error) {
	return api.StorageAskInfo{Price: big.NewInt(1 << 20), VerifiedPrice: big.NewInt(1 << 20), MinPieceSize: 256, MaxPieceSize: 2048}, nil
}

func (w *world) StateAccountKey(_ context.Context, a address.Address, _ api.TipSetKey) (address.Address, error) {
	return a, nil
}

// open makes a Provider over a store.
func (w *world) open(ds datastore.Batching) *Provider {
	w.t.Helper()
	st, err := OpenStore(context.Background(), ds)
	require.NoError(w.t, err)
	pol := policy()
	pol.PublishBuffer = w.buffer
	p, err := New(Config{Policy: pol, StagingDir: w.dir, PollEpochs: 4}, Deps{
		Store:     st,
		Chain:     w,
		Heads:     w,
		Publisher: w,
		Sealing:   w,
		Index:     w,
		Fetcher:   w,
		Ask:       w.ask,
	})
	require.NoError(w.t, err)
	return p
}

// run runs it until stop is called.
func (w *world) run(p *Provider) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	var once sync.Once
	return func() { once.Do(func() { cancel(); require.NoError(w.t, <-done) }) }
}

// deal proposes the world's deal.
func (w *world) deal(p *Provider) api.UUID {
	w.t.Helper()
	f := good(w.t)
	sum, err := commp.SumPadded(context.Background(), bytes.NewReader(w.payload), 1024)
	require.NoError(w.t, err)
	f.prop().PieceCID = sum.CID
	f.params.Transfer.Size = uint64(len(w.payload))
	f.sign(w.t)
	resp := p.Propose(context.Background(), &f.params, "peer")
	require.True(w.t, resp.Accepted, resp.Message)
	return f.params.DealUUID
}

func (w *world) get(p *Provider, id api.UUID) *Record {
	w.t.Helper()
	rec, err := p.deps.Store.Get(id)
	require.NoError(w.t, err)
	return rec
}

// until lets the clock run, epoch by epoch, until the deal is as wanted.
func (w *world) until(p *Provider, id api.UUID, what string, ok func(*Record) bool) *Record {
	w.t.Helper()
	for range 12000 {
		synctest.Wait()
		if rec := w.get(p, id); ok(rec) {
			return rec
		}
		time.Sleep(epoch)
	}
	rec := w.get(p, id)
	for _, l := range rec.Log {
		w.t.Log(l.Time, l.Message)
	}
	w.t.Fatalf("the deal never %s: %s, %s %q", what, rec.Checkpoint, rec.Retry, rec.Err)
	return nil
}

func (w *world) untilComplete(p *Provider, id api.UUID) *Record {
	w.t.Helper()
	return w.until(p, id, "is complete", func(r *Record) bool { return r.Final() })
}

// lose takes the place of a key away.
func (w *world) lose(key string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := w.places[key]; ok && err != nil {
		p.givenUp = err
	} else {
		delete(w.places, key)
	}
}

func (w *world) staged(p *Provider, id api.UUID) bool {
	_, err := os.Stat(p.StagedPath(id))
	return err == nil
}

func at(c api.DealCheckpoint) func(*Record) bool {
	return func(r *Record) bool { return r.Checkpoint == c }
}
