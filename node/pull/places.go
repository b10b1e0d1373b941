package pull

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/blake2b"

	"quarry/api"
	"quarry/internal/printable"
)

// Headers of a push: how many bytes come, and, as trailer, the hex BLAKE2b-256 of
// them.
const (
	headerLength  = "Quarry-Length"
	trailerDigest = "X-Blake2b-256"
)

// maxPlaces bounds the one-time places that wait for bytes.
const maxPlaces = 1024

// idBytes is the size of the random id of a place.
const idBytes = 16

func newDigest() hash.Hash {
	sum, err := blake2b.New256(nil)
	if err != nil {
		panic("pull: unkeyed blake2b must exist: " + err.Error())
	}
	return sum
}

// places are where the private node may push bytes to: each once, so many, soon.
type places struct {
	wait time.Duration

	mu   sync.Mutex
	open map[string]*place
}

// place waits for one push.
type place struct {
	length int64
	came   chan *delivery
	gone   chan struct{} // closed when nobody waits any more
}

func newPlaces(wait time.Duration) *places {
	return &places{wait: wait, open: map[string]*place{}}
}

// make opens a place for length bytes. It is gone when they come, when its time is
// over, or with closed, which is called once.
func (p *places) make(length int64) (id string, at *place, closed func(), err error) {
	var raw [idBytes]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	id, at = hex.EncodeToString(raw[:]), &place{length: length, came: make(chan *delivery), gone: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) >= maxPlaces {
		return "", nil, nil, &api.ErrBusy{What: "reading from the private node", Reason: "too many readers wait for it"}
	}
	p.open[id] = at
	late := time.AfterFunc(p.wait, func() { p.take(id) })
	return id, at, func() { late.Stop(); p.take(id); close(at.gone) }, nil
}

// take gives the place of an id, once.
func (p *places) take(id string) *place {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.open[id]
	delete(p.open, id)
	return at
}

// receive is the handler of a push. It returns when the reader has taken the
// bytes, or gives up.
func (p *places) receive(w http.ResponseWriter, r *http.Request) {
	at := p.take(r.PathValue("id"))
	if at == nil {
		http.Error(w, "nobody waits for these bytes (any more)", http.StatusGone)
		return
	}
	if got := r.Header.Get(headerLength); got != strconv.FormatInt(at.length, 10) {
		http.Error(w, fmt.Sprintf("%d bytes are waited for, not %q", at.length, printable.Brief(got)), http.StatusBadRequest)
		return
	}
	d := newDelivery(r, at.length)
	select {
	case at.came <- d:
		d.wait(r.Context(), http.NewResponseController(w))
	case <-at.gone:
		d.finish(errClosed)
	case <-r.Context().Done():
		d.finish(r.Context().Err())
	}
	if err := d.outcome(); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// delivery is a push that arrived: the reader reads the body of the request
// itself, so that its pace is the sender's.
type delivery struct {
	done    chan struct{} // closed when the body is not read any more
	stopped chan struct{} // closed when the reader wants no more
	stop    func()

	mu      sync.Mutex // held while the body is read
	body    io.Reader
	left    int64
	sum     hash.Hash
	trailer func() string
	over    bool
	err     error
}

var errClosed = errors.New("the reader has given up")

func newDelivery(r *http.Request, length int64) *delivery {
	d := &delivery{
		done:    make(chan struct{}),
		stopped: make(chan struct{}),
		body:    r.Body,
		left:    length,
		sum:     newDigest(),
		trailer: func() string { return r.Trailer.Get(trailerDigest) },
	}
	d.stop = sync.OnceFunc(func() { close(d.stopped) })
	return d
}

// wait returns when the body is not read any more. It alone may wake a reader that
// waits for the peer: later the connection belongs to another request.
func (d *delivery) wait(ctx context.Context, conn *http.ResponseController) {
	why := errClosed
	select {
	case <-d.done:
		return
	case <-d.stopped:
	case <-ctx.Done():
		why = errors.New("the connection was lost")
	}
	_ = conn.SetReadDeadline(time.Now()) // a connection that is gone has no readers
	d.finish(why)
}

// finish ends it; the first outcome stays.
func (d *delivery) finish(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end(err)
}

func (d *delivery) end(err error) {
	if !d.over {
		d.over, d.err, d.body = true, err, nil
		close(d.done)
	}
}

func (d *delivery) outcome() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Read implements io.Reader. The last bytes are given only with the right digest.
func (d *delivery) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		if d.err == nil {
			return 0, io.EOF
		}
		return 0, d.err
	}
	n, err := d.body.Read(p[:min(int64(len(p)), d.left)])
	_, _ = d.sum.Write(p[:n]) // a hash takes all
	if d.left -= int64(n); d.left == 0 {
		if err := d.check(err); err != nil {
			d.end(err)
			return 0, err
		}
		d.end(nil)
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		d.end(err)
	}
	return n, err
}

// check reads the end of the body, and with it the trailer.
func (d *delivery) check(err error) error {
	if err == nil {
		var more [1]byte
		var n int
		if n, err = d.body.Read(more[:]); n > 0 {
			return errors.New("the private node pushes more bytes than it was asked for")
		}
	}
	switch {
	case !errors.Is(err, io.EOF):
		return err
	case d.trailer() != hex.EncodeToString(d.sum.Sum(nil)):
		return errors.New("bytes changed on the way from the private node: their digest is another one")
	}
	return nil
}
