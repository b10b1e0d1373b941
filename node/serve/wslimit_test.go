package serve

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
)

// frame writes an RFC 6455 frame header with the given announced size.
func frame(op byte, fin bool, size uint64, masked bool) []byte {
	b := []byte{op, 0}
	if fin {
		b[0] |= 0x80
	}
	switch {
	case size < 126:
		b[1] = byte(size)
	case size < 1<<16:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(size))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, size)
	}
	if masked {
		b[1] |= 0x80
		b = append(b, 1, 2, 3, 4)
	}
	return b
}

func TestFrameLimit(t *testing.T) {
	body := func(n int) []byte { return make([]byte, n) }
	for name, c := range map[string]struct {
		stream []byte
		ok     bool
	}{
		"small":             {append(frame(1, true, 5, true), body(5)...), true},
		"exact":             {append(frame(1, true, 1000, true), body(1000)...), true},
		"over":              {frame(1, true, 1001, true), false},
		"absurd":            {frame(2, true, 1<<63, true), false},
		"fragments":         {bytes.Join([][]byte{frame(1, false, 600, true), body(600), frame(0, true, 400, true), body(400)}, nil), true},
		"fragments over":    {bytes.Join([][]byte{frame(1, false, 600, true), body(600), frame(0, true, 401, true)}, nil), false},
		"control between":   {bytes.Join([][]byte{frame(1, false, 900, true), body(900), frame(9, true, 125, true), body(125), frame(0, true, 100, true), body(100)}, nil), true},
		"many":              {bytes.Repeat(append(frame(1, true, 900, true), body(900)...), 20), true},
		"unmasked and tiny": {bytes.Repeat(frame(1, true, 0, false), 50), true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{1, 3, 1 << 20} { // however the network cuts it
				fc := &frameConn{limit: 1000}
				var err error
				for rest := c.stream; len(rest) > 0 && err == nil; {
					n := min(step, len(rest))
					err = fc.follow(rest[:n])
					rest = rest[n:]
				}
				if (err == nil) != c.ok {
					t.Fatalf("in steps of %d: %v", step, err)
				}
			}
		})
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(frame(1, true, 70000, true), 7)
	f.Add(frame(0, false, 200, false), 1)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		whole, parts := &frameConn{limit: 1000}, &frameConn{limit: 1000}
		errWhole := whole.follow(stream)
		if cut < 0 || cut > len(stream) {
			cut = len(stream) / 2
		}
		errParts := parts.follow(stream[:cut])
		if errParts == nil {
			errParts = parts.follow(stream[cut:])
		}
		if (errWhole == nil) != (errParts == nil) {
			t.Fatalf("cutting at %d matters: %v, %v", cut, errWhole, errParts)
		}
		if len(whole.head) > 14 || whole.message > 1000 {
			t.Fatalf("state out of bounds: %d, %d", len(whole.head), whole.message)
		}
	})
}

var _ net.Conn = (*frameConn)(nil)
