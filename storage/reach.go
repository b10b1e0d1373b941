package storage

import (
	"context"
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/storage/paths"
)

// reach tells the scheduler how well a worker can get at the files of a task:
// two points for each file on one of its own paths, or what is missing.
func (m *Manager) reach(ctx context.Context, w api.WorkerInfo, t api.TaskStatus) (int, string) {
	spec := t.Spec
	if read, write := filesOf(spec.Type); read|write == 0 {
		return 0, "" // all it needs comes with it
	}
	if why := m.room(ctx, w, t); why != "" {
		return 0, why
	}
	score := 0
	for _, n := range inputs(spec) {
		points, why := m.input(ctx, w, spec.Sector.ID, n)
		if why != "" {
			return 0, why
		}
		score += points
	}
	return score, ""
}

// input is a file that a task reads, or a storage path that holds its data.
type input struct {
	kind api.FileType
	must bool
	path api.StorageID
}

// input tells how near a worker is to one of them.
func (m *Manager) input(ctx context.Context, w api.WorkerInfo, s abi.SectorID, n input) (points int, why string) {
	if n.path != "" {
		if !slices.Contains(w.Paths, n.path) {
			return 0, "it does not share storage path " + string(n.path)
		}
		return 0, ""
	}
	locs, err := m.StorageFindSector(ctx, s, n.kind)
	if err != nil {
		return 0, err.Error()
	}
	reachable := false
	for _, l := range locs {
		if slices.Contains(w.Paths, l.Storage) {
			return 2, ""
		}
		reachable = reachable || len(l.URLs) > 0
	}
	switch {
	case reachable || !n.must:
		return 0, ""
	case len(locs) > 0:
		return 0, fmt.Sprintf("the %s file is on storage path %s, which nobody serves to it", n.kind, locs[0].Storage)
	}
	return 0, fmt.Sprintf("the %s file is on no path that can be read now", n.kind)
}

// inputs lists what a task reads.
func inputs(spec api.TaskSpec) []input {
	must := func(kinds ...api.FileType) (out []input) {
		for _, k := range kinds {
			out = append(out, input{kind: k, must: true})
		}
		return out
	}
	switch spec.Type {
	case api.TaskAddPiece:
		return addPieceInputs(spec)
	case api.TaskPreCommit1:
		return []input{{kind: api.FileUnsealed}}
	case api.TaskPreCommit2:
		return append(must(api.FileCache), input{kind: api.FileUnsealed})
	case api.TaskCommit1, api.TaskFinalize:
		return must(api.FileCache, api.FileSealed)
	case api.TaskUpdate:
		return append(must(api.FileCache, api.FileSealed), input{kind: api.FileUnsealed})
	case api.TaskProveUpdate1:
		return must(api.FileCache, api.FileSealed, api.FileUpdateCache, api.FileUpdate)
	case api.TaskFinalizeUpdate:
		return []input{{kind: api.FileUpdateCache}, {kind: api.FileUpdate}}
	case api.TaskUnseal:
		if p, err := api.Unseal.Params(spec); err == nil && p.SectorKeyCID != "" {
			return []input{{kind: api.FileUnsealed}, {kind: api.FileUpdate}, {kind: api.FileSealed}}
		}
		return append(must(api.FileSealed), input{kind: api.FileUnsealed})
	}
	return nil
}

func addPieceInputs(spec api.TaskSpec) []input {
	p, err := api.AddPiece.Params(spec)
	if err != nil {
		return nil // the worker says what is wrong with it
	}
	in := []input{{kind: api.FileUnsealed, must: len(p.Existing) > 0}}
	if p.Data.StorageID != "" {
		in = append(in, input{path: p.Data.StorageID})
	}
	return in
}

// made are the kinds of file that a task makes anew, on a path for sealing.
var made = map[api.TaskType]api.FileType{
	api.TaskAddPiece:   api.FileUnsealed,
	api.TaskPreCommit1: api.FileCache,
	api.TaskPreCommit2: api.FileSealed,
	api.TaskUpdate:     api.FileUpdate | api.FileUpdateCache,
	api.TaskUnseal:     api.FileUnsealed,
}

// room says why no path of the worker can take what the task writes: none is of
// the right use, or none has the space. What is there already needs none. The
// worker reserves for itself; this only keeps tasks from those who cannot.
func (m *Manager) room(ctx context.Context, w api.WorkerInfo, t api.TaskStatus) string {
	spec := t.Spec
	size, err := spec.Sector.ProofType.SectorSize()
	if err != nil {
		return err.Error()
	}
	keeps := spec.Type == api.TaskFinalize || spec.Type == api.TaskFinalizeUpdate // they end on a path for keeping
	need, most := m.need(ctx, w, t, size), int64(-1)
	any, wrong := false, ""
	for _, id := range w.Paths {
		p, err := m.StorageGet(ctx, id)
		if err != nil || !(keeps && p.CanStore || !keeps && p.CanSeal) {
			continue
		}
		if why := unfit(p, spec); why != "" {
			wrong += "; path " + string(id) + ": " + why
			continue
		}
		any, most = true, max(most, p.Stat.Available)
	}
	switch use := map[bool]string{true: "keeping", false: "sealing"}[keeps]; {
	case !any:
		return "it has no storage path for " + use + " that works" + wrong
	case most < 0 || uint64(most) < need: //nolint:gosec // not negative
		return fmt.Sprintf("none of its paths for %s has %s free, the largest has %s",
			use, humanize.IBytes(need), humanize.IBytes(uint64(max(most, 0)))) //nolint:gosec // not negative
	}
	return ""
}

// unfit says what is wrong with a path for what a task makes anew.
func unfit(p api.StoragePath, spec api.TaskSpec) string {
	switch {
	case p.HeartbeatErr != "":
		return p.HeartbeatErr
	case p.Stat.Unwritable != "":
		return p.Stat.Unwritable
	}
	for _, k := range api.AllFileTypes {
		if why := p.Refuses(k, spec.Sector.ID.Miner); made[spec.Type].Has(k) && why != "" {
			return why
		}
	}
	return ""
}

// need is how many bytes the task writes anew. Files that the worker has begun or
// finished take their room already.
func (m *Manager) need(ctx context.Context, w api.WorkerInfo, t api.TaskStatus, size abi.SectorSize) uint64 {
	kinds := made[t.Spec.Type]
	if kinds == 0 {
		return 0
	}
	for _, k := range api.AllFileTypes {
		if !kinds.Has(k) {
			continue
		}
		locs, err := m.StorageFindSector(ctx, t.Spec.Sector.ID, k)
		if err == nil && slices.ContainsFunc(locs, func(l api.SectorLocationInfo) bool { return slices.Contains(w.Paths, l.Storage) }) {
			kinds &^= k
		}
	}
	// What an interrupted run left is gone on with and counts as used space, so
	// asking for the whole again would keep a full disk from finishing.
	return paths.Need(kinds, size, t.Attempts == 0)
}
