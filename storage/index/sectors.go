package index

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// maxPage bounds one answer of StorageFiles.
const maxPage = 1000

func single(t api.FileType) error {
	if slices.Contains(api.AllFileTypes, t) {
		return nil
	}
	return &api.ErrInvalid{What: fmt.Sprintf("file type %d", int(t)), Reason: "exactly one kind is needed"}
}

// declarable refuses lists that are too long, and files of no single kind.
func declarable(files []api.SectorFile) error {
	if len(files) > api.MaxDeclare {
		reason := fmt.Sprintf("%d at once are more than %d", len(files), api.MaxDeclare)
		return &api.ErrInvalid{What: "declaration of sector files", Reason: reason}
	}
	for _, f := range files {
		if err := single(f.Type); err != nil {
			return err
		}
	}
	return nil
}

// StorageDeclareSectors tells that files are on paths. Repeating it is safe; an
// path that is unknown, or not the caller's, refuses all of them with
// *api.ErrNotFound.
func (x *Index) StorageDeclareSectors(ctx context.Context, files []api.SectorFile) error {
	if err := declarable(files); err != nil {
		return err
	}
	who := callerOf(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range files {
		if !x.has(who, f.Storage) {
			return unknownPath(f.Storage)
		}
	}
	for _, f := range files {
		k := fileKey{f.Sector, f.Type}
		if x.sectors[k] == nil {
			x.sectors[k] = map[api.StorageID]bool{}
		}
		x.sectors[k][f.Storage] = f.Primary
	}
	x.signal()
	return nil
}

// has tells whether the caller may speak of what lies on a path: it has attached
// it, and does more than read it.
func (x *Index) has(who caller, id api.StorageID) bool {
	e := x.paths[id]
	if e == nil {
		return false
	}
	for _, h := range e.keepers {
		if !h.reads && who.is(h.owner) {
			return true
		}
	}
	return false
}

// StorageDropSectors tells that files are not on paths any more. Repeating it is
// safe.
func (x *Index) StorageDropSectors(_ context.Context, files []api.SectorFile) error {
	if err := declarable(files); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range files {
		k := fileKey{f.Sector, f.Type}
		delete(x.sectors[k], f.Storage)
		if len(x.sectors[k]) == 0 {
			delete(x.sectors, k)
		}
	}
	return nil
}

// StorageFindSector lists the healthy paths that hold the file, primary copies
// and heavy paths first; empty when there are none.
func (x *Index) StorageFindSector(ctx context.Context, s abi.SectorID, t api.FileType) ([]api.SectorLocationInfo, error) {
	if err := single(t); err != nil {
		return nil, err
	}
	if err := callerOf(ctx).may("StorageFindSector", t, 0); err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	out := []api.SectorLocationInfo{}
	for id, primary := range x.sectors[fileKey{s, t}] {
		e := x.paths[id]
		if e == nil || !x.usable(e) {
			continue
		}
		info := api.SectorLocationInfo{
			Storage:  id,
			Weight:   e.meta.Weight,
			CanSeal:  e.meta.CanSeal,
			CanStore: e.meta.CanStore,
			Primary:  primary,
			Groups:   slices.Clone(e.meta.Groups),
			AllowTo:  slices.Clone(e.meta.AllowTo),
		}
		for _, u := range x.urls(e) {
			info.URLs = append(info.URLs, u+"/"+t.String()+"/"+api.SectorName(s))
		}
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b api.SectorLocationInfo) int {
		if a.Primary != b.Primary {
			if a.Primary {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Storage, b.Storage))
	})
	return out, nil
}

// StorageFiles pages through the files of one path, by sector and kind.
func (x *Index) StorageFiles(_ context.Context, id api.StorageID, cursor string, limit int) ([]api.SectorFile, string, error) {
	after, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.paths[id] == nil {
		return nil, "", unknownPath(id)
	}
	out := []api.SectorFile{}
	for k, holders := range x.sectors {
		primary, ok := holders[id]
		if ok && (after == nil || compareKeys(k, *after) > 0) {
			out = append(out, api.SectorFile{Sector: k.sector, Type: k.kind, Storage: id, Primary: primary})
		}
	}
	slices.SortFunc(out, func(a, b api.SectorFile) int {
		return compareKeys(fileKey{a.Sector, a.Type}, fileKey{b.Sector, b.Type})
	})
	if len(out) <= limit {
		return out, "", nil
	}
	last := out[limit-1]
	return out[:limit], formatCursor(fileKey{last.Sector, last.Type}), nil
}

func compareKeys(a, b fileKey) int {
	return cmp.Or(cmp.Compare(a.sector.Miner, b.sector.Miner), cmp.Compare(a.sector.Number, b.sector.Number), cmp.Compare(a.kind, b.kind))
}

func formatCursor(k fileKey) string {
	return base64.RawURLEncoding.EncodeToString([]byte(api.SectorName(k.sector) + "/" + strconv.Itoa(int(k.kind))))
}

func parseCursor(c string) (*fileKey, error) {
	if c == "" {
		return nil, nil
	}
	bad := &api.ErrInvalid{What: "cursor", Reason: "it was not given out by this method", Hint: "start with an empty cursor"}
	b, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil {
		return nil, bad
	}
	name, kind, ok := strings.Cut(string(b), "/")
	id, err := api.ParseSectorName(name)
	n, err2 := strconv.Atoi(kind)
	if !ok || err != nil || err2 != nil {
		return nil, bad
	}
	return &fileKey{id, api.FileType(n)}, nil
}

// takes tells whether the lists of kinds of a path let all kinds in t pass; the
// lists of miners are looked at by whoever knows the sector.
func takes(m api.PathMeta, t api.FileType) bool {
	m.AllowMiners, m.DenyMiners = nil, nil
	return !slices.ContainsFunc(api.AllFileTypes, func(k api.FileType) bool { return t.Has(k) && m.Refuses(k, 0) != "" })
}

// StorageBestAlloc lists healthy paths that can take size bytes of new files,
// with most weighted room first. The kinds in t only matter to the space: see
// the factors of lotus storiface/filetype.go, applied by the caller's own
// reservation; here one sector size per kind must fit.
func (x *Index) StorageBestAlloc(_ context.Context, t api.FileType, size abi.SectorSize, sealing bool) ([]api.StoragePath, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	kinds := int64(0)
	for _, k := range api.AllFileTypes {
		if t.Has(k) {
			kinds++
		}
	}
	if kinds == 0 || uint64(size) > 1<<56 {
		return nil, &api.ErrInvalid{What: fmt.Sprintf("allocation of file types %d, %d bytes each", int(t), uint64(size)),
			Reason: "nothing or too much is asked for"}
	}
	need := kinds * int64(size) //nolint:gosec // bounded above
	out := []api.StoragePath{}
	for _, e := range x.paths {
		use := e.meta.CanStore
		if sealing {
			use = e.meta.CanSeal
		}
		h := x.best(e)
		if use && e.meta.Weight > 0 && x.usable(e) && h.stat.Unwritable == "" && h.stat.Available >= need && takes(e.meta, t) {
			out = append(out, x.view(e))
		}
	}
	score := func(p api.StoragePath) float64 { return float64(p.Stat.Available) * float64(p.Weight) }
	sort.Slice(out, func(i, j int) bool {
		a, b := score(out[i]), score(out[j])
		return a > b || a == b && out[i].ID < out[j].ID
	})
	if len(out) == 0 {
		return nil, &api.ErrNoSpace{What: t.String(), NeedBytes: uint64(need),
			Hint: "attach a storage path with room"} //nolint:gosec // positive
	}
	return out, nil
}
