package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
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
	token   string // what the private node itself presents
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
	p.token = p.newToken(t, api.RoleWorker)
	srv, err := serve.New(serve.Config{Listen: "127.0.0.1:0"}, serve.Deps{Verify: r.Tokens().Verify})
	require.NoError(t, err)
	p.addr = srv.Addr()
	idx := index.New(index.Config{})
	p.local, err = paths.Open(paths.Config{URL: "http://" + p.addr + "/remote"}, paths.Deps{Index: idx})
	require.NoError(t, err)
	keep := filepath.Join(t.TempDir(), "keep")
	require.NoError(t, paths.InitDir(keep, api.PathMeta{ID: "keep", Weight: 1, CanStore: true}))
	require.NoError(t, p.local.Add(context.Background(), keep))
	bulk, err := blobs.Open(blobs.Config{Dir: r.Path(repo.DirBlobs)})
	require.NoError(t, err)
	p.blobs = bulk
	p.manager, err = storage.New(storage.Config{Tasks: sched.Config{ClaimWait: time.Second}}, storage.Deps{
		Store: dssync.MutexWrap(datastore.NewMapDatastore()), Index: idx, Local: p.local, Blobs: bulk, Token: func() string { return p.token }})
	require.NoError(t, err)
	srv.RegisterCommon(p)
	srv.RegisterStorage(p.manager)
	srv.Handle("GET "+blobs.Route, api.PermWorker, blobs.Handler(bulk))
	srv.Handle("PUT "+blobs.Route, api.PermWorker, blobs.Handler(bulk))
	srv.Handle("GET /remote/", api.PermStorageRead, fetch.Handler(p.local))
	srv.Handle("DELETE /remote/", api.PermWorker, fetch.RemoveHandler(p.local))
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

// TestVerifier: tokens of the private node open sector files and nothing more.
func TestVerifier(t *testing.T) {
	p := newPrivate(t)
	admin, err := p.tokens.Create(context.Background(), api.TokenRequest{Name: "a", Perm: api.PermAdmin})
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "w")
	r, err := openRepo(dir)
	require.NoError(t, err)
	defer r.Close() //nolint:errcheck // test
	v := newVerifier(r.Tokens(), p)
	perms, err := v.Verify(context.Background(), admin)
	require.NoError(t, err)
	require.ElementsMatch(t, []api.Permission{api.PermStorageRead, api.PermWorker}, perms)
	_, err = v.Verify(context.Background(), "a.b.c")
	require.Error(t, err)
}

func TestRefusals(t *testing.T) {
	_, err := workerCommand(context.Background(), t.TempDir(), "x:y", "run", "--addpiece=false", "--precommit1=false", "--precommit2=false", "--commit=false", "--unseal=false",
		"--replica-update=false", "--commit2=false")
	require.ErrorContains(t, err, "switched off")
	_, err = workerCommand(context.Background(), t.TempDir(), "", "run")
	require.ErrorContains(t, err, "which private node")
	_, err = workerCommand(context.Background(), t.TempDir(), "", "storage", "attach", "--init", t.TempDir())
	require.ErrorContains(t, err, "--seal")
}
