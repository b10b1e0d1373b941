package home_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"quarry/api"
	"quarry/api/apitest"
	"quarry/api/client"
	"quarry/storage/worker/home"
)

// privateNode is one of a miner; it counts who asks it for tasks.
type privateNode struct {
	api.CommonStruct
	api.Storage
	is    api.Identity
	asked atomic.Int32
}

func (p *privateNode) Handshake(context.Context, api.Introduction) (api.Handshake, error) {
	return api.Handshake{Identity: p.is}, nil
}

func (p *privateNode) WorkerClaim(context.Context, api.WorkerInfo, []api.HeldTask) (*api.TaskStatus, error) {
	p.asked.Add(1)
	return nil, nil
}

func newPrivate(miner string) *privateNode {
	return &privateNode{is: api.Identity{
		Miner:       miner,
		Network:     "net",
		Genesis:     "bafygenesis",
		Kind:        "miner",
		Instance:    uuid.New(),
		APIVersions: map[api.Subsystem]uint32{api.SubsystemSectorStorage: 1},
	}}
}

func (p *privateNode) serve(t *testing.T, at string) *apitest.Server {
	return apitest.Serve(t, apitest.Parts{Common: p, Storage: p, Listen: at, Instance: p.is.Instance.String()})
}

// Another miner's private node that comes up at the address of the right one gets
// no call of the worker, over each transport; the right one is spoken to as soon as
// it is back, whatever process it is.
func TestAnotherMinersNodeGetsNoCall(t *testing.T) {
	ours, theirs := newPrivate("f01000"), newPrivate("f01001")
	s := ours.serve(t, "")
	at := s.Addr
	var node *client.MinerAPI
	gate, err := home.Open(t.Context(), home.Deps{
		Store:     dssync.MutexWrap(datastore.NewMapDatastore()),
		Handshake: func(ctx context.Context, me api.Introduction) (api.Handshake, error) { return node.Handshake(ctx, me) },
	})
	require.NoError(t, err)
	node, err = client.Miner(t.Context(), client.Config{Info: s.Info(apitest.AdminToken), Gate: gate})
	require.NoError(t, err)
	defer node.Close()
	claim := func() error {
		_, err := node.WorkerClaim(t.Context(), api.WorkerInfo{}, nil)
		return err
	}
	require.NoError(t, claim())
	s.Stop()
	s = theirs.serve(t, at)
	require.Eventually(t, func() bool { // the first calls may meet a connection to the one that is gone
		var away *api.ErrUnreachable
		return errors.As(claim(), &away) && strings.Contains(away.Reason, "belongs to miner f01001, this worker to f01000")
	}, 20*time.Second, time.Millisecond)
	require.Zero(t, theirs.asked.Load())
	s.Stop()
	ours.is.Instance = uuid.New()
	s = ours.serve(t, at)
	defer s.Stop()
	require.Eventually(t, func() bool { return gate.Meet(t.Context()) == nil }, 20*time.Second, time.Millisecond)
	require.NoError(t, claim())
	require.EqualValues(t, 2, ours.asked.Load())
}
