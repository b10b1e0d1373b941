package poreptest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/commp"
	"quarry/proofs/fr32"
	"quarry/proofs/porep"
)

// File is a file of fixed length in memory.
type File struct{ Bytes []byte }

// NewFile is a zero-filled file of size bytes.
func NewFile(size int64) *File { return &File{Bytes: make([]byte, size)} }

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.Bytes).ReadAt(p, off)
}

// WriteAt implements io.WriterAt; it does not write beyond the end.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(f.Bytes)) {
		return 0, fmt.Errorf("poreptest: %d bytes at %d do not fit %d: %w", len(p), off, len(f.Bytes), io.ErrShortWrite)
	}
	return copy(f.Bytes[off:], p), nil
}

// Close does nothing.
func (f *File) Close() error { return nil }

// Sync does nothing.
func (f *File) Sync() error { return nil }

// Size is the length in bytes.
func (f *File) Size() (int64, error) { return int64(len(f.Bytes)), nil }

// Files is a cache directory in memory.
type Files struct {
	mu sync.Mutex
	m  map[string]*File
}

// NewFiles is an empty directory.
func NewFiles() *Files { return &Files{m: map[string]*File{}} }

// Create implements porep.Files.
func (d *Files) Create(name string, size int64) (porep.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := NewFile(size)
	d.m[name] = f
	return f, nil
}

// Open implements porep.Files.
func (d *Files) Open(name string) (porep.File, error) {
	if f := d.File(name); f != nil {
		return f, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// File is the named file, or nil.
func (d *Files) File(name string) *File {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.m[name]
}

// Remove implements porep.Files.
func (d *Files) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.m, name)
	return nil
}

// List implements porep.Files.
func (d *Files) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := make([]string, 0, len(d.m))
	for n := range d.m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

// Sealed is a sealed sector and everything it was sealed from.
type Sealed struct {
	Sector   porep.Sector
	Request  porep.ProveRequest // ticket, seed and commitments
	Unsealed []byte             // fr32-padded
	Sealed   *File
	Cache    *Files
}

// Seal seals a sector full of data that depends on its number, with the ticket
// 11… and the seed 22….
func Seal(ctx context.Context, s porep.Sector) (*Sealed, error) {
	size, err := s.Proof.SectorSize()
	if err != nil {
		return nil, err
	}
	raw := VectorData(uint64(size))
	for i := range raw {
		raw[i] += byte(s.Number)
	}
	return SealData(ctx, s, raw)
}

// VectorData is the payload of a size-byte sector that the reference vectors
// were made from.
func VectorData(size uint64) []byte {
	raw := make([]byte, size/128*127)
	for i := range raw {
		raw[i] = byte(7*i+3) ^ byte(i>>8)
	}
	return raw
}

// SealData is Seal with the given payload, one piece that fills the sector.
func SealData(ctx context.Context, s porep.Sector, raw []byte) (*Sealed, error) {
	size, err := s.Proof.SectorSize()
	if err != nil {
		return nil, err
	}
	piece, err := commp.Sum(ctx, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	out := &Sealed{Sector: s, Unsealed: make([]byte, size), Sealed: NewFile(int64(size)), Cache: NewFiles()}
	fr32.Pad(raw, out.Unsealed)
	out.Request.Ticket = bytes.Repeat([]byte{0x11}, 32)
	out.Request.Seed = bytes.Repeat([]byte{0x22}, 32)
	pieces := []abi.PieceInfo{{Size: piece.PaddedSize, PieceCID: piece.CID}}
	data := bytes.NewReader(out.Unsealed)
	pc1, err := porep.PreCommit1(ctx, porep.PreCommit1Task{
		Sector:   s,
		Ticket:   out.Request.Ticket,
		Pieces:   pieces,
		Unsealed: data,
		Cache:    out.Cache,
	}, porep.LabelOptions{}, nil)
	if err != nil {
		return nil, err
	}
	out.Request.Commitments, err = porep.PreCommit2(ctx, porep.PreCommit2Task{
		Sector:   s,
		PC1:      pc1,
		Unsealed: data,
		Sealed:   out.Sealed,
		Cache:    out.Cache,
	}, nil)
	return out, err
}

// VerifyInfo is the public side of the seal.
func (s *Sealed) VerifyInfo() proof.SealVerifyInfo {
	return proof.SealVerifyInfo{
		SealProof:             s.Sector.Proof,
		SectorID:              abi.SectorID{Miner: s.Sector.Miner, Number: s.Sector.Number},
		Randomness:            s.Request.Ticket,
		InteractiveRandomness: s.Request.Seed,
		SealedCID:             s.Request.SealedCID(),
		UnsealedCID:           s.Request.UnsealedCID(),
	}
}

// Info is the sector as proofs of spacetime see it.
func (s *Sealed) Info() proof.SectorInfo {
	return proof.SectorInfo{SealProof: s.Sector.Proof, SectorNumber: s.Sector.Number, SealedCID: s.Request.SealedCID()}
}
