package snarkpack

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// SRSFile is an SRS in its file format, measured but not read: four vectors
// (powers of α and β in G1, then in G2), each a count of 4 bytes big-endian and
// its compressed points. Every method reads only what it needs, so that a
// verifier touches a few hundred bytes of a file of hundreds of megabytes.
type SRSFile struct {
	r       io.ReaderAt
	vectors [4]vector
}

type vector struct {
	name   string
	count  int
	offset int64 // of the first point
	point  int64 // length of one
}

// OpenSRS measures an SRS file of size bytes. It refuses vectors with fewer than
// four or more than MaxPowers points, and any size but the one they add up to.
func OpenSRS(r io.ReaderAt, size int64) (*SRSFile, error) {
	f := &SRSFile{r: r, vectors: [4]vector{
		{name: "powers of α in G1", point: g1Length},
		{name: "powers of β in G1", point: g1Length},
		{name: "powers of α in G2", point: g2Length},
		{name: "powers of β in G2", point: g2Length},
	}}
	offset := int64(0)
	for i := range f.vectors {
		v := &f.vectors[i]
		var b [4]byte
		if offset+4 > size {
			return nil, fmt.Errorf("open SRS: file of %d bytes ends before the %s; fetch or make it again", size, v.name)
		}
		if err := readFull(r, b[:], offset); err != nil {
			return nil, fmt.Errorf("open SRS: count of %s: %w", v.name, err)
		}
		count := binary.BigEndian.Uint32(b[:])
		if count < 4 || count > MaxPowers {
			return nil, fmt.Errorf("open SRS: %d %s, must be 4 to %d", count, v.name, MaxPowers)
		}
		v.count, v.offset = int(count), offset+4
		offset = v.offset + int64(count)*v.point
	}
	if offset != size {
		return nil, fmt.Errorf("open SRS: file has %d bytes, its counts demand %d; fetch or make it again", size, offset)
	}
	return f, nil
}

// MaxProofs is the largest number of proofs the file can aggregate, a power of
// two of at most MaxProofs.
func (f *SRSFile) MaxProofs() int {
	n := 2
	for 2*n <= MaxProofs && 4*n <= min(f.vectors[0].count, f.vectors[1].count, f.vectors[2].count, f.vectors[3].count) {
		n *= 2
	}
	return n
}

// VerifierKey reads the verifier's points, checked as Read checks them.
func (f *SRSFile) VerifierKey(ctx context.Context) (VerifierKey, error) {
	s, err := f.read(newPool(ctx, 1), 4, 2)
	if err != nil {
		return VerifierKey{}, err
	}
	return s.VerifierKey()
}

// Read reads what aggregates of up to maxProofs proofs (a power of two) need:
// 2·maxProofs points of each vector in G1, maxProofs in G2. Every point is
// checked to be canonical, on the curve, in the subgroup and not infinity;
// whether they are powers of something is for SRS.Check. It uses workers
// goroutines, one per processor if below 1.
func (f *SRSFile) Read(ctx context.Context, maxProofs, workers int) (*SRS, error) {
	if err := checkCount(uint64(max(0, maxProofs))); err != nil {
		return nil, fmt.Errorf("read SRS: %w", err)
	}
	if maxProofs > f.MaxProofs() {
		return nil, fmt.Errorf("read SRS: file suffices for %d proofs, not for %d", f.MaxProofs(), maxProofs)
	}
	return f.read(newPool(ctx, workers), 2*maxProofs, maxProofs)
}

func (f *SRSFile) read(p pool, inG1, inG2 int) (*SRS, error) {
	s := &SRS{
		GAlpha: make([]bls.G1Affine, inG1), GBeta: make([]bls.G1Affine, inG1),
		HAlpha: make([]bls.G2Affine, inG2), HBeta: make([]bls.G2Affine, inG2),
	}
	for i, points := range [][]bls.G1Affine{s.GAlpha, s.GBeta} {
		err := f.points(p, f.vectors[i], len(points), func(j int, b []byte) (bool, error) {
			err := parseG1(&points[j], b)
			return points[j].IsInfinity(), err
		})
		if err != nil {
			return nil, err
		}
	}
	for i, points := range [][]bls.G2Affine{s.HAlpha, s.HBeta} {
		err := f.points(p, f.vectors[2+i], len(points), func(j int, b []byte) (bool, error) {
			err := parseG2(&points[j], b)
			return points[j].IsInfinity(), err
		})
		if err != nil {
			return nil, err
		}
	}
	if !s.GAlpha[0].Equal(&s.GBeta[0]) || !s.HAlpha[0].Equal(&s.HBeta[0]) {
		return nil, fmt.Errorf("read SRS: the powers of α and β start from different generators")
	}
	return s, nil
}

// points reads the first n points of a vector in pieces and hands them to parse.
func (f *SRSFile) points(p pool, v vector, n int, parse func(i int, b []byte) (infinity bool, err error)) error {
	const piece = 256
	return p.ranges(n, piece, func(lo, hi int) error {
		b := make([]byte, int64(hi-lo)*v.point)
		if err := readFull(f.r, b, v.offset+int64(lo)*v.point); err != nil {
			return fmt.Errorf("read SRS: %s %d to %d: %w", v.name, lo, hi-1, err)
		}
		for i := lo; i < hi; i++ {
			infinity, err := parse(i, b[int64(i-lo)*v.point:])
			if err == nil && infinity {
				err = fmt.Errorf("point is infinity")
			}
			if err != nil {
				return fmt.Errorf("read SRS: %s, number %d: %w", v.name, i, err)
			}
		}
		return nil
	})
}

// WriteTo writes an SRS in the file format and returns the number of bytes. An
// SRS that Read cut short gives a file that suffices for half as many proofs, as
// files have as many points in G2 as in G1.
func (s *SRS) WriteTo(w io.Writer) (int64, error) {
	c := &countingWriter{w: w}
	b := bufio.NewWriterSize(c, 1<<16)
	count := func(n int) { b.Write(binary.BigEndian.AppendUint32(nil, uint32(n))) }
	for _, points := range [][]bls.G1Affine{s.GAlpha, s.GBeta} {
		count(len(points))
		for i := range points {
			p := points[i].Bytes()
			b.Write(p[:])
		}
	}
	for _, points := range [][]bls.G2Affine{s.HAlpha, s.HBeta} {
		count(len(points))
		for i := range points {
			p := points[i].Bytes()
			b.Write(p[:])
		}
	}
	if err := b.Flush(); err != nil {
		return c.n, fmt.Errorf("write SRS: %w", err)
	}
	return c.n, nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// readFull fills b from off; io.ReaderAt may report io.EOF with a full buffer.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
