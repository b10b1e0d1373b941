package serve

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// limitedHijacker bounds the frames of the websocket that takes the connection
// over; the RPC library itself reads messages of any size into memory.
type limitedHijacker struct {
	http.ResponseWriter
	limit int64
}

// Hijack implements http.Hijacker. The buffered reader handed on reads through
// the wrapper too, since the websocket library prefers it to the connection.
func (h *limitedHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if rw.Reader.Buffered() > 0 {
		_ = conn.Close()
		return nil, nil, errors.New("frames were sent before the websocket handshake ended")
	}
	fc := &frameConn{Conn: conn, limit: h.limit}
	return fc, bufio.NewReadWriter(bufio.NewReader(fc), bufio.NewWriter(fc)), nil
}

// frameConn follows the frame headers of RFC 6455 in what is read and fails
// when one message announces more than limit bytes.
type frameConn struct {
	net.Conn
	limit int64

	head    []byte // header bytes of the frame being read
	payload uint64 // bytes of its payload still to come
	message uint64 // payload announced so far by the frames of this message
}

// Read implements net.Conn.
func (c *frameConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		if bad := c.follow(p[:n]); bad != nil {
			return 0, bad
		}
	}
	return n, err
}

func (c *frameConn) follow(b []byte) error {
	for len(b) > 0 {
		if c.payload > 0 {
			skip := min(c.payload, uint64(len(b)))
			c.payload -= skip
			b = b[skip:]
			continue
		}
		c.head = append(c.head, b[0])
		b = b[1:]
		if err := c.header(); err != nil {
			return err
		}
	}
	return nil
}

// header acts when the collected bytes make a whole frame header.
func (c *frameConn) header() error {
	if len(c.head) < 2 {
		return nil
	}
	size, ext := uint64(c.head[1]&0x7f), 0
	switch size {
	case 126:
		ext = 2
	case 127:
		ext = 8
	}
	mask := 0
	if c.head[1]&0x80 != 0 {
		mask = 4
	}
	if len(c.head) < 2+ext+mask {
		return nil
	}
	switch ext {
	case 2:
		size = uint64(binary.BigEndian.Uint16(c.head[2:]))
	case 8:
		size = binary.BigEndian.Uint64(c.head[2:])
	}
	fin, control := c.head[0]&0x80 != 0, c.head[0]&0x08 != 0
	c.head, c.payload = c.head[:0], size
	if control {
		return nil // at most 125 bytes, the library checks
	}
	if size > uint64(c.limit) || c.message+size > uint64(c.limit) {
		return fmt.Errorf("websocket message bigger than maximum %d allowed", c.limit)
	}
	c.message += size
	if fin {
		c.message = 0
	}
	return nil
}
