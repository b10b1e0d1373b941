package retrieve

import (
	"context"
	"sync"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
)

// track follows one request through the gateway: which block it lacked first,
// and whether its answer broke off. A nil track follows nothing.
type track struct {
	head bool // the client wants no body
	root blocks.Block

	unread bool // the answer was given without reading all it is about

	mu     sync.Mutex
	lacked error // of the first block that could not be read
	broken error // why the answer cannot be completed
}

type trackKey struct{}

func withTrack(ctx context.Context, t *track) context.Context {
	return context.WithValue(ctx, trackKey{}, t)
}

func trackOf(ctx context.Context) *track {
	t, _ := ctx.Value(trackKey{}).(*track)
	return t
}

// rootBlock is the root when it is c: it was read before the answer began.
func (t *track) rootBlock(c cid.Cid) blocks.Block {
	if t == nil || t.root == nil || !t.root.Cid().Equals(c) {
		return nil
	}
	return t.root
}

func (t *track) fail(err error) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lacked == nil {
		t.lacked = err
	}
}

func (t *track) failure() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lacked
}

func (t *track) breakOff(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken == nil {
		t.broken = err
	}
}

func (t *track) brokenOff() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.broken
}
