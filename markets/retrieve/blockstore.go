package retrieve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"

	"quarry/markets/pieces"
)

// maxOpen is how many pieces are kept open between blocks.
const maxOpen = 16

// idleClose is how long a piece stays open without a reader. An open piece
// keeps a read lock on its sector, so it must not linger.
const idleClose = 500 * time.Millisecond

// maxBlock bounds a block that is served, in bytes.
const maxBlock = 8 << 20

var errReadOnly = errors.New("the retrieval blockstore is read-only")

// Payload is an open piece: its payload bytes.
type Payload interface {
	io.ReaderAt
	io.Closer
	Size() int64 // bytes
}

// Source opens pieces by CID; api.ErrNotFound when none can be read.
type Source interface {
	OpenPiece(ctx context.Context, piece cid.Cid) (Payload, error)
}

// Finder looks blocks up.
type Finder interface {
	Find(ctx context.Context, h mh.Multihash) ([]pieces.Location, error)
}

// blockstore reads blocks out of pieces.
type blockstore struct {
	find Finder
	src  Source

	mu   sync.Mutex
	open map[cid.Cid]*handle
	tick uint64
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

func newBlockstore(find Finder, src Source) *blockstore {
	return &blockstore{find: find, src: src, open: map[cid.Cid]*handle{}}
}

// Get reads and verifies a block.
func (b *blockstore) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	if c.Prefix().MhType == mh.IDENTITY {
		dec, err := mh.Decode(c.Hash())
		if err != nil {
			return nil, err
		}
		return blocks.NewBlockWithCid(dec.Digest, c)
	}
	locs, err := b.find.Find(ctx, c.Hash())
	if err != nil {
		return nil, err
	}
	var last error = ipld.ErrNotFound{Cid: c}
	for _, l := range locs {
		data, err := b.read(ctx, l)
		if err != nil {
			last = err
			continue
		}
		got, err := c.Prefix().Sum(data)
		if err != nil || !got.Equals(c) {
			last = fmt.Errorf("piece %s holds other bytes under %s", l.Piece, c)
			continue
		}
		return blocks.NewBlockWithCid(data, c)
	}
	return nil, last
}

func (b *blockstore) read(ctx context.Context, l pieces.Location) ([]byte, error) {
	if l.Length > maxBlock {
		return nil, fmt.Errorf("block of %d bytes in piece %s, at most %d are served", l.Length, l.Piece, maxBlock)
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

// Has tells whether a block is indexed.
func (b *blockstore) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if c.Prefix().MhType == mh.IDENTITY {
		return true, nil
	}
	locs, err := b.find.Find(ctx, c.Hash())
	return len(locs) > 0, err
}

// GetSize is the block's length in bytes.
func (b *blockstore) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	blk, err := b.Get(ctx, c)
	if err != nil {
		return -1, err
	}
	return len(blk.RawData()), nil
}

// Put is refused.
func (b *blockstore) Put(context.Context, blocks.Block) error { return errReadOnly }

// PutMany is refused.
func (b *blockstore) PutMany(context.Context, []blocks.Block) error { return errReadOnly }

// DeleteBlock is refused.
func (b *blockstore) DeleteBlock(context.Context, cid.Cid) error { return errReadOnly }

// AllKeysChan is refused: nobody needs to walk everything a provider stores.
func (b *blockstore) AllKeysChan(context.Context) (<-chan cid.Cid, error) {
	return nil, errors.New("listing all blocks is not offered")
}
