package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/build"
	"quarry/internal/command"
	"quarry/node/repo"
	"quarry/node/serve"
	"quarry/proofs/commp"
	"quarry/storage"
	"quarry/storage/access"
	"quarry/storage/blobs"
	"quarry/storage/fetch"
	"quarry/storage/index"
	"quarry/storage/paths"
	"quarry/storage/sched"
)

// private is a private node with sector storage, and nothing else.
type private struct {
	api.CommonStruct
	tokens  *repo.Tokens
	manager *storage.Manager
	local   *paths.Local
	blobs   *blobs.Store
	addr    string
}

func (p *private) Version(context.Context) (api.VersionInfo, error) {
	return api.VersionInfo{APIVersion: build.MinerAPIVersion}, nil
}

func (p *private) Handshake(context.Context, api.Introduction) (api.Handshake, error) {
	return api.Handshake{Identity: api.Identity{
		Miner:       "f01000",
		Network:     "test",
		Genesis:     "bafygenesis",
		Kind:        "miner",
		Instance:    uuid.NewSHA1(uuid.Nil, []byte(p.addr)),
		APIVersions: map[api.Subsystem]uint32{api.SubsystemSectorStorage: build.MinerAPIVersion},
	}}, nil
}

func (p *private) AuthVerify(ctx context.Context, token string) ([]api.Permission, error) {
	return p.tokens.Verify(ctx, token)
}

func background(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func newPrivate(t *testing.T) *private {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "miner")
	require.NoError(t, repo.Init(dir, repo.KindMiner))
	r, err := repo.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	p := &private{tokens: r.Tokens()}
	srv, err := serve.New(serve.Config{Listen: "127.0.0.1:0"}, serve.Deps{Verify: r.Tokens().Verify})
	require.NoError(t, err)
	p.addr = srv.Addr()
	signer := access.NewSigner(r.Tokens().FileKey)
	idx, err := index.Open(t.Context(), index.Config{}, index.Deps{Signer: signer})
	require.NoError(t, err)
	p.local, err = paths.Open(paths.Config{URL: "http://" + p.addr + "/remote"}, paths.Deps{Index: idx})
	require.NoError(t, err)
	keep := filepath.Join(t.TempDir(), "keep")
	require.NoError(t, paths.InitDir(keep, api.PathMeta{ID: "keep", Weight: 1, CanStore: true}))
	require.NoError(t, p.local.Add(context.Background(), keep))
	bulk, err := blobs.Open(blobs.Config{Dir: r.Path(repo.DirBlobs)})
	require.NoError(t, err)
	p.blobs = bulk
	p.manager, err = storage.New(storage.Config{Tasks: sched.Config{ClaimWait: time.Second}}, storage.Deps{
		Store: dssync.MutexWrap(datastore.NewMapDatastore()), Index: idx, Local: p.local, Blobs: bulk})
	require.NoError(t, err)
	srv.RegisterCommon(p)
	srv.RegisterStorage(p.manager)
	srv.Handle("GET "+blobs.Route, api.PermWorker, blobs.Handler(bulk))
	srv.Handle("PUT "+blobs.Route, api.PermWorker, blobs.Handler(bulk))
	check, err := access.NewChecker("http://"+p.addr+"/remote", signer)
	require.NoError(t, err)
	opens := serve.Opens{Is: access.Is, Check: check.Check}
	srv.HandleBearer("GET /remote/", api.PermAdmin, opens, fetch.Handler(p.local))
	srv.HandleBearer("DELETE /remote/", api.PermAdmin, opens, fetch.RemoveHandler(p.local))
	background(t, srv.Run)
	background(t, p.manager.Run)
	return p
}

func (p *private) newToken(t *testing.T, role api.Role) string {
	t.Helper()
	token, err := p.tokens.Create(context.Background(), api.TokenRequest{Name: "test", Role: role})
	require.NoError(t, err)
	return token
}

