package retrieve

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/go-cid"

	"quarry/markets/pieces"
)

// maxOpen is how many pieces are kept open between blocks.
const maxOpen = 16

// idleClose is how long a piece stays open without a reader. An open piece
// keeps a read lock on its sector, so it must not linger.
const idleClose = 500 * time.Millisecond

// Payload is an open piece: its payload bytes.
type Payload interface {
	io.ReaderAt
	io.Closer
	Size() int64 // bytes
}

// Source opens pieces by CID; api.ErrNotFound when the piece is not known here.
type Source interface {
	OpenPiece(ctx context.Context, piece cid.Cid) (Payload, error)
}

// ending ends the context of an open piece with it.
type ending struct {
	Payload
	end context.CancelFunc
}

func (e *ending) Close() error { defer e.end(); return e.Payload.Close() }

type handle struct {
	p    Payload
	refs int
	used uint64
	gone bool        // close when the last user leaves
	idle *time.Timer // closes an unused handle; nil while it is used
}

func (b *blockstore) read(ctx context.Context, l pieces.Location) ([]byte, error) {
	if l.Length > pieces.MaxBlock {
		return nil, fmt.Errorf("block of %d bytes in piece %s, at most %d are served", l.Length, l.Piece, pieces.MaxBlock)
	}
	h, err := b.acquire(ctx, l.Piece)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, l.Length)
	n, err := h.p.ReadAt(buf, int64(l.Offset))
	if n == len(buf) {
		err = nil
	}
	b.release(h, l.Piece, err != nil)
	if err != nil {
		return nil, fmt.Errorf("read %d bytes at %d of piece %s: %w", l.Length, l.Offset, l.Piece, err)
	}
	return buf, nil
}

func (b *blockstore) acquire(ctx context.Context, piece cid.Cid) (*handle, error) {
	b.mu.Lock()
	if h, ok := b.open[piece]; ok {
		h.refs++
		b.tick++
		h.used = b.tick
		h.stopIdle()
		b.mu.Unlock()
		return h, nil
	}
	b.mu.Unlock()
	// The handle outlives this request, the opening does not.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	p, err := b.src.OpenPiece(life, piece)
	if !stop() && err == nil {
		_ = p.Close()
		err = ctx.Err()
	}
	if err != nil {
		end()
		return nil, err
	}
	p = &ending{p, end}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tick++
	h := &handle{p: p, refs: 1, used: b.tick}
	if _, taken := b.open[piece]; taken {
		h.gone = true // somebody else was faster; this one serves one read
		return h, nil
	}
	b.open[piece] = h
	b.evict()
	return h, nil
}

// evict drops the least recently used idle handle above the limit.
func (b *blockstore) evict() {
	for len(b.open) > maxOpen {
		var oldest cid.Cid
		var oh *handle
		for c, h := range b.open {
			if h.refs == 0 && (oh == nil || h.used < oh.used) {
				oldest, oh = c, h
			}
		}
		if oh == nil {
			return
		}
		delete(b.open, oldest)
		oh.stopIdle()
		_ = oh.p.Close()
	}
}

func (b *blockstore) release(h *handle, piece cid.Cid, broken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h.refs--
	if broken {
		h.gone = true
		if b.open[piece] == h {
			delete(b.open, piece)
		}
	}
	if h.refs > 0 {
		return
	}
	if h.gone {
		_ = h.p.Close()
		return
	}
	h.idle = time.AfterFunc(idleClose, func() { b.closeIdle(piece, h) })
}

func (h *handle) stopIdle() {
	if h.idle != nil {
		h.idle.Stop()
		h.idle = nil
	}
}

// closeIdle closes a handle unless somebody took it, or closed it, meanwhile.
func (b *blockstore) closeIdle(piece cid.Cid, h *handle) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.refs == 0 && b.open[piece] == h && h.idle != nil {
		delete(b.open, piece)
		h.idle = nil
		_ = h.p.Close()
	}
}

// close closes idle handles; those in use close with their last reader.
func (b *blockstore) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c, h := range b.open {
		h.gone = true
		h.stopIdle()
		delete(b.open, c)
		if h.refs == 0 {
			_ = h.p.Close()
		}
	}
}

// reopen makes the next reader of a piece open it anew.
func (b *blockstore) reopen(piece cid.Cid) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, ok := b.open[piece]
	if !ok {
		return
	}
	delete(b.open, piece)
	h.gone = true
	h.stopIdle()
	if h.refs == 0 {
		_ = h.p.Close()
	}
}
