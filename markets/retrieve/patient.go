package retrieve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"
)

// errLate says that a piece could not be opened or read in time.
var errLate = errors.New("it took too long")

// openPiece opens a piece for one request, within the limit. Reads of it are
// bounded too; one that fails breaks the answer off.
func (b *blockstore) openPiece(ctx context.Context, piece cid.Cid) (Payload, error) {
	end, err := b.watch.begin(piece, b.limit)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLate, err)
	}
	type opened struct {
		p   Payload
		err error
	}
	life, cancel := context.WithCancel(ctx)
	done := make(chan opened)
	go func() {
		defer end()
		p, err := b.src.OpenPiece(life, piece)
		select {
		case done <- opened{p, err}:
		case <-life.Done():
			if err == nil {
				_ = p.Close()
			}
		}
	}()
	timer := time.NewTimer(b.limit)
	defer timer.Stop()
	select {
	case o := <-done:
		if o.err != nil {
			cancel()
			return nil, o.err
		}
		return &patient{
			Payload: o.p,
			b:       b,
			piece:   piece,
			t:       trackOf(ctx),
			end:     cancel,
		}, nil
	case <-timer.C:
		cancel()
		return nil, fmt.Errorf("open piece %s: %w", piece, errLate)
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	}
}

// patient bounds the time of reads: a disk that hangs costs this request, and no
// other. It is used by one goroutine.
type patient struct {
	Payload
	b     *blockstore
	piece cid.Cid
	t     *track
	end   context.CancelFunc
	buf   []byte
	lost  bool // a read never came back: buf and the payload are its own
}

// ReadAt reads into a buffer of its own, which a read that hangs may keep.
func (p *patient) ReadAt(b []byte, off int64) (int, error) {
	if p.lost {
		return 0, errLate
	}
	end, err := p.b.watch.begin(p.piece, p.b.limit)
	if err != nil {
		p.t.breakOff(err)
		return 0, err
	}
	if cap(p.buf) < len(b) {
		p.buf = make([]byte, len(b))
	}
	type read struct {
		n   int
		err error
	}
	buf, done := p.buf[:len(b)], make(chan read)
	late := make(chan struct{})
	go func() {
		defer end()
		n, err := p.Payload.ReadAt(buf, off)
		select {
		case done <- read{n, err}:
		case <-late:
			_ = p.Payload.Close()
		}
	}()
	timer := time.NewTimer(p.b.limit)
	defer timer.Stop()
	select {
	case r := <-done:
		if r.err != nil && r.n < len(b) && off+int64(r.n) < p.Size() {
			p.t.breakOff(r.err)
		}
		return copy(b, buf[:r.n]), r.err
	case <-timer.C:
		p.lost = true
		close(late)
		p.t.breakOff(errLate)
		return 0, errLate
	}
}

// Close lets go of the piece; one whose read hangs is let go of when it returns.
func (p *patient) Close() error {
	p.end()
	if p.lost {
		return nil
	}
	return p.Payload.Close()
}
