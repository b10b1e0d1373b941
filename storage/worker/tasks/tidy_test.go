package tasks

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"quarry/api"
)

// tasksOf is a private node that knows some tasks.
type tasksOf struct {
	Node
	known map[api.UUID]api.TaskState
	err   error
}

func (n tasksOf) TaskGet(_ context.Context, id api.UUID) (api.TaskStatus, error) {
	st, ok := n.known[id]
	switch {
	case n.err != nil:
		return api.TaskStatus{}, n.err
	case !ok:
		return api.TaskStatus{}, &api.ErrNotFound{What: "task"}
	}
	return api.TaskStatus{ID: id, State: st}, nil
}

// TestTidy deletes what was begun for tasks that are done or forgotten, as the
// private node says, and nothing else.
func TestTidy(t *testing.T) {
	s := newSession(t, plain, newPathDir(t))
	known := map[api.UUID]api.TaskState{}
	begin := func(n abi.SectorNumber, typ api.FileType, state api.TaskState) (string, api.UUID) {
		id := uuid.New()
		j := *s.job
		j.Claim, j.sector = &claimed{id: id}, api.SectorRef{ID: abi.SectorID{Miner: 1000, Number: n}, ProofType: plain.ProofType}
		name, err := s.at.MadePath(j.sector.ID, typ)
		require.NoError(t, err)
		require.NoError(t, errors.Join(os.Mkdir(name, 0o700), j.own(name)))
		if state != "" {
			known[id] = state
		}
		return name, id
	}
	done, _ := begin(1, api.FileCache, api.TaskDone)
	forgotten, _ := begin(2, api.FileSealed, "")
	update, _ := begin(3, api.FileUpdate, api.TaskDone)
	queued, _ := begin(4, api.FileCache, api.TaskQueued)
	running, _ := begin(5, api.FileUnsealed, api.TaskRunning)
	failed, _ := begin(6, api.FileCache, api.TaskFailed)
	ours, id := begin(7, api.FileCache, api.TaskDone)

	s.node = tasksOf{s.node, known, &api.ErrUnreachable{Peer: "node"}}
	s.Tidy(t.Context(), map[api.UUID]bool{id: true})
	for _, name := range []string{done, forgotten, update, queued, running, failed, ours} {
		require.True(t, isFile(name), "nothing goes while the node cannot be asked")
	}
	s.node = tasksOf{s.node, known, nil}
	s.Tidy(t.Context(), map[api.UUID]bool{id: true})
	for _, name := range []string{done, forgotten, update} {
		require.False(t, isFile(name), name)
		require.False(t, isFile(name+ownerSuffix), name)
	}
	for _, name := range []string{queued, running, failed, ours} {
		require.True(t, isFile(name), name)
	}
}

// TestTidyOfAnEarlierVersion: without a note of whose it is, what is whole
// elsewhere is over.
func TestTidyOfAnEarlierVersion(t *testing.T) {
	s := newSession(t, plain, newPathDir(t))
	other := abi.SectorID{Miner: 1000, Number: 4}
	here, elsewhere := s.made(t, api.FileCache), ""
	elsewhere, err := s.at.MadePath(other, api.FileCache)
	require.NoError(t, err)
	require.NoError(t, errors.Join(os.Mkdir(here, 0o700), os.Mkdir(elsewhere, 0o700)))
	require.NoError(t, s.local.Declare(t.Context(), api.SectorFile{Sector: other, Type: api.FileCache, Storage: "both"}))
	s.Tidy(t.Context(), nil)
	require.True(t, isFile(here))
	require.False(t, isFile(elsewhere))
}
