package markets

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/host"

	"quarry/api"
	"quarry/markets/deals"
	mnet "quarry/markets/net"
	"quarry/markets/publish"
)

// Config of the subsystem. Epochs are chain epochs, sizes padded bytes unless
// said otherwise; zero values take the defaults of DefaultConfig.
type Config struct {
	Miner         address.Address // f0; required
	StagingDir    string          // required
	StagedBaseURL string          // the private side pulls pieces from <base>/staged/<uuid>; required

	PublishAddress address.Address // sends publish messages; Undef: the worker
	PublishPeriod  abi.ChainEpoch  // after the first queued deal
	MaxDealsPerMsg int
	PublishBuffer  abi.ChainEpoch // nothing is published this near to a start epoch

	MinSealing           abi.ChainEpoch // expected time to seal
	MaxStartDelay        abi.ChainEpoch
	MinDuration          abi.ChainEpoch
	MaxDuration          abi.ChainEpoch
	CollateralMultiplier int64
	MaxStagingBytes      uint64 // 0: unlimited
	ConsiderOnline       bool
	ConsiderVerified     bool
	ConsiderUnverified   bool
	Blocklist            []cid.Cid

	AllowPrivateIPs  bool // transfers from loopback and private networks
	TransferStall    time.Duration
	TransferAttempts int
	Transfers        int // at once
	CommP            int // at once

	AskPrice         abi.TokenAmount // attoFIL per GiB per epoch, until MarketSetAsk
	AskVerifiedPrice abi.TokenAmount
	AskDuration      abi.ChainEpoch
	AskMinPieceSize  abi.PaddedPieceSize
	AskMaxPieceSize  abi.PaddedPieceSize // 0: the sector size

	PollEpochs        abi.ChainEpoch // between looks at a sealing deal
	MaxRetrievals     int            // at once
	Streams           mnet.Slots     // deal and ask requests answered at once
	UnsealOnRetrieval bool           // let a retrieval start an unseal when no readable copy exists
}

// DefaultConfig are Boost's defaults (filecoin-project/boost node/config/def.go).
func DefaultConfig() Config {
	return Config{
		PublishPeriod:        120,
		MaxDealsPerMsg:       8,
		PublishBuffer:        480,
		MinSealing:           2880,
		MaxStartDelay:        14 * builtin.EpochsInDay,
		MinDuration:          market.DealMinDuration,
		MaxDuration:          market.DealMaxDuration,
		CollateralMultiplier: 2,
		ConsiderOnline:       true,
		ConsiderVerified:     true,
		ConsiderUnverified:   true,
		Transfers:            20,
		CommP:                1,
		AskPrice:             big.NewInt(50_000_000),
		AskVerifiedPrice:     big.NewInt(5_000_000),
		AskDuration:          1_000_000,
		AskMinPieceSize:      256,
		PollEpochs:           4,
		MaxRetrievals:        256,
	}
}

func (c Config) policy() deals.Policy {
	return deals.Policy{
		Miner:                c.Miner,
		MinDuration:          c.MinDuration,
		MaxDuration:          c.MaxDuration,
		MaxExtension:         minertypes.MaxSectorExpirationExtension,
		CollateralMultiplier: c.CollateralMultiplier,
		MinSealing:           c.MinSealing,
		MaxStartDelay:        c.MaxStartDelay,
		PublishBuffer:        c.PublishBuffer,
		MaxStagingBytes:      c.MaxStagingBytes,
		ConsiderOnline:       c.ConsiderOnline,
		ConsiderVerified:     c.ConsiderVerified,
		ConsiderUnverified:   c.ConsiderUnverified,
		Blocklist:            c.Blocklist,
	}
}

func (c Config) check() error {
	switch {
	case c.Miner == address.Undef || c.Miner.Protocol() != address.ID:
		return fmt.Errorf("markets: the miner address must be an f0 address, is %q", c.Miner)
	case c.StagingDir == "":
		return fmt.Errorf("markets: no staging directory")
	case c.StagedBaseURL == "":
		return fmt.Errorf("markets: no URL under which the sealing side can pull staged pieces")
	case c.MaxDuration == 0 || c.AskDuration == 0 || c.CollateralMultiplier == 0:
		return fmt.Errorf("markets: zero limits; start from DefaultConfig")
	case c.PublishPeriod < 0 || c.PublishBuffer < 0:
		return fmt.Errorf("markets: publish period and buffer must not be negative")
	}
	return nil
}

// Chain is the part of the full node that markets use.
type Chain interface {
	deals.Chain
	publish.Chain
	WalletSign(ctx context.Context, a address.Address, data []byte) (*crypto.Signature, error)
}

// PieceSink is the sealing side.
type PieceSink interface {
	deals.Sealing
	SectorUnseal(ctx context.Context, t api.UnsealTarget) error
}

// UnsealedReader reads the unpadded payload of a piece's range in a sector.
type UnsealedReader interface {
	io.ReaderAt
	io.Closer
	Size() int64 // unpadded bytes
}

// PieceReader opens sector data; api.ErrNotFound when no copy can be read.
type PieceReader interface {
	OpenUnsealed(ctx context.Context, sector abi.SectorID, offset, size abi.PaddedPieceSize) (UnsealedReader, error)
}

// PieceReaderFunc adapts a function to PieceReader, for readers whose method
// returns an interface of their own.
type PieceReaderFunc func(ctx context.Context, sector abi.SectorID, offset, size abi.PaddedPieceSize) (UnsealedReader, error)

// OpenUnsealed calls f.
func (f PieceReaderFunc) OpenUnsealed(ctx context.Context, s abi.SectorID, offset, size abi.PaddedPieceSize) (UnsealedReader, error) {
	return f(ctx, s, offset, size)
}

// Heads is the clock of the subsystem.
type Heads interface {
	Head() *api.TipSet
	WaitHeight(ctx context.Context, h abi.ChainEpoch) (*api.TipSet, error)
}

// Deps are what the subsystem works with; all but Escrow and Log are required.
type Deps struct {
	Store   datastore.Batching // prefixed for markets
	Chain   Chain
	Sealing PieceSink
	Reader  PieceReader
	Host    host.Host // the caller closes it after Run returned
	Heads   Heads
	Msgs    publish.Msgs
	Escrow  publish.Msgs // for AddBalance messages, with their own fee limit; nil: Msgs
	Log     *slog.Logger
}

func (d Deps) check() error {
	if d.Store == nil || d.Chain == nil || d.Sealing == nil || d.Reader == nil || d.Host == nil || d.Heads == nil || d.Msgs == nil {
		return fmt.Errorf("markets: incomplete dependencies")
	}
	return nil
}
