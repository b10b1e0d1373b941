package deals

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/filecoin-project/go-address"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/internal/filcrypto"
	"quarry/markets/transfer"
	"quarry/markets/wire"
)

// Policy is what the operator and the network allow. Epochs and padded bytes.
type Policy struct {
	Miner                address.Address // f0
	MinDuration          abi.ChainEpoch
	MaxDuration          abi.ChainEpoch
	MaxExtension         abi.ChainEpoch // latest end, from now
	CollateralMultiplier int64          // highest collateral, in minimums
	MinSealing           abi.ChainEpoch // expected time to seal
	MaxStartDelay        abi.ChainEpoch
	PublishBuffer        abi.ChainEpoch // before the start epoch nothing is sent any more
	MaxStagingBytes      uint64         // of deals that are not active yet; 0: as much as the disk has
	ConsiderOnline       bool
	ConsiderVerified     bool
	ConsiderUnverified   bool
	Blocklist            []cid.Cid // piece CIDs
}

// ChainView is what acceptance reads from the chain.
type ChainView interface {
	ChainHead(ctx context.Context) (*api.TipSet, error)
	StateAccountKey(ctx context.Context, a address.Address, tsk api.TipSetKey) (address.Address, error)
	StateMarketBalance(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MarketBalance, error)
	StateDealProviderCollateralBounds(ctx context.Context, size abi.PaddedPieceSize, verified bool,
		tsk api.TipSetKey) (api.DealCollateralBounds, error)
	StateVerifiedClientStatus(ctx context.Context, a address.Address, tsk api.TipSetKey) (*abi.StoragePower, error)
}

// refusal is a reason that the client is told word for word.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// serverError is what a client is told about a failure that is not its own.
func serverError(doing string, err error) error {
	return fmt.Errorf("server error: %s: %w", doing, err)
}

// standing is what the chain said while a proposal was judged.
type standing struct {
	head  abi.ChainEpoch
	funds abi.TokenAmount // of the client in escrow, not locked; attoFIL
}

// validate makes the checks of stage A, in order.
func validate(ctx context.Context, pol Policy, chain ChainView, ask api.StorageAskInfo, cdp market.ClientDealProposal) (st standing,
	err error) {
	head, err := chain.ChainHead(ctx)
	if err != nil {
		return st, serverError("getting chain head", err)
	}
	p := cdp.Proposal
	if !p.PieceCID.Defined() {
		return st, refuse("proposal PieceCID undefined")
	}
	if err := checkSignature(ctx, chain, cdp); err != nil {
		return st, err
	}
	if err := checkTerms(pol, p, head.Height); err != nil {
		return st, err
	}
	if err := checkCollateral(ctx, pol, chain, p); err != nil {
		return st, err
	}
	if err := checkAsk(ask, p); err != nil {
		return st, err
	}
	st.head = head.Height
	st.funds, err = checkClient(ctx, chain, p)
	return st, err
}

func checkSignature(ctx context.Context, chain ChainView, cdp market.ClientDealProposal) error {
	if cdp.Proposal.Client == address.Undef {
		return refuse("invalid signature: no client address")
	}
	key, err := chain.StateAccountKey(ctx, cdp.Proposal.Client, nil)
	if err != nil {
		return serverError("validating signature", err)
	}
	var buf bytes.Buffer
	if err := cdp.Proposal.MarshalCBOR(&buf); err != nil {
		return refuse("invalid signature: %s", err)
	}
	if err := filcrypto.Verify(&cdp.ClientSignature, key, buf.Bytes()); err != nil {
		return refuse("invalid signature")
	}
	return nil
}

