package kerneltest

import (
	"bytes"
	"context"
	"fmt"
	"math/big"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/proofs/kernel"
)

type treeSuite struct {
	k kernel.Trees
	Options
}

func (s treeSuite) cases() []Case {
	return []Case{
		{"trees/sizes", s.sizes},
		{"trees/golden roots of a sector", s.goldenSector},
		{"trees/golden hashes", s.goldenHashes},
		{"trees/columns equal the reference", s.columns},
		{"trees/poseidon equals the reference", s.poseidon},
		{"trees/poseidon of many leaves", s.largePoseidon},
		{"trees/sha256 equals the reference", s.sha256},
		{"trees/sha256 of many nodes", s.largeSHA256},
		{"trees/many calls at once", s.together},
		{"trees/wrong lengths are refused", s.senseless},
		{"trees/end with the context", s.ends},
	}
}

func (s treeSuite) sizes(context.Context) error {
	a, b := s.k.Sizes(), s.k.Sizes()
	if a != b || min(a.Leaves, a.Nodes, a.Columns) < 0 || max(a.Leaves, a.Nodes) > kernel.MaxLeaves || a.Columns > kernel.MaxColumns {
		return fmt.Errorf("sizes %+v, and then %+v", a, b)
	}
	return nil
}

// poison marks what a backend has not written.
var poison = fr.Element{1, 2, 3, 4}

func poisoned(n int) []fr.Element {
	out := make([]fr.Element, n)
	for i := range out {
		out[i] = poison
	}
	return out
}

func untouched(es []fr.Element) bool {
	return !slices.ContainsFunc(es, func(e fr.Element) bool { return e != poison })
}

// hashColumns gives the hashes, or nil where the backend may refuse and did.
func (s treeSuite) hashColumns(ctx context.Context, width int, in []*big.Int) ([]fr.Element, error) {
	src, dst := elements(in), poisoned(len(in)/width)
	before := slices.Clone(src)
	err := s.k.HashColumns(ctx, width, dst, src)
	switch {
	case s.refused(err):
		return nil, wrong("columns", err, kernel.ErrUnsupported, untouched(dst))
	case err != nil:
		return nil, fmt.Errorf("%d columns of %d: %w", len(dst), width, err)
	case !slices.Equal(src, before):
		return nil, fmt.Errorf("%d columns of %d: they were changed", len(dst), width)
	}
	return dst, nil
}

// treeOf makes room for all rows over a first one, up to the last that its length
// allows, but at most rows.
func treeOf(first []fr.Element, most int) [][]fr.Element {
	rows := [][]fr.Element{first}
	for n := len(first); n > 0 && n%kernel.BaseArity == 0 && len(rows) < most; {
		n /= kernel.BaseArity
		rows = append(rows, poisoned(n))
	}
	return rows
}

// hashPoseidon gives all rows, or nil where the backend may refuse and did.
func (s treeSuite) hashPoseidon(ctx context.Context, in []fr.Element, most int) ([][]fr.Element, error) {
	rows := treeOf(slices.Clone(in), most)
	err := s.k.HashPoseidon(ctx, rows)
	switch {
	case s.refused(err):
		return nil, wrong("rows", err, kernel.ErrUnsupported, untouched(slices.Concat(rows[1:]...)) && slices.Equal(in, rows[0]))
	case err != nil:
		return nil, fmt.Errorf("%d rows over %d leaves: %w", len(rows), len(in), err)
	case !slices.Equal(in, rows[0]):
		return nil, fmt.Errorf("%d rows over %d leaves: the first row was changed", len(rows), len(in))
	}
	return rows, nil
}

// hashSHA256 is hashPoseidon for the other tree.
func (s treeSuite) hashSHA256(ctx context.Context, in []byte, most int) ([][]byte, error) {
	rows := [][]byte{bytes.Clone(in)}
	for n := len(in); n > 0 && n%64 == 0 && len(rows) < most; {
		n /= 2
		rows = append(rows, bytes.Repeat([]byte{0xee}, n))
	}
	err := s.k.HashSHA256(ctx, rows)
	switch {
	case s.refused(err):
		same := bytes.Equal(in, rows[0]) && len(bytes.Trim(slices.Concat(rows[1:]...), "\xee")) == 0
		return nil, wrong("rows", err, kernel.ErrUnsupported, same)
	case err != nil:
		return nil, fmt.Errorf("%d rows over %d nodes: %w", len(rows), len(in)/32, err)
	case !bytes.Equal(in, rows[0]):
		return nil, fmt.Errorf("%d rows over %d nodes: the first row was changed", len(rows), len(in)/32)
	}
	return rows, nil
}

