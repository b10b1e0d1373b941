package deals

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/internal/filcrypto"
	"quarry/markets/wire"
)

const head = 1000

var (
	provider, _ = address.NewIDAddress(1000)
	pieceP      = cid.MustParse("baga6ea4seaqofo6d7zmjr5crnswer5f2m5hdpumdj2co7eaw7teqzqhns4ytyni")
	rootCid     = cid.MustParse("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
)

// view is a chain for acceptance; err makes the named call fail.
type view struct {
	escrow  int64
	dataCap *abi.StoragePower
	fail    string
}

func (v *view) err(call string) error {
	if v.fail == call {
		return errors.New("node is away")
	}
	return nil
}

func (v *view) ChainHead(context.Context) (*api.TipSet, error) {
	return &api.TipSet{Height: head}, v.err("head")
}

func (v *view) StateAccountKey(_ context.Context, a address.Address, _ api.TipSetKey) (address.Address, error) {
	return a, v.err("key")
}

func (v *view) StateMarketBalance(context.Context, address.Address, api.TipSetKey) (api.MarketBalance, error) {
	return api.MarketBalance{Escrow: big.NewInt(v.escrow + 5), Locked: big.NewInt(5)}, v.err("balance")
}

func (v *view) StateDealProviderCollateralBounds(context.Context, abi.PaddedPieceSize, bool,
	api.TipSetKey) (api.DealCollateralBounds, error) {
	return api.DealCollateralBounds{Min: big.NewInt(300)}, v.err("bounds")
}

func (v *view) StateVerifiedClientStatus(context.Context, address.Address, api.TipSetKey) (*abi.StoragePower, error) {
	return v.dataCap, v.err("datacap")
}

func (v *view) StateMarketStorageDeal(context.Context, abi.DealID, api.TipSetKey) (*api.MarketDeal, error) {
	return nil, errors.New("no deals")
}

func policy() Policy {
	return Policy{
		Miner:                provider,
		MinDuration:          518400,
		MaxDuration:          3680640,
		MaxExtension:         3680640,
		CollateralMultiplier: 2,
		MinSealing:           100,
		MaxStartDelay:        40320,
		ConsiderOnline:       true,
		ConsiderVerified:     true,
		ConsiderUnverified:   true,
	}
}

// fixture is everything one proposal is judged by; tests change one thing.
type fixture struct {
	params  wire.DealParams
	chain   view
	policy  Policy
	resign  bool
	private []byte
}

func good(t testing.TB) *fixture {
	priv, err := filcrypto.Generate(crypto.SigTypeSecp256k1, rand.Reader)
	require.NoError(t, err)
	client, err := filcrypto.PublicAddress(crypto.SigTypeSecp256k1, priv)
	require.NoError(t, err)
	label, _ := market.NewLabelFromString("hi")
	tp, _ := json.Marshal(wire.TransferParams{URL: "http://example.com/x.car"})
	f := &fixture{policy: policy(), chain: view{escrow: 518400}, resign: true, private: priv}
	f.params = wire.DealParams{DealUUID: uuid.New(), DealDataRoot: rootCid, Transfer: wire.Transfer{Type: "http", Params: tp, Size: 1000},
		ClientDealProposal: market.ClientDealProposal{Proposal: market.DealProposal{
			PieceCID:             pieceP,
			PieceSize:            1024,
			Client:               client,
			Provider:             provider,
			Label:                label,
			StartEpoch:           2880,
			EndEpoch:             2880 + 518400,
			StoragePricePerEpoch: big.NewInt(1),
			ProviderCollateral:   big.NewInt(300),
			ClientCollateral:     big.Zero(),
		}}}
	return f
}

func (f *fixture) prop() *market.DealProposal { return &f.params.ClientDealProposal.Proposal }

func (f *fixture) sign(t testing.TB) {
	if !f.resign {
		return
	}
	var buf bytes.Buffer
	require.NoError(t, f.prop().MarshalCBOR(&buf))
	sig, err := filcrypto.Sign(crypto.SigTypeSecp256k1, f.private, buf.Bytes())
	require.NoError(t, err)
	f.params.ClientDealProposal.ClientSignature = *sig
}

func (f *fixture) provider(t *testing.T, ds datastore.Batching) *Provider {
	st, err := OpenStore(context.Background(), ds)
	require.NoError(t, err)
	p, err := New(Config{Policy: f.policy, StagingDir: t.TempDir()},
		Deps{Store: st, Chain: &f.chain, Ask: func(context.Context) (api.StorageAskInfo, error) {
			return api.StorageAskInfo{Price: big.NewInt(1 << 20), VerifiedPrice: big.NewInt(1 << 20), MinPieceSize: 256,
				MaxPieceSize: 2048}, nil
		}})
	require.NoError(t, err)
	return p
}

func memory() datastore.Batching { return dssync.MutexWrap(datastore.NewMapDatastore()) }

func TestAcceptanceTable(t *testing.T) {
	longest, err := market.NewLabelFromString(strings.Repeat("x", market.DealMaxLabelSize))
	require.NoError(t, err)
	var long market.DealLabel // cannot be made, only received
	require.NoError(t, long.UnmarshalCBOR(bytes.NewReader(append([]byte{0x79, 0x01, 0x01}, bytes.Repeat([]byte("x"), 257)...))))
	other, _ := address.NewIDAddress(77)
	little := big.NewInt(512)
	tests := []struct {
		name   string
		change func(f *fixture)
		want   string // "" accepts
	}{
		{"good", func(*fixture) {}, ""},
		{"A1", func(f *fixture) { f.chain.fail = "head" }, "failed validation: server error: getting chain head: node is away"},
		{"A3 bad", func(f *fixture) {
			f.resign = false
			f.params.ClientDealProposal.ClientSignature = crypto.Signature{Type: crypto.SigTypeSecp256k1, Data: make([]byte, 65)}
		}, "failed validation: invalid signature"},
		{"A3 signed by someone else", func(f *fixture) {
			f.private, _ = filcrypto.Generate(crypto.SigTypeSecp256k1, rand.Reader)
		}, "failed validation: invalid signature"},
		{"A3 server", func(f *fixture) { f.chain.fail = "key" }, "failed validation: server error: validating signature: node is away"},
		{"A4", func(f *fixture) { f.prop().Provider = other },
			"failed validation: incorrect provider for deal; proposal.Provider: f077; provider.Address: f01000"},
		{"A5", func(f *fixture) { f.prop().Label = long }, "failed validation: deal label can be at most 256 bytes, is 257"},
		{"A5 longest", func(f *fixture) { f.prop().Label = longest }, ""},
		{"A6", func(f *fixture) { f.prop().PieceSize = 1000 }, "failed validation: proposal piece size is invalid: "},
		{"A7", func(f *fixture) { f.prop().PieceCID = rootCid }, "failed validation: proposal PieceCID had wrong prefix"},
		{"A8", func(f *fixture) { f.prop().EndEpoch = 2880 }, "failed validation: proposal end 2880 before proposal start 2880"},
		{"A8 epoch 0", func(f *fixture) { f.prop().StartEpoch = 0 }, "failed validation: deal start epoch 0 has already elapsed"},
		{"A8 before epoch 0", func(f *fixture) { f.prop().StartEpoch = -1 },
			"failed validation: proposal end 521280 before proposal start -1"},
		{"A9 at the head", func(f *fixture) {
			f.policy.MinSealing = 0
			f.prop().StartEpoch, f.prop().EndEpoch = head, head+518400
		}, ""},
		{"A9", func(f *fixture) { f.prop().StartEpoch = head - 1 },
			"failed validation: deal start epoch 999 has already elapsed (current epoch: 1000)"},
		{"A10", func(f *fixture) { f.prop().EndEpoch-- },
			"failed validation: deal duration out of bounds (min, max, provided): 518400, 3680640, 518399"},
		{"A10 longest", func(f *fixture) {
			f.policy.MaxDuration, f.policy.MaxExtension = 518400, 1<<40
		}, ""},
		{"A10 too long", func(f *fixture) {
			f.policy.MaxDuration, f.policy.MaxExtension = 518399, 1<<40
		}, "failed validation: deal duration out of bounds (min, max, provided): 518400, 518399, 518400"},
		{"A11 latest", func(f *fixture) { f.policy.MaxExtension = 2880 + 518400 - head }, ""},
		{"A11 too late", func(f *fixture) { f.policy.MaxExtension = 2880 + 518400 - head - 1 },
			"failed validation: invalid deal end epoch 521280: cannot be more than 520279 past current epoch 1000"},
		{"A11", func(f *fixture) { f.prop().EndEpoch = 3680640 + 1001 },
			"failed validation: invalid deal end epoch 3681641: cannot be more than 3680640 past current epoch 1000"},
		{"A12", func(f *fixture) { f.prop().ProviderCollateral = big.NewInt(299) },
			"failed validation: proposed provider collateral 299 below minimum 300"},
		{"A12 server", func(f *fixture) { f.chain.fail = "bounds" }, "failed validation: server error: getting collateral bounds"},
		{"A13", func(f *fixture) { f.prop().ProviderCollateral = big.NewInt(601) },
			"failed validation: proposed provider collateral 601 above maximum 600"},
		{"A14", func(f *fixture) { f.prop().StoragePricePerEpoch = big.Zero() },
			"failed validation: storage price per epoch less than asking price: 0 < 1"},
		{"A15", func(f *fixture) { f.prop().PieceSize = 128 }, "failed validation: piece size less than minimum required size: 128 < 256"},
		{"A16", func(f *fixture) { f.prop().PieceSize = 4096; f.prop().StoragePricePerEpoch = big.NewInt(9) },
			"failed validation: piece size more than maximum allowed size: 4096 > 2048"},
		{"A15 smallest", func(f *fixture) { f.prop().PieceSize = 256; f.params.Transfer.Size = 254 }, ""},
		{"A16 largest", func(f *fixture) {
			f.prop().PieceSize, f.prop().StoragePricePerEpoch = 2048, big.NewInt(2)
			f.chain.escrow *= 2
		}, ""},
		{"A17", func(f *fixture) { f.chain.escrow-- },
			"failed validation: client available funds in escrow 518399 not enough to meet storage cost for deal 518400"},
		{"A17 server", func(f *fixture) { f.chain.fail = "balance" }, "failed validation: server error: getting market balance"},
		{"A18", func(f *fixture) { f.prop().VerifiedDeal = true }, "failed validation: client is not a verified client"},
		{"A19", func(f *fixture) { f.prop().VerifiedDeal = true; f.chain.dataCap = &little },
			"failed validation: verified deal DataCap 512 too small for proposed piece size 1024"},
		{"negative", func(f *fixture) { f.prop().ClientCollateral = big.NewInt(-1) }, "failed validation: proposal has a negative amount"},
		{"B1 type", func(f *fixture) { f.params.Transfer.Type = "carrier pigeon" },
			"cannot parse params for unrecognized transfer type 'carrier pigeon'"},
		{"B1 params", func(f *fixture) { f.params.Transfer.Params = []byte("{") }, "server error: get deal transfer host: "},
		{"B1 libp2p", func(f *fixture) { f.params.Transfer.Params = []byte(`{"URL":"libp2p:///ip4/1.2.3.4"}`) }, "not built yet"},
		{"B1 size", func(f *fixture) { f.params.Transfer.Size = 1017 }, "transfer size 1017 does not fit a piece of 1016 bytes"},
		{"B1 largest", func(f *fixture) { f.params.Transfer.Size = 1016 }, ""},
		{"B1 nothing", func(f *fixture) { f.params.Transfer.Size = 0 }, "transfer size 0 does not fit"},
		{"C1", func(f *fixture) { f.policy.ConsiderOnline = false }, "miner is not considering online storage deals"},
		{"C2", func(f *fixture) { f.params.IsOffline = true }, "miner is not accepting offline storage deals"},
		{"C3", func(f *fixture) {
			f.prop().VerifiedDeal, f.policy.ConsiderVerified = true, false
			f.chain.dataCap = &abi.StoragePower{Int: big.NewInt(1 << 20).Int}
		}, "miner is not accepting verified storage deals"},
		{"C4", func(f *fixture) { f.policy.ConsiderUnverified = false }, "miner is not accepting unverified storage deals"},
		{"C5", func(f *fixture) { f.policy.Blocklist = []cid.Cid{pieceP} }, "miner has blocklisted piece CID " + pieceP.String()},
		{"C6", func(f *fixture) { f.policy.MinSealing = 1881 }, "cannot seal a sector before 2880"},
		{"C6 in time", func(f *fixture) { f.policy.MinSealing = 1880 }, ""},
		{"C7 latest", func(f *fixture) { f.policy.MaxStartDelay = 1880 }, ""},
		{"C7", func(f *fixture) { f.policy.MaxStartDelay = 1879 }, "deal start epoch is too far in the future: 2880 > 2879"},
		{"E2", func(f *fixture) { f.policy.MaxStagingBytes = 999 }, "server error: provider has no space left for storage deals"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := good(t)
			tt.change(f)
			f.sign(t)
			p := f.provider(t, memory())
			resp := p.Propose(context.Background(), &f.params, "peer")
			require.Equal(t, tt.want == "", resp.Accepted, resp.Message)
			require.Contains(t, resp.Message, tt.want)
			require.Equal(t, tt.want == "", len(p.deps.Store.List()) == 1, "only accepted deals are stored")
		})
	}
}

