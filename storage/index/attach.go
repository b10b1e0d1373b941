package index

import (
	"context"
	"fmt"
	"maps"
	"time"

	"quarry/api"
	"quarry/storage/access"
)

// maxShared bounds the paths that one token attaches only to read them.
const maxShared = 256

// StorageAttach tells of a path and of a URL that serves it; repeating it
// refreshes. Several processes may attach one path, each with its own URL. Who
// only reads serves none, and what it says of a path counts for nothing where
// others have it.
func (x *Index) StorageAttach(ctx context.Context, p api.PathMeta, base string, stat api.FsStat) error {
	if p.ID == "" || len(p.ID) > 128 {
		return &api.ErrInvalid{What: "storage path", Reason: "its ID is empty or too long", Hint: "see ID in sectorstore.json"}
	}
	base, err := servedAt(p.ID, base)
	if err != nil {
		return err
	}
	who := callerOf(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case !who.serves && base != "":
		return &api.ErrInvalid{
			What:   "storage path " + string(p.ID),
			Reason: "a URL was given with a token that only reads (role " + string(api.RoleMarketsPeer) + ")",
			Hint:   "attach the path without a URL; its files are served by the process whose token has role " + string(api.RoleWorker),
		}
	case !who.serves && x.shares(who.id, p.ID) >= maxShared:
		return &api.ErrInvalid{
			What:   "storage path " + string(p.ID),
			Reason: fmt.Sprintf("this token has attached %d paths already", maxShared),
			Hint:   "detach some",
		}
	case base != "":
		if err := x.own(ctx, who, base); err != nil {
			return err
		}
	}
	x.keep(who, p, base, stat)
	x.signal()
	return nil
}

// keep notes that a process has a path. The caller holds mu.
func (x *Index) keep(who caller, p api.PathMeta, base string, stat api.FsStat) {
	e := x.paths[p.ID]
	if e == nil {
		e = &entry{keepers: map[string]*keeper{}}
		x.paths[p.ID] = e
	}
	if who.serves || len(e.keepers) == 0 || x.best(e).reads {
		e.meta = copyMeta(p)
	}
	e.keepers[keeperKey(who, base)] = &keeper{
		url:   base,
		owner: who.id,
		reads: !who.serves,
		stat:  stat,
		beat:  time.Now(),
	}
	if base != "" {
		e.keepers[base].owner = x.owners[base]
	}
}

// shares counts the paths other than id that a token has attached.
func (x *Index) shares(token string, id api.StorageID) (n int) {
	for other, e := range x.paths {
		if e.keepers[keeperKey(caller{id: token}, "")] != nil && other != id {
			n++
		}
	}
	return n
}

// keeperKey tells the processes that have one path apart.
func keeperKey(who caller, base string) string {
	if base == "" {
		return "token " + who.id
	}
	return base
}

// servedAt checks a URL under which a path is served; empty is none.
func servedAt(id api.StorageID, base string) (string, error) {
	if base == "" {
		return "", nil
	}
	clean, err := access.CleanBase(base)
	if err != nil {
		return "", fmt.Errorf("storage path %s: %w", id, err)
	}
	return clean, nil
}

// StorageDetach forgets a URL of a path; with the last one the path and what
// was declared on it are forgotten. An unknown path is no error. What another
// token attached stays.
func (x *Index) StorageDetach(ctx context.Context, id api.StorageID, base string) error {
	who := callerOf(ctx)
	base, err := servedAt(id, base)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.paths[id]
	if e == nil {
		return nil
	}
	if base == "" && who.all { // whoever has it without a URL
		maps.DeleteFunc(e.keepers, func(_ string, h *keeper) bool { return h.url == "" })
	}
	key := keeperKey(who, base)
	h := e.keepers[key]
	if h != nil && !who.is(h.owner) {
		return notYours(id, base)
	}
	delete(e.keepers, key)
	x.tidy(id)
	if h != nil && base != "" {
		return x.disown(ctx, base)
	}
	return nil
}

func notYours(id api.StorageID, base string) error {
	return &api.ErrInvalid{
		What:   "storage path " + string(id),
		Reason: "its URL " + base + " was attached with another token",
		Hint:   "use that token or an admin one, or revoke it on the private node (miner auth list, miner auth revoke)",
	}
}

// tidy forgets a path that nobody has any more, and what lies on one that only
// readers have.
func (x *Index) tidy(id api.StorageID) {
	e := x.paths[id]
	if len(e.keepers) > 0 && !x.best(e).reads {
		return
	}
	if len(e.keepers) == 0 {
		delete(x.paths, id)
	}
	for k, holders := range x.sectors {
		delete(holders, id)
		if len(holders) == 0 {
			delete(x.sectors, k)
		}
	}
}

// StorageReportHealth implements [api.Index]. It is also where processes that
// have not been heard of for long are forgotten, as long as another one has the
// path.
func (x *Index) StorageReportHealth(ctx context.Context, r api.PathHealth) error {
	who := callerOf(ctx)
	base, err := servedAt(r.Storage, r.URL)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.paths[r.Storage]
	if e == nil {
		return unknownPath(r.Storage)
	}
	h := e.keepers[keeperKey(who, base)]
	switch {
	case h == nil:
		return unknownPath(r.Storage)
	case !who.is(h.owner):
		return notYours(r.Storage, base)
	}
	better := !x.healthy(h) || r.Stat.Available > h.stat.Available || h.stat.Unwritable != "" && r.Stat.Unwritable == ""
	h.stat, h.beat, h.fault = r.Stat, time.Now(), r.Err
	maps.DeleteFunc(e.keepers, func(_ string, o *keeper) bool {
		return o != h && (o.reads || !h.reads) && time.Since(o.beat) > x.cfg.Forget
	})
	if better && r.Err == "" {
		x.signal() // it is back, or has more room
	}
	return nil
}
