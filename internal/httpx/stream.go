package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Stream reads exactly Source.Size bytes and connects again where it was. It is
// for one goroutine.
type Stream struct {
	ctx    context.Context //nolint:containedctx // io.Reader has none; it lives as long as the Stream
	cancel context.CancelFunc
	c      *Client
	src    Source
	p      *patience
	off    int64
	want   validator // of the bytes before off
	plain  bool      // ranges of this server are not believed
	odd    int       // unusable answers to ranges
	joined bool
	err    error // which ended it

	body  io.ReadCloser // nil = not connected
	host  string
	end   int64 // of the answer being read
	moved bool  // it brought a byte
}

// Open gives the bytes of a source whose Size is known; nothing is asked before
// the first Read. Whoever reads must check the whole: a server that names no
// validator may have changed it meanwhile, see Joined. A validator that changes
// ends the stream with ErrChanged, which a new one may not meet. Errors are
// *Error and wrap no io.EOF.
func (c *Client) Open(ctx context.Context, src Source) (*Stream, error) {
	if err := src.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Whole, fmt.Errorf("not finished within %s", c.cfg.Whole))
	return &Stream{
		ctx:    ctx,
		cancel: cancel,
		c:      c,
		src:    src,
		p:      newPatience(c.cfg, 0),
	}, nil
}

// Joined tells whether the bytes so far came in more than one answer.
func (s *Stream) Joined() bool { return s.joined }

// Close ends the connection.
func (s *Stream) Close() error {
	s.drop()
	s.cancel()
	return nil
}

func (s *Stream) drop() {
	if s.body != nil {
		_ = s.body.Close()
		s.body = nil
	}
}

// Read implements io.Reader.
func (s *Stream) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for s.err == nil && s.off < s.src.Size {
		n, err := s.some(b)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			s.drop()
			s.err = s.again(err)
		}
	}
	if s.err == nil {
		return 0, io.EOF
	}
	return 0, s.err
}

// some connects if need be and reads what is there.
func (s *Stream) some(b []byte) (int, *Error) {
	if s.body == nil {
		if err := s.connect(); err != nil {
			return 0, err
		}
	}
	n, err := s.body.Read(b[:min(int64(len(b)), s.end-s.off)])
	s.off += int64(n)
	s.moved = s.p.reached(s.off) || s.moved
	if s.off == s.end { // as announced: the next part at once
		s.drop()
		return n, nil
	}
	if n > 0 || err == nil { // an error comes again
		return n, nil
	}
	err = fmt.Errorf("connection ended after %d of %d bytes: %w", s.off, s.end, noEOF(err))
	return 0, s.broken(s.host, err)
}

// again waits before another attempt, or gives the error that ends the stream.
func (s *Stream) again(e *Error) error {
	moved := s.moved
	s.moved = false
	if s.ctx.Err() == nil {
		if errors.Is(e, ErrChanged) && s.off > 0 {
			return e // what was read cannot be taken back
		}
		wait, more := s.p.next(e, moved)
		if !more {
			return e
		}
		if sleep(s.ctx, wait) == nil {
			return nil
		}
	}
	e.Err = stopped(s.ctx, e.Err)
	return e
}

func (s *Stream) connect() *Error {
	q := question{off: s.off, ranged: !s.plain, want: s.want, size: s.src.Size}
	extra := http.Header{}
	if s.plain {
		q.off = 0
	} else {
		extra.Set("Range", rangeHeader(s.off, s.src.Segment, s.src.Size))
		if v := s.want.ifRange(); s.off > 0 && v != "" {
			extra.Set("If-Range", v)
		}
	}
	res, err := s.c.ask(s.ctx, http.MethodGet, s.src, extra)
	if err != nil {
		return asError(err, s.off)
	}
	a, e := judge(res, q, time.Now())
	if e != nil {
		if errors.Is(e, errRange) {
			s.odd++
			s.plain = s.off == 0 || s.odd > 1
		}
		return e
	}
	if e := s.skip(a); e != nil {
		_ = a.body.Close()
		return e
	}
	s.body, s.host, s.end = a.body, a.host, a.limit(s.src.Size)
	if s.off == 0 {
		s.want = a.validator
	}
	s.joined = s.joined || s.off > 0
	s.plain = s.plain && !a.partial
	return nil
}

// skip reads over what is known already, when a server answers with everything.
func (s *Stream) skip(a *answer) *Error {
	if a.start == s.off {
		return nil
	}
	if !s.want.sameAs(a.validator) {
		e := changed(a.host, "its validator differs")
		e.Offset = s.off
		return e
	}
	if n, err := io.CopyN(io.Discard, a.body, s.off-a.start); err != nil {
		err = fmt.Errorf("connection ended after %d of %d bytes that were known: %w", n, s.off, noEOF(err))
		return s.broken(a.host, err)
	}
	return nil
}

func (s *Stream) broken(host string, err error) *Error {
	return &Error{
		Fault:    FaultNetwork,
		Host:     host,
		Offset:   s.off,
		Err:      err,
		answered: true,
	}
}

// noEOF keeps a broken connection from looking like the end of the bytes.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("unexpected end")
	}
	return err
}