func checkTerms(pol Policy, p market.DealProposal, head abi.ChainEpoch) error {
	duration := p.EndEpoch - p.StartEpoch
	if p.Provider != pol.Miner {
		return refuse("incorrect provider for deal; proposal.Provider: %s; provider.Address: %s", p.Provider, pol.Miner)
	}
	if p.Label.Length() > market.DealMaxLabelSize {
		return refuse("deal label can be at most %d bytes, is %d", market.DealMaxLabelSize, p.Label.Length())
	}
	if err := p.PieceSize.Validate(); err != nil {
		return refuse("proposal piece size is invalid: %s", err)
	}
	if !isPieceCID(p.PieceCID) {
		return refuse("proposal PieceCID had wrong prefix")
	}
	if p.StartEpoch < 0 || p.EndEpoch <= p.StartEpoch {
		return refuse("proposal end %d before proposal start %d", p.EndEpoch, p.StartEpoch)
	}
	if head > p.StartEpoch {
		return refuse("deal start epoch %d has already elapsed (current epoch: %d)", p.StartEpoch, head)
	}
	if duration < pol.MinDuration || duration > pol.MaxDuration {
		return refuse("deal duration out of bounds (min, max, provided): %d, %d, %d", pol.MinDuration, pol.MaxDuration, duration)
	}
	if p.EndEpoch > head+pol.MaxExtension {
		return refuse("invalid deal end epoch %d: cannot be more than %d past current epoch %d", p.EndEpoch, pol.MaxExtension, head)
	}
	return nil
}

func isPieceCID(c cid.Cid) bool {
	_, err := commcid.CIDToPieceCommitmentV1(c)
	return err == nil
}

func checkCollateral(ctx context.Context, pol Policy, chain ChainView, p market.DealProposal) error {
	for _, v := range []abi.TokenAmount{p.ProviderCollateral, p.ClientCollateral, p.StoragePricePerEpoch} {
		if v.Nil() || v.Sign() < 0 {
			return refuse("proposal has a negative amount")
		}
	}
	bounds, err := chain.StateDealProviderCollateralBounds(ctx, p.PieceSize, p.VerifiedDeal, nil)
	if err != nil {
		return serverError("getting collateral bounds", err)
	}
	if p.ProviderCollateral.LessThan(bounds.Min) {
		return refuse("proposed provider collateral %s below minimum %s", p.ProviderCollateral, bounds.Min)
	}
	highest := big.Mul(bounds.Min, big.NewInt(pol.CollateralMultiplier))
	if p.ProviderCollateral.GreaterThan(highest) {
		return refuse("proposed provider collateral %s above maximum %s", p.ProviderCollateral, highest)
	}
	return nil
}

// PricePerEpoch is the least a piece costs per epoch at price attoFIL per GiB.
func PricePerEpoch(price abi.TokenAmount, size abi.PaddedPieceSize) abi.TokenAmount {
	return big.Div(big.Mul(price, big.NewIntUnsigned(uint64(size))), big.NewInt(1<<30))
}

func checkAsk(ask api.StorageAskInfo, p market.DealProposal) error {
	price := ask.Price
	if p.VerifiedDeal {
		price = ask.VerifiedPrice
	}
	least := PricePerEpoch(price, p.PieceSize)
	if p.StoragePricePerEpoch.LessThan(least) {
		return refuse("storage price per epoch less than asking price: %s < %s", p.StoragePricePerEpoch, least)
	}
	if p.PieceSize < ask.MinPieceSize {
		return refuse("piece size less than minimum required size: %d < %d", p.PieceSize, ask.MinPieceSize)
	}
	if p.PieceSize > ask.MaxPieceSize {
		return refuse("piece size more than maximum allowed size: %d > %d", p.PieceSize, ask.MaxPieceSize)
	}
	return nil
}

