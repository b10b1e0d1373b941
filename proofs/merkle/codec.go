package merkle

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Enum tags of a serialised proof (storage-proofs-core/src/merkle/proof.rs).
const (
	tagSingle uint32 = iota
	tagSub
	tagTop
)

// Append appends the bincode form of p to b.
func (f Form) Append(b []byte, p *Proof) []byte {
	switch {
	case f.Top != 0:
		b = binary.LittleEndian.AppendUint32(b, tagTop)
		b = appendPath(appendPath(appendPath(b, p.Base), p.Sub), p.Top)
		return append(append(b, p.Root[:]...), p.Leaf[:]...)
	case f.Sub != 0:
		b = binary.LittleEndian.AppendUint32(b, tagSub)
		b = appendPath(appendPath(b, p.Base), p.Sub)
		return append(append(b, p.Root[:]...), p.Leaf[:]...)
	default:
		b = binary.LittleEndian.AppendUint32(b, tagSingle)
		b = append(append(b, p.Root[:]...), p.Leaf[:]...)
		return appendPath(b, p.Base)
	}
}

func appendPath(b []byte, path []Step) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(path)))
	for _, s := range path {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s.Hashes)))
		for i := range s.Hashes {
			b = append(b, s.Hashes[i][:]...)
		}
		b = binary.LittleEndian.AppendUint64(b, s.Index)
	}
	return b
}

// Size is the length in bytes of every proof of this form.
func (f Form) Size() int {
	path := func(n, arity int) int { return 8 + n*(8+(arity-1)*NodeSize+8) }
	n := 4 + 2*NodeSize + path(f.BaseSteps, f.BaseArity)
	if f.Sub != 0 {
		n += path(1, f.Sub)
	}
	if f.Top != 0 {
		n += path(1, f.Top)
	}
	return n
}

// ErrFormat is the cause of every decoding failure.
var ErrFormat = errors.New("malformed proof")

// Decoder reads bincode values. The first failure sticks; values read after it
// are zero, and Err tells.
type Decoder struct {
	b   []byte
	off int
	err error
}

// NewDecoder reads from b, which must not change meanwhile.
func NewDecoder(b []byte) *Decoder { return &Decoder{b: b} }

// Err is the first failure.
func (d *Decoder) Err() error { return d.err }

// End fails when bytes are left over, and returns the first failure.
func (d *Decoder) End() error {
	if d.err == nil && d.off != len(d.b) {
		d.Fail("%d bytes left over", len(d.b)-d.off)
	}
	return d.err
}

// Fail records a failure at the present position.
func (d *Decoder) Fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: byte %d: %s", ErrFormat, d.off, fmt.Sprintf(format, args...))
	}
}

func (d *Decoder) take(n int) []byte {
	if d.err == nil && len(d.b)-d.off < n {
		d.Fail("%d bytes wanted, %d left", n, len(d.b)-d.off)
	}
	if d.err != nil {
		return nil
	}
	d.off += n
	return d.b[d.off-n : d.off]
}

// Uint32 reads a little-endian u32.
func (d *Decoder) Uint32() uint32 {
	if b := d.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// Uint64 reads a little-endian u64.
func (d *Decoder) Uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Node reads 32 bytes.
func (d *Decoder) Node() (n Node) {
	copy(n[:], d.take(NodeSize))
	return n
}

// Expect reads a u64 that must be want: a length known beforehand.
func (d *Decoder) Expect(want uint64, what string) {
	if got := d.Uint64(); d.err == nil && got != want {
		d.Fail("%s is %d, not %d", what, got, want)
	}
}

// Nodes reads n nodes without a length.
func (d *Decoder) Nodes(n int) []Node {
	b := d.take(n * NodeSize)
	if b == nil {
		return nil
	}
	out := make([]Node, n)
	for i := range out {
		out[i] = Node(b[i*NodeSize : (i+1)*NodeSize])
	}
	return out
}

// Proof reads a proof of exactly form f.
func (d *Decoder) Proof(f Form) (p Proof) {
	want := tagSingle
	if f.Sub != 0 {
		want = tagSub
	}
	if f.Top != 0 {
		want = tagTop
	}
	if got := d.Uint32(); d.err == nil && got != want {
		d.Fail("proof variant %d, not %d", got, want)
	}
	if want == tagSingle {
		p.Root, p.Leaf = d.Node(), d.Node()
		p.Base = d.path(f.BaseSteps, f.BaseArity)
		return p
	}
	p.Base = d.path(f.BaseSteps, f.BaseArity)
	p.Sub = d.path(1, f.Sub)
	if want == tagTop {
		p.Top = d.path(1, f.Top)
	}
	p.Root, p.Leaf = d.Node(), d.Node()
	return p
}

func (d *Decoder) path(n, arity int) []Step {
	d.Expect(uint64(n), "path length")
	out := make([]Step, 0, n)
	for range n {
		d.Expect(uint64(arity-1), "number of siblings")
		s := Step{Hashes: d.Nodes(arity - 1), Index: d.Uint64()}
		if d.err == nil && s.Index >= uint64(arity) {
			d.Fail("position %d in arity %d", s.Index, arity)
		}
		if d.err != nil {
			return nil
		}
		out = append(out, s)
	}
	return out
}