func TestUniqueAlsoAfterRestart(t *testing.T) {
	f := good(t)
	f.sign(t)
	ds := memory()
	require.True(t, f.provider(t, ds).Propose(context.Background(), &f.params, "peer").Accepted)
	first := f.params.DealUUID
	p := f.provider(t, ds)
	f.params.DealUUID = uuid.New()
	require.Contains(t, p.Propose(context.Background(), &f.params, "peer").Message, "deal proposal is identical to deal "+first.String())
	f.params.DealUUID = first
	f.prop().StartEpoch++
	f.prop().EndEpoch++
	f.sign(t)
	require.Contains(t, p.Propose(context.Background(), &f.params, "peer").Message, "deal has the same uuid as deal "+first.String())
}

func TestStagingCountsLiveDeals(t *testing.T) {
	f := good(t)
	f.policy.MaxStagingBytes = 1500
	f.sign(t)
	p := f.provider(t, memory())
	require.True(t, p.Propose(context.Background(), &f.params, "peer").Accepted)
	id := f.params.DealUUID
	f.params.DealUUID = uuid.New()
	f.prop().EndEpoch++
	f.chain.escrow *= 2
	f.sign(t)
	require.Contains(t, p.Propose(context.Background(), &f.params, "peer").Message, "no space left")
	_, err := p.deps.Store.Update(context.Background(), id, func(r *Record) { r.Checkpoint = api.DealIndexed })
	require.NoError(t, err)
	require.Contains(t, p.Propose(context.Background(), &f.params, "peer").Message, "no space left",
		"the bytes stay until the deal is active")
	_, err = p.deps.Store.Update(context.Background(), id, func(r *Record) { r.Checkpoint = api.DealComplete })
	require.NoError(t, err)
	require.True(t, p.Propose(context.Background(), &f.params, "peer").Accepted)
}

