package commp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"sync"

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
)

var chunkLevel = level(chunkPadded)

// MinPaddedSize is the smallest piece size that holds payload bytes.
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
	w, err := sumInto(ctx, io.LimitReader(r, int64(min(uint64(size.Unpadded())+1, maxPayload))))
	if err != nil {
		return Piece{}, err
	}
	return w.FinishPadded(size)
}

func sumInto(ctx context.Context, r io.Reader) (*Writer, error) {
	w := NewWriter()
	buf := make([]byte, chunkUnpadded)
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("commp: stopped after %d bytes: %w", w.payload, err)
		}
		n, err := r.Read(buf)
		if _, werr := w.Write(buf[:n]); werr != nil {
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
	return &Writer{batch: chunkUnpadded * runtime.GOMAXPROCS(0)}
}

// Write adds payload. It fails only beyond 2^60 bytes.
func (w *Writer) Write(p []byte) (int, error) {
	if w.payload+uint64(len(p)) > maxPayload {
		return 0, fmt.Errorf("commp: payload longer than %d bytes", maxPayload)
	}
	total := len(p)
	w.payload += uint64(total)
	for len(p) > 0 {
		n := min(w.batch-len(w.buf), len(p))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		if len(w.buf) == w.batch {
			w.flush()
		}
	}
	return total, nil
}

// flush commits to the buffered payload, chunk by chunk, the last chunk being
// zero-extended.
func (w *Writer) flush() {
	roots := make([]Node, (len(w.buf)+chunkUnpadded-1)/chunkUnpadded)
	var wg sync.WaitGroup
	for i := range roots {
		chunk := w.buf[i*chunkUnpadded : min((i+1)*chunkUnpadded, len(w.buf))]
		if len(roots) == 1 {
			roots[i] = chunkRoot(chunk, chunkPadded)
			break
		}
		wg.Go(func() { roots[i] = chunkRoot(chunk, chunkPadded) })
	}
	wg.Wait()
	for _, r := range roots {
		w.fold.push(r, chunkLevel)
	}
	w.buf = w.buf[:0]
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
			w.flush()
		}
		root = w.fold.root(level(uint64(size)))
	}
	c, err := commcid.DataCommitmentV1ToCID(root[:])
	if err != nil {
		return Piece{}, fmt.Errorf("commp: encoding the commitment: %w", err)
	}
	return Piece{CID: c, PaddedSize: size, PayloadSize: w.payload}, nil
}
