package serve

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxWaiting bounds the answers of our own that wait for a message to end.
const maxWaiting = maxCalls

// metered is what a connection of the listener can do beside net.Conn.
type metered interface {
	Meter(on bool)
	Touch()
	SocketIdle() time.Duration
}

// socketHijacker stands between the RPC library and a websocket.
type socketHijacker struct {
	http.ResponseWriter
	limit      int64
	subscribes func(method string) bool
}

// Hijack implements http.Hijacker. The buffered reader handed on reads through
// the socket too, since the websocket library prefers it to the connection.
func (h *socketHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if rw.Reader.Buffered() > 0 {
		_ = conn.Close()
		return nil, nil, errors.New("frames were sent before the websocket handshake ended")
	}
	s := newSocket(conn, h.limit, h.subscribes)
	return s, bufio.NewReadWriter(bufio.NewReader(s), bufio.NewWriter(s)), nil
}

// socket is a websocket as the library sees it: whole messages of bounded size,
// with ids of ours, which become the client's again on the way out. It is read by
// one goroutine and written by many.
type socket struct {
	net.Conn
	meter metered
	calls *calls
	in    messageReader
	ready [][]byte // of what was read, to be handed on

	out outgoing
}

func newSocket(conn net.Conn, limit int64, subscribes func(string) bool) *socket {
	s := &socket{Conn: conn, calls: &calls{limit: limit, subscribes: subscribes}}
	s.meter, _ = conn.(metered)
	s.in = messageReader{r: bufio.NewReader(readFunc(s.read)), limit: limit, owes: s.owes}
	s.out = outgoing{to: conn, calls: s.calls}
	return s
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// read gives the client its time: it answers pings, so silence is its end.
func (s *socket) read(p []byte) (int, error) {
	if s.meter != nil {
		if err := s.Conn.SetReadDeadline(time.Now().Add(s.meter.SocketIdle())); err != nil {
			return 0, err
		}
	}
	return s.Conn.Read(p)
}

func (s *socket) owes(on bool) {
	if s.meter != nil {
		s.meter.Meter(on)
	}
}

// SetReadDeadline implements net.Conn; the deadline is ours.
func (s *socket) SetReadDeadline(time.Time) error { return nil }

// SetDeadline implements net.Conn; that for reading is ours.
func (s *socket) SetDeadline(t time.Time) error { return s.Conn.SetWriteDeadline(t) }

// Read implements net.Conn.
func (s *socket) Read(p []byte) (n int, err error) {
	for len(s.ready) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	for n < len(p) && len(s.ready) > 0 {
		k := copy(p[n:], s.ready[0])
		n += k
		if s.ready[0] = s.ready[0][k:]; len(s.ready[0]) == 0 {
			s.ready = s.ready[1:]
		}
	}
	return n, nil
}

// fill reads until there is something for the library.
func (s *socket) fill() error {
	message, control, err := s.in.next()
	if err != nil {
		return err
	}
	if control != nil {
		s.ready = [][]byte{control}
		return nil
	}
	if s.meter != nil {
		s.meter.Touch()
	}
	parts, answer := s.calls.incoming(message)
	if answer != nil {
		return s.out.say(answer)
	}
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if size > 0 {
		s.ready = append([][]byte{appendHead(nil, opText, true, true, size)}, nonEmpty(parts)...)
	}
	return nil
}

func nonEmpty(parts [][]byte) [][]byte {
	out := parts[:0]
	for _, p := range parts {
		if len(p) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) { return s.out.Write(p) }

// kind of an outgoing message, as far as it is known.
type kind int

const (
	kindUnknown kind = iota
	kindPass         // goes on as it comes
	kindWhole        // is kept until it is whole
	kindSwallow      // nobody waits for it
)

// outgoing follows the frames that the library writes and puts ids back.
type outgoing struct {
	to    net.Conn
	calls *calls

	mu      sync.Mutex
	shaken  bool   // the answer to the handshake went out
	head    []byte // of the frame being written
	frame   frameHead
	left    uint64 // of its payload
	message bool   // one is being written
	kind    kind
	call    *call
	ids     restorer
	held    []byte
	waiting [][]byte // answers of ours
}

// say writes a message of our own between those of the library.
func (o *outgoing) say(text []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.message && o.left == 0 && len(o.head) == 0 {
		return o.emit(text)
	}
	if len(o.waiting) >= maxWaiting {
		return errors.New("too many calls at once on this connection")
	}
	o.waiting = append(o.waiting, text)
	return nil
}

func (o *outgoing) emit(text []byte) error {
	_, err := o.to.Write(append(appendHead(make([]byte, 0, len(text)+10), opText, true, false, len(text)), text...))
	return err
}

// Write implements io.Writer.
func (o *outgoing) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	size := len(p)
	if !o.shaken {
		o.shaken = bytes.HasSuffix(p, []byte("\r\n\r\n"))
		return o.to.Write(p)
	}
	var out net.Buffers
	for len(p) > 0 {
		if o.left == 0 {
			n, whole := o.begin(p)
			if p = p[n:]; !whole {
				break
			}
			o.start(&out)
		}
		n := int(min(uint64(len(p)), o.left))
		o.left -= uint64(n)
		o.payload(&out, p[:n])
		p = p[n:]
		if o.left == 0 {
			o.end(&out)
		}
	}
	if _, err := out.WriteTo(o.to); err != nil {
		return 0, err
	}
	return size, nil
}

// begin collects the head of a frame.
func (o *outgoing) begin(p []byte) (n int, whole bool) {
	for n < len(p) {
		o.head = append(o.head, p[n])
		n++
		if len(o.head) >= 2 && len(o.head) == headSize(o.head[1]) {
			o.frame = parseHead(o.head)
			o.left = o.frame.size
			return n, true
		}
	}
	return n, false
}

// start decides about a frame whose head is known.
func (o *outgoing) start(out *net.Buffers) {
	switch {
	case o.frame.op >= opControl:
		*out = append(*out, bytes.Clone(o.head))
	case o.frame.op != opContinue:
		o.message, o.kind = true, kindUnknown
		o.call, o.held = nil, nil
		o.ids = restorer{id: o.restore}
	case o.kind == kindPass:
		*out = append(*out, bytes.Clone(o.head))
	}
	o.head = o.head[:0]
	if o.left == 0 {
		o.end(out)
	}
}

// restore gives the client's id for one of ours, and with it what becomes of the
// message.
func (o *outgoing) restore(own []byte, failed bool) []byte {
	k, known := o.calls.answered(own, failed)
	switch {
	case !known:
		return own
	case k.raw == nil:
		o.kind = kindSwallow
		return own
	case k.subscribe && !failed:
		o.kind, o.call = kindWhole, k
	}
	return k.raw
}

func (o *outgoing) payload(out *net.Buffers, p []byte) {
	if o.frame.op >= opControl {
		*out = append(*out, p)
		return
	}
	if o.kind == kindUnknown {
		var n int
		o.held, n = o.ids.feed(o.held, p)
		p = p[n:]
		if o.ids.done {
			o.settle(out, p)
		}
	}
	switch o.kind {
	case kindWhole:
		o.held = append(o.held, p...)
	case kindPass:
		if len(p) > 0 {
			*out = append(*out, p)
		}
	}
}

// settle ends the looking for an id; rest of the payload in hand follows what is
// held.
func (o *outgoing) settle(out *net.Buffers, rest []byte) {
	if !o.ids.found && bytes.HasPrefix(rest, []byte(`"`+methodClosed+`"`)) {
		o.calls.closed(append(bytes.Clone(o.held), rest...))
	}
	if o.kind != kindUnknown {
		return
	}
	o.kind = kindPass
	more := uint64(len(rest)) + o.left
	last := o.frame.fin && more == 0
	*out = append(*out, appendHead(nil, opText, last, false, len(o.held)), o.held)
	o.held = nil
	if more > 0 {
		*out = append(*out, appendHead(nil, opContinue, o.frame.fin, false, int(more)))
	}
}

// end acts when a frame was written whole.
func (o *outgoing) end(out *net.Buffers) {
	if o.frame.op >= opControl || !o.frame.fin {
		return
	}
	o.message = false
	if o.kind == kindUnknown || o.kind == kindWhole {
		if o.call != nil {
			o.calls.named(o.call, o.held)
		}
		*out = append(*out, appendHead(nil, opText, true, false, len(o.held)), o.held)
	}
	o.held = nil
	for _, text := range o.waiting {
		*out = append(*out, appendHead(nil, opText, true, false, len(text)), text)
	}
	o.waiting = nil
}
