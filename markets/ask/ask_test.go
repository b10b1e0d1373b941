package ask

import (
	"bytes"
	"context"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-datastore"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

var (
	miner, _  = address.NewIDAddress(1000)
	worker, _ = address.NewIDAddress(1001)
)

type chain struct {
	height abi.ChainEpoch
	signed []byte
	by     address.Address
}

func (c *chain) ChainHead(context.Context) (*api.TipSet, error) {
	return &api.TipSet{Height: c.height}, nil
}

func (c *chain) StateMinerInfo(context.Context, address.Address, api.TipSetKey) (api.MinerInfo, error) {
	return api.MinerInfo{Worker: worker, SectorSize: 2048}, nil
}

func (c *chain) WalletSign(_ context.Context, a address.Address, data []byte) (*crypto.Signature, error) {
	c.by, c.signed = a, data
	return &crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte{1}}, nil
}

func TestAskLifeAndExpiry(t *testing.T) {
	ctx, c, ds := context.Background(), &chain{height: 100}, datastore.NewMapDatastore()
	cfg := Config{
		Miner:         miner,
		Price:         big.NewInt(5),
		VerifiedPrice: big.NewInt(1),
		Duration:      50,
		MinPieceSize:  256,
	}
	a := New(cfg, Deps{Store: ds, Chain: c})
	first, err := a.Get(ctx)
	require.NoError(t, err)
	require.Equal(t, api.StorageAskInfo{
		Price:         big.NewInt(5),
		VerifiedPrice: big.NewInt(1),
		MinPieceSize:  256,
		MaxPieceSize:  2048,
		Timestamp:     100,
		Expiry:        150,
	}, first)

	c.height = 151
	renewed, err := New(cfg, Deps{Store: ds, Chain: c}).Get(ctx)
	require.NoError(t, err)
	require.Equal(t, uint64(1), renewed.SeqNo)
	require.Equal(t, abi.ChainEpoch(201), renewed.Expiry)

	require.NoError(t, a.Set(ctx, big.NewInt(9), big.NewInt(2), 1000, 128, 1024))
	signed, err := a.Signed(ctx)
	require.NoError(t, err)
	require.Equal(t, uint64(2), signed.Ask.SeqNo)
	require.Equal(t, worker, c.by)
	var buf bytes.Buffer
	require.NoError(t, signed.Ask.MarshalCBOR(&buf))
	require.Equal(t, buf.Bytes(), c.signed, "the signature covers exactly what is sent")
}

func TestAskRefusals(t *testing.T) {
	one := big.NewInt(1)
	for name, set := range map[string]func(a *Ask) error{
		"negative":     func(a *Ask) error { return a.Set(context.Background(), big.NewInt(-1), one, 10, 256, 1024) },
		"no duration":  func(a *Ask) error { return a.Set(context.Background(), one, one, 0, 256, 1024) },
		"odd size":     func(a *Ask) error { return a.Set(context.Background(), one, one, 10, 300, 1024) },
		"max < min":    func(a *Ask) error { return a.Set(context.Background(), one, one, 10, 1024, 512) },
		"above sector": func(a *Ask) error { return a.Set(context.Background(), one, one, 10, 256, 4096) },
	} {
		t.Run(name, func(t *testing.T) {
			var invalid *api.ErrInvalid
			require.ErrorAs(t, set(New(Config{Miner: miner}, Deps{Store: datastore.NewMapDatastore(), Chain: &chain{}})), &invalid)
		})
	}
}