func workerCommand(ctx context.Context, dir, info string, args ...string) (string, error) {
	var out bytes.Buffer
	app := newApp(&out)
	app.ErrWriter = io.Discard
	err := command.Run(ctx, app, append([]string{"miner-worker", "--worker-repo", dir, "--miner-api-info", info}, args...))
	return out.String(), err
}

func (p *private) do(t *testing.T, key string, typ api.TaskType, s api.SectorRef, params, out any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	raw, err := json.Marshal(params)
	require.NoError(t, err)
	st, err := p.manager.TaskSubmit(ctx, api.TaskSpec{Key: key, Type: typ, Sector: s, Params: raw})
	for err == nil && ctx.Err() == nil && st.State != api.TaskDone && st.State != api.TaskFailed {
		st, err = p.manager.TaskWait(ctx, st.ID)
	}
	require.NoError(t, err)
	require.Equal(t, api.TaskDone, st.State, "%s: %s", key, st.Failure)
	if out != nil {
		require.NoError(t, json.Unmarshal(st.Result, out))
	}
}

// TestRemoteWorker seals a sector of zeros in a worker that is connected by
// nothing but HTTP, and proves it on the private node over the worker's files.
func TestRemoteWorker(t *testing.T) {
	p := newPrivate(t)
	info := p.newToken(t, api.RoleWorker) + ":http://" + p.addr
	dir, scratch := filepath.Join(t.TempDir(), "w"), filepath.Join(t.TempDir(), "scratch")
	_, err := workerCommand(context.Background(), dir, info, "storage", "attach", "--init", "--seal", scratch)
	require.NoError(t, err)
	background(t, func(ctx context.Context) error {
		_, err := workerCommand(ctx, dir, info, "run", "--listen", "127.0.0.1:0", "--log-level", "error")
		return err
	})

	ref := api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: 3}, ProofType: abi.RegisteredSealProof_StackedDrg2KiBV1_1}
	pieces := []abi.PieceInfo{{PieceCID: commp.ZeroPiece(2048), Size: 2048}}
	ticket := make(abi.SealRandomness, 32)
	var pc1 api.PreCommit1Out
	p.do(t, "pc1", api.TaskPreCommit1, ref, api.PreCommit1Params{Ticket: ticket, Pieces: pieces}, &pc1)
	var pc2 api.PreCommit2Result
	p.do(t, "pc2", api.TaskPreCommit2, ref, api.PreCommit2Params{PreCommit1Out: pc1}, &pc2)
	require.Equal(t, commp.ZeroPiece(2048).String(), string(pc2.UnsealedCID))

	_, here := p.local.Find(context.Background(), ref.ID, api.FileSealed)
	require.False(t, here, "the replica must be with the worker")
	commR, err := cid.Parse(string(pc2.SealedCID))
	require.NoError(t, err)
	check := api.ProvableRequest{Miner: 1000, Sectors: []api.ProvableSector{{Number: 3, SealProof: ref.ProofType, SealedCID: commR}}}
	res, err := p.manager.CheckProvable(context.Background(), check)
	require.NoError(t, err)
	require.Empty(t, res.Faults)

	p.keepsItsFiles(t, ref.ID)
	out, err := workerCommand(context.Background(), dir, info, "info")
	require.NoError(t, err)
	require.Contains(t, out, "heard of us")
	require.Contains(t, out, "seal=true")
	out, err = workerCommand(context.Background(), dir, info, "tasks", "--json")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(strings.TrimSpace(out), "["), out)
	require.NoError(t, p.manager.RemoveSector(context.Background(), ref.ID))
	res, err = p.manager.CheckProvable(context.Background(), check)
	require.NoError(t, err)
	require.Len(t, res.Faults, 1)
	require.Equal(t, api.FaultMissing, res.Faults[0].Reason)
	_, err = workerCommand(context.Background(), dir, info, "stop")
	require.NoError(t, err)
}

