package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/chain/devnet"
	"quarry/chain/fvm"
	"quarry/chain/wallet"
	"quarry/node/serve"
)

// testEngine holds the compiled actors; compiling them takes seconds, so that
// tests share it and its cache on disk.
var testEngine = sync.OnceValues(func() (*fvm.Engine, error) {
	return fvm.NewEngine(context.Background(), fvm.EngineConfig{CacheDir: filepath.Join(os.TempDir(), "quarry-test-actors")})
})

// fullNode is the embedded devnet inside the test, behind its real API. It can
// be stopped and opened again on its store.
type fullNode struct {
	*devnet.Node
	info string
	ds   datastore.Batching
	w    *wallet.Wallet
	dir  string
	stop func() // until the next open
}

func newFullNode(t *testing.T) *fullNode {
	t.Helper()
	e, err := testEngine()
	if err != nil {
		t.Fatal(err)
	}
	f := &fullNode{ds: dssync.MutexWrap(datastore.NewMapDatastore()), dir: t.TempDir()}
	keys := wallet.DatastoreKeystore{DS: dssync.MutexWrap(datastore.NewMapDatastore())}
	if f.w, err = wallet.New(wallet.Deps{Keystore: keys}); err != nil {
		t.Fatal(err)
	}
	b := e.Bundle()
	err = devnet.Init(t.Context(), devnet.InitConfig{
		Seed:      []byte(t.Name()),
		Timestamp: uint64(time.Now().Add(-365 * 24 * time.Hour).Unix()),
		SealProof: abi.RegisteredSealProof_StackedDrg2KiBV1_1,
		Sectors:   2,
		SectorDir: f.dir,
	},
		devnet.InitDeps{
			Store:    f.ds,
			Wallet:   f.w,
			Engine:   e,
			Manifest: b.Manifest,
			Blocks: func(put func(cid.Cid, []byte) error) error {
				for _, blk := range b.Blocks {
					if err := put(blk.Cid, blk.Data); err != nil {
						return err
					}
				}
				return nil
			},
		})
	if err != nil {
		t.Fatal(err)
	}
	f.open(t, "127.0.0.1:0")
	t.Cleanup(func() { f.stop() })
	return f
}

// open runs the node on its store until stop.
func (f *fullNode) open(t *testing.T, listen string) {
	t.Helper()
	e, err := testEngine()
	if err != nil {
		t.Fatal(err)
	}
	n, err := devnet.New(t.Context(), devnet.Config{Pace: 50 * time.Millisecond, SectorDir: f.dir, Mine: true, IdleEpochs: 30},
		devnet.Deps{Store: f.ds, Wallet: f.w, Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	s, err := serve.New(serve.Config{Listen: listen, MaxRequestBytes: 100 << 20, StopBudget: 3 * time.Second}, serve.Deps{
		Verify: func(_ context.Context, token string) ([]api.Permission, error) {
			if token != apitest.AdminToken {
				return nil, errors.New("unknown token")
			}
			return api.AllPermissions, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	s.RegisterChain(n)
	s.RegisterNode(n)
	s.RegisterDevnet(n)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- n.Run(ctx) }()
	go func() { ended <- s.Run(ctx) }()
	f.Node, f.info = n, apitest.AdminToken+":"+s.Multiaddr()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, <-ended, n.Close()); err != nil {
			t.Errorf("full node: %v", err)
		}
	})
}

// account makes a key with funds.
func (f *fullNode) account(t *testing.T, kind api.KeyType) address.Address {
	t.Helper()
	a, err := f.WalletNew(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.DevnetFund(t.Context(), a, big.Mul(big.NewInt(1000), big.NewInt(1e18))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "funds of "+a.String(), func() bool {
		_, err := f.StateMarketBalance(t.Context(), a, nil) // reads older state than the balance does
		b, berr := f.WalletBalance(t.Context(), a)
		return err == nil && berr == nil && b.Sign() > 0
	})
	return a
}
