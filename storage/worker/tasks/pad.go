package tasks

import (
	"context"
	"io"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/proofs/fr32"
)

type counter struct {
	r io.Reader
	n int64
	f func(int64)
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.f(c.n)
	return n, err
}

// padWriter fr32-pads a payload stream into at most left padded bytes.
type padWriter struct {
	w    io.Writer
	left abi.PaddedPieceSize
	in   []byte // less than one buffer of payload
	out  []byte
}

const padQuads = 2048 // 256 KiB padded

func (p *padWriter) Write(b []byte) (int, error) {
	if p.out == nil {
		p.in, p.out = make([]byte, 0, padQuads*fr32.QuadUnpadded), make([]byte, padQuads*fr32.QuadPadded)
	}
	n := len(b)
	for len(b) > 0 {
		k := min(len(b), cap(p.in)-len(p.in))
		p.in, b = append(p.in, b[:k]...), b[k:]
		if len(p.in) == cap(p.in) {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (p *padWriter) flush() error {
	quads := (len(p.in) + fr32.QuadUnpadded - 1) / fr32.QuadUnpadded
	in := p.in[:quads*fr32.QuadUnpadded]
	clear(in[len(p.in):])
	out := p.out[:quads*fr32.QuadPadded]
	if abi.PaddedPieceSize(len(out)) > p.left {
		return &api.ErrInvalid{What: "piece data", Reason: "it is longer than its piece"}
	}
	fr32.Pad(in, out)
	p.left -= abi.PaddedPieceSize(len(out))
	p.in = p.in[:0]
	_, err := p.w.Write(out)
	return err
}

// finish writes what is buffered and zeros up to the end of the piece: the range
// may hold rests of an earlier try.
func (p *padWriter) finish(ctx context.Context) error {
	if err := p.flush(); err != nil {
		return err
	}
	clear(p.out)
	for p.left > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(p.left, abi.PaddedPieceSize(len(p.out)))
		if _, err := p.w.Write(p.out[:n]); err != nil {
			return err
		}
		p.left -= n
	}
	return nil
}
