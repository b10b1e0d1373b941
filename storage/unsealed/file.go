package unsealed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	rle "github.com/filecoin-project/go-bitfield/rle"
	"github.com/filecoin-project/go-state-types/abi"
)

// maxTrailer bounds the record read from a file, in bytes; Lotus warns above
// 1 MiB, and a sector of pieces needs a few hundred.
const maxTrailer = 4 << 20

// ErrDamaged says that the record of ranges cannot be read. The data may be
// whole; unseal the sector or add the pieces again.
var ErrDamaged = errors.New("record of allocated ranges is damaged")

// File is an open unsealed file. ReadAt and WriteAt address padded bytes in
// [0, Size) and may be called from several goroutines at once; Mark may not.
type File struct {
	f    *os.File
	size int64
	runs []byte // RLE+ of allocated padded bytes
}

// Create makes an unsealed file of size padded bytes with nothing allocated,
// or opens the existing one for writing.
func Create(path string, size abi.SectorSize) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // sector data is shared between processes of one operator
	if err != nil {
		return nil, fmt.Errorf("open unsealed file: %w", err)
	}
	u := &File{f: f, size: int64(size)}
	st, err := f.Stat()
	if err == nil && st.Size() <= u.size { // new, or the first record was never written
		u.runs, err = rle.EncodeRuns(&rle.RunSliceIterator{}, nil)
		if err == nil {
			err = u.writeTrailer()
		}
	} else if err == nil {
		err = u.readTrailer(st.Size())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("unsealed file %s: %w", path, err), f.Close())
	}
	return u, nil
}

// Open opens an existing unsealed file for reading. A missing file gives an
// error that errors.Is fs.ErrNotExist.
func Open(path string, size abi.SectorSize) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open unsealed file: %w", err)
	}
	u := &File{f: f, size: int64(size)}
	st, err := f.Stat()
	if err == nil {
		err = u.readTrailer(st.Size())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("unsealed file %s: %w", path, err), f.Close())
	}
	return u, nil
}

// OpenAny opens an existing unsealed file for reading and finds the sector size
// from its record.
func OpenAny(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open unsealed file: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open unsealed file: %w", err)
	}
	// Sector sizes are powers of two and a record is far smaller than its sector,
	// except for the smallest test sectors, so the size is the highest power of two
	// whose record can be read.
	for size := int64(1) << 62; size >= 128; size >>= 1 {
		if size+4 > st.Size() {
			continue
		}
		if u, err := Open(path, abi.SectorSize(size)); err == nil {
			return u, nil
		} else if !errors.Is(err, ErrDamaged) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("unsealed file %s: %w", path, ErrDamaged)
}

// SameRanges tells whether both files have the same record of ranges.
func (u *File) SameRanges(o *File) bool { return bytes.Equal(u.runs, o.runs) }

// Size is the sector size in padded bytes.
func (u *File) Size() int64 { return u.size }

// ReadAt reads padded bytes; ranges never written read as zeros.
func (u *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("unsealed read at %d: negative offset", off)
	}
	if off >= u.size {
		return 0, io.EOF
	}
	if max := u.size - off; int64(len(p)) > max {
		n, err := u.f.ReadAt(p[:max], off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return u.f.ReadAt(p, off)
}

// WriteAt writes padded bytes. They count as present only after Mark.
func (u *File) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > u.size || int64(len(p)) > u.size-off {
		return 0, fmt.Errorf("unsealed write of %d bytes at %d: outside the sector of %d bytes", len(p), off, u.size)
	}
	return u.f.WriteAt(p, off)
}

// Has tells whether every padded byte of the range was marked.
func (u *File) Has(offset, size abi.PaddedPieceSize) (bool, error) {
	if err := u.check(offset, size); err != nil {
		return false, err
	}
	have, err := rle.DecodeRLE(u.runs)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	both, err := rle.And(have, run(offset, size))
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	n, err := rle.Count(both)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n == uint64(size), nil
}

