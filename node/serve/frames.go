package serve

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Opcodes of RFC 6455.
const (
	opContinue = 0
	opText     = 1
	opBinary   = 2
	opControl  = 8 // and above
)

var errFrame = errors.New("websocket frame breaks the protocol")

// frameHead is the beginning of a frame.
type frameHead struct {
	fin    bool
	op     byte
	size   uint64
	masked bool
	mask   [4]byte
}

// readHead reads one; raw are its bytes.
func readHead(r io.Reader) (h frameHead, raw []byte, err error) {
	raw = make([]byte, 2, 14)
	if _, err := io.ReadFull(r, raw); err != nil {
		return h, nil, err
	}
	more := headSize(raw[1]) - 2
	raw = raw[:2+more]
	if _, err := io.ReadFull(r, raw[2:]); err != nil {
		return h, nil, err
	}
	return parseHead(raw), raw, nil
}

// headSize is the size of a frame's head by its second byte.
func headSize(second byte) int {
	n := 2
	switch second & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if second&0x80 != 0 {
		n += 4
	}
	return n
}

func parseHead(raw []byte) frameHead {
	h := frameHead{fin: raw[0]&0x80 != 0, op: raw[0] & 0x7f, size: uint64(raw[1] & 0x7f), masked: raw[1]&0x80 != 0}
	rest := raw[2:]
	switch h.size {
	case 126:
		h.size, rest = uint64(binary.BigEndian.Uint16(rest)), rest[2:]
	case 127:
		h.size, rest = binary.BigEndian.Uint64(rest), rest[8:]
	}
	copy(h.mask[:], rest)
	return h
}

// appendHead writes a head. A masked one has the mask zero, which changes
// nothing.
func appendHead(b []byte, op byte, fin, masked bool, size int) []byte {
	if fin {
		op |= 0x80
	}
	bit := byte(0)
	if masked {
		bit = 0x80
	}
	switch {
	case size < 126:
		b = append(b, op, bit|byte(size))
	case size < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, op, bit|126), uint16(size))
	default:
		b = binary.BigEndian.AppendUint64(append(b, op, bit|127), uint64(size))
	}
	if masked {
		b = append(b, 0, 0, 0, 0)
	}
	return b
}

// messageReader reads the messages of a client.
type messageReader struct {
	r     *bufio.Reader
	limit int64
	owes  func(bool) // whether the client has begun something that it must end

	begun bool // a message of several frames
	body  bytes.Buffer
}

// next returns the next message, or a control frame with its head, which may come
// between the frames of a message.
func (m *messageReader) next() (message, control []byte, err error) {
	for {
		if _, err := m.r.Peek(1); err != nil {
			return nil, nil, err
		}
		m.owes(true)
		h, raw, err := readHead(m.r)
		if err != nil {
			return nil, nil, err
		}
		if err := m.check(h); err != nil {
			return nil, nil, err
		}
		if h.op >= opControl {
			control := append(raw, make([]byte, h.size)...)
			_, err := io.ReadFull(m.r, control[len(raw):])
			m.owes(m.begun)
			return nil, control, err
		}
		m.begun = true
		from := m.body.Len()
		if n, err := io.CopyN(&m.body, m.r, int64(h.size)); err != nil || n != int64(h.size) {
			return nil, nil, errors.Join(err, io.ErrUnexpectedEOF)
		}
		unmask(m.body.Bytes()[from:], h.mask)
		if h.fin {
			message = m.body.Bytes()
			m.begun, m.body = false, bytes.Buffer{}
			m.owes(false)
			return message, nil, nil
		}
	}
}

// check refuses what RFC 6455 does not allow here, and what is too big before
// any of it is read.
func (m *messageReader) check(h frameHead) error {
	have := int64(m.body.Len())
	switch {
	case h.op&0x70 != 0, !h.masked, h.op > opBinary && h.op < opControl, h.op > 10:
		return errFrame
	case h.op >= opControl && (!h.fin || h.size > 125), (h.op == opContinue) != m.begun && h.op < opControl:
		return errFrame
	case h.op < opControl && (h.size > uint64(m.limit) || have+int64(h.size) > m.limit):
		return fmt.Errorf("websocket message bigger than maximum %d allowed", m.limit)
	}
	return nil
}

func unmask(b []byte, mask [4]byte) {
	if mask == ([4]byte{}) {
		return
	}
	key := uint64(binary.LittleEndian.Uint32(mask[:]))
	key |= key << 32
	i := 0
	for ; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], binary.LittleEndian.Uint64(b[i:])^key)
	}
	for ; i < len(b); i++ {
		b[i] ^= mask[i&3]
	}
}