// One escrow does not pay for two deals that wait to be published.
func TestFundsCountForOneDeal(t *testing.T) {
	f := good(t)
	f.sign(t)
	p := f.provider(t, memory())
	require.True(t, p.Propose(context.Background(), &f.params, "peer").Accepted)
	id := f.params.DealUUID
	f.params.DealUUID = uuid.New()
	f.prop().StartEpoch++
	f.prop().EndEpoch++
	f.sign(t)
	for _, c := range []api.DealCheckpoint{api.DealAccepted, api.DealTransferred, api.DealPublished} {
		_, err := p.deps.Store.Update(context.Background(), id, func(r *Record) { r.Checkpoint = c })
		require.NoError(t, err)
		answer := p.Propose(context.Background(), &f.params, "peer")
		require.False(t, answer.Accepted)
		require.Contains(t, answer.Message, wire.ReasonEscrow)
		require.Contains(t, answer.Message, "518400 are promised")
	}
	f.chain.escrow *= 2
	require.True(t, p.Propose(context.Background(), &f.params, "peer").Accepted)
	f.chain.escrow /= 2
	f.params.DealUUID = uuid.New()
	f.prop().StartEpoch++
	f.prop().EndEpoch++
	f.sign(t)
	for _, r := range p.deps.Store.List() { // locked on chain: no longer promised
		_, err := p.deps.Store.Update(context.Background(), r.UUID, func(r *Record) { r.Checkpoint = api.DealPublishConfirmed })
		require.NoError(t, err)
	}
	require.True(t, p.Propose(context.Background(), &f.params, "peer").Accepted)
}

