package pieces

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
	mh "github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"
)

// MaxBlock bounds a block that is indexed and served, in bytes; go-car's own
// default for a section is 8 MiB.
const MaxBlock = 8 << 20

// maxCID bounds a CID in a section, in bytes: the largest identity CID and the
// numbers before its data.
const maxCID = MaxIdentity + 32

// readAhead is the scanner's buffer in bytes; longer blocks are stepped over
// without reading them.
const readAhead = 256 << 10

// Block says where the data of one block is, relative to the payload's start.
type Block struct {
	Cid    cid.Cid
	Offset uint64
	Length uint64
}

// ScanCAR walks a CARv1 or CARv2 of size bytes and reports each block; the bytes
// are not hashed. Zero padding at the end is accepted, as pieces carry it. A
// section that cannot be read is stepped over where its length is known. The
// error is a *Flaws when something of the CAR cannot be retrieved, an error of
// each or ctx, or that of a read that failed.
func ScanCAR(ctx context.Context, r io.ReaderAt, size uint64, each func(Block) error) error {
	flaws, err := scanCAR(ctx, r, size, each)
	if err != nil {
		return err
	}
	return flaws.Err()
}

// scanCAR is ScanCAR with all flaws, also those for which nothing is lost. The
// error is never about the CAR.
func scanCAR(ctx context.Context, r io.ReaderAt, size uint64, each func(Block) error) (*Flaws, error) {
	src := &source{r: r}
	s := &scanner{
		ctx:   ctx,
		src:   src,
		size:  size,
		end:   size,
		each:  each,
		flaws: &Flaws{},
	}
	s.seek(0)
	err := s.run()
	if src.err != nil {
		return nil, fmt.Errorf("read the payload: %w", src.err)
	}
	return s.flaws, err
}

// source remembers a read that failed, so that a broken disk is not taken for a
// broken CAR.
type source struct {
	r   io.ReaderAt
	err error
}

func (s *source) ReadAt(b []byte, off int64) (int, error) {
	n, err := s.r.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

type scanner struct {
	ctx   context.Context //nolint:containedctx // lives for one scan
	src   *source
	br    *bufio.Reader
	pos   uint64 // of the next byte of br
	end   uint64 // of the sections
	size  uint64 // of the payload
	each  func(Block) error
	flaws *Flaws
}

// errEnds says that a CAR stops in the middle of something.
var errEnds = errors.New("unexpected EOF")

func (s *scanner) run() error {
	version, err := s.header()
	if err == nil && version == 2 {
		if err = s.enterV2(); err == nil {
			version, err = s.header()
		}
	}
	if err == nil && version != 1 {
		err = fmt.Errorf("version %d is not known here", version)
	}
	if err != nil {
		s.flaws.add(s.pos, "not a CAR: %s", err)
		return nil
	}
	for s.pos < s.end {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if more, err := s.section(); err != nil || !more {
			return err
		}
	}
	return nil
}

// header reads a header and tells the version it names.
func (s *scanner) header() (uint64, error) {
	n, err := s.uvarint()
	if err != nil {
		return 0, err
	}
	if n == 0 || n > MaxBlock || n > s.end-s.pos {
		return 0, fmt.Errorf("a header of %d bytes", n)
	}
	head := make([]byte, n)
	if _, err := io.ReadFull(s.br, head); err != nil {
		return 0, err
	}
	s.pos += n
	return car.ReadVersion(io.MultiReader(bytes.NewReader(varint.ToUvarint(n)), bytes.NewReader(head)))
}

// enterV2 goes to the CARv1 in a CARv2; the index behind it is not used, as it
// proves nothing.
func (s *scanner) enterV2() error {
	var h car.Header
	if _, err := h.ReadFrom(io.NewSectionReader(s.src, car.PragmaSize, car.HeaderSize)); err != nil {
		return fmt.Errorf("CARv2 header: %w", err)
	}
	if h.DataOffset >= s.size {
		return fmt.Errorf("CARv2 header: the data start at %d of %d bytes", h.DataOffset, s.size)
	}
	if s.end = h.DataOffset + min(h.DataSize, s.size-h.DataOffset); h.DataSize > s.size-h.DataOffset {
		s.flaws.add(s.size, "the CARv2 header tells of more data than there are")
	}
	s.seek(h.DataOffset)
	return nil
}

// section reports one block and goes behind it; more is false at the end.
func (s *scanner) section() (more bool, err error) {
	start := s.pos
	n, err := s.uvarint()
	if err != nil {
		s.flaws.add(start, "the length of a block cannot be read: %s", err)
		return false, nil
	}
	if n == 0 {
		return false, s.padding(start)
	}
	if n > s.end-s.pos {
		s.flaws.add(start, "the CAR ends inside a block of %d bytes, %d are missing: %s", n, n-(s.end-s.pos), errEnds)
		return false, nil
	}
	after := s.pos + n
	used, c, err := s.cid(n)
	if err != nil {
		s.flaws.add(start, "block with a bad CID")
	} else if n-used > MaxBlock {
		s.flaws.add(start, "block of more than %d bytes", MaxBlock)
	} else if err := s.each(Block{Cid: c, Offset: s.pos + used, Length: n - used}); err != nil {
		return false, err
	}
	s.forward(after)
	return true, nil
}

// cid reads the CID at the start of a section of n bytes without moving on.
func (s *scanner) cid(n uint64) (uint64, cid.Cid, error) {
	head, err := s.br.Peek(int(min(n, maxCID)))
	if err != nil {
		return 0, cid.Undef, errEnds
	}
	used, c, err := cid.CidFromBytes(head)
	return uint64(used), c, err
}

// uvarint reads a length. Padding bytes are accepted and noted.
func (s *scanner) uvarint() (uint64, error) {
	start := s.pos
	n, err := binary.ReadUvarint(&counter{s})
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errEnds
		}
		return 0, err
	}
	if s.pos-start != uint64(varint.UvarintSize(n)) {
		s.flaws.note("length written with needless bytes", start, false)
	}
	return n, nil
}

// counter reads single bytes up to the end of the sections, where br ends.
type counter struct{ s *scanner }

func (c *counter) ReadByte() (byte, error) {
	b, err := c.s.br.ReadByte()
	if err == nil {
		c.s.pos++
	}
	return b, err
}

// padding notes bytes behind the zeros that end a CAR: nobody looks at them.
func (s *scanner) padding(start uint64) error {
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		buf, _ := s.br.Peek(readAhead)
		if len(buf) == 0 {
			return nil // the end; a read that failed is remembered
		}
		if len(bytes.TrimLeft(buf, "\x00")) > 0 {
			s.flaws.add(start, "bytes behind a section of no length")
			return nil
		}
		s.forward(s.pos + uint64(len(buf)))
	}
}

func (s *scanner) seek(pos uint64) {
	s.pos = pos
	s.br = bufio.NewReaderSize(io.NewSectionReader(s.src, int64(pos), int64(s.end-pos)), readAhead)
}

// forward goes to a later byte, without reading what lies between when that is
// much.
func (s *scanner) forward(pos uint64) {
	if n := pos - s.pos; n <= uint64(s.br.Buffered()) {
		_, _ = s.br.Discard(int(n))
		s.pos = pos
		return
	}
	s.pos = pos
	s.br.Reset(io.NewSectionReader(s.src, int64(pos), int64(s.end-pos)))
}

// identity blocks carry their data in the CID and need no index.
func identity(c cid.Cid) bool { return c.Prefix().MhType == mh.IDENTITY }