// Mark records the range as present. The data is synced before the record is
// written and the record after, so a crash never claims unwritten bytes.
func (u *File) Mark(offset, size abi.PaddedPieceSize) error {
	return u.edit(offset, size, rle.Or)
}

// Unmark records the range as absent; the bytes stay until overwritten.
func (u *File) Unmark(offset, size abi.PaddedPieceSize) error {
	return u.edit(offset, size, rle.Subtract)
}

// Empty tells whether nothing is allocated.
func (u *File) Empty() (bool, error) {
	it, err := rle.DecodeRLE(u.runs)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	n, err := rle.Count(it)
	return n == 0, err
}

// Close closes the file without marking anything.
func (u *File) Close() error { return u.f.Close() }

func (u *File) check(offset, size abi.PaddedPieceSize) error {
	if size == 0 || uint64(offset) > uint64(u.size) || uint64(size) > uint64(u.size)-uint64(offset) {
		return fmt.Errorf("range %d+%d is outside the sector of %d bytes", offset, size, u.size)
	}
	return nil
}

func (u *File) edit(offset, size abi.PaddedPieceSize, op func(a, b rle.RunIterator) (rle.RunIterator, error)) error {
	if err := u.check(offset, size); err != nil {
		return err
	}
	if err := u.f.Sync(); err != nil {
		return fmt.Errorf("sync unsealed data: %w", err)
	}
	have, err := rle.DecodeRLE(u.runs)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	next, err := op(have, run(offset, size))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	old := u.runs
	if u.runs, err = rle.EncodeRuns(next, nil); err == nil {
		err = u.writeTrailer()
	}
	if err != nil {
		u.runs = old
	}
	return err
}

// run is the single range as an iterator: absent up to offset, then present.
func run(offset, size abi.PaddedPieceSize) rle.RunIterator {
	var runs []rle.Run
	if offset > 0 {
		runs = append(runs, rle.Run{Val: false, Len: uint64(offset)})
	}
	return &rle.RunSliceIterator{Runs: append(runs, rle.Run{Val: true, Len: uint64(size)})}
}

// writeTrailer writes record and length in one call, then cuts the file to
// length: readTrailer understands every state in between.
func (u *File) writeTrailer() error {
	b := binary.LittleEndian.AppendUint32(append([]byte(nil), u.runs...), uint32(len(u.runs))) //nolint:gosec // bounded by maxTrailer
	if _, err := u.f.WriteAt(b, u.size); err != nil {
		return fmt.Errorf("write record of ranges: %w", err)
	}
	if err := u.f.Truncate(u.size + int64(len(b))); err != nil {
		return fmt.Errorf("cut file after record of ranges: %w", err)
	}
	return u.f.Sync()
}

func (u *File) readTrailer(fileSize int64) error {
	n := fileSize - u.size
	if n < 4 || n > maxTrailer {
		return fmt.Errorf("%w: file has %d bytes, sector data is %d", ErrDamaged, fileSize, u.size)
	}
	b := make([]byte, n)
	if _, err := u.f.ReadAt(b, u.size); err != nil {
		return fmt.Errorf("read record of ranges: %w", err)
	}
	runs, ok := parseTrailer(b)
	if !ok {
		return ErrDamaged
	}
	u.runs = runs
	return nil
}

// parseTrailer finds the record at the start of b. Normally its length closes
// b; after a crash between writing and cutting, rests of a longer, older record
// follow it.
func parseTrailer(b []byte) ([]byte, bool) {
	for _, exact := range []bool{true, false} {
		for l := len(b) - 4; l >= 0; l-- {
			if int(binary.LittleEndian.Uint32(b[l:])) == l && validRuns(b[:l]) {
				return b[:l], true
			}
			if exact {
				break
			}
		}
	}
	return nil, false
}

func validRuns(b []byte) bool {
	if rle.ValidateRLE(b) != nil {
		return false
	}
	it, err := rle.DecodeRLE(b)
	if err != nil {
		return false
	}
	_, err = rle.Count(it)
	return err == nil
}
