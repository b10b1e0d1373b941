package index

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-datastore"

	"quarry/api"
	"quarry/storage/access"
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

// Deps of an Index.
type Deps struct {
	// Store remembers whose URLs are; nil: as long as the process lives.
	Store datastore.Datastore
	// Valid tells whether a token can be used still, by its identity: what belonged
	// to one that cannot is free. nil: all can.
	Valid func(token string) bool
	// Signer makes bearers for files; nil: one with a key of its own.
	Signer *access.Signer
	Log    *slog.Logger
}

// Index implements api.Index, less what concerns the directories of a process,
// and api.Leases. Its methods may be called from several goroutines at once.
type Index struct {
	cfg  Config
	deps Deps

	mu      sync.Mutex
	paths   map[api.StorageID]*entry
	sectors map[fileKey]map[api.StorageID]bool // value: primary
	owners  map[string]string                  // by URL: the identity of the token that it belongs to
	locks   lockTable
	changed chan struct{} // one signal at most: something came, or was given back
}

// entry is a path with the processes that have it.
type entry struct {
	meta    api.PathMeta
	keepers map[string]*keeper // by the URL under which each serves it, or by its token where it serves none
}

// keeper is a process that attached a path.
type keeper struct {
	url   string
	owner string // token; see caller.id
	reads bool   // it does nothing else, and counts for nothing
	stat  api.FsStat
	beat  time.Time
	fault string
}

type fileKey struct {
	sector abi.SectorID
	kind   api.FileType
}

// New makes an empty index that remembers nothing for later.
func New(cfg Config) *Index {
	x, _ := Open(context.Background(), cfg, Deps{}) // only a store can fail
	return x
}

// Open makes an index that knows no path yet, but whose URLs are.
func Open(ctx context.Context, cfg Config, deps Deps) (*Index, error) {
	if cfg.Silence <= 0 {
		cfg.Silence = 50 * time.Second
	}
	if cfg.Forget <= 0 {
		cfg.Forget = 10 * time.Minute
	}
	if deps.Signer == nil {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("key for the bearers of files: %w", err)
		}
		deps.Signer = access.NewSigner(func() ed25519.PrivateKey { return key })
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	x := &Index{
		cfg:     cfg,
		deps:    deps,
		owners:  map[string]string{},
		paths:   map[api.StorageID]*entry{},
		sectors: map[fileKey]map[api.StorageID]bool{},
		locks:   newLockTable(),
		changed: make(chan struct{}, 1),
	}
	return x, x.loadOwners(ctx)
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
	silent := time.Since(best.beat)
	switch {
	case out.HeartbeatErr != "":
	case silent > x.cfg.Silence:
		out.HeartbeatErr = "nothing was heard of it for " + silent.Round(time.Second).String()
	case best.reads:
		out.HeartbeatErr = "only a process that reads it has it"
	}
	return out
}

// best is a reader only where there is nobody else.
func (x *Index) best(e *entry) *keeper {
	var best *keeper
	for _, h := range e.keepers {
		switch {
		case best == nil, best.reads && !h.reads:
			best = h
		case h.reads && !best.reads:
		case x.healthy(h) && !x.healthy(best):
			best = h
		case x.healthy(h) == x.healthy(best) && h.beat.After(best.beat):
			best = h
		}
	}
	return best
}

// usable tells whether somebody who does more than read has the path and is well.
func (x *Index) usable(e *entry) bool {
	best := x.best(e)
	return !best.reads && x.healthy(best)
}

// urls are those of the holders that are well, in order.
func (x *Index) urls(e *entry) []string {
	out := []string{}
	for _, h := range e.keepers {
		if h.url != "" && x.healthy(h) {
			out = append(out, h.url)
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
