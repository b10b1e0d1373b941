package index

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// Config of an Index.
type Config struct {
	// Silence is how long a path counts as healthy without a heartbeat; 0 = 50 s,
	// five heartbeats, as in Lotus.
	Silence time.Duration
	// Forget is how long a process that attached a path and is not heard of is
	// remembered; 0 = 10 min. Its files are not.
	Forget time.Duration
}

// Index implements api.Index, less what concerns the directories of a process,
// and api.Leases. Its methods may be called from several goroutines at once.
type Index struct {
	cfg Config

	mu      sync.Mutex
	paths   map[api.StorageID]*entry
	sectors map[fileKey]map[api.StorageID]bool // value: primary
	locks   lockTable
	changed chan struct{} // one signal at most: something came, or was given back
}

// entry is a path with the processes that have it.
type entry struct {
	meta    api.PathMeta
	keepers map[string]*keeper // by the URL under which each serves it, "" for all that serve none
}

// keeper is a process that attached a path.
type keeper struct {
	stat  api.FsStat
	beat  time.Time
	fault string
}

type fileKey struct {
	sector abi.SectorID
	kind   api.FileType
}

// New makes an empty index.
func New(cfg Config) *Index {
	if cfg.Silence <= 0 {
		cfg.Silence = 50 * time.Second
	}
	if cfg.Forget <= 0 {
		cfg.Forget = 10 * time.Minute
	}
	return &Index{
		cfg:     cfg,
		paths:   map[api.StorageID]*entry{},
		sectors: map[fileKey]map[api.StorageID]bool{},
		locks:   newLockTable(),
		changed: make(chan struct{}, 1),
	}
}

// Changed gives a signal, one for many, after a path or a file has come or files
// of a sector were given back: who waits for one of these may have it now.
func (x *Index) Changed() <-chan struct{} { return x.changed }

func (x *Index) signal() {
	select {
	case x.changed <- struct{}{}:
	default:
	}
}

// StorageAttach tells of a path and of a URL that serves it; repeating it
// refreshes. Several processes may attach one path, each with its own URL.
func (x *Index) StorageAttach(_ context.Context, p api.PathMeta, base string, stat api.FsStat) error {
	if p.ID == "" || len(p.ID) > 128 {
		return &api.ErrInvalid{What: "storage path", Reason: "its ID is empty or too long", Hint: "see ID in sectorstore.json"}
	}
	base, err := servedAt(p.ID, base)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.paths[p.ID]
	if e == nil {
		e = &entry{keepers: map[string]*keeper{}}
		x.paths[p.ID] = e
	}
	e.meta = copyMeta(p)
	e.keepers[base] = &keeper{stat: stat, beat: time.Now()}
	x.signal()
	return nil
}

// servedAt checks a URL under which a path is served; empty is none.
func servedAt(id api.StorageID, base string) (string, error) {
	if base == "" {
		return "", nil
	}
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", &api.ErrInvalid{What: "storage path " + string(id), Reason: "URL " + base + " is not http(s)://host/remote"}
	}
	return strings.TrimRight(base, "/"), nil
}

// StorageDetach forgets a URL of a path; with the last one the path and what
// was declared on it are forgotten. An unknown path is no error.
func (x *Index) StorageDetach(_ context.Context, id api.StorageID, base string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.paths[id]; e != nil {
		delete(e.keepers, strings.TrimRight(base, "/"))
		x.tidy(id)
	}
	return nil
}

// tidy forgets a path that nobody has any more.
func (x *Index) tidy(id api.StorageID) {
	if len(x.paths[id].keepers) > 0 {
		return
	}
	delete(x.paths, id)
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
func (x *Index) StorageReportHealth(_ context.Context, r api.PathHealth) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.paths[r.Storage]
	if e == nil {
		return unknownPath(r.Storage)
	}
	h := e.keepers[strings.TrimRight(r.URL, "/")]
	if h == nil {
		return unknownPath(r.Storage)
	}
	better := !x.healthy(h) || r.Stat.Available > h.stat.Available || h.stat.Unwritable != "" && r.Stat.Unwritable == ""
	h.stat, h.beat, h.fault = r.Stat, time.Now(), r.Err
	maps.DeleteFunc(e.keepers, func(_ string, o *keeper) bool { return o != h && time.Since(o.beat) > x.cfg.Forget })
	if better && r.Err == "" {
		x.signal() // it is back, or has more room
	}
	return nil
}

// StorageList lists all paths, by ID.
func (x *Index) StorageList(context.Context) ([]api.StoragePath, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make([]api.StoragePath, 0, len(x.paths))
	for _, e := range x.paths {
		out = append(out, x.view(e))
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out, nil
}

// StorageGet describes one path; *api.ErrNotFound when it is unknown.
func (x *Index) StorageGet(_ context.Context, id api.StorageID) (api.StoragePath, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.paths[id]
	if e == nil {
		return api.StoragePath{}, unknownPath(id)
	}
	return x.view(e), nil
}

func unknownPath(id api.StorageID) error {
	return &api.ErrNotFound{What: "storage path " + string(id), Hint: "attach it"}
}

// view is a path by its best holder: one that is well if there is one, and else
// the one heard of last.
func (x *Index) view(e *entry) api.StoragePath {
	out := api.StoragePath{PathMeta: copyMeta(e.meta), URLs: x.urls(e)}
	best := x.best(e)
	out.Stat, out.LastHeartbeat, out.HeartbeatErr = best.stat, best.beat, best.fault
	if silent := time.Since(best.beat); out.HeartbeatErr == "" && silent > x.cfg.Silence {
		out.HeartbeatErr = "nothing was heard of it for " + silent.Round(time.Second).String()
	}
	return out
}

func (x *Index) best(e *entry) *keeper {
	var best *keeper
	for _, h := range e.keepers {
		switch {
		case best == nil, x.healthy(h) && !x.healthy(best):
			best = h
		case x.healthy(h) == x.healthy(best) && h.beat.After(best.beat):
			best = h
		}
	}
	return best
}

// urls are those of the holders that are well, in order.
func (x *Index) urls(e *entry) []string {
	out := []string{}
	for u, h := range e.keepers {
		if u != "" && x.healthy(h) {
			out = append(out, u)
		}
	}
	slices.Sort(out)
	return out
}

func (x *Index) healthy(h *keeper) bool {
	return h.fault == "" && time.Since(h.beat) <= x.cfg.Silence
}

func copyMeta(m api.PathMeta) api.PathMeta {
	for _, list := range []*[]string{&m.Groups, &m.AllowTo, &m.AllowTypes, &m.DenyTypes, &m.AllowMiners, &m.DenyMiners} {
		*list = slices.Clone(*list)
	}
	return m
}
