package fr32

import (
	"errors"
	"fmt"
	"io"

	"github.com/filecoin-project/go-state-types/abi"
)

// readerQuads is how many quads the readers convert at a time (64 KiB padded).
const readerQuads = 512

// PadReader yields the padded form of a payload stream. The last quad is
// completed with zeros; nothing is added beyond it.
type PadReader struct {
	src  io.Reader
	in   []byte
	out  []byte // converted and not yet handed out
	buf  []byte
	done error
}

// NewPadReader reads payload from r and yields padded bytes.
func NewPadReader(r io.Reader) *PadReader {
	return &PadReader{src: r, in: make([]byte, readerQuads*QuadUnpadded), buf: make([]byte, readerQuads*QuadPadded)}
}

// Read implements io.Reader. It returns the source's error, after all bytes
// read before it.
func (p *PadReader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(p.out) == 0 {
		if p.done != nil {
			return 0, p.done
		}
		p.fill()
		if len(p.out) == 0 {
			return 0, p.done
		}
	}
	n := copy(b, p.out)
	p.out = p.out[n:]
	return n, nil
}

func (p *PadReader) fill() {
	n, err := io.ReadFull(p.src, p.in)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	p.done = err
	quads := (n + QuadUnpadded - 1) / QuadUnpadded
	clear(p.in[n : quads*QuadUnpadded])
	p.out = p.buf[:quads*QuadPadded]
	Pad(p.in[:quads*QuadUnpadded], p.out)
}

// UnpadReader yields the payload inside a padded stream.
type UnpadReader struct {
	src  io.Reader
	left uint64 // padded bytes still to read
	out  []byte
	in   []byte
	buf  []byte
	err  error
}

// NewUnpadReader reads exactly size padded bytes from r and yields their
// size/128*127 payload bytes. A size that is not a multiple of 128, or a source
// shorter than size (io.ErrUnexpectedEOF), is reported by Read.
func NewUnpadReader(r io.Reader, size abi.PaddedPieceSize) *UnpadReader {
	u := &UnpadReader{src: r, left: uint64(size)}
	if size%QuadPadded != 0 {
		u.err = fmt.Errorf("fr32: %d padded bytes are not whole quads of %d", size, QuadPadded)
	}
	n := min(u.left, readerQuads*QuadPadded)
	u.in, u.buf = make([]byte, n), make([]byte, n/QuadPadded*QuadUnpadded)
	return u
}

// Read implements io.Reader.
func (u *UnpadReader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(u.out) == 0 {
		if err := u.fill(); err != nil {
			u.err = err
			return 0, err
		}
	}
	n := copy(b, u.out)
	u.out = u.out[n:]
	return n, nil
}

func (u *UnpadReader) fill() error {
	if u.err != nil {
		return u.err
	}
	if u.left == 0 {
		return io.EOF
	}
	n := min(u.left, uint64(len(u.in)))
	if _, err := io.ReadFull(u.src, u.in[:n]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	u.left -= n
	u.out = u.buf[:n/QuadPadded*QuadUnpadded]
	Unpad(u.in[:n], u.out)
	return nil
}