func (s treeSuite) goldenSector(ctx context.Context) error {
	v := &vectors().Sector
	one, two := v.Layer1.nodes(), v.Layer2.nodes()
	var columns []*big.Int
	for i := range one {
		columns = append(columns, one[i], two[i])
	}
	leaves, err := s.hashColumns(ctx, 2, columns)
	if err != nil {
		return err
	}
	for what, tree := range map[string]struct {
		leaves []fr.Element
		root   bytesOf
	}{"CommC": {leaves, v.CommC}, "CommRLast": {elements(v.Sealed.nodes()), v.CommRLast}} {
		rows, err := s.hashPoseidon(ctx, tree.leaves, 9)
		if err != nil {
			return err
		}
		if rows == nil || tree.leaves == nil {
			continue
		}
		if err := equal(what, rows[len(rows)-1], []*big.Int{tree.root.node()}); err != nil {
			return err
		}
	}
	rows, err := s.hashSHA256(ctx, v.Data, 99)
	if err == nil && rows != nil && !bytes.Equal(rows[len(rows)-1], v.CommD) {
		err = fmt.Errorf("CommD is %x, want %x", rows[len(rows)-1], []byte(v.CommD))
	}
	return err
}

func (s treeSuite) goldenHashes(ctx context.Context) error {
	for arity, want := range vectors().Poseidon {
		in := make([]*big.Int, arity)
		for i := range in {
			in[i] = big.NewInt(int64(i))
		}
		got, err := s.hashColumns(ctx, arity, in)
		if err == nil && got != nil {
			err = equal(fmt.Sprintf("arity %d", arity), got, []*big.Int{want.node()})
		}
		if err != nil {
			return err
		}
	}
	v := &vectors().Node
	var in []*big.Int
	for _, n := range v.In {
		in = append(in, n.node())
	}
	rows, err := s.hashPoseidon(ctx, elements(in), 2)
	if err == nil && rows != nil {
		err = equal("a node of a real tree", rows[1], []*big.Int{v.Out.node()})
	}
	return err
}

func (s treeSuite) columns(ctx context.Context) error {
	for _, width := range []int{2, 4, 8, 11, 16, 24, 36} {
		for _, n := range []int{0, 1, 2, 3, 15, 16, 17, 33} {
			if n > 3 && width > 11 {
				continue // the reference is slow
			}
			in := draw(random(uint64(n)), n*width)
			got, err := s.hashColumns(ctx, width, in)
			if err == nil && got != nil {
				err = equal(fmt.Sprintf("%d columns of %d", n, width), got, hasher(width).hashAll(in))
			}
			if err != nil {
				return err
			}
		}
	}
	err := s.k.HashColumns(ctx, 3, poisoned(1), poisoned(3))
	return wrong("columns of a width that has no parameters", err, kernel.ErrUnsupported, true)
}

