package pieces

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
	mh "github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"
)

// maxSection bounds one CAR section; go-car's own default is 8 MiB.
const maxSection = 8 << 20

// Block says where the data of one block is, relative to the payload's start.
type Block struct {
	Cid    cid.Cid
	Offset uint64
	Length uint64
}

// ScanCAR walks a CARv1 or CARv2 of size bytes and reports each block. Zero
// padding at the end is accepted, as pieces carry it. The bytes are not hashed.
func ScanCAR(ctx context.Context, r io.ReaderAt, size uint64, each func(Block) error) error {
	version, err := car.ReadVersion(io.NewSectionReader(r, 0, int64(size)))
	if err != nil {
		return fmt.Errorf("not a CAR: %w", err)
	}
	start, end := uint64(0), size
	switch version {
	case 1:
	case 2:
		if start, end, err = carV2Range(r, size); err != nil {
			return err
		}
	default:
		return fmt.Errorf("CAR version %d is not known", version)
	}
	s := &scanner{br: bufio.NewReaderSize(io.NewSectionReader(r, int64(start), int64(end-start)), 256<<10), pos: start}
	if err := s.header(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		b, err := s.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("CAR section at byte %d: %w", s.pos, err)
		}
		if err := each(b); err != nil {
			return err
		}
	}
}

func carV2Range(r io.ReaderAt, size uint64) (start, end uint64, err error) {
	var h car.Header
	sr := io.NewSectionReader(r, car.PragmaSize, car.HeaderSize)
	if _, err := h.ReadFrom(sr); err != nil {
		return 0, 0, fmt.Errorf("CARv2 header: %w", err)
	}
	if h.DataOffset > size || h.DataSize > size-h.DataOffset {
		return 0, 0, errors.New("CARv2 header points outside the payload")
	}
	return h.DataOffset, h.DataOffset + h.DataSize, nil
}

type scanner struct {
	br  *bufio.Reader
	pos uint64
}

func (s *scanner) header() error {
	n, err := s.uvarint()
	if err != nil {
		return fmt.Errorf("CAR header: %w", err)
	}
	return s.discard(n)
}

func (s *scanner) next() (Block, error) {
	n, err := s.uvarint()
	if err != nil {
		return Block{}, err
	}
	if n == 0 {
		return Block{}, io.EOF // padding
	}
	if n > maxSection {
		return Block{}, fmt.Errorf("section of %d bytes, at most %d", n, maxSection)
	}
	used, c, err := s.cid(n)
	if err != nil {
		return Block{}, err
	}
	b := Block{Cid: c, Offset: s.pos, Length: n - used}
	return b, s.discard(n - used)
}

func (s *scanner) cid(section uint64) (uint64, cid.Cid, error) {
	head, err := s.br.Peek(int(min(section, 256)))
	if err != nil && len(head) == 0 {
		return 0, cid.Undef, io.ErrUnexpectedEOF
	}
	used, c, err := cid.CidFromBytes(head)
	if err != nil {
		return 0, cid.Undef, fmt.Errorf("block CID: %w", err)
	}
	return uint64(used), c, s.discard(uint64(used))
}

func (s *scanner) uvarint() (uint64, error) {
	n, err := varint.ReadUvarint(s.br)
	if err != nil {
		return 0, err
	}
	s.pos += uint64(varint.UvarintSize(n))
	return n, nil
}

func (s *scanner) discard(n uint64) error {
	if n > maxSection {
		return fmt.Errorf("section of %d bytes, at most %d", n, maxSection)
	}
	d, err := s.br.Discard(int(n))
	s.pos += uint64(d)
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// identity blocks carry their data in the CID and need no index.
func identity(c cid.Cid) bool { return c.Prefix().MhType == mh.IDENTITY }
