package paths

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"

	"github.com/filecoin-project/go-state-types/abi"
	"golang.org/x/sys/unix"

	"quarry/api"
)

// sealFactor is the space a kind of file takes while sealing, in tenths of the
// sector size (lotus storiface/filetype.go FSOverheadSeal): the cache holds 11
// layers, two data trees' worth, tree-c and tree-r-last.
var sealFactor = map[api.FileType]uint64{
	api.FileUnsealed: 10, api.FileSealed: 10, api.FileUpdate: 10, api.FileUpdateCache: 21, api.FileCache: 141,
}

// storeFactor is the same after finalizing (FsOverheadFinalized).
var storeFactor = map[api.FileType]uint64{
	api.FileUnsealed: 10, api.FileSealed: 10, api.FileUpdate: 10, api.FileUpdateCache: 1, api.FileCache: 1,
}

// Need is the space in bytes that the kinds of file in types take.
func Need(types api.FileType, size abi.SectorSize, sealing bool) uint64 {
	factors := storeFactor
	if sealing {
		factors = sealFactor
	}
	var tenths uint64
	for t, f := range factors {
		if types.Has(t) {
			tenths += f
		}
	}
	return uint64(size) * tenths / 10
}

// Stat is the state of the file system of a path, less reservations.
func (l *Local) Stat(id api.StorageID) (api.FsStat, error) {
	p, ok := l.get(id)
	if !ok {
		return api.FsStat{}, &api.ErrNotFound{What: "storage path " + string(id), Hint: "it is not attached to this process"}
	}
	return l.stat(p)
}

func (l *Local) stat(p Path) (api.FsStat, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(p.Dir, &s); err != nil {
		return api.FsStat{}, fmt.Errorf("stat storage path %s: %w", p.Dir, err)
	}
	l.mu.Lock()
	reserved := l.reserved[p.Meta.ID]
	l.mu.Unlock()
	out := api.FsStat{
		Capacity:    int64(s.Blocks) * int64(s.Bsize), //nolint:gosec // file systems are below 2^63 bytes
		FSAvailable: int64(s.Bavail) * int64(s.Bsize), //nolint:gosec // as above
		Reserved:    reserved,
	}
	out.Available = max(out.FSAvailable-reserved, 0)
	if p.Meta.MaxStorage > 0 {
		out.Max = int64(min(p.Meta.MaxStorage, 1<<62)) //nolint:gosec // bounded
		out.Used = diskUse(p.Dir)
		out.Available = max(min(out.Available, out.Max-out.Used-reserved), 0)
	}
	return out, nil
}

// diskUse sums the bytes on disk below dir; files that vanish meanwhile or
// cannot be read do not count.
func diskUse(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum
}

// Alloc picks the local path with most room for new files of the given kinds
// and reserves need bytes on it until release is called. With sealing, paths
// with CanSeal qualify, otherwise those with CanStore. It returns
// *api.ErrNoSpace when there is none.
func (l *Local) Alloc(what string, need uint64, sealing bool) (p Path, release func(), err error) {
	type cand struct {
		Path
		score float64
	}
	var cands []cand
	for _, p := range l.Paths() {
		ok := p.Meta.CanStore
		if sealing {
			ok = p.Meta.CanSeal
		}
		st, err := l.stat(p)
		if ok && p.Meta.Weight > 0 && err == nil && uint64(st.Available) >= need { //nolint:gosec // never negative
			cands = append(cands, cand{p, float64(st.Available) * float64(p.Meta.Weight)})
		}
	}
	sort.SliceStable(cands, func(i, j int) bool { return cands[i].score > cands[j].score })
	for _, c := range cands {
		if release, err := l.Reserve(c.Meta.ID, need); err == nil {
			return c.Path, release, nil
		}
	}
	use := "CanStore"
	if sealing {
		use = "CanSeal"
	}
	return Path{}, nil, &api.ErrNoSpace{What: what, NeedBytes: need, Hint: "attach a storage path with " + use + ", weight above 0 and that much room"}
}

// Reserve keeps need bytes of a path for the caller until release is called.
func (l *Local) Reserve(id api.StorageID, need uint64) (release func(), err error) {
	st, err := l.Stat(id)
	if err != nil {
		return nil, err
	}
	if need > 1<<62 || st.Available < int64(need) {
		return nil, &api.ErrNoSpace{What: "storage path " + string(id), NeedBytes: need, Hint: "free space or attach another path"}
	}
	l.mu.Lock()
	l.reserved[id] += int64(need)
	l.mu.Unlock()
	done := false
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !done {
			l.reserved[id] -= int64(need)
		}
		done = true
	}, nil
}

// AsNoSpace turns "no space left on device" and "disk quota exceeded" into
// *api.ErrNoSpace and leaves other errors alone.
func AsNoSpace(err error, what string, need uint64) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w (%w)", &api.ErrNoSpace{What: what, NeedBytes: need, Hint: "free space on the storage path"}, err)
	}
	return err
}
