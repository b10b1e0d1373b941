package index

import (
	"context"
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
}

// Index implements the path, sector and lock methods of api.Storage. Its
// methods may be called from several goroutines at once.
type Index struct {
	cfg Config

	mu      sync.Mutex
	paths   map[api.StorageID]*entry
	sectors map[fileKey]map[api.StorageID]bool // value: primary
	locks   lockTable
	changed chan struct{} // one signal at most: something came, or was given back
}

type entry struct {
	meta  api.PathMeta
	urls  []string // without the empty one
	local bool     // attached by a process that serves no URL
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
	return &Index{cfg: cfg, paths: map[api.StorageID]*entry{}, sectors: map[fileKey]map[api.StorageID]bool{}, locks: newLockTable(), changed: make(chan struct{}, 1)}
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
	if base != "" {
		u, err := url.Parse(base)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return &api.ErrInvalid{What: "storage path " + string(p.ID), Reason: "URL " + base + " is not http(s)://host/remote"}
		}
		base = strings.TrimRight(base, "/")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.paths[p.ID]
	if e == nil {
		e = &entry{}
		x.paths[p.ID] = e
	}
	e.meta, e.stat, e.beat, e.fault = copyMeta(p), stat, time.Now(), ""
	x.signal()
	switch {
	case base == "":
		e.local = true
	case !slices.Contains(e.urls, base):
		e.urls = append(e.urls, base)
	}
	return nil
}

// StorageDetach forgets a URL of a path; with the last one the path and what
// was declared on it are forgotten. An unknown path is no error.
func (x *Index) StorageDetach(_ context.Context, id api.StorageID, base string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.paths[id]
	if e == nil {
		return nil
	}
	if base == "" {
		e.local = false
	}
	e.urls = slices.DeleteFunc(e.urls, func(u string) bool { return u == strings.TrimRight(base, "/") })
	if e.local || len(e.urls) > 0 {
		return nil
	}
	delete(x.paths, id)
	for k, holders := range x.sectors {
		delete(holders, id)
		if len(holders) == 0 {
			delete(x.sectors, k)
		}
	}
	return nil
}

// StorageReportHealth is the heartbeat of a path. *api.ErrNotFound asks the
// caller to attach and declare everything again.
func (x *Index) StorageReportHealth(_ context.Context, id api.StorageID, stat api.FsStat, errText string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.paths[id]
	if e == nil {
		return unknownPath(id)
	}
	if !x.healthy(e) || stat.Available > e.stat.Available {
		x.signal() // it is back, or has more room
	}
	e.stat, e.beat, e.fault = stat, time.Now(), errText
	return nil
}

// StorageList lists all paths, by ID.
func (x *Index) StorageList(context.Context) ([]api.StoragePath, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make([]api.StoragePath, 0, len(x.paths))
	for _, e := range x.paths {
		out = append(out, e.view())
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
	return e.view(), nil
}

func unknownPath(id api.StorageID) error {
	return &api.ErrNotFound{What: "storage path " + string(id), Hint: "attach it"}
}

func (e *entry) view() api.StoragePath {
	return api.StoragePath{PathMeta: copyMeta(e.meta), URLs: slices.Clone(e.urls), Stat: e.stat, LastHeartbeat: e.beat, HeartbeatErr: e.fault}
}

func (x *Index) healthy(e *entry) bool {
	return e.fault == "" && time.Since(e.beat) <= x.cfg.Silence
}

func copyMeta(m api.PathMeta) api.PathMeta {
	m.Groups, m.AllowTo = slices.Clone(m.Groups), slices.Clone(m.AllowTo)
	return m
}