// checkClient returns what the client has in escrow for this deal and others.
func checkClient(ctx context.Context, chain ChainView, p market.DealProposal) (abi.TokenAmount, error) {
	bal, err := chain.StateMarketBalance(ctx, p.Client, nil)
	if err != nil {
		return big.Zero(), serverError("getting market balance", err)
	}
	available := big.Sub(bal.Escrow, bal.Locked)
	if cost := p.ClientBalanceRequirement(); available.LessThan(cost) {
		return available, refuse("%s %s not enough to meet storage cost for deal %s", wire.ReasonEscrow, available, cost)
	}
	if !p.VerifiedDeal {
		return available, nil
	}
	dataCap, err := chain.StateVerifiedClientStatus(ctx, p.Client, nil)
	if err != nil {
		return available, serverError("getting verified datacap", err)
	}
	if dataCap == nil {
		return available, refuse("client is not a verified client")
	}
	if dataCap.LessThan(big.NewIntUnsigned(uint64(p.PieceSize))) {
		return available, refuse("verified deal DataCap %s too small for proposed piece size %d", dataCap, p.PieceSize)
	}
	return available, nil
}

// affordable checks the client's funds against the deals in hand too: the chain
// locks nothing until a deal is published, so that one escrow would otherwise
// pay for any number of deals accepted meanwhile.
func affordable(p market.DealProposal, funds abi.TokenAmount) func(live []*Record) error {
	return func(live []*Record) error {
		promised := big.Zero()
		for _, r := range live {
			if !awaitsPublish(r.Checkpoint) {
				continue
			}
			other, err := r.Proposal()
			if err != nil {
				return serverError("reading deal "+r.UUID.String(), err)
			}
			if other.Proposal.Client == p.Client {
				promised = big.Add(promised, other.Proposal.ClientBalanceRequirement())
			}
		}
		if cost := p.ClientBalanceRequirement(); big.Sub(funds, promised).LessThan(cost) {
			return refuse("%s %s, of which %s are promised to deals not published yet, not enough to meet storage cost for deal %s",
				wire.ReasonEscrow, funds, promised, cost)
		}
		return nil
	}
}

// awaitsPublish tells whether the chain does not lock the client's funds yet.
func awaitsPublish(c api.DealCheckpoint) bool {
	switch c {
	case api.DealAccepted, api.DealTransferred, api.DealPublished:
		return true
	}
	return false
}

// transferParams checks B1: can these bytes be had at all.
func transferParams(p *wire.DealParams) (wire.TransferParams, error) {
	var tp wire.TransferParams
	if p.IsOffline {
		return tp, refuse("miner is not accepting offline storage deals")
	}
	if p.Transfer.Type != "http" {
		return tp, refuse("cannot parse params for unrecognized transfer type '%s'", p.Transfer.Type)
	}
	if err := json.Unmarshal(p.Transfer.Params, &tp); err != nil {
		return tp, refuse("server error: get deal transfer host: %s", err)
	}
	if err := transfer.CheckURL(tp.URL); err != nil {
		return tp, refuse("server error: get deal transfer host: %s", err)
	}
	unpadded := uint64(p.ClientDealProposal.Proposal.PieceSize.Unpadded())
	if p.Transfer.Size == 0 || p.Transfer.Size > unpadded {
		return tp, refuse("transfer size %d does not fit a piece of %d bytes", p.Transfer.Size, unpadded)
	}
	return tp, nil
}

// considered makes the checks of stage C.
func considered(pol Policy, p market.DealProposal, head abi.ChainEpoch) error {
	switch {
	case !pol.ConsiderOnline:
		return refuse("miner is not considering online storage deals")
	case p.VerifiedDeal && !pol.ConsiderVerified:
		return refuse("miner is not accepting verified storage deals")
	case !p.VerifiedDeal && !pol.ConsiderUnverified:
		return refuse("miner is not accepting unverified storage deals")
	}
	for _, c := range pol.Blocklist {
		if c.Equals(p.PieceCID) {
			return refuse("miner has blocklisted piece CID %s", c)
		}
	}
	if p.StartEpoch < head+pol.MinSealing {
		return refuse("cannot seal a sector before %d", p.StartEpoch)
	}
	if latest := head + pol.MaxStartDelay; p.StartEpoch > latest {
		return refuse("deal start epoch is too far in the future: %d > %d", p.StartEpoch, latest)
	}
	return nil
}
