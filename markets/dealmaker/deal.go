package dealmaker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"quarry/api"
	"quarry/internal/filcrypto"
	"quarry/internal/printable"
	mnet "quarry/markets/net"
	"quarry/markets/wire"
)

// Chain is what a client needs of a full node; the node's wallet signs.
type Chain interface {
	ChainHead(ctx context.Context) (*api.TipSet, error)
	StateMinerInfo(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MinerInfo, error)
	StateAccountKey(ctx context.Context, a address.Address, tsk api.TipSetKey) (address.Address, error)
	StateLookupID(ctx context.Context, a address.Address, tsk api.TipSetKey) (address.Address, error)
	StateMarketBalance(ctx context.Context, a address.Address, tsk api.TipSetKey) (api.MarketBalance, error)
	StateDealProviderCollateralBounds(ctx context.Context, size abi.PaddedPieceSize, verified bool,
		tsk api.TipSetKey) (api.DealCollateralBounds, error)
	StateWaitMsg(ctx context.Context, msg cid.Cid, confidence uint64, lookback abi.ChainEpoch, allowReplaced bool) (*api.MsgLookup, error)
	WalletSign(ctx context.Context, a address.Address, data []byte) (*crypto.Signature, error)
	MarketAddBalance(ctx context.Context, wallet, addr address.Address, amt abi.TokenAmount) (cid.Cid, error)
}

// Client makes deals. The host need not listen.
type Client struct {
	Chain Chain
	Host  host.Host
}

// Provider is a storage provider as the chain describes it.
type Provider struct {
	Miner address.Address
	Info  api.MinerInfo
	Peer  peer.AddrInfo
}

// Provider looks a provider up and connects to it.
func (c *Client) Provider(ctx context.Context, miner address.Address) (*Provider, error) {
	info, err := c.Chain.StateMinerInfo(ctx, miner, nil)
	if err != nil {
		return nil, fmt.Errorf("look up storage provider %s: %w", miner, err)
	}
	p := &Provider{Miner: miner, Info: info}
	if p.Peer, err = mnet.ProviderInfo(info, miner.String()); err != nil {
		return nil, err
	}
	if err := c.Host.Connect(ctx, p.Peer); err != nil {
		return nil, fmt.Errorf("connect to storage provider %s at %v: %w", miner, p.Peer.Addrs, err)
	}
	return p, nil
}

// Ask asks for the offer and checks who signed it.
func (c *Client) Ask(ctx context.Context, p *Provider) (*wire.StorageAsk, error) {
	var resp wire.AskResponse
	if err := mnet.Ask(ctx, c.Host, p.Peer.ID, []string{wire.ProtocolAsk}, &wire.AskRequest{Miner: p.Miner}, &resp,
		wire.MaxMessage); err != nil {
		return nil, err
	}
	if resp.Ask == nil || resp.Ask.Ask == nil || resp.Ask.Signature == nil {
		return nil, fmt.Errorf("peer %s makes no offer for %s", p.Peer.ID, p.Miner)
	}
	a := resp.Ask.Ask
	if a.Miner != p.Miner {
		return nil, fmt.Errorf("asked for the offer of %s, got that of %s", p.Miner, a.Miner)
	}
	key, err := c.Chain.StateAccountKey(ctx, p.Info.Worker, nil)
	if err != nil {
		return nil, fmt.Errorf("find the worker key of %s: %w", p.Miner, err)
	}
	var buf bytes.Buffer
	if err := a.MarshalCBOR(&buf); err != nil {
		return nil, err
	}
	if err := filcrypto.Verify(resp.Ask.Signature, key, buf.Bytes()); err != nil {
		return nil, fmt.Errorf("the offer of %s is not signed by its worker: %w", p.Miner, err)
	}
	return a, nil
}

// Terms of a deal; epochs and attoFIL.
type Terms struct {
	Wallet        address.Address
	StartDelay    abi.ChainEpoch // from the head to the start epoch
	Duration      abi.ChainEpoch
	Price         abi.TokenAmount // per epoch for the piece; nil: the ask
	Verified      bool
	URL           string
	Headers       map[string]string
	RemoveUnseal  bool
	SkipAnnounce  bool
	AutoAddEscrow bool // move funds into the market escrow when short
}

// Proposal makes and signs a proposal.
func (c *Client) Proposal(ctx context.Context, p *Provider, ask *wire.StorageAsk, car *CAR, t Terms) (*wire.DealParams, error) {
	prop, err := c.terms(ctx, p, ask, car, t)
	if err != nil {
		return nil, err
	}
	if err := c.escrow(ctx, prop, t); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := prop.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode proposal: %w", err)
	}
	sig, err := c.Chain.WalletSign(ctx, t.Wallet, buf.Bytes())
	if err != nil {
		return nil, fmt.Errorf("sign proposal with %s: %w", t.Wallet, err)
	}
	params, err := json.Marshal(wire.TransferParams{URL: t.URL, Headers: t.Headers})
	if err != nil {
		return nil, err
	}
	root := car.Root
	if !root.Defined() {
		root = car.PieceCID // a payload without a DAG still needs some CID on the wire
	}
	return &wire.DealParams{
		DealUUID:           uuid.New(),
		DealDataRoot:       root,
		SkipIPNIAnnounce:   t.SkipAnnounce,
		RemoveUnsealedCopy: t.RemoveUnseal,
		Transfer:           wire.Transfer{Type: "http", Params: params, Size: car.Size},
		ClientDealProposal: market.ClientDealProposal{Proposal: *prop, ClientSignature: *sig},
	}, nil
}

