package prove

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/breaker"
	"quarry/storage/paths"
)

// form is a replica with its cache: as sealed, or as updated with data later.
type form struct{ replica, cache api.FileType }

var (
	asSealed  = form{api.FileSealed, api.FileCache}
	asUpdated = form{api.FileUpdate, api.FileUpdateCache}
)

// place is where one file, or one cache directory, should be.
type place struct {
	key  string // in the breaker: the directory of the path, or the host; empty: a directory that is no storage path
	path string // what a person calls it
	dir  string // of the local path; empty: remote
	name string // of the file, or its URL
}

// replica is one copy of a sector in one form.
type replica struct {
	form           form
	sealed, cached place
}

// key is what the copy hangs on; apart says that its cache lies elsewhere, and both
// together have a key of their own, which is not the name of a directory.
func (r replica) key() (key string, apart bool) {
	if r.sealed.key == r.cached.key {
		return r.sealed.key, false
	}
	return "a replica on " + r.sealed.key + " with its cache on " + r.cached.key, true
}

func metaName(dir string) string { return filepath.Join(dir, paths.MetaFile) }

// replicas lists the copies of a form that were declared, local ones first, those
// that lie in one place before those that do not.
func (p *Prover) replicas(ctx context.Context, id abi.SectorID, f form) ([]replica, error) {
	sealed, err := p.declared(ctx, id, f.replica)
	if err != nil {
		return nil, err
	}
	cached, err := p.declared(ctx, id, f.cache)
	if err != nil {
		return nil, err
	}
	return pair(f, sealed, cached), nil
}

// pair joins replicas with caches. Where a replica has no cache in its own place
// every cache is tried.
func pair(f form, sealed, cached []place) []replica {
	var same, apart []replica
	for _, s := range sealed {
		i := slices.IndexFunc(cached, func(c place) bool { return c.path == s.path && (c.dir == "") == (s.dir == "") && c.key == s.key })
		if i >= 0 {
			same = append(same, replica{f, s, cached[i]})
			continue
		}
		for _, c := range cached {
			apart = append(apart, replica{f, s, c})
		}
	}
	return append(same, apart...)
}

// declared lists the places of a file that the index knows.
func (p *Prover) declared(ctx context.Context, id abi.SectorID, t api.FileType) ([]place, error) {
	locs, err := p.deps.Index.StorageFindSector(ctx, id, t)
	if err != nil {
		return nil, &trouble{reason: api.FaultAway, err: fmt.Errorf("find %s of sector %s: %w", t, api.SectorName(id), err)}
	}
	own := map[api.StorageID]paths.Path{}
	for _, l := range p.deps.Local.Paths() {
		own[l.Meta.ID] = l
	}
	var near, far []place
	for _, l := range locs {
		if o, ok := own[l.Storage]; ok {
			near = append(near, localPlace(o, id, t))
			continue
		}
		for _, u := range l.URLs {
			if at, err := url.Parse(u); err == nil && p.deps.Remote != nil {
				far = append(far, place{key: at.Scheme + "://" + at.Host, path: string(l.Storage), name: u})
			}
		}
	}
	return append(near, far...), nil
}

func localPlace(l paths.Path, id abi.SectorID, t api.FileType) place {
	return place{key: l.Dir, path: string(l.Meta.ID), dir: l.Dir, name: l.FilePath(id, t)}
}

// found looks on the local paths for a form that the index does not know: it may
// not have been told yet. doubt is why it may be there all the same: a path that
// could not be looked at.
func (p *Prover) found(ctx context.Context, id abi.SectorID, f form) (out []replica, doubt error) {
	sealed, err1 := p.search(ctx, id, f.replica)
	if len(sealed) == 0 {
		return nil, err1
	}
	cached, err2 := p.search(ctx, id, f.cache)
	return pair(f, sealed, cached), errors.Join(err1, err2)
}

func (p *Prover) search(ctx context.Context, id abi.SectorID, t api.FileType) (out []place, doubt error) {
	for _, l := range p.deps.Local.Paths() {
		at := localPlace(l, id, t)
		_, err := breaker.Get(ctx, p.deps.Breaker, at.key, p.cfg.Probe, func(context.Context) (fs.FileInfo, error) {
			st, err := p.deps.FS.Stat(at.name)
			return st, p.mounted(at, err)
		})
		if err == nil {
			out = append(out, at)
			continue
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			doubt = errors.Join(doubt, asTrouble(at, err))
		}
	}
	return out, doubt
}

// errNotMounted says that a path has lost its sectorstore.json.
var errNotMounted = errors.New("its sectorstore.json cannot be read; is the disk mounted?")

// mounted tells a file that is not there from a disk that is not.
func (p *Prover) mounted(at place, err error) error {
	if at.dir == "" || at.key == "" || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := p.deps.FS.Stat(metaName(at.dir)); err != nil {
		return fmt.Errorf("%w (%v)", errNotMounted, err) //nolint:errorlint // this is not "does not exist"
	}
	return err
}