func TestPagesNewestFirstAndLogIsBounded(t *testing.T) {
	ctx, ds := context.Background(), memory()
	st, err := OpenStore(ctx, ds)
	require.NoError(t, err)
	f := good(t)
	base := time.Now()
	for i := range 5 {
		f.params.DealUUID = uuid.New()
		f.prop().EndEpoch++
		f.sign(t)
		rec, err := newRecord(&f.params, wire.TransferParams{URL: "http://x"}, "p", "token", base.Add(time.Duration(i)*time.Second))
		require.NoError(t, err)
		require.NoError(t, st.Insert(ctx, rec, func([]*Record) error { return nil }))
	}
	var seen []time.Time
	for cursor := ""; ; {
		page, err := st.Page(api.DealQuery{Cursor: cursor, Limit: 2})
		require.NoError(t, err)
		for _, d := range page.Deals {
			seen = append(seen, d.Created)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	require.Len(t, seen, 5)
	for i := 1; i < len(seen); i++ {
		require.True(t, seen[i].Before(seen[i-1]))
	}
	rec, err := st.Update(ctx, f.params.DealUUID, func(r *Record) {
		for i := range 300 {
			r.logf(base, "line %d", i)
		}
	})
	require.NoError(t, err)
	require.Len(t, rec.Log, maxLog)
	again, err := OpenStore(ctx, ds)
	require.NoError(t, err)
	require.Len(t, again.List(), 5)
	info, err := rec.Info(true)
	require.NoError(t, err)
	b, _ := json.Marshal(info)
	require.NotContains(t, string(b), "token")
}
