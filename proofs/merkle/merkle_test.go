package merkle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"quarry/proofs/commp"
	"quarry/proofs/poseidon"
)

type mem struct{ b []byte }

func (m *mem) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, off) }
func (m *mem) WriteAt(p []byte, off int64) (int, error) {
	if int(off)+len(p) > len(m.b) {
		return 0, fmt.Errorf("%d bytes at %d beyond %d", len(p), off, len(m.b))
	}
	return copy(m.b[off:], p), nil
}

// leavesOf are n small field elements that depend on seed.
func leavesOf(seed byte, n uint64) []byte {
	r, b := rand.NewChaCha8([32]byte{seed}), make([]byte, n*NodeSize)
	r.Read(b)
	for i := 31; i < len(b); i += NodeSize {
		b[i] &= 0x3f
	}
	return b
}

// naive is the root and all rows of a full tree, hashed one node at a time.
func naive(t *testing.T, leaves []byte, arity int, hash func(...Node) (Node, error)) [][]Node {
	t.Helper()
	row := make([]Node, len(leaves)/NodeSize)
	for i := range row {
		row[i] = Node(leaves[i*NodeSize : (i+1)*NodeSize])
	}
	rows := [][]Node{row}
	for len(row) > 1 {
		up := make([]Node, len(row)/arity)
		for i := range up {
			var err error
			if up[i], err = hash(row[i*arity : (i+1)*arity]...); err != nil {
				t.Fatal(err)
			}
		}
		row = up
		rows = append(rows, row)
	}
	return rows
}

func flatten(rows [][]Node) (b []byte) {
	for _, r := range rows {
		for i := range r {
			b = append(b, r[i][:]...)
		}
	}
	return b
}

func source(leaves []byte) Leaves {
	return func(_ context.Context, start uint64, dst []poseidon.Element) error {
		return poseidon.DecodeRow(dst, leaves[start*NodeSize:(start+uint64(len(dst)))*NodeSize])
	}
}

func TestBuildPoseidonEqualsNaive(t *testing.T) {
	for _, n := range []uint64{8, 64, 512} {
		leaves := leavesOf(byte(n), n)
		rows := naive(t, leaves, BaseArity, HashNodes)
		for first := range len(rows) {
			out := &mem{make([]byte, RowsSize(n, BaseArity, first))}
			root, err := BuildPoseidon(context.Background(), n, source(leaves), out, first, nil)
			if err != nil || root != rows[len(rows)-1][0] || !bytes.Equal(out.b, flatten(rows[first:])) {
				t.Errorf("%d leaves from row %d: %x, %v", n, first, root, err)
			}
		}
	}
}

// hashBinary is the tree-d parent of two children.
func hashBinary(children ...Node) (Node, error) {
	return commp.HashPair(&children[0], &children[1]), nil
}

func TestBuildBinaryEqualsNaive(t *testing.T) {
	for _, n := range []uint64{2, 4, 64, 1 << 16} { // the last has several chunks
		leaves := leavesOf(9, n)
		rows := naive(t, leaves, 2, hashBinary)
		out := &mem{make([]byte, RowsSize(n, 2, 0))}
		var reports []uint64
		root, err := BuildBinary(context.Background(), n, bytes.NewReader(leaves), out, func(d uint64) { reports = append(reports, d) })
		if err != nil || root != rows[len(rows)-1][0] || !bytes.Equal(out.b, flatten(rows)) {
			t.Errorf("%d leaves: %x, %v", n, root, err)
		}
		if !slices.IsSorted(reports) || reports[len(reports)-1] != n {
			t.Errorf("%d leaves: progress %v", n, reports)
		}
		for _, i := range []uint64{0, 1, n / 2, n - 1} {
			if _, err := ProveBinary(out, n, i); err != nil {
				t.Errorf("leaf %d of %d: %v", i, n, err)
			}
		}
		out.b[len(out.b)-1] ^= 1
		if _, err := ProveBinary(out, n, 0); !errors.Is(err, ErrProof) {
			t.Errorf("damaged tree: %v", err)
		}
	}
}

// build stores a tree of shape s from row first on.
func build(t testing.TB, s Shape, first int) (*Tree, []*mem, []byte) {
	t.Helper()
	leaves := leavesOf(byte(s.Nodes), s.Nodes)
	tree, n := &Tree{Shape: s, First: first, Leaves: bytes.NewReader(leaves)}, s.BaseLeaves()
	var files []*mem
	for b := range uint64(s.Bases()) {
		f := &mem{make([]byte, RowsSize(n, BaseArity, first))}
		if _, err := BuildPoseidon(context.Background(), n, source(leaves[b*n*NodeSize:]), f, first, nil); err != nil {
			t.Fatal(err)
		}
		files, tree.Files = append(files, f), append(tree.Files, f)
	}
	return tree, files, leaves
}

