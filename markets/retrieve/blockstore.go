package retrieve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"

	"quarry/markets/pieces"
)

// patience is how long one candidate may take before the next is tried beside
// it.
const patience = time.Second

var errReadOnly = errors.New("the retrieval blockstore is read-only")

// Finder looks blocks up.
type Finder interface {
	Find(ctx context.Context, h mh.Multihash) ([]pieces.Location, error)
}

// Blame learns of pieces that hold other bytes than the index says.
type Blame interface {
	Lied(ctx context.Context, h mh.Multihash, l pieces.Location) error
}

// errLied says that a candidate holds other bytes.
var errLied = errors.New("it holds other bytes")

// unavailable says that a block is stored here and cannot be read right now. Its
// text is for strangers; the reason is for the log.
type unavailable struct {
	cid    cid.Cid
	reason error
}

func (e *unavailable) Error() string {
	return fmt.Sprintf("block %s cannot be read right now, try again later", e.cid)
}

// blockstore reads blocks out of pieces.
type blockstore struct {
	find  Finder
	src   Source
	blame Blame // nil: nobody wants to know
	log   *slog.Logger
	limit time.Duration // to find and read one block
	watch watch

	mu   sync.Mutex
	open map[cid.Cid]*handle
	tick uint64
}

func newBlockstore(find Finder, src Source) *blockstore {
	return &blockstore{
		find:  find,
		src:   src,
		log:   slog.New(slog.DiscardHandler),
		limit: defaultTimeout,
		open:  map[cid.Cid]*handle{},
	}
}

// Get reads and verifies a block. The error is an ipld.ErrNotFound when no right
// copy is stored here, *unavailable when none can be read now, *unserved for a
// CID that is never served.
func (b *blockstore) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	t := trackOf(ctx)
	if blk := t.rootBlock(c); blk != nil {
		return blk, nil
	}
	data, err := b.fetch(ctx, c)
	if err != nil {
		t.fail(err)
		return nil, err
	}
	return blocks.NewBlockWithCid(data, c)
}

func (b *blockstore) fetch(ctx context.Context, c cid.Cid) ([]byte, error) {
	if err := pieces.Served(c); err != nil {
		return nil, &unserved{err}
	}
	if c.Prefix().MhType == mh.IDENTITY {
		dec, err := mh.Decode(c.Hash())
		if err != nil {
			return nil, err
		}
		return dec.Digest, nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	locs, err := b.find.Find(ctx, c.Hash())
	if err != nil {
		b.log.Error("block lookup failed", "cid", c, "error", err)
		return nil, &unavailable{c, err}
	}
	return b.race(ctx, c, b.watch.order(locs))
}

// tried is how a candidate did.
type tried struct {
	data []byte
	err  error
}

// race tries one candidate after another until the bytes of one are right. One
// that is slow goes on while the next is tried; ctx bounds them all.
func (b *blockstore) race(ctx context.Context, c cid.Cid, locs []pieces.Location) ([]byte, error) {
	results := make(chan tried)
	next, running := 0, 0
	var missing error = ipld.ErrNotFound{Cid: c}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for due := true; next < len(locs) || running > 0; {
		if next < len(locs) && (due || running == 0) {
			l := locs[next]
			next, running, due = next+1, running+1, false
			timer.Reset(patience)
			go func() {
				r := b.try(ctx, c, l)
				select {
				case results <- r:
				case <-ctx.Done():
				}
			}()
		}
		select {
		case r := <-results:
			if r.err == nil {
				return r.data, nil
			}
			if !errors.Is(r.err, errLied) {
				missing = &unavailable{c, r.err}
			}
			running--
		case <-timer.C:
			due = true
		case <-ctx.Done():
			return nil, &unavailable{c, ctx.Err()}
		}
	}
	return nil, missing
}

// try reads a candidate, and once more through a fresh opening when the bytes
// are wrong: they may have been damaged on their way.
func (b *blockstore) try(ctx context.Context, c cid.Cid, l pieces.Location) tried {
	end, err := b.watch.begin(l.Piece, b.limit)
	if err != nil {
		return tried{err: err}
	}
	defer end()
	for range 2 {
		data, err := b.read(ctx, l)
		if err != nil {
			if b.watch.failed(l.Piece) {
				b.log.Warn("a piece cannot be read; others are tried first for a while", "piece", l.Piece, "error", err)
			}
			return tried{err: err}
		}
		if pieces.Matches(c, data) {
			b.watch.worked(l.Piece)
			return tried{data: data}
		}
		b.reopen(l.Piece)
	}
	b.accuse(ctx, c, l)
	return tried{err: errLied}
}

func (b *blockstore) accuse(ctx context.Context, c cid.Cid, l pieces.Location) {
	b.log.Warn("a piece holds other bytes than its index says; they are not served", "piece", l.Piece, "cid", c, "at", l.Offset)
	b.watch.failed(l.Piece)
	if b.blame == nil {
		return
	}
	// What was found out is kept even when the client has gone.
	if err := b.blame.Lied(context.WithoutCancel(ctx), c.Hash(), l); err != nil {
		b.log.Error("cannot take a wrong block out of the index", "piece", l.Piece, "cid", c, "error", err)
	}
}

// Has tells whether a block is indexed.
func (b *blockstore) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if c.Prefix().MhType == mh.IDENTITY {
		return pieces.Served(c) == nil, nil
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
