package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"quarry/api"
	"quarry/build"
	"quarry/node/repo"
	"quarry/node/serve"
	"quarry/storage/paths"
	"quarry/storage/worker"
)

// self implements api.Common for the worker.
type self struct {
	worker  *worker.Worker
	local   *paths.Local
	stop    context.CancelFunc
	tokens  *repo.Tokens
	repo    api.UUID
	started time.Time
}

var _ api.Common = (*self)(nil)

func (s *self) Version(context.Context) (api.VersionInfo, error) {
	return api.VersionInfo{Version: build.Version, APIVersion: build.MinerAPIVersion, Agent: "quarry-worker"}, nil
}

func (s *self) Session(context.Context) (api.UUID, error) { return s.worker.Info().Session, nil }

func (s *self) RuntimeSubsystems(context.Context) ([]api.Subsystem, error) {
	return []api.Subsystem{}, nil
}

func (s *self) AuthVerify(ctx context.Context, token string) ([]api.Permission, error) {
	return s.tokens.Verify(ctx, token)
}

func (s *self) AuthNew(ctx context.Context, perms []api.Permission) ([]byte, error) {
	t, err := s.tokens.New(ctx, perms)
	return []byte(t), err
}

func (s *self) AuthCreate(ctx context.Context, req api.TokenRequest) (string, error) {
	return s.tokens.Create(ctx, req)
}

func (s *self) AuthList(context.Context) ([]api.TokenInfo, error) { return s.tokens.List(), nil }

func (s *self) AuthRevoke(ctx context.Context, id string) error { return s.tokens.Revoke(ctx, id) }

func (s *self) AuthRotate(ctx context.Context, oldValidSeconds int64) (api.TokenRotation, error) {
	if oldValidSeconds < 0 || oldValidSeconds > math.MaxInt64/int64(time.Second) {
		return api.TokenRotation{}, &api.ErrInvalid{What: "how long old tokens stay valid",
			Reason: fmt.Sprintf("%d seconds are out of range", oldValidSeconds)}
	}
	return s.tokens.Rotate(ctx, time.Duration(oldValidSeconds)*time.Second)
}

func (s *self) LogList(context.Context) ([]string, error) { return []string{"worker"}, nil }

func (s *self) LogSetLevel(context.Context, string, string) error {
	return &api.ErrInvalid{What: "log level", Reason: "a worker sets it when it starts", Hint: "miner-worker run --log-level"}
}

func (s *self) Shutdown(context.Context) error {
	s.stop()
	return nil
}

func (s *self) NodeStatus(context.Context) (api.NodeStatus, error) {
	return api.NodeStatus{Subsystems: []api.Subsystem{}, StartedAt: s.started}, nil
}

// Handshake tells who this is, so that whoever named a worker where a node is
// meant is told so.
func (s *self) Handshake(ctx context.Context, _ api.Introduction) (api.Handshake, error) {
	id := api.Identity{Kind: string(repo.KindWorker), Repo: s.repo, Instance: s.worker.Info().Session}
	return api.Handshake{Identity: id, Allow: serve.Permissions(ctx)}, nil
}

// ownStorage is the part of api.Storage that a worker answers about itself; the
// rest belongs to the private node.
type ownStorage struct {
	api.IndexStruct
	api.LeasesStruct
	api.TasksStruct
	api.FleetStruct
	api.ProverStruct
	self *self
}

var _ api.Storage = (*ownStorage)(nil)

func (o *ownStorage) StorageAddLocal(ctx context.Context, path string) error {
	return o.self.local.Add(ctx, path)
}

func (o *ownStorage) StorageDetachLocal(ctx context.Context, id api.StorageID) error {
	return o.self.local.Detach(ctx, id)
}

func (o *ownStorage) StorageList(context.Context) ([]api.StoragePath, error) {
	out := []api.StoragePath{}
	for _, p := range o.self.local.Paths() {
		sp := api.StoragePath{PathMeta: p.Meta, URLs: []string{}, LastHeartbeat: time.Now()}
		var err error
		if sp.Stat, err = o.self.local.Stat(p.Meta.ID); err != nil {
			sp.HeartbeatErr = err.Error()
		}
		out = append(out, sp)
	}
	return out, nil
}

func (o *ownStorage) TaskList(context.Context, string, int) ([]api.TaskStatus, string, error) {
	return o.self.worker.Tasks(), "", nil
}

func (o *ownStorage) WorkerList(context.Context) ([]api.WorkerStatus, error) {
	return []api.WorkerStatus{{WorkerInfo: o.self.worker.Info(), LastSeen: time.Now(), Running: o.self.worker.Tasks()}}, nil
}
