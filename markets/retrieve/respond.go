package retrieve

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"

	"quarry/internal/redact"
)

// holdBytes is how much of a stream is kept back before its header goes out: a
// DAG that ends within them is known to be whole, and may be cached for ever.
const holdBytes = 64 << 10

// retryAfter is what 503 tells a client to wait, in seconds.
const retryAfter = 5

// errBroken ends the writing of an answer that cannot be completed.
var errBroken = errors.New("the answer cannot be completed")

// answer is a ResponseWriter that keeps the header back until it is known what
// can be said. A stream whose end is not known when it begins is not cacheable,
// and one that cannot be completed is cut, so that nobody takes it for whole. It
// moves the write deadline with every write: a client may take hours but not
// stop.
type answer struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	r     *http.Request
	t     *track
	stall time.Duration

	header http.Header // as the handler sets it
	snap   http.Header // as it was when the answer began
	code   int
	buf    []byte
	sent   bool
}

func newAnswer(w http.ResponseWriter, r *http.Request, t *track, stall time.Duration) *answer {
	return &answer{
		w:      w,
		rc:     http.NewResponseController(w),
		r:      r,
		t:      t,
		stall:  stall,
		header: http.Header{},
	}
}

// Header is what the handler fills; what is set after the first byte is lost.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader begins the answer. A second one with an error says that the first
// cannot be kept.
func (a *answer) WriteHeader(code int) {
	if a.code != 0 {
		if code >= http.StatusInternalServerError {
			a.t.breakOff(errBroken)
		}
		return
	}
	a.code, a.snap = code, a.header.Clone()
}

// Write sends bytes, or keeps them back for a while.
func (a *answer) Write(b []byte) (int, error) {
	if a.t.brokenOff() != nil {
		return 0, errBroken
	}
	if a.code == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if !a.sent && a.streamed() && len(a.buf)+len(b) <= holdBytes {
		a.buf = append(a.buf, b...)
		return len(b), nil
	}
	if err := a.begin(false); err != nil {
		return 0, err
	}
	return a.send(b)
}

// streamed tells whether the answer's length is not known.
func (a *answer) streamed() bool { return a.snap.Get("Content-Length") == "" }

// begin sends the header and what was kept back.
func (a *answer) begin(whole bool) error {
	if a.sent {
		return nil
	}
	a.sent = true
	a.snap.Del("X-Stream-Error") // its text is ours
	if a.code >= http.StatusBadRequest {
		a.snap.Set("Cache-Control", "no-store")
		a.snap.Del("Etag")
		a.buf = []byte(redact.Text(string(a.buf))) // whoever made the error may have named a path
	} else if a.streamed() && (!whole || a.t.unread) {
		a.snap.Set("Cache-Control", "no-store")
	}
	maps.Copy(a.w.Header(), a.snap)
	a.w.WriteHeader(a.code)
	if len(a.buf) == 0 {
		return nil
	}
	if a.code == http.StatusOK {
		_ = a.rc.Flush() // so that no length is made up for what was a stream
	}
	_, err := a.send(a.buf)
	a.buf = nil
	return err
}

func (a *answer) send(b []byte) (int, error) {
	_ = a.rc.SetWriteDeadline(time.Now().Add(a.stall)) // not every writer has deadlines
	return a.w.Write(b)
}

// finish sends what is left. An answer that broke off is cut, or, where nothing
// of it has gone out, replaced by an error.
func (a *answer) finish() {
	if a.t.brokenOff() == nil {
		if a.code == 0 {
			a.WriteHeader(http.StatusOK)
		}
		_ = a.begin(true)
		return
	}
	if !a.sent && len(a.buf) == 0 {
		a.unavailable()
		return
	}
	_ = a.begin(false)
	a.cut()
}

func (a *answer) unavailable() {
	a.sent = true
	sayUnavailable(a.w, "the data cannot be read right now, try again later")
}

// cut ends the connection without a final chunk. HTTP/1.0 has no chunks: there
// only a reset tells the client.
func (a *answer) cut() {
	_ = a.rc.Flush()
	if !a.r.ProtoAtLeast(1, 1) {
		if conn, _, err := a.rc.Hijack(); err == nil {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// Flush does nothing: what is kept back is kept back for a reason.
func (a *answer) Flush() {}

// say answers with an error of one line that no cache may keep.
func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, redact.Text(text), code)
}

func sayUnavailable(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	say(w, http.StatusServiceUnavailable, text)
}
