package commp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"quarry/proofs/fr32"
)

// Piece is a computed piece commitment.
type Piece struct {
	CID         cid.Cid             // CIDv1, fil-commitment-unsealed (baga...)
	PaddedSize  abi.PaddedPieceSize // bytes, a power of two >= 128
	PayloadSize uint64              // bytes of payload read, before any padding
}

// ErrEmpty is returned for a payload without a single byte: it has no piece.
var ErrEmpty = errors.New("commp: the payload is empty")

const (
	chunkQuads    = 1024
	chunkUnpadded = chunkQuads * fr32.QuadUnpadded
	chunkPadded   = chunkQuads * fr32.QuadPadded
	maxPayload    = uint64(1) << 59

	// chunksPerCPU is how many chunks per CPU are hashed before the next are
	// taken in, so that CPUs wait little for the slowest of them.
	chunksPerCPU = 4
	firstRoom    = 64 << 10 // bytes, for payloads of unknown length
)

var chunkLevel = level(chunkPadded)

// MinPaddedSize is the smallest piece size that holds payload bytes, of which
// there are at most 2^59.
func MinPaddedSize(payload uint64) abi.PaddedPieceSize {
	padded := max(fr32.PaddedLen(payload), 128)
	if padded&(padded-1) != 0 {
		padded = 1 << bits.Len64(padded)
	}
	return abi.PaddedPieceSize(padded)
}

// Sum reads r to its end and commits to it, zero-extended to the smallest piece
// size. Read errors and a cancelled ctx are returned as they are, wrapped.
func Sum(ctx context.Context, r io.Reader) (Piece, error) {
	w, err := sumInto(ctx, r)
	if err != nil {
		return Piece{}, err
	}
	return w.Finish()
}

// SumPadded is Sum, zero-extended to a piece of exactly size padded bytes. A
// payload that does not fit is an error.
func SumPadded(ctx context.Context, r io.Reader, size abi.PaddedPieceSize) (Piece, error) {
	if err := checkSize(size); err != nil {
		return Piece{}, fmt.Errorf("commp: piece size %d: %w", size, err)
	}
	// One byte more than fits is enough to know that it does not.
	w, err := sumInto(ctx, io.LimitReader(r, int64(min(uint64(size.Unpadded()), maxPayload)+1)))
	if err != nil {
		return Piece{}, err
	}
	return w.FinishPadded(size)
}

func sumInto(ctx context.Context, r io.Reader) (*Writer, error) {
	w := NewWriter()
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("commp: stopped after %d bytes: %w", w.payload, err)
		}
		n, err := r.Read(w.room())
		if werr := w.grow(n); werr != nil {
			return nil, werr
		}
		if errors.Is(err, io.EOF) {
			return w, nil
		}
		if err != nil {
			return nil, fmt.Errorf("commp: reading the payload at byte %d: %w", w.payload, err)
		}
	}
}

// Writer computes a piece commitment over what is written to it. It is for one
// goroutine; inside one Write it uses all CPUs the process may use.
type Writer struct {
	fold    fold
	buf     []byte // unhashed payload, always less than batch bytes between calls
	batch   int
	payload uint64
}

// NewWriter returns an empty Writer.
func NewWriter() *Writer {
	return &Writer{batch: chunksPerCPU * chunkUnpadded * runtime.GOMAXPROCS(0)}
}

// Write adds payload. It fails only beyond 2^59 bytes.
func (w *Writer) Write(p []byte) (int, error) {
	total := len(p)
	if w.payload+uint64(total) > maxPayload {
		return 0, fmt.Errorf("commp: payload longer than %d bytes", maxPayload)
	}
	for len(p) > 0 {
		if len(w.buf) == 0 && len(p) >= w.batch { // no need to copy it
			w.flush(p[:w.batch])
			w.payload += uint64(w.batch)
			p = p[w.batch:]
			continue
		}
		n := copy(w.room(), p)
		if err := w.grow(n); err != nil {
			return 0, err
		}
		p = p[n:]
	}
	return total, nil
}

