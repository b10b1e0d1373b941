package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/markets/wire"
)

var latest = datastore.NewKey("/latest")

// Chain is what an offer needs of the chain.
type Chain interface {
	ChainHead(ctx context.Context) (*api.TipSet, error)
	StateMinerInfo(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MinerInfo, error)
	WalletSign(ctx context.Context, a address.Address, data []byte) (*crypto.Signature, error)
}

// Config holds the offer made until Set is called the first time. MaxPieceSize
// 0 means the sector size.
type Config struct {
	Miner         address.Address
	Price         abi.TokenAmount // attoFIL per GiB per epoch
	VerifiedPrice abi.TokenAmount
	Duration      abi.ChainEpoch
	MinPieceSize  abi.PaddedPieceSize
	MaxPieceSize  abi.PaddedPieceSize
}

// Deps of an Ask.
type Deps struct {
	Store datastore.Batching
	Chain Chain
}

// Ask is the current offer.
type Ask struct {
	cfg  Config
	deps Deps
	mu   sync.Mutex
}

// New makes an Ask.
func New(cfg Config, deps Deps) *Ask { return &Ask{cfg: cfg, deps: deps} }

// Get returns the offer, making the first one when there is none, and renewing
// its validity when it has expired.
func (a *Ask) Get(ctx context.Context) (api.StorageAskInfo, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	cur, err := a.load(ctx)
	if errors.Is(err, datastore.ErrNotFound) {
		return a.set(ctx, 0, a.cfg.Price, a.cfg.VerifiedPrice, a.cfg.Duration, a.cfg.MinPieceSize, a.cfg.MaxPieceSize)
	}
	if err != nil {
		return cur, err
	}
	head, err := a.deps.Chain.ChainHead(ctx)
	if err != nil {
		return cur, fmt.Errorf("getting chain head: %w", err)
	}
	if head.Height <= cur.Expiry {
		return cur, nil
	}
	return a.set(ctx, cur.SeqNo+1, cur.Price, cur.VerifiedPrice, cur.Expiry-cur.Timestamp, cur.MinPieceSize, cur.MaxPieceSize)
}

func (a *Ask) load(ctx context.Context) (api.StorageAskInfo, error) {
	var cur api.StorageAskInfo
	b, err := a.deps.Store.Get(ctx, latest)
	if err != nil {
		return cur, err
	}
	if err := json.Unmarshal(b, &cur); err != nil {
		return cur, fmt.Errorf("decode stored ask: %w", err)
	}
	return cur, nil
}

// Set replaces the offer. api.ErrInvalid names a bad value.
func (a *Ask) Set(ctx context.Context, price, verified abi.TokenAmount, duration abi.ChainEpoch, lo, hi abi.PaddedPieceSize) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	cur, err := a.load(ctx)
	seq := cur.SeqNo + 1
	if errors.Is(err, datastore.ErrNotFound) {
		seq, err = 0, nil
	}
	if err != nil {
		return err
	}
	_, err = a.set(ctx, seq, price, verified, duration, lo, hi)
	return err
}

func (a *Ask) set(ctx context.Context, seq uint64, price, verified abi.TokenAmount, duration abi.ChainEpoch, lo,
	hi abi.PaddedPieceSize) (api.StorageAskInfo, error) {
	var none api.StorageAskInfo
	info, err := a.deps.Chain.StateMinerInfo(ctx, a.cfg.Miner, nil)
	if err != nil {
		return none, fmt.Errorf("read sector size of %s: %w", a.cfg.Miner, err)
	}
	if hi == 0 {
		hi = abi.PaddedPieceSize(info.SectorSize)
	}
	if reason := bad(price, verified, duration, lo, hi, info.SectorSize); reason != "" {
		return none, &api.ErrInvalid{What: "ask", Reason: reason}
	}
	head, err := a.deps.Chain.ChainHead(ctx)
	if err != nil {
		return none, fmt.Errorf("getting chain head: %w", err)
	}
	next := api.StorageAskInfo{
		Price:         price,
		VerifiedPrice: verified,
		MinPieceSize:  lo,
		MaxPieceSize:  hi,
		Timestamp:     head.Height,
		Expiry:        head.Height + duration,
		SeqNo:         seq,
	}
	b, err := json.Marshal(next)
	if err != nil {
		return none, err
	}
	if err := a.deps.Store.Put(ctx, latest, b); err != nil {
		return none, fmt.Errorf("write ask: %w", err)
	}
	return next, a.deps.Store.Sync(ctx, latest)
}

func bad(price, verified abi.TokenAmount, duration abi.ChainEpoch, lo, hi abi.PaddedPieceSize, sector abi.SectorSize) string {
	switch {
	case price.Nil() || price.Sign() < 0 || verified.Nil() || verified.Sign() < 0:
		return "prices must not be negative"
	case duration <= 0:
		return "the duration must be at least one epoch"
	case lo.Validate() != nil:
		return fmt.Sprintf("smallest piece size %d: %s", lo, lo.Validate())
	case hi.Validate() != nil:
		return fmt.Sprintf("largest piece size %d: %s", hi, hi.Validate())
	case hi < lo:
		return fmt.Sprintf("largest piece size %d is below the smallest %d", hi, lo)
	case uint64(hi) > uint64(sector):
		return fmt.Sprintf("largest piece size %d is above the sector size %d", hi, sector)
	}
	return ""
}

// Signed is the offer as clients get it, signed with the worker key.
func (a *Ask) Signed(ctx context.Context) (*wire.SignedStorageAsk, error) {
	cur, err := a.Get(ctx)
	if err != nil {
		return nil, err
	}
	w := &wire.StorageAsk{
		Miner:         a.cfg.Miner,
		Price:         cur.Price,
		VerifiedPrice: cur.VerifiedPrice,
		MinPieceSize:  cur.MinPieceSize,
		MaxPieceSize:  cur.MaxPieceSize,
		Timestamp:     cur.Timestamp,
		Expiry:        cur.Expiry,
		SeqNo:         cur.SeqNo,
	}
	var buf bytes.Buffer
	if err := w.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode ask: %w", err)
	}
	info, err := a.deps.Chain.StateMinerInfo(ctx, a.cfg.Miner, nil)
	if err != nil {
		return nil, fmt.Errorf("find the worker of %s: %w", a.cfg.Miner, err)
	}
	sig, err := a.deps.Chain.WalletSign(ctx, info.Worker, buf.Bytes())
	if err != nil {
		return nil, fmt.Errorf("sign ask with worker %s: %w", info.Worker, err)
	}
	return &wire.SignedStorageAsk{Ask: w, Signature: sig}, nil
}
