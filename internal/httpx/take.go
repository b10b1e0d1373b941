package httpx

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"time"
)

// once makes one GET from where the good bytes end. done = the file is whole.
func (g *fetching) once(ctx context.Context) (done bool, e *Error) {
	if g.off > 0 && !g.f.Checked && g.state.Validator.ifRange() == "" {
		g.plain = true // nothing would tell old bytes from new ones
	}
	q, extra := g.question()
	res, err := g.c.ask(ctx, http.MethodGet, g.src, extra)
	if err != nil {
		return false, asError(err, g.off)
	}
	a, e := judge(res, q, time.Now())
	if e != nil {
		return false, g.react(e)
	}
	defer a.body.Close() //nolint:errcheck // read only
	if err := g.open(a); err != nil {
		return false, err
	}
	return g.take(a)
}

// question is what to ask for next, and the headers that do.
func (g *fetching) question() (question, http.Header) {
	q := question{
		off:    g.off,
		ranged: !g.plain && (g.off > 0 || g.src.Size > 0 || g.src.Segment > 0),
		want:   g.state.Validator,
		size:   g.src.Size,
		parts:  g.src.Segment > 0,
	}
	extra := http.Header{}
	if g.src.Digest != nil {
		extra = g.src.Digest.Ask.Clone()
	}
	if !q.ranged {
		q.off = 0
		return q, extra
	}
	if g.off > 0 && q.size == 0 && g.state.Total != unknown {
		q.size = g.state.Total
	}
	extra.Set("Range", rangeHeader(g.off, g.src.Segment, g.src.Size))
	if v := q.want.ifRange(); g.off > 0 && v != "" {
		extra.Set("If-Range", v)
	}
	return q, extra
}

// rangeHeader asks for bytes from off on: a segment of them, or all of size.
func rangeHeader(off, segment, size int64) string {
	end := size
	if segment > 0 && (size == 0 || off+segment < size) {
		end = off + segment
	}
	if end == 0 {
		return fmt.Sprintf("bytes=%d-", off)
	}
	return fmt.Sprintf("bytes=%d-%d", off, end-1)
}

func asError(err error, off int64) *Error {
	e := new(Error)
	if !errors.As(err, &e) {
		e = &Error{Fault: FaultNetwork, Err: err}
	}
	e.Offset = off
	return e
}

// react prepares the next question: other bytes are read from 0; ranges that make
// no sense at byte 0, or twice, are not asked for again.
func (g *fetching) react(e *Error) *Error {
	switch {
	case errors.Is(e, errRange):
		g.odd++
		if g.off == 0 || g.odd > 1 {
			g.plain, g.off = true, 0
		}
	case errors.Is(e, ErrChanged):
		g.off = 0
	}
	return e
}

// open writes down what the answer is about, before any byte of it is believed.
func (g *fetching) open(a *answer) *Error {
	if a.partial {
		g.plain = false
	}
	total := a.total
	if total == unknown && g.src.Size > 0 {
		total = g.src.Size
	}
	if a.start > 0 {
		g.state.Joined, g.state.Total = true, max(total, g.state.Total)
		return nil
	}
	g.off = 0
	g.state = sidecar{
		Version:   sidecarVersion,
		Source:    sourceID(g.src.URL),
		Validator: a.validator,
		Total:     total,
		Restarted: g.state.Restarted,
	}
	if err := g.state.write(g.f.Path); err != nil {
		return local(g.f.Path, err)
	}
	st, err := g.file.Stat()
	if err == nil && st.Size() > 0 { // old bytes never lie behind new ones
		err = g.file.Truncate(0)
	}
	if err != nil {
		return local(g.f.Path, err)
	}
	return nil
}

// take writes the answer's bytes, and believes them when they are as announced.
func (g *fetching) take(a *answer) (done bool, e *Error) {
	var sum hash.Hash
	if g.src.Digest != nil {
		sum = g.src.Digest.New()
	}
	from, limit := g.off, a.limit(g.src.Size)
	pos, err := g.copy(a, sum, limit)
	if err != nil {
		return false, g.broken(a, err)
	}
	if pos < limit && limit != maxBytes {
		return false, g.broken(a, fmt.Errorf("connection ended after %d of %d bytes", pos, limit))
	}
	if sum != nil && hex.EncodeToString(sum.Sum(nil)) != a.trailer().Get(g.src.Digest.Trailer) {
		e = g.broken(a, fmt.Errorf("%w (bytes %d to %d)", ErrDigest, from, pos))
		e.Fault = FaultServer
		return false, e
	}
	if a.end == unknown {
		g.state.Total = pos
	}
	return pos == g.state.Total, g.good(pos)
}

// limit is the offset that an answer must not pass.
func (a *answer) limit(size int64) int64 {
	if a.end != unknown {
		return a.end
	}
	if size > 0 {
		return size
	}
	return maxBytes
}

// broken is what ended an answer before its end.
func (g *fetching) broken(a *answer, err error) *Error {
	e := new(Error)
	if !errors.As(err, &e) {
		e = &Error{Fault: FaultNetwork, Err: err}
	}
	if e.Fault != FaultLocal {
		e.Host, e.Offset, e.answered = a.host, g.off, true
	}
	return e
}

// copy reads until the body ends. Bytes under a digest do not count yet.
func (g *fetching) copy(a *answer, sum hash.Hash, limit int64) (int64, error) {
	if g.buf == nil {
		g.buf = make([]byte, buffer)
	}
	pos := g.off
	for {
		n, err := a.body.Read(g.buf)
		if int64(n) > limit-pos {
			return pos, tooMuch(a, limit)
		}
		if n > 0 {
			if werr := g.write(pos, n, sum); werr != nil {
				return pos, werr
			}
			pos += int64(n)
		}
		if errors.Is(err, io.EOF) || err != nil && sum == nil && pos == limit {
			return pos, nil // with all that was announced here, it does not matter what ended it
		}
		if err != nil {
			return pos, err
		}
	}
}

// tooMuch is a body that goes on after its end. With nothing announced, and the
// agreed bytes complete, the server has another file.
func tooMuch(a *answer, limit int64) *Error {
	e := &Error{Fault: FaultServer, Err: fmt.Errorf("%w: the server sent more than %d bytes", ErrLength, limit)}
	e.Permanent = a.end == unknown
	return e
}

func (g *fetching) write(pos int64, n int, sum hash.Hash) error {
	if _, err := g.file.WriteAt(g.buf[:n], pos); err != nil {
		return local(g.f.Path, fmt.Errorf("write (free space there; it goes on from %d bytes): %w", g.state.Synced, err))
	}
	if g.f.Progress != nil {
		g.f.Progress(pos+int64(n), g.state.Total)
	}
	if sum != nil {
		sum.Write(g.buf[:n])
		return nil
	}
	if err := g.good(pos + int64(n)); err != nil {
		return err
	}
	return nil
}

// good moves the end of the good bytes, and makes them durable now and then.
func (g *fetching) good(pos int64) *Error {
	g.off = pos
	if pos-g.state.Synced >= syncBytes || time.Since(g.marked) >= syncTime {
		return g.mark()
	}
	return nil
}