// room is where the next payload goes; there always is some.
func (w *Writer) room() []byte {
	if len(w.buf) == cap(w.buf) {
		w.buf = slices.Grow(w.buf, min(max(len(w.buf), firstRoom), w.batch-len(w.buf)))
	}
	return w.buf[len(w.buf):min(cap(w.buf), w.batch)]
}

// grow takes in the first n bytes of room.
func (w *Writer) grow(n int) error {
	if w.payload+uint64(n) > maxPayload {
		return fmt.Errorf("commp: payload longer than %d bytes", maxPayload)
	}
	w.buf, w.payload = w.buf[:len(w.buf)+n], w.payload+uint64(n)
	if len(w.buf) == w.batch {
		w.flush(w.buf)
		w.buf = w.buf[:0]
	}
	return nil
}

// flush commits to payload, chunk by chunk, the last chunk being zero-extended.
func (w *Writer) flush(payload []byte) {
	roots := make([]Node, (len(payload)+chunkUnpadded-1)/chunkUnpadded)
	one := func(i int) {
		roots[i] = chunkRoot(payload[i*chunkUnpadded:min((i+1)*chunkUnpadded, len(payload))], chunkPadded)
	}
	workers := min(len(roots), runtime.GOMAXPROCS(0))
	if workers == 1 {
		for i := range roots {
			one(i)
		}
	} else {
		var wg sync.WaitGroup
		var next atomic.Int64
		for range workers {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < len(roots); i = int(next.Add(1)) - 1 {
					one(i)
				}
			})
		}
		wg.Wait()
	}
	for _, r := range roots {
		w.fold.push(r, chunkLevel)
	}
}

var chunkPool = sync.Pool{New: func() any { return new([chunkPadded]byte) }}

// chunkRoot is the root over size padded bytes of payload and following zeros.
func chunkRoot(payload []byte, size int) Node {
	space := chunkPool.Get().(*[chunkPadded]byte)
	defer chunkPool.Put(space)
	padded := space[:size]
	whole := len(payload) / fr32.QuadUnpadded
	fr32.Pad(payload[:whole*fr32.QuadUnpadded], padded[:whole*fr32.QuadPadded])
	rest := padded[whole*fr32.QuadPadded:]
	if tail := payload[whole*fr32.QuadUnpadded:]; len(tail) > 0 {
		var quad [fr32.QuadUnpadded]byte
		copy(quad[:], tail)
		fr32.Pad(quad[:], rest[:fr32.QuadPadded])
		rest = rest[fr32.QuadPadded:]
	}
	clear(rest)
	return reduce(padded)
}

// Finish returns the commitment, zero-extended to the smallest piece size. The
// Writer must not be used afterwards.
func (w *Writer) Finish() (Piece, error) {
	return w.FinishPadded(MinPaddedSize(w.payload))
}

// FinishPadded is Finish, zero-extended to a piece of exactly size bytes.
func (w *Writer) FinishPadded(size abi.PaddedPieceSize) (Piece, error) {
	if err := checkSize(size); err != nil {
		return Piece{}, fmt.Errorf("commp: piece size %d: %w", size, err)
	}
	if w.payload == 0 {
		return Piece{}, ErrEmpty
	}
	if w.payload > uint64(size.Unpadded()) {
		return Piece{}, fmt.Errorf("commp: %d or more bytes of payload do not fit a piece of %d padded bytes (at most %d)",
			w.payload, size, size.Unpadded())
	}
	var root Node
	if uint64(size) < chunkPadded {
		root = chunkRoot(w.buf, int(size))
	} else {
		if len(w.buf) > 0 {
			w.flush(w.buf)
		}
		root = w.fold.root(level(uint64(size)))
	}
	c, err := commcid.DataCommitmentV1ToCID(root[:])
	if err != nil {
		return Piece{}, fmt.Errorf("commp: encoding the commitment: %w", err)
	}
	return Piece{CID: c, PaddedSize: size, PayloadSize: w.payload}, nil
}