func (c *Client) terms(ctx context.Context, p *Provider, ask *wire.StorageAsk, car *CAR, t Terms) (*market.DealProposal, error) {
	head, err := c.Chain.ChainHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting chain head: %w", err)
	}
	bounds, err := c.Chain.StateDealProviderCollateralBounds(ctx, car.PieceSize, t.Verified, nil)
	if err != nil {
		return nil, fmt.Errorf("getting collateral bounds: %w", err)
	}
	text := ""
	if car.Root.Defined() {
		text = car.Root.String()
	}
	label, err := market.NewLabelFromString(text)
	if err != nil {
		return nil, err
	}
	price := t.Price
	if price.Nil() {
		perGiB := ask.Price
		if t.Verified {
			perGiB = ask.VerifiedPrice
		}
		price = big.Div(big.Mul(perGiB, big.NewIntUnsigned(uint64(car.PieceSize))), big.NewInt(1<<30))
	}
	start := head.Height + t.StartDelay
	return &market.DealProposal{
		PieceCID:             car.PieceCID,
		PieceSize:            car.PieceSize,
		VerifiedDeal:         t.Verified,
		Client:               t.Wallet,
		Provider:             p.Miner,
		Label:                label,
		StartEpoch:           start,
		EndEpoch:             start + t.Duration,
		StoragePricePerEpoch: price,
		// A fifth above the minimum, which moves with the circulating supply.
		ProviderCollateral: big.Div(big.Mul(bounds.Min, big.NewInt(6)), big.NewInt(5)),
		ClientCollateral:   big.Zero(),
	}, nil
}

// escrow makes sure that the market actor holds what the deal costs.
func (c *Client) escrow(ctx context.Context, prop *market.DealProposal, t Terms) error {
	bal, err := c.Chain.StateMarketBalance(ctx, prop.Client, nil)
	var unknown *api.ErrActorNotFound
	if errors.As(err, &unknown) {
		// An account so new that the state asked about does not have it yet.
		bal, err = api.MarketBalance{Escrow: big.Zero(), Locked: big.Zero()}, nil
	}
	if err != nil {
		return fmt.Errorf("getting market balance: %w", err)
	}
	lacking := big.Sub(prop.ClientBalanceRequirement(), big.Sub(bal.Escrow, bal.Locked))
	if lacking.Sign() <= 0 {
		return nil
	}
	if !t.AutoAddEscrow {
		return fmt.Errorf("the market escrow of %s lacks %s attoFIL for this deal", prop.Client, lacking)
	}
	return c.addEscrow(ctx, t.Wallet, prop.Client, lacking)
}

// addEscrow moves funds and waits until the market actor has them.
func (c *Client) addEscrow(ctx context.Context, wallet, client address.Address, amount abi.TokenAmount) error {
	msg, err := c.Chain.MarketAddBalance(ctx, wallet, client, amount)
	if err != nil {
		return fmt.Errorf("add %s attoFIL to the market escrow of %s: %w", amount, client, err)
	}
	lookup, err := c.Chain.StateWaitMsg(ctx, msg, 1, -1, true)
	if err != nil {
		return fmt.Errorf("wait for escrow message %s: %w", msg, err)
	}
	if lookup.Receipt.ExitCode != 0 {
		return fmt.Errorf("escrow message %s failed with exit code %d", msg, lookup.Receipt.ExitCode)
	}
	return nil
}

// ErrRejected carries the provider's reason.
type ErrRejected struct{ Reason string }

func (e *ErrRejected) Error() string { return "deal proposal rejected: " + e.Reason }

// Propose sends a proposal; *ErrRejected when the provider says no.
func (c *Client) Propose(ctx context.Context, p *Provider, params *wire.DealParams) error {
	var resp wire.DealResponse
	if err := mnet.Ask(ctx, c.Host, p.Peer.ID, []string{wire.ProtocolDeal121, wire.ProtocolDeal120}, params, &resp,
		wire.MaxMessage); err != nil {
		return err
	}
	printable.Clean(&resp)
	if !resp.Accepted {
		return &ErrRejected{resp.Message}
	}
	return nil
}

// ProposeFunded is Propose for a client with other deals in hand. The chain
// locks nothing until a deal is published, so only the provider knows how much
// of the escrow is promised already; where it says that too little is left, the
// whole cost of this deal is added, once, and the same proposal sent again. What
// turns out to be too much stays the client's own.
func (c *Client) ProposeFunded(ctx context.Context, p *Provider, params *wire.DealParams) error {
	err := c.Propose(ctx, p, params)
	var no *ErrRejected
	if !errors.As(err, &no) || !strings.Contains(no.Reason, wire.ReasonEscrow) {
		return err
	}
	prop := params.ClientDealProposal.Proposal
	if err := c.addEscrow(ctx, prop.Client, prop.Client, prop.ClientBalanceRequirement()); err != nil {
		return err
	}
	return c.Propose(ctx, p, params)
}

// Status asks how a deal stands, signing with the wallet that proposed it.
func (c *Client) Status(ctx context.Context, p *Provider, wallet address.Address, id uuid.UUID) (*wire.DealStatusResponse, error) {
	sig, err := c.Chain.WalletSign(ctx, wallet, id[:])
	if err != nil {
		return nil, fmt.Errorf("sign status request with %s: %w", wallet, err)
	}
	var resp wire.DealStatusResponse
	if err := mnet.Ask(ctx, c.Host, p.Peer.ID, []string{wire.ProtocolStatus},
		&wire.DealStatusRequest{DealUUID: id, Signature: *sig}, &resp, wire.MaxMessage); err != nil {
		return nil, err
	}
	printable.Clean(&resp)
	if resp.Error != "" {
		return &resp, errors.New(resp.Error)
	}
	if resp.DealStatus == nil {
		return &resp, errors.New("the provider sent no status")
	}
	return &resp, nil
}
