package storage

import (
	"context"
	"encoding/json"
	"slices"

	"quarry/api"
)

// reach tells the scheduler how well a worker can get at the files of a task:
// two points for each file on one of its own paths.
func (m *Manager) reach(ctx context.Context, w api.WorkerInfo, spec api.TaskSpec) (int, bool) {
	if spec.Type == api.TaskCommit2 || spec.Type == api.TaskProveUpdate2 {
		return 0, true // all it needs comes with it
	}
	if !m.canWrite(ctx, w, spec.Type) {
		return 0, false
	}
	score := 0
	for _, n := range m.inputs(w, spec) {
		if n.path != "" {
			if !slices.Contains(w.Paths, n.path) {
				return 0, false
			}
			continue
		}
		locs, err := m.StorageFindSector(ctx, spec.Sector.ID, n.kind)
		if err != nil {
			return 0, false
		}
		at, reachable := false, false
		for _, l := range locs {
			at = at || slices.Contains(w.Paths, l.Storage)
			reachable = reachable || len(l.URLs) > 0
		}
		switch {
		case at:
			score += 2
		case !reachable && n.must:
			return 0, false
		}
	}
	return score, true
}

// input is a file that a task reads, or a storage path that holds its data.
type input struct {
	kind api.FileType
	must bool
	path api.StorageID
}

func (m *Manager) inputs(_ api.WorkerInfo, spec api.TaskSpec) []input {
	switch spec.Type {
	case api.TaskAddPiece:
		var p api.AddPieceParams
		if json.Unmarshal(spec.Params, &p) != nil {
			return nil // the worker says what is wrong with it
		}
		in := []input{{kind: api.FileUnsealed, must: len(p.Existing) > 0}}
		if p.Data.StorageID != "" {
			in = append(in, input{path: p.Data.StorageID})
		}
		return in
	case api.TaskPreCommit1:
		return []input{{kind: api.FileUnsealed}}
	case api.TaskPreCommit2:
		return []input{{kind: api.FileUnsealed}, {kind: api.FileCache, must: true}}
	case api.TaskCommit1, api.TaskFinalize:
		return []input{{kind: api.FileCache, must: true}, {kind: api.FileSealed, must: true}}
	case api.TaskUpdate:
		return []input{{kind: api.FileUnsealed}, {kind: api.FileCache, must: true}, {kind: api.FileSealed, must: true}}
	case api.TaskProveUpdate1:
		return []input{{kind: api.FileCache, must: true}, {kind: api.FileSealed, must: true},
			{kind: api.FileUpdateCache, must: true}, {kind: api.FileUpdate, must: true}}
	case api.TaskFinalizeUpdate:
		return []input{{kind: api.FileUpdateCache}, {kind: api.FileUpdate}}
	case api.TaskUnseal:
		var p api.UnsealParams
		if json.Unmarshal(spec.Params, &p) == nil && p.SectorKeyCID != "" {
			return []input{{kind: api.FileUnsealed}, {kind: api.FileUpdate}, {kind: api.FileSealed}}
		}
		return []input{{kind: api.FileUnsealed}, {kind: api.FileSealed, must: true}}
	}
	return nil
}

// canWrite tells whether the worker has a path of the kind that the task writes
// to. Space is the worker's business: it knows its reservations.
func (m *Manager) canWrite(ctx context.Context, w api.WorkerInfo, t api.TaskType) bool {
	for _, id := range w.Paths {
		p, err := m.StorageGet(ctx, id)
		if err != nil {
			continue
		}
		keeps := t == api.TaskFinalize || t == api.TaskFinalizeUpdate // they end on a path for keeping
		if keeps && p.CanStore || !keeps && p.CanSeal {
			return true
		}
	}
	return false
}