// All small shapes, with and without stored leaves, open every leaf alike, and
// the proofs survive encoding.
func TestOpenAllShapes(t *testing.T) {
	for _, nodes := range []uint64{1 << 6, 1 << 7, 1 << 9, 1 << 10} {
		s, err := ShapeOf(nodes)
		if err != nil {
			t.Fatal(err)
		}
		whole, _, leaves := build(t, s, 0)
		part, _, _ := build(t, s, s.DefaultDiscard()+1)
		f, root := s.PoseidonForm(), Node{}
		for i := uint64(0); i < nodes; i += 1 + nodes/64 {
			a, err1 := whole.Prove(i)
			b, err2 := part.Prove(i)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			enc := f.Append(nil, &a)
			if !bytes.Equal(enc, f.Append(nil, &b)) || len(enc) != f.Size() {
				t.Fatalf("%d nodes: leaf %d opens differently", nodes, i)
			}
			if i > 0 && a.Root != root || a.Leaf != Node(leaves[i*NodeSize:(i+1)*NodeSize]) {
				t.Fatalf("%d nodes: leaf %d has another root or leaf", nodes, i)
			}
			root = a.Root
			d := NewDecoder(enc)
			back := d.Proof(f)
			if err := d.End(); err != nil || !bytes.Equal(enc, f.Append(nil, &back)) {
				t.Fatalf("decoding: %v", err)
			}
			if err := f.Check(&a, (i+1)%nodes); !errors.Is(err, ErrProof) {
				t.Fatalf("accepted for another leaf: %v", err)
			}
		}
		if _, err := whole.Prove(nodes); err == nil {
			t.Error("a leaf beyond the end was opened")
		}
	}
}

func TestDamageIsNoticed(t *testing.T) {
	s, err := ShapeOf(1 << 10)
	if err != nil {
		t.Fatal(err)
	}
	tree, files, leaves := build(t, s, 2)
	files[3].b[0] ^= 1
	if _, err := tree.Prove(3*64 + 5); !errors.Is(err, ErrProof) {
		t.Errorf("changed base root: %v", err)
	}
	files[3].b[0] ^= 1
	leaves[0] ^= 1
	if _, err := tree.Prove(1); !errors.Is(err, ErrProof) {
		t.Errorf("changed leaf: %v", err)
	}
	leaves[31] = 0xff
	if _, err := tree.Prove(1); err == nil {
		t.Error("a leaf that is no field element was opened")
	}
	files[15].b = nil
	if _, err := tree.Prove(1000); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("empty file: %v", err)
	}
	tree.Files = tree.Files[:3]
	if _, err := tree.Prove(1); err == nil {
		t.Error("a tree with missing files was opened")
	}
}

func TestCheckRefusesForms(t *testing.T) {
	s, err := ShapeOf(1 << 7)
	if err != nil {
		t.Fatal(err)
	}
	tree, _, _ := build(t, s, 0)
	f := s.PoseidonForm()
	for name, change := range map[string]func(*Proof){
		"a step less":         func(p *Proof) { p.Base = p.Base[1:] },
		"a step more":         func(p *Proof) { p.Top = p.Sub },
		"no sub step":         func(p *Proof) { p.Sub = nil },
		"siblings":            func(p *Proof) { p.Base[0].Hashes = p.Base[0].Hashes[1:] },
		"position":            func(p *Proof) { p.Base[0].Index = 8 },
		"no field element":    func(p *Proof) { p.Base[1].Hashes[2] = Node(bytes.Repeat([]byte{0xff}, 32)) },
		"leaf":                func(p *Proof) { p.Leaf[0] ^= 1 },
		"root":                func(p *Proof) { p.Root[0] ^= 1 },
		"sibling in the base": func(p *Proof) { p.Base[1].Hashes[0][0] ^= 1 },
	} {
		p, err := tree.Prove(77)
		if err != nil {
			t.Fatal(err)
		}
		change(&p)
		if err := f.Check(&p, 77); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBuildStops(t *testing.T) {
	bad := errors.New("bad disk")
	src := func(context.Context, uint64, []poseidon.Element) error { return bad }
	if _, err := BuildPoseidon(context.Background(), 64, src, nil, 0, nil); !errors.Is(err, bad) {
		t.Errorf("source error: %v", err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := BuildBinary(gone, 64, bytes.NewReader(make([]byte, 2048)), nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := BuildBinary(context.Background(), 64, bytes.NewReader(make([]byte, 2000)), nil, nil); !errors.Is(err,
		io.ErrUnexpectedEOF) {
		t.Errorf("short data: %v", err)
	}
	if _, err := ShapeOf(63); err == nil {
		t.Error("63 nodes have a shape")
	}
}

// File sizes of the large sectors (storage-proofs-core).
func TestSizes(t *testing.T) {
	for nodes, want := range map[uint64][3]uint64{
		1 << 6: {4064, 2336, 32}, 1 << 18: {16777184, 9586976, 18720}, 1 << 24: {1073741792, 613566752, 1198368},
		1 << 30: {68719476704, 4908534048, 9586976}, 1 << 31: {137438953440, 4908534048, 9586976},
	} {
		s, err := ShapeOf(nodes)
		if err != nil {
			t.Fatal(err)
		}
		got := [3]uint64{RowsSize(nodes, 2, 0), RowsSize(s.BaseLeaves(), 8, 0), RowsSize(s.BaseLeaves(), 8, s.DefaultDiscard()+1)}
		if got != want {
			t.Errorf("%d nodes: %v want %v", nodes, got, want)
		}
	}
}

func FuzzDecodeProof(f *testing.F) {
	var all []Form
	for _, nodes := range []uint64{1 << 6, 1 << 7, 1 << 10} {
		s, err := ShapeOf(nodes)
		if err != nil {
			f.Fatal(err)
		}
		tree, _, _ := build(f, s, 0)
		p, err := tree.Prove(33)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, s.PoseidonForm())
		f.Add(s.PoseidonForm().Append(nil, &p))
	}
	all = append(all, BinaryForm(64))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, form := range all {
			d := NewDecoder(b)
			p := d.Proof(form)
			if d.End() != nil {
				continue
			}
			if !bytes.Equal(form.Append(nil, &p), b) {
				t.Errorf("%x decodes but encodes differently", b)
			}
			_ = form.Check(&p, 33) // must not panic
		}
	})
}
