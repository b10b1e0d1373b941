package httpx

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"net/http"
	"os"
	"time"
)

// Digest is how a server vouches for the bytes of one answer. Bytes are believed
// only after it was compared.
type Digest struct {
	Ask     http.Header // sent to get it
	Trailer string      // holds it, in hex
	New     func() hash.Hash
}

// File is where Fetch writes.
type File struct {
	Path string
	Perm fs.FileMode // of a new file
	// Checked says that the caller checks the whole, and calls Restart when it is
	// wrong: then bytes of several answers may be put together although the server
	// gives no validator, and a complete file is not asked about again.
	Checked  bool
	Progress func(done, total int64) // may be nil; total is -1 while not known
}

const (
	syncBytes = 128 << 20        // at most so much is lost by a crash,
	syncTime  = 30 * time.Second // or so long
	buffer    = 256 << 10
)

// fetching is one Fetch.
type fetching struct {
	c      *Client
	src    Source
	f      File
	file   *os.File
	state  sidecar
	off    int64 // good bytes in the file
	marked time.Time
	p      *patience
	plain  bool // ranges of this server are not believed
	odd    int  // unusable answers to ranges
	buf    []byte
}

// Fetch returns nil when the file holds the whole, synced. It goes on with what an
// earlier call left, also after a crash. Every error is an *Error or ctx's; the
// bytes so far stay, and Path+Suffix says how many are good. Forget removes that.
func (c *Client) Fetch(ctx context.Context, src Source, f File) error {
	if err := src.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Whole, fmt.Errorf("not finished within %s", c.cfg.Whole))
	defer cancel()
	file, err := os.OpenFile(f.Path, os.O_CREATE|os.O_RDWR, f.Perm)
	if err != nil {
		return local(f.Path, err)
	}
	defer file.Close() //nolint:errcheck // synced before success
	g := &fetching{
		c:      c,
		src:    src,
		f:      f,
		file:   file,
		marked: time.Now(),
	}
	if err := g.begin(); err != nil {
		return err
	}
	if g.state.Done && f.Checked {
		return nil
	}
	return g.loop(ctx)
}

// begin finds out what of the file can be believed and cuts the rest off: its end
// may be zeros that a crash left.
func (g *fetching) begin() error {
	st, err := g.file.Stat()
	if err != nil {
		return local(g.f.Path, err)
	}
	s, ok := readSidecar(g.f.Path)
	mine := ok && s.Source == sourceID(g.src.URL)
	if mine {
		g.state.Restarted = s.Restarted
	}
	if mine && st.Size() >= s.Synced && (g.src.Size == 0 || s.Total == unknown || s.Total == g.src.Size) &&
		(g.f.Checked || s.Validator.ifRange() != "") {
		g.state, g.off = s, s.Synced
	}
	if st.Size() > g.off {
		if err := g.file.Truncate(g.off); err != nil {
			return local(g.f.Path, err)
		}
	}
	if g.state.Done && !g.f.Checked {
		// Its last byte is asked for again, to hear whether it is still the same file.
		g.off = max(0, g.off-1)
	}
	g.p = newPatience(g.c.cfg, g.off)
	return nil
}

func (g *fetching) loop(ctx context.Context) error {
	for {
		before := g.off
		done, err := g.once(ctx)
		moved := g.p.reached(g.off)
		if err == nil && done {
			return g.finish()
		}
		if err == nil && g.off > before { // a part that ended as announced: the next at once
			continue
		}
		if err == nil {
			err = &Error{Fault: FaultServer, Host: "source", Offset: g.off, Err: errNoHold}
		}
		if err.Fault == FaultLocal {
			return err
		}
		if more, err := g.again(ctx, err, moved); !more {
			return err
		}
	}
}

// errNoHold is a server that sends parts that cannot be gone on with.
var errNoHold = errors.New("parts came, but nothing says that they are of the same bytes")

// again waits before another attempt; false ends the Fetch with the error. What is
// good is made durable first.
func (g *fetching) again(ctx context.Context, e *Error, moved bool) (bool, error) {
	wait, more := time.Duration(0), ctx.Err() == nil
	if more {
		wait, more = g.p.next(e, moved)
	}
	if !more || wait > 0 {
		if err := g.mark(); err != nil {
			return false, err
		}
	}
	if more {
		more = sleep(ctx, wait) == nil
	}
	if ctx.Err() != nil {
		e.Err = stopped(ctx, e.Err)
	}
	return more, e
}

// mark makes the bytes so far durable, and then says so.
func (g *fetching) mark() *Error {
	if g.off <= g.state.Synced {
		return nil
	}
	g.state.Synced, g.marked = g.off, time.Now()
	return g.save()
}

func (g *fetching) save() *Error {
	if err := g.file.Sync(); err != nil {
		return local(g.f.Path, err)
	}
	if err := g.state.write(g.f.Path); err != nil {
		return local(g.f.Path, err)
	}
	return nil
}

func (g *fetching) finish() error {
	g.state.Synced, g.state.Total, g.state.Done = g.off, g.off, true
	if err := g.save(); err != nil {
		return err
	}
	return nil
}
