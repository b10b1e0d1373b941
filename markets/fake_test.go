package markets

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/internal/filcrypto"
)

// fakeChain is a full node small enough to reason about: a height, balances,
// deals, and messages that are executed when sent.
type fakeChain struct {
	mu     sync.Mutex
	grew   chan struct{} // closed and replaced when the height grows
	height abi.ChainEpoch
	info   api.MinerInfo
	keys   map[address.Address][]byte // secp256k1 private keys
	escrow map[address.Address]abi.TokenAmount
	deals  map[abi.DealID]*api.MarketDeal
	msgs   map[cid.Cid]*api.Message
	rcpts  map[cid.Cid]api.MessageReceipt
	byKey  map[string]cid.Cid
	sent   map[abi.MethodNum]int
	drop   map[cid.Cid]bool // piece CIDs that the market actor refuses
}

func newFakeChain(t testing.TB) *fakeChain {
	c := &fakeChain{
		grew:   make(chan struct{}),
		height: 100,
		keys:   map[address.Address][]byte{},
		escrow: map[address.Address]abi.TokenAmount{},
		deals:  map[abi.DealID]*api.MarketDeal{},
		msgs:   map[cid.Cid]*api.Message{},
		rcpts:  map[cid.Cid]api.MessageReceipt{},
		byKey:  map[string]cid.Cid{},
		sent:   map[abi.MethodNum]int{},
		drop:   map[cid.Cid]bool{},
	}
	c.info = api.MinerInfo{Worker: c.newKey(t), SectorSize: 8 << 20}
	return c
}

func (c *fakeChain) newKey(t testing.TB) address.Address {
	priv, err := filcrypto.Generate(crypto.SigTypeSecp256k1, rand.Reader)
	require.NoError(t, err)
	addr, err := filcrypto.PublicAddress(crypto.SigTypeSecp256k1, priv)
	require.NoError(t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[addr] = priv
	return addr
}

func (c *fakeChain) grow(n abi.ChainEpoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.height += n
	close(c.grew)
	c.grew = make(chan struct{})
}

func (c *fakeChain) Head() *api.TipSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &api.TipSet{Height: c.height}
}

func (c *fakeChain) ChainHead(context.Context) (*api.TipSet, error) { return c.Head(), nil }

func (c *fakeChain) WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error) {
	for {
		c.mu.Lock()
		now, grew := c.height, c.grew
		c.mu.Unlock()
		if now >= h {
			return &api.TipSet{Height: now}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-grew:
		}
	}
}

func (c *fakeChain) StateAccountKey(_ context.Context, a address.Address, _ api.TipSetKey) (address.Address, error) {
	return a, nil
}

// StateLookupID gives every key the same made-up ID address.
func (c *fakeChain) StateLookupID(_ context.Context, a address.Address, _ api.TipSetKey) (address.Address, error) {
	return clientID, nil
}

var clientID = must(address.NewIDAddress(1001))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (c *fakeChain) StateMinerInfo(context.Context, address.Address, api.TipSetKey) (api.MinerInfo, error) {
	return c.info, nil
}

func (c *fakeChain) StateMarketBalance(_ context.Context, a address.Address, _ api.TipSetKey) (api.MarketBalance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.escrow[a]
	if !ok {
		e = big.Zero()
	}
	return api.MarketBalance{Escrow: e, Locked: big.Zero()}, nil
}

func (c *fakeChain) StateDealProviderCollateralBounds(context.Context, abi.PaddedPieceSize, bool,
	api.TipSetKey) (api.DealCollateralBounds, error) {
	return api.DealCollateralBounds{Min: big.NewInt(1000), Max: big.NewInt(1 << 50)}, nil
}

func (c *fakeChain) StateVerifiedClientStatus(context.Context, address.Address, api.TipSetKey) (*abi.StoragePower, error) {
	return nil, nil
}

func (c *fakeChain) WalletSign(_ context.Context, a address.Address, data []byte) (*crypto.Signature, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return filcrypto.Sign(crypto.SigTypeSecp256k1, c.keys[a], data)
}

func (c *fakeChain) MarketAddBalance(_ context.Context, _, addr address.Address, amt abi.TokenAmount) (cid.Cid, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.escrow[addr] = big.Add(amt, zeroIfNil(c.escrow[addr]))
	id := hashCid(fmt.Sprint("add", addr, amt))
	c.rcpts[id] = api.MessageReceipt{}
	return id, nil
}

func zeroIfNil(v abi.TokenAmount) abi.TokenAmount {
	if v.Nil() {
		return big.Zero()
	}
	return v
}

func hashCid(s string) cid.Cid {
	return must(cid.V1Builder{Codec: cid.DagCBOR, MhType: multihash.SHA2_256}.Sum([]byte(s)))
}

func (c *fakeChain) StateWaitMsg(_ context.Context, m cid.Cid, _ uint64, _ abi.ChainEpoch, _ bool) (*api.MsgLookup, error) {
	return c.Wait(context.Background(), m)
}

func (c *fakeChain) ChainGetMessage(_ context.Context, id cid.Cid) (*api.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.msgs[id], nil
}

func (c *fakeChain) StateCall(_ context.Context, m *api.Message, _ api.TipSetKey) (*api.InvocResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var p market.PublishStorageDealsParams
	if err := p.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
		return nil, err
	}
	rct := &api.MessageReceipt{}
	if c.drop[p.Deals[0].Proposal.PieceCID] {
		rct.ExitCode = 16
	}
	return &api.InvocResult{MsgRct: rct}, nil
}

