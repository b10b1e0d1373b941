package node

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"quarry/api"
)

// notices are what the operator should know, by what found it.
type notices struct {
	mu sync.Mutex
	by map[string][]api.Notice
}

// set replaces what one finder says, and tells whether that is something else than
// before.
func (n *notices) set(finder string, list ...api.Notice) (changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed = !slices.Equal(n.by[finder], list)
	if n.by == nil {
		n.by = map[string][]api.Notice{}
	}
	n.by[finder] = list
	return changed
}

// all are the notices, in the order of their finders.
func (n *notices) all() (out []api.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, finder := range slices.Sorted(maps.Keys(n.by)) {
		out = append(out, n.by[finder]...)
	}
	return out
}

// heard is when the markets node of this miner last introduced itself.
type heard struct {
	mu    sync.Mutex
	who   uuid.UUID
	since time.Time // of its first introduction
	last  time.Time // of its last
}

func (h *heard) from(instance uuid.UUID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.who != instance {
		h.who, h.since = instance, now
	}
	h.last = now
}

// status is empty before anybody was heard of. One that is silent for longer than
// silence is away since it was last heard of.
func (h *heard) status(silence time.Duration) []api.PeerStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last.IsZero() {
		return nil
	}
	if time.Since(h.last) <= silence {
		return []api.PeerStatus{{Name: "markets", Reachable: true, Since: h.since}}
	}
	return []api.PeerStatus{{Name: "markets", Since: h.last, LastError: "it is not heard of any more"}}
}
