package paths

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"golang.org/x/sys/unix"

	"quarry/api"
	"quarry/internal/breaker"
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

// Stat is the state of the file system of a path, less reservations, as it was at
// the last look.
func (l *Local) Stat(id api.StorageID) (api.FsStat, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.byID(id)
	switch {
	case p == nil:
		return api.FsStat{}, &api.ErrNotFound{What: "storage path " + string(id), Hint: "it is not attached to this process"}
	case p.trouble != "":
		return api.FsStat{}, fmt.Errorf("storage path %s: %s", p.dir, p.trouble)
	}
	return p.stat(), nil
}

// Want is new files of a sector that need a place.
type Want struct {
	What    string // printed in errors
	Miner   abi.ActorID
	Types   api.FileType   // all of them on one path
	Need    uint64         // bytes
	Sealing bool           // on a path with CanSeal, otherwise on one with CanStore
	From    []api.PathMeta // paths the files come from: only where these may go
}

// Alloc picks the local path with most room for new files, has a look at it, and
// reserves their space on it until release is called. It returns *api.ErrNoSpace
// when there is none, saying what is wrong with each.
func (l *Local) Alloc(ctx context.Context, w Want) (p Path, release func(), err error) {
	var why []string
	for _, c := range l.candidates(w, &why) {
		if release, err := l.reserve(ctx, c, w.Need); err == nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			return c.path(), release, nil
		} else if ctx.Err() != nil {
			return Path{}, nil, context.Cause(ctx)
		} else {
			why = append(why, c.dir+": "+plain(err))
		}
	}
	use := "CanStore"
	if w.Sealing {
		use = "CanSeal"
	}
	hint := "attach a storage path with " + use + ", weight above 0 and that much room"
	if len(why) > 0 {
		hint = strings.Join(why, "; ")
	}
	return Path{}, nil, &api.ErrNoSpace{What: w.What, NeedBytes: w.Need, Hint: hint}
}

// candidates lists the places that may take the files, most weighted room first,
// and adds to why what is wrong with the others.
func (l *Local) candidates(w Want, why *[]string) []*place {
	l.mu.Lock()
	defer l.mu.Unlock()
	score := map[*place]float64{}
	var out []*place
	for _, p := range l.places {
		reason := p.refuses(w)
		if reason == useless {
			continue
		}
		if reason != "" {
			*why = append(*why, p.dir+": "+reason)
			continue
		}
		score[p] = float64(p.stat().Available) * float64(p.meta.Weight)
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b *place) int {
		switch {
		case score[a] > score[b]:
			return -1
		case score[a] < score[b]:
			return 1
		}
		return 0
	})
	return out
}

// useless marks a path that is not meant for such files, which is nothing wrong.
const useless = "-"

// refuses says why the files may not go there. The caller holds mu.
func (p *place) refuses(w Want) string {
	use := p.meta.CanStore
	if w.Sealing {
		use = p.meta.CanSeal
	}
	switch {
	case p.trouble != "":
		return p.trouble
	case !p.opened || !use || p.meta.Weight == 0:
		return useless
	case p.unwritable != "":
		return p.unwritable
	}
	for _, t := range api.AllFileTypes {
		if why := p.meta.Refuses(t, w.Miner); w.Types.Has(t) && why != "" {
			return why
		}
	}
	for _, from := range w.From {
		if !from.MayGoTo(p.meta) {
			return "AllowTo of storage path " + string(from.ID) + " names none of its groups"
		}
	}
	return ""
}

// Reserve keeps need bytes of a path for the caller until release is called.
func (l *Local) Reserve(ctx context.Context, id api.StorageID, need uint64) (release func(), err error) {
	l.mu.Lock()
	p := l.byID(id)
	l.mu.Unlock()
	if p == nil {
		return nil, &api.ErrNotFound{What: "storage path " + string(id), Hint: "it is not attached to this process"}
	}
	return l.reserve(ctx, p, need)
}

// reserve looks at the path now and takes the space in one step, so that two
// cannot be given the same room.
func (l *Local) reserve(ctx context.Context, p *place, need uint64) (release func(), err error) {
	l.count(ctx, p)
	seen, err := breaker.Get(ctx, l.deps.Breaker, p.dir, l.cfg.Limit, func(context.Context) (examined, error) {
		return l.examineDisk(p.dir, p.id(l), false)
	})
	if err != nil {
		return nil, err
	}
	if seen.unwritable != "" {
		return nil, errors.New(seen.unwritable)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p.space = seen.space
	if free := p.stat().Available; need > 1<<62 || free < int64(need) {
		return nil, &api.ErrNoSpace{
			What:      "storage path " + p.dir,
			NeedBytes: need,
			Hint:      fmt.Sprintf("%d bytes are free; free space or attach another path", free),
		}
	}
	p.reserved += int64(need)
	done := false
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !done {
			p.reserved -= int64(need)
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