// keepsItsFiles: no token of the private node opens anything at a worker, a bearer
// opens one file for one use.
func (p *private) keepsItsFiles(t *testing.T, sector abi.SectorID) {
	t.Helper()
	addresses := map[api.FileType]string{}
	for _, kind := range []api.FileType{api.FileSealed, api.FileCache} {
		locs, err := p.manager.StorageFindSector(t.Context(), sector, kind)
		require.NoError(t, err)
		require.Len(t, locs, 1)
		addresses[kind] = locs[0].URLs[0]
	}
	sealed, cache := addresses[api.FileSealed], addresses[api.FileCache]
	base := strings.TrimSuffix(sealed, "/remote/sealed/"+api.SectorName(sector))
	admin, err := p.tokens.Create(t.Context(), api.TokenRequest{Name: "a", Perm: api.PermAdmin})
	require.NoError(t, err)
	bearer := func(address string, del bool) string {
		b, err := p.manager.StorageFileBearer(t.Context(), api.FileUse{URL: address, Delete: del})
		require.NoError(t, err)
		return b.Token
	}
	p.asked(t, []opening{
		{"no token", http.MethodGet, sealed, "", 401},
		{"an admin of the node", http.MethodGet, sealed, admin, 401},
		{"a worker's token", http.MethodGet, sealed, p.newToken(t, api.RoleWorker), 401},
		{"a peer's token", http.MethodGet, sealed, p.newToken(t, api.RoleMarketsPeer), 401},
		{"deleting with a worker's token", http.MethodDelete, sealed, p.newToken(t, api.RoleWorker), 401},
		{"the bearer of another file", http.MethodGet, sealed, bearer(cache, false), 401},
		{"deleting with a bearer for reading", http.MethodDelete, sealed, bearer(sealed, false), 401},
		{"reading with a bearer for deleting", http.MethodGet, sealed, bearer(sealed, true), 401},
		{"the API with a bearer", http.MethodPost, base + "/rpc/v1", bearer(sealed, false), 401},
		{"the API of the node with a bearer", http.MethodPost, "http://" + p.addr + "/rpc/v1", bearer(sealed, false), 401},
		{"blobs with a bearer", http.MethodGet, "http://" + p.addr + blobs.Route + "x", bearer(sealed, false), 401},
		{"this file at another process", http.MethodGet, "http://" + p.addr + strings.TrimPrefix(sealed, base), bearer(sealed, false), 401},
		{"the state of a path", http.MethodGet, base + "/remote/stat/keep", bearer(sealed, false), 401},
		{"the file", http.MethodGet, sealed, bearer(sealed, false), 200},
		{"the length of the file", http.MethodHead, sealed, bearer(sealed, false), 200},
		{"a file of the cache", http.MethodGet, cache + "/file/p_aux", bearer(cache, false), 200},
	})
}

// opening is a request with what it is to be answered.
type opening struct {
	what, method, url, token string
	want                     int
}

func (p *private) asked(t *testing.T, list []opening) {
	t.Helper()
	for _, c := range list {
		req, err := http.NewRequestWithContext(t.Context(), c.method, c.url, nil)
		require.NoError(t, err)
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, c.want, res.StatusCode, c.what)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestRefusals(t *testing.T) {
	_, err := workerCommand(context.Background(), t.TempDir(), "x:y", "run", "--addpiece=false", "--precommit1=false",
		"--precommit2=false", "--commit=false", "--unseal=false",
		"--replica-update=false", "--commit2=false")
	require.ErrorContains(t, err, "switched off")
	_, err = workerCommand(context.Background(), t.TempDir(), "", "run")
	require.ErrorContains(t, err, "which private node")
	_, err = workerCommand(context.Background(), t.TempDir(), "", "storage", "attach", "--init", t.TempDir())
	require.ErrorContains(t, err, "--seal")
}