func (s treeSuite) poseidon(ctx context.Context) error {
	for _, n := range []int{0, 1, 5, 8, 24, 64, 136, 512} {
		for most := 1; most <= 4; most++ {
			in := draw(random(uint64(n)), n)
			rows, err := s.hashPoseidon(ctx, elements(in), most)
			for i := 1; i < len(rows) && err == nil; i++ {
				in = hasher(kernel.BaseArity).hashAll(in)
				err = equal(fmt.Sprintf("row %d over %d leaves", i, n), rows[i], in)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (s treeSuite) largePoseidon(ctx context.Context) error {
	const leaves = 1 << 15
	some, r := elements(draw(random(9), 1000)), random(10)
	in := make([]fr.Element, leaves)
	for i := range in {
		in[i] = some[r.IntN(len(some))]
	}
	rows, err := s.hashPoseidon(ctx, in, 99)
	if err == nil && rows == nil {
		err = fmt.Errorf("a tree of 2^15 leaves must be done: %w", kernel.ErrUnsupported)
	}
	for i := 1; i < len(rows) && err == nil; i++ {
		for k := 0; k < 12 && err == nil; k++ { // of each row the last, and some
			at := len(rows[i]) - 1
			if k > 0 {
				at = r.IntN(len(rows[i]))
			}
			var children []*big.Int
			if children, err = numbers(rows[i-1][at*kernel.BaseArity:][:kernel.BaseArity]); err == nil {
				err = equal(fmt.Sprintf("row %d, from node %d on", i, at), rows[i][at:], hasher(kernel.BaseArity).hashAll(children))
			}
		}
	}
	return err
}

func (s treeSuite) sha256(ctx context.Context) error {
	for _, n := range []int{0, 1, 2, 3, 4, 6, 10, 64, 66, 1024} {
		in := make([]byte, n*kernel.NodeSize)
		fill(random(uint64(n)), in)
		for most := 1; most <= 4; most++ {
			rows, err := s.hashSHA256(ctx, in, most)
			if err == nil {
				err = compareSHA256(rows)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func compareSHA256(rows [][]byte) error {
	for i := 1; i < len(rows); i++ {
		for at := 0; at < len(rows[i]); at += 32 {
			if want := hashPair(rows[i-1][2*at : 2*at+64]); !bytes.Equal(rows[i][at:at+32], want) {
				return fmt.Errorf("node %d of row %d over %d nodes is %x, want %x", at/32, i, len(rows[0])/32, rows[i][at:at+32], want)
			}
		}
	}
	return nil
}

func (s treeSuite) largeSHA256(ctx context.Context) error {
	in := make([]byte, kernel.NodeSize<<16)
	fill(random(11), in)
	rows, err := s.hashSHA256(ctx, in, 99)
	if err == nil && rows == nil {
		err = fmt.Errorf("a tree of 2^16 nodes must be done: %w", kernel.ErrUnsupported)
	}
	if err != nil {
		return err
	}
	return compareSHA256(rows)
}

func (s treeSuite) together(ctx context.Context) error {
	return atOnce(func(i int) error {
		in := draw(random(uint64(i)), 64)
		rows, err := s.hashPoseidon(ctx, elements(in), 2)
		if err == nil && rows != nil {
			err = equal("a row", rows[1], hasher(kernel.BaseArity).hashAll(in))
		}
		if err != nil {
			return err
		}
		b := make([]byte, 128*kernel.NodeSize)
		fill(random(uint64(i)), b)
		nodes, err := s.hashSHA256(ctx, b, 99)
		if err != nil {
			return err
		}
		return compareSHA256(nodes)
	})
}

func (s treeSuite) senseless(ctx context.Context) error {
	for _, c := range []struct{ width, dst, src int }{{2, 1, 3}, {2, 2, 2}, {2, 1, 4}, {11, 1, 10}, {0, 1, 1}, {-1, 1, 1}, {2, 0, 2}} {
		dst, src := poisoned(c.dst), poisoned(c.src)
		err := s.k.HashColumns(ctx, c.width, dst, src)
		if err := wrong(fmt.Sprintf("columns %v", c), err, kernel.ErrInput, untouched(dst) && untouched(src)); err != nil {
			return err
		}
	}
	for _, lengths := range [][]int{{}, {9, 1}, {8, 2}, {8, 0}, {64, 8, 2}, {64, 7, 1}, {7, 0}} {
		rows := make([][]fr.Element, len(lengths))
		for i, n := range lengths {
			rows[i] = poisoned(n)
		}
		err := s.k.HashPoseidon(ctx, rows)
		if err := wrong(fmt.Sprintf("rows %v", lengths), err, kernel.ErrInput, untouched(slices.Concat(rows...))); err != nil {
			return err
		}
	}
	for _, lengths := range [][]int{{}, {31}, {33}, {64, 31}, {64, 64}, {96, 48}, {128, 64, 33}} {
		rows := make([][]byte, len(lengths))
		for i, n := range lengths {
			rows[i] = make([]byte, n)
		}
		err := s.k.HashSHA256(ctx, rows)
		same := len(bytes.Trim(slices.Concat(rows...), "\x00")) == 0
		if err := wrong(fmt.Sprintf("rows of %v bytes", lengths), err, kernel.ErrInput, same); err != nil {
			return err
		}
	}
	return nil
}

func (s treeSuite) ends(ctx context.Context) error {
	ctx = gone(ctx)
	dst, rows := poisoned(1), [][]fr.Element{poisoned(8), poisoned(1)}
	if err := s.ended("columns", s.k.HashColumns(ctx, 2, dst, poisoned(2)), untouched(dst)); err != nil {
		return err
	}
	if err := s.ended("rows", s.k.HashPoseidon(ctx, rows), untouched(rows[1])); err != nil {
		return err
	}
	nodes := [][]byte{make([]byte, 64), make([]byte, 32)}
	return s.ended("nodes", s.k.HashSHA256(ctx, nodes), [32]byte(nodes[1]) == [32]byte{})
}
