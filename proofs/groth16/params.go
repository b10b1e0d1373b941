package groth16

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// ParamsSource is a parameter file, or a part of memory that holds one. A source
// that also has a method Bytes() []byte (see BytesSource) is read in place.
type ParamsSource interface {
	io.ReaderAt
	Size() int64
}

// BytesSource is parameters in memory, such as a mapped file. The memory must
// stay readable as long as the Params opened from it are used.
type BytesSource []byte

// Size is the number of bytes.
func (b BytesSource) Size() int64 { return int64(len(b)) }

// Bytes is the memory itself.
func (b BytesSource) Bytes() []byte { return b }

// ReadAt copies, as io.ReaderAt says.
func (b BytesSource) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("groth16: reading at offset %d", off)
	}
	if off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// section is one vector of points in a parameter file.
type section struct {
	name   string
	offset int64 // of the first point
	count  int
	size   int // bytes of a point
}

func (s section) end() int64 { return s.offset + int64(s.count)*int64(s.size) }

// Params are the parameters of one circuit, for proving. Points are read from
// the source when they are needed. Params may be used by several goroutines if
// the source may.
type Params struct {
	src ParamsSource
	mem []byte // the whole source, if it is memory
	vk  *VerifyingKey

	h, l, a, b1, b2 section
}

// OpenParams reads the verifying key and the index of a parameter file
// (bellperson src/groth16/params.rs: key, then the vectors h, l, a, b_g1, b_g2,
// each a big-endian u32 count and that many uncompressed points) and checks that
// the sections fill the file exactly. Points other than the key's are not
// checked here: compare the file's Digest with a published one, or run Check once.
func OpenParams(src ParamsSource) (*Params, error) {
	p := &Params{src: src}
	if m, ok := src.(interface{ Bytes() []byte }); ok {
		p.mem = m.Bytes()
	}
	var err error
	if p.vk, err = ReadVerifyingKey(io.NewSectionReader(src, 0, src.Size())); err != nil {
		return nil, fmt.Errorf("groth16: opening parameters of %d bytes: %w", src.Size(), err)
	}
	at := p.vk.Size()
	for _, s := range []struct {
		sec  *section
		name string
		size int
	}{
		{&p.h, "h", g1Uncompressed}, {&p.l, "l", g1Uncompressed}, {&p.a, "a", g1Uncompressed},
		{&p.b1, "b_g1", g1Uncompressed}, {&p.b2, "b_g2", g2Uncompressed},
	} {
		if at, err = p.index(s.sec, s.name, s.size, at); err != nil {
			return nil, err
		}
	}
	if at != src.Size() {
		return nil, fmt.Errorf("groth16: parameters have %d bytes more than their sections fill (%d of %d): fetch or generate "+
			"them again", src.Size()-at, at, src.Size())
	}
	return p, p.consistent()
}

// index reads the count at offset at and finds where the section ends.
func (p *Params) index(s *section, name string, size int, at int64) (int64, error) {
	var n [4]byte
	if _, err := p.src.ReadAt(n[:], at); err != nil && at+4 > p.src.Size() {
		return 0, fmt.Errorf("groth16: parameters end at byte %d, before section %s: the file is cut short, fetch or "+
			"generate it again", p.src.Size(), name)
	} else if err != nil && err != io.EOF {
		return 0, fmt.Errorf("groth16: reading the size of section %s of parameters: %w", name, err)
	}
	*s = section{name: name, offset: at + 4, count: int(binary.BigEndian.Uint32(n[:])), size: size}
	if s.end() > p.src.Size() {
		return 0, fmt.Errorf("groth16: section %s of parameters has %d points and ends at byte %d, the file at %d: the file "+
			"is cut short or damaged, fetch or generate it again", name, s.count, s.end(), p.src.Size())
	}
	return s.end(), nil
}

// consistent checks what the counts must satisfy whatever the circuit is.
func (p *Params) consistent() error {
	inputs := len(p.vk.IC)
	switch {
	case bits.OnesCount64(uint64(p.h.count)+1) != 1 || p.h.count == 0:
		return fmt.Errorf("groth16: section h of parameters has %d points, must be a power of two less one", p.h.count)
	case p.b1.count != p.b2.count:
		return fmt.Errorf("groth16: sections b_g1 and b_g2 of parameters have %d and %d points, must have as many", p.b1.count, p.b2.count)
	case p.a.count < inputs || p.a.count > inputs+p.l.count:
		return fmt.Errorf("groth16: section a of parameters has %d points with %d inputs and %d aux variables", p.a.count, inputs,
			p.l.count)
	case p.b1.count > inputs+p.l.count:
		return fmt.Errorf("groth16: section b_g1 of parameters has %d points with %d inputs and %d aux variables", p.b1.count,
			inputs, p.l.count)
	}
	return nil
}

// VerifyingKey is the key at the head of the parameters. It must not be changed.
func (p *Params) VerifyingKey() *VerifyingKey { return p.vk }

// Shape tells the size of the circuit that the parameters are for: the number of
// public inputs with ONE, of aux variables, and the size of the evaluation domain.
func (p *Params) Shape() (inputs, aux, domain int) {
	return len(p.vk.IC), p.l.count, p.h.count + 1
}

// Size is the length of the parameters in bytes.
func (p *Params) Size() int64 { return p.src.Size() }

// raw is the encoding of points [from, from+n) of s, in place where the source is
// memory, else read into buf, which must be large enough.
func (p *Params) raw(s section, from, n int, buf []byte) ([]byte, error) {
	off, length := s.offset+int64(from)*int64(s.size), n*s.size
	if p.mem != nil {
		return p.mem[off : off+int64(length)], nil
	}
	if k, err := p.src.ReadAt(buf[:length], off); k < length {
		return nil, fmt.Errorf("groth16: reading %d points of section %s of parameters at byte %d: %w", n, s.name, off, noEOF(err))
	}
	return buf[:length], nil
}