func (c *fakeChain) StateMarketStorageDeal(_ context.Context, id abi.DealID, _ api.TipSetKey) (*api.MarketDeal, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.deals[id]; ok {
		cp := *d
		return &cp, nil
	}
	return nil, fmt.Errorf("deal %d not found", id)
}

func (c *fakeChain) activate(id abi.DealID) {
	c.mu.Lock()
	c.deals[id].State.SectorStartEpoch = c.height
	c.mu.Unlock()
	c.grow(10)
}

// activateWhenPublished waits for hand-off, then proves the deal's sector.
func (c *fakeChain) activateWhenPublished(id api.UUID, w *world) {
	c.activate(w.reach(id, api.DealIndexed).ChainDealID)
}

// Send executes the message at once, each key once.
func (c *fakeChain) Send(_ context.Context, key string, m *api.Message) (cid.Cid, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, ok := c.byKey[key]; ok {
		return id, nil
	}
	id := m.Cid()
	rct := api.MessageReceipt{}
	switch m.Method {
	case 2:
		var to address.Address
		if err := to.UnmarshalCBOR(bytes.NewReader(m.Params)); err != nil {
			return cid.Undef, err
		}
		c.escrow[to] = big.Add(m.Value, zeroIfNil(c.escrow[to]))
	case 4:
		ret, err := c.publish(m.Params)
		if err != nil {
			return cid.Undef, err
		}
		rct.Return = ret
	}
	c.byKey[key], c.msgs[id], c.rcpts[id] = id, m, rct
	c.sent[m.Method]++
	return id, nil
}

func (c *fakeChain) publish(params []byte) ([]byte, error) {
	var p market.PublishStorageDealsParams
	if err := p.UnmarshalCBOR(bytes.NewReader(params)); err != nil {
		return nil, err
	}
	ret := market.PublishStorageDealsReturn{ValidDeals: bitfield.New()}
	for i, d := range p.Deals {
		if c.drop[d.Proposal.PieceCID] {
			continue
		}
		id := abi.DealID(len(c.deals) + 5)
		stored := d.Proposal
		stored.Client = clientID
		c.deals[id] = &api.MarketDeal{Proposal: stored, State: api.MarketDealState{SectorStartEpoch: -1, LastUpdatedEpoch: -1,
			SlashEpoch: -1}}
		ret.IDs = append(ret.IDs, id)
		ret.ValidDeals.Set(uint64(i))
	}
	var buf bytes.Buffer
	err := ret.MarshalCBOR(&buf)
	return buf.Bytes(), err
}

func (c *fakeChain) Wait(_ context.Context, id cid.Cid) (*api.MsgLookup, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.rcpts[id]
	if !ok {
		return nil, fmt.Errorf("message %s not found", id)
	}
	return &api.MsgLookup{Message: id, Receipt: r}, nil
}

// fakeSealing pulls pieces over HTTP as the real one does, and keeps them.
type fakeSealing struct {
	mu     sync.Mutex
	placed map[string]api.PiecePlacement
	bytes  map[abi.SectorNumber][]byte
	adds   map[string]int
	state  api.SectorState
	hidden bool // no readable copy until unsealed
}

func newFakeSealing() *fakeSealing {
	return &fakeSealing{placed: map[string]api.PiecePlacement{}, bytes: map[abi.SectorNumber][]byte{}, adds: map[string]int{},
		state: api.SectorPreCommit1}
}

func (s *fakeSealing) SectorAddPiece(ctx context.Context, r api.AddPieceRequest) (api.PiecePlacement, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Data.URL, nil)
	if err != nil {
		return api.PiecePlacement{}, err
	}
	req.Header.Set("Authorization", "Bearer "+r.Data.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return api.PiecePlacement{}, &api.ErrUnreachable{Peer: "markets", Reason: err.Error()}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || uint64(len(b)) != r.Data.Size {
		return api.PiecePlacement{}, fmt.Errorf("pull: %s, %d bytes: %w", resp.Status, len(b), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adds[r.Key]++
	n := abi.SectorNumber(len(s.placed) + 1)
	at := api.PiecePlacement{Sector: abi.SectorID{Miner: 1000, Number: n}, Size: r.Piece.Size}
	s.placed[r.Key], s.bytes[n] = at, append(b, make([]byte, uint64(r.Piece.Size.Unpadded())-uint64(len(b)))...)
	return at, nil
}

func (s *fakeSealing) SectorPlacement(_ context.Context, key string) (api.PiecePlacement, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.placed[key]; ok {
		return at, nil
	}
	return api.PiecePlacement{}, &api.ErrNotFound{What: "piece " + key}
}

func (s *fakeSealing) SectorsStatus(context.Context, abi.SectorNumber, bool) (api.SectorInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return api.SectorInfo{State: s.state}, nil
}

func (s *fakeSealing) to(state api.SectorState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

func (s *fakeSealing) SectorUnseal(context.Context, api.UnsealTarget) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = false
	return nil
}

func (s *fakeSealing) OpenUnsealed(_ context.Context, id abi.SectorID, _, _ abi.PaddedPieceSize) (UnsealedReader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.bytes[id.Number]
	if !ok || s.hidden {
		return nil, &api.ErrNotFound{What: "unsealed copy"}
	}
	return nopCloser{bytes.NewReader(b)}, nil
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }
