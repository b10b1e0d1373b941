package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/api/client"
	"quarry/node"
	"quarry/node/repo"
	"quarry/node/serve"
	"quarry/storage/access"
	"quarry/storage/fetch"
	"quarry/storage/paths"
)

var sector = abi.SectorID{Miner: 1000, Number: 1}

// fullNode is one on which nothing happens.
func fullNode(t *testing.T) *apitest.Server {
	t.Helper()
	key, err := address.NewBLSAddress(bytes.Repeat([]byte{1}, 48))
	require.NoError(t, err)
	miner, err := address.NewIDAddress(1000)
	require.NoError(t, err)
	return apitest.Serve(t, apitest.Standing(t, "fake", miner, key))
}

// private runs a private node and gives tokens of it.
func private(t *testing.T) (judge *client.MinerAPI, peer, worker string) {
	t.Helper()
	full := fullNode(t)
	dir := filepath.Join(t.TempDir(), "miner")
	miner, err := address.NewIDAddress(1000)
	require.NoError(t, err)
	config := []byte("[API]\nListenAddress = \"127.0.0.1:0\"\n[Subsystems]\nEnableMarkets = false\n")
	_, err = node.InitMiner{Dir: dir, Actor: miner, SectorSize: 2 << 10, Config: config}.Run(t.Context(), full.Chain(t, apitest.AdminToken))
	require.NoError(t, err)
	r, err := repo.Open(dir)
	require.NoError(t, err)
	peer, err = r.Tokens().Create(t.Context(), api.TokenRequest{Role: api.RoleMarketsPeer})
	require.NoError(t, err)
	worker, err = r.Tokens().Create(t.Context(), api.TokenRequest{Role: api.RoleWorker})
	require.NoError(t, err)
	require.NoError(t, r.Close())
	set, err := node.LoadSettings(dir, nil)
	require.NoError(t, err)
	set.FullNodeInfo, set.StopBudget = full.Info(apitest.AdminToken), 10*time.Second
	background(t, func(ctx context.Context) error { return node.Run(ctx, set) })
	var info string
	require.Eventually(t, func() bool { info, err = repo.APIInfo(dir); return err == nil }, time.Minute, 10*time.Millisecond)
	judge, err = client.Miner(t.Context(), client.Config{Info: info})
	require.NoError(t, err)
	t.Cleanup(judge.Close)
	return judge, peer, worker
}

func background(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

// serveFiles runs what a worker serves, with a file of each kind, and attaches it.
func serveFiles(t *testing.T, judge *client.MinerAPI, token string) (base string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "path")
	require.NoError(t, paths.InitDir(dir, api.PathMeta{ID: "of-a-worker", Weight: 1, CanSeal: true, CanStore: true}))
	for _, k := range api.AllFileTypes {
		name := filepath.Join(dir, k.String(), api.SectorName(sector))
		if k == api.FileCache || k == api.FileUpdateCache {
			require.NoError(t, os.MkdirAll(name, 0o700))
			name = filepath.Join(name, "p_aux")
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte("secret"), 100), 0o600))
	}
	node, err := client.Miner(t.Context(), client.Config{Info: token + ":" + judge.Info().Base()})
	require.NoError(t, err)
	t.Cleanup(node.Close)
	srv, err := serve.New(serve.Config{Listen: "127.0.0.1:0"}, serve.Deps{Verify: func(context.Context, string) ([]api.Permission, error) {
		return nil, fmt.Errorf("a worker of the test knows no token")
	}})
	require.NoError(t, err)
	base = "http://" + srv.Addr()
	local, err := paths.Open(paths.Config{URL: base + "/remote"}, paths.Deps{Index: node})
	require.NoError(t, err)
	require.NoError(t, local.Add(t.Context(), dir))
	check, err := access.NewChecker(base+"/remote", access.NewRemoteKeys(node))
	require.NoError(t, err)
	opens := serve.Opens{Is: access.Is, Check: check.Check}
	srv.HandleBearer("GET /remote/", api.PermAdmin, opens, fetch.Handler(local))
	srv.HandleBearer("DELETE /remote/", api.PermAdmin, opens, fetch.RemoveHandler(local))
	srv.RegisterCommon(&api.CommonStruct{})
	background(t, srv.Run)
	background(t, local.Run)
	return base
}

// newTarget is a private node with a worker, and the repo of a markets node.
func newTarget(t *testing.T) target {
	t.Helper()
	judge, peer, worker := private(t)
	markets := t.TempDir()
	line := fmt.Sprintf("[Subsystems]\nSealerApiInfo = \"%s:%s\"\n", peer, judge.Info().Base())
	require.NoError(t, os.WriteFile(filepath.Join(markets, "config.toml"), []byte(line), 0o600))
	own := hmacToken(`{"alg":"HS256","typ":"JWT"}`, `{"Allow":["read","write","sign","admin"]}`, "of the markets node")
	require.NoError(t, os.WriteFile(filepath.Join(markets, "token"), []byte(own), 0o600))
	return target{
		Private:     judge.Info().Base(),
		Worker:      serveFiles(t, judge, worker),
		WorkerPath:  "of-a-worker",
		Sector:      sector,
		MarketsRepo: markets,
		Judge:       judge,
		Patience:    20 * time.Second, // the machine may be busy
	}
}
