package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
)

// How much of a range is asked for at once, bytes: more and more while it is read
// in order, so that a file is a few requests, and one block is not a whole file.
const (
	firstWindow = 256 << 10
	lastWindow  = 256 << 20
	growWindow  = 4
	skipBytes   = 128 << 10 // what is read and thrown away rather than asked for anew
)

// answerTime bounds the private node's first answer to a request for bytes.
const answerTime = 30 * time.Second

// closeTime is how long a push that was read whole may take to say so.
const closeTime = 5 * time.Second

// ReaderDeps of a Reader.
type ReaderDeps struct {
	Link api.Link  // the private node
	At   *Acceptor // where it pushes to
}

// Reader opens unsealed ranges that the private node pushes.
type Reader struct{ deps ReaderDeps }

// NewReader makes a Reader.
func NewReader(deps ReaderDeps) *Reader { return &Reader{deps} }

// OpenUnsealed opens a padded range of a sector's unsealed file, once the private
// node has said that it can read it; *api.ErrNotFound where it cannot. ctx bounds
// the whole life of the range.
func (r *Reader) OpenUnsealed(ctx context.Context, sector abi.SectorID, offset, size abi.PaddedPieceSize) (*Range, error) {
	ask := api.PushRequest{Sector: sector, Offset: offset, Size: size}
	first, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := r.deps.Link.SectorPush(first, ask); err != nil {
		if ctx.Err() == nil && first.Err() != nil {
			err = &api.ErrUnreachable{Peer: peerName, Reason: fmt.Sprintf("no answer within %s", answerTime)}
		}
		return nil, fmt.Errorf("read unsealed sector %s: %w", api.SectorName(sector), err)
	}
	return &Range{
		ctx:    ctx,
		deps:   r.deps,
		ask:    ask,
		size:   int64(size.Unpadded()),
		window: firstWindow,
	}, nil
}

// Range is the payload of an unsealed range at the private node. It holds one
// request at a time and next to no memory: what is not read is not sent.
type Range struct {
	ctx  context.Context // of its whole life, as the interface of its users wants
	deps ReaderDeps
	ask  api.PushRequest
	size int64

	mu     sync.Mutex
	flow   *flow // nil: none
	window int64 // of the next request
	closed bool
}

// Size is how many payload bytes there are.
func (x *Range) Size() int64 { return x.size }

// ReadAt implements io.ReaderAt; one caller reads at a time.
func (x *Range) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	want := p[:max(0, min(int64(len(p)), x.size-off))]
	for n < len(want) {
		k, err := x.some(want[n:], off+int64(n))
		n += k
		if err != nil {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// some reads what comes first of p, which lies within the range. The caller holds mu.
func (x *Range) some(p []byte, off int64) (int, error) {
	f, err := x.at(off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	n, err := f.read(p)
	if err != nil {
		x.drop()
		return n, fmt.Errorf("read unsealed sector %s from the private node: %w", api.SectorName(x.ask.Sector), err)
	}
	return n, nil
}

// Stream gives n bytes from off, in order, by long requests of its own. It must be
// closed; it is for one goroutine.
func (x *Range) Stream(off, n int64) io.ReadCloser {
	end := max(off, min(off+n, x.size))
	return &stream{off: off, from: &Range{
		ctx:    x.ctx,
		deps:   x.deps,
		ask:    x.ask,
		size:   end,
		window: min(max(end-off, firstWindow), lastWindow),
	}}
}

// stream reads a range of its own, which ends where it does.
type stream struct {
	from *Range
	off  int64
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	s.from.mu.Lock()
	defer s.from.mu.Unlock()
	rest := s.from.size - s.off
	if rest <= 0 {
		return 0, io.EOF
	}
	n, err := s.from.some(p[:min(int64(len(p)), rest)], s.off)
	s.off += int64(n)
	return n, err
}

// Close implements io.Closer.
func (s *stream) Close() error { return s.from.Close() }

// at gives a flow that goes on at off, for at least a part of want bytes.
func (x *Range) at(off, want int64) (*flow, error) {
	if x.closed {
		return nil, errClosed
	}
	if f := x.flow; f != nil {
		switch gap := off - f.pos; {
		case gap == 0 && f.left > 0:
			return f, nil
		case gap == 0: // read to its end, in order
			x.window = min(x.window*growWindow, lastWindow)
		case gap > 0 && gap <= skipBytes && gap < f.left:
			if _, err := io.CopyN(io.Discard, readFunc(f.read), gap); err == nil {
				return f, nil
			}
		default:
			x.window = firstWindow
		}
		x.drop()
	}
	ask := x.ask
	ask.From, ask.Length = off, min(max(x.window, want), x.size-off)
	f, err := startFlow(x.ctx, x.deps, ask)
	x.flow = f
	return f, err
}

func (x *Range) drop() {
	if x.flow != nil {
		x.flow.close()
		x.flow = nil
	}
}

// Close ends the request under way. It may be repeated.
func (x *Range) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	x.drop()
	return nil
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// flow is one push, being read.
type flow struct {
	cancel context.CancelFunc
	unhook func() bool // of the context
	pushed chan error  // the outcome at the private node; holds one
	from   *delivery
	pos    int64
	left   int64
}

func startFlow(ctx context.Context, deps ReaderDeps, ask api.PushRequest) (*flow, error) {
	id, place, closed, err := deps.At.places.make(ask.Length)
	if err != nil {
		return nil, err
	}
	defer closed()
	ask.ID = id
	ctx, cancel := context.WithCancel(ctx)
	f := &flow{cancel: cancel, pushed: make(chan error, 1), pos: ask.From, left: ask.Length}
	go func() { f.pushed <- deps.Link.SectorPush(ctx, ask) }() // close waits for it
	late := time.NewTimer(answerTime)
	defer late.Stop()
	select {
	case f.from = <-place.came:
		f.unhook = context.AfterFunc(ctx, f.from.stop)
		return f, nil
	case err = <-f.pushed:
		f.pushed <- err
		if err == nil {
			err = &api.ErrUnreachable{Peer: peerName, Reason: "it says that bytes were pushed, and none came"}
		}
	case <-ctx.Done():
		err = ctx.Err()
	case <-late.C:
		err = &api.ErrUnreachable{Peer: peerName, Reason: fmt.Sprintf("it pushed nothing within %s", answerTime)}
	}
	f.close()
	return nil, fmt.Errorf("ask the private node for unsealed bytes of sector %s: %w", api.SectorName(ask.Sector), err)
}

func (f *flow) read(p []byte) (int, error) {
	n, err := f.from.Read(p[:min(int64(len(p)), f.left)])
	f.pos, f.left = f.pos+int64(n), f.left-int64(n)
	return n, err
}

// close ends the push at both ends. One that was read whole is left to end by
// itself, for a moment.
func (f *flow) close() {
	if f.from != nil && f.left == 0 {
		late := time.AfterFunc(closeTime, f.cancel)
		defer late.Stop()
	} else {
		f.cancel()
	}
	<-f.pushed
	f.cancel()
	if f.from != nil {
		f.unhook()
		f.from.stop()
	}
}
