package retrieve

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"quarry/markets/pieces"
)

// demotion is how long a piece that failed stands behind the others.
const demotion = time.Minute

// maxWatched bounds the pieces that are remembered to have failed.
const maxWatched = 4096

// watch remembers which pieces fail and which are stuck: on a disk that hangs,
// or behind a host that does not answer. The zero value is ready.
type watch struct {
	mu    sync.Mutex
	bad   map[cid.Cid]time.Time // when they failed
	stuck map[cid.Cid]int       // reads that have outlived their time
}

// order puts pieces that failed lately last; the rest keep their order.
func (w *watch) order(locs []pieces.Location) []pieces.Location {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.bad) == 0 || len(locs) < 2 {
		return locs
	}
	out := slices.Clone(locs)
	slices.SortStableFunc(out, func(a, b pieces.Location) int { return w.rank(a.Piece) - w.rank(b.Piece) })
	return out
}

func (w *watch) rank(c cid.Cid) int {
	if at, ok := w.bad[c]; ok && time.Since(at) < demotion {
		return 1
	}
	return 0
}

// failed demotes a piece; it tells whether that is news.
func (w *watch) failed(c cid.Cid) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	news := w.rank(c) == 0
	if w.bad == nil || len(w.bad) >= maxWatched {
		w.bad = map[cid.Cid]time.Time{}
	}
	w.bad[c] = time.Now()
	return news
}

// worked takes a demotion back.
func (w *watch) worked(c cid.Cid) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.bad, c)
}

// begin lets a read of a piece begin unless an earlier one hangs: a hung disk
// must not collect a goroutine for every request. end must be called after it.
func (w *watch) begin(c cid.Cid, limit time.Duration) (end func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stuck[c] > 0 {
		return nil, fmt.Errorf("an earlier read of piece %s has not come back", c)
	}
	over, late := false, false
	timer := time.AfterFunc(limit, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if over {
			return
		}
		if late = true; w.stuck == nil {
			w.stuck = map[cid.Cid]int{}
		}
		w.stuck[c]++
	})
	return func() {
		timer.Stop()
		w.mu.Lock()
		defer w.mu.Unlock()
		over = true
		if !late {
			return
		}
		if w.stuck[c]--; w.stuck[c] == 0 {
			delete(w.stuck, c)
		}
	}, nil
}
