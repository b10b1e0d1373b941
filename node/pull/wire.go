package pull

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Times and sizes of a link; the configs of both ends may state others.
const (
	defaultSilence   = 35 * time.Second // without a byte: the link is lost
	pingsPerSilence  = 3
	writeStall       = 30 * time.Second // of one write of at most frameBuffer, or of a part that the kernel takes
	handshakeTime    = 15 * time.Second
	frameBuffer      = 32 << 10
	defaultMaxCall   = 10 << 20 // bytes
	defaultMaxAnswer = 64 << 20 // bytes
)

// Headers of the handshake: who opens the link and who accepts it, base64 of JSON.
const (
	headerOpens   = "Quarry-Link-Opens"
	headerAccepts = "Quarry-Link-Accepts"
)

// routes on the markets node.
const (
	routeLink = "/link"
	routePush = "/push/"
)

// quietConn gives the peer its time: every read and every write must move
// something before its time is over, once it is armed.
type quietConn struct {
	net.Conn
	silence time.Duration
	armed   atomic.Bool
}

// Read implements net.Conn.
func (c *quietConn) Read(p []byte) (int, error) {
	if c.armed.Load() {
		if err := c.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	if t, ok := c.Conn.(interface{ Touch() }); ok && n > 0 {
		t.Touch() // the listener's idle sockets give way to others, this is none
	}
	return n, err
}

// Write implements net.Conn.
func (c *quietConn) Write(p []byte) (int, error) {
	if c.armed.Load() {
		if err := c.SetWriteDeadline(time.Now().Add(writeStall)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// wire is a websocket with messages of bounded size. It is read by one goroutine
// and written by many.
type wire struct {
	ws      *websocket.Conn
	writing chan struct{} // holds one
	gone    chan struct{}
	close   func() // ends both directions; may be repeated
}

func newWire(ws *websocket.Conn, quiet *quietConn, limit int64) *wire {
	ws.SetReadLimit(limit)
	quiet.armed.Store(true)
	w := &wire{ws: ws, writing: make(chan struct{}, 1), gone: make(chan struct{})}
	w.close = sync.OnceFunc(func() {
		close(w.gone)
		_ = ws.Close() // whoever reads or writes learns of it
	})
	return w
}

var errLinkLost = errors.New("the link is lost")

// send writes one message. After an error nothing more can be written.
func (w *wire) send(ctx context.Context, message []byte) error {
	select {
	case w.writing <- struct{}{}:
		defer func() { <-w.writing }()
	case <-w.gone:
		return errLinkLost
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-w.gone:
		return errLinkLost
	default:
	}
	if err := w.ws.WriteMessage(websocket.TextMessage, message); err != nil {
		w.close()
		return fmt.Errorf("%w: %w", errLinkLost, err)
	}
	return nil
}

// ping asks the peer for a sign of life. It waits for nothing: the reading side
// finds out when there is none.
func (w *wire) ping() {
	_ = w.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)) // see above
}

// receive reads the next message, as long as the limit allows.
func (w *wire) receive() ([]byte, error) {
	kind, message, err := w.ws.ReadMessage()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errLinkLost, err)
	case kind != websocket.TextMessage:
		return nil, fmt.Errorf("%w: the peer sends something that is not text", errLinkLost)
	}
	return message, nil
}
