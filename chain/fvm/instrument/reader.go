package instrument

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var errShort = errors.New("unexpected end of module")

// reader walks over module bytes; after a failure it stays failed.
type reader struct {
	b   []byte
	pos int
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) done() bool { return r.err != nil || r.pos >= len(r.b) }

func (r *reader) byte() byte {
	if r.err != nil || r.pos >= len(r.b) {
		r.fail(errShort)
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

func (r *reader) bytes(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b)-r.pos {
		r.fail(errShort)
		return nil
	}
	r.pos += n
	return r.b[r.pos-n : r.pos]
}

func (r *reader) u32() uint32 {
	v, n := binary.Uvarint(r.b[min(r.pos, len(r.b)):])
	if r.err != nil || n <= 0 || n > 5 || v > 1<<32-1 {
		r.fail(errShort)
		return 0
	}
	r.pos += n
	return uint32(v)
}

// leb skips a signed or unsigned number of at most ten bytes and returns its
// sign-extended value.
func (r *reader) leb() int64 {
	var v int64
	for shift := uint(0); shift < 70; shift += 7 {
		c := r.byte()
		if shift < 64 {
			v |= int64(c&0x7f) << shift
		}
		if c&0x80 == 0 {
			if shift+7 < 64 && c&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
	r.fail(errors.New("number is too long"))
	return 0
}

// count reads the length of a vector whose elements take at least a byte.
func (r *reader) count() int {
	n := r.u32()
	if int64(n) > int64(len(r.b)-r.pos) {
		r.fail(errShort)
		return 0
	}
	return int(n)
}

func (r *reader) name() string { return string(r.bytes(int(r.u32()))) }

func appendU32(b []byte, v uint32) []byte { return binary.AppendUvarint(b, uint64(v)) }

func appendS64(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendName(b []byte, s string) []byte { return append(appendU32(b, uint32(len(s))), s...) }

// operator is one decoded instruction.
type operator struct {
	code  uint16 // opcode; 0xfc00 | n for the prefixed ones
	start int    // byte range in the body
	end   int
	index uint32   // label, function, ...
	value int32    // of i32.const
	table []uint32 // br_table targets without the default
}

const (
	opUnreachable  = 0x00
	opNop          = 0x01
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opLocalGet     = 0x20
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opI64LtS       = 0x53
	opI64Sub       = 0x7d
	opI64Mul       = 0x7e
	opI64ExtendU   = 0xad
	opMemoryInit   = 0xfc08
	opMemoryCopy   = 0xfc0a
	opMemoryFill   = 0xfc0b
	opTableInit    = 0xfc0c
	opTableCopy    = 0xfc0e
	opTableGrow    = 0xfc0f
	opTableFill    = 0xfc11
)

// next decodes one instruction with its immediates.
func (r *reader) next() operator {
	op := operator{start: r.pos}
	op.code = uint16(r.byte())
	switch c := op.code; {
	case c == opBlock || c == opLoop || c == opIf:
		r.leb()
	case c == opBr || c == opBrIf || c == opCall:
		op.index = r.u32()
	case c == opBrTable:
		n := r.count()
		op.table = make([]uint32, n)
		for i := range op.table {
			op.table[i] = r.u32()
		}
		r.u32()
	case c == opCallIndirect:
		r.u32()
		r.u32()
	case c == 0x1c: // typed select
		r.bytes(r.count())
	case c >= opLocalGet && c <= 0x26:
		op.index = r.u32()
	case c >= 0x28 && c <= 0x3e: // loads and stores
		r.u32()
		r.u32()
	case c == 0x3f || c == opMemoryGrow:
		r.byte()
	case c == opI32Const:
		op.value = int32(r.leb())
	case c == opI64Const:
		r.leb()
	case c == 0x43:
		r.bytes(4)
	case c == 0x44:
		r.bytes(8)
	case c == 0xfc:
		op.code = r.prefixed()
	case c <= opNop || c == opElse || c == opEnd || c == opReturn || c == opDrop || c == 0x1b || (c >= 0x45 && c <= 0xc4):
	default:
		r.fail(fmt.Errorf("unsupported instruction %#x", c))
	}
	op.end = r.pos
	return op
}

func (r *reader) prefixed() uint16 {
	n := r.u32()
	switch {
	case n <= 7: // saturating truncation
	case n == 8 || n == 10 || n == 12 || n == 14:
		r.u32()
		r.u32()
	case n == 9 || n == 11 || n == 13 || (n >= 15 && n <= 17):
		r.u32()
	default:
		r.fail(fmt.Errorf("unsupported instruction 0xfc %d", n))
	}
	return 0xfc00 | uint16(n&0xff)
}
