package porep

import (
	"encoding/binary"
	"errors"
	"fmt"

	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// synthName is the file of synthetic proofs in a sector's cache
// (storage-proofs-porep src/stacked/vanilla/params.rs SynthProofs).
const synthName = "syn-porep-vanilla-proofs.dat"

// synthHeader is the length of what goes before the proofs: the roots of tree-d,
// tree-c and tree-r-last.
const synthHeader = 3 * merkle.NodeSize

// synthSize is the length in bytes of one proof in the file: 8,984 for 2 KiB,
// 42,744 for 32 GiB.
func (par *params) synthSize() int {
	f := par.forms()
	column := par.layers*merkle.NodeSize + pathSize(f.poseidon)
	return 8 + sdr.Degree*8 + pathSize(f.d) + (1+sdr.Degree)*column + pathSize(f.poseidon)
}

// pathSize is the length of a leaf with its siblings.
func pathSize(f merkle.Form) int {
	return merkle.NodeSize * (1 + f.BaseSteps*(f.BaseArity-1) + max(f.Sub-1, 0) + max(f.Top-1, 0))
}

// synthFileSize is the length in bytes of the whole file.
func (par *params) synthFileSize() int64 {
	return synthHeader + int64(par.synthTotal)*int64(par.synthSize())
}

// appendSynth appends one proof as the file has it. Roots are in the header,
// positions follow from the challenge, labeling proofs from the columns.
func appendSynth(b []byte, node uint64, c *challengeProof) []byte {
	b = binary.LittleEndian.AppendUint64(b, node)
	for i := range c.Base {
		b = binary.LittleEndian.AppendUint64(b, uint64(c.Base[i].Column.Index))
	}
	for i := range c.Exp {
		b = binary.LittleEndian.AppendUint64(b, uint64(c.Exp[i].Column.Index))
	}
	b = appendSynthPath(b, &c.D)
	b = appendSynthColumn(b, &c.Self)
	for i := range c.Base {
		b = appendSynthColumn(b, &c.Base[i])
	}
	for i := range c.Exp {
		b = appendSynthColumn(b, &c.Exp[i])
	}
	return appendSynthPath(b, &c.R)
}

func appendSynthColumn(b []byte, c *columnProof) []byte {
	for i := range c.Column.Rows {
		b = append(b, c.Column.Rows[i][:]...)
	}
	return appendSynthPath(b, &c.Inclusion)
}

func appendSynthPath(b []byte, p *merkle.Proof) []byte {
	b = append(b, p.Leaf[:]...)
	for _, path := range [][]merkle.Step{p.Base, p.Sub, p.Top} {
		for i := range path {
			for j := range path[i].Hashes {
				b = append(b, path[i].Hashes[j][:]...)
			}
		}
	}
	return b
}

// errSynth is the cause of every failure to make sense of the synthetic file.
var errSynth = errors.New(synthName + " is damaged or not finished")

// synthRoots are the header of the file.
type synthRoots struct{ d, c, r [32]byte }

func (s *synthRoots) bytes() []byte {
	b := append(make([]byte, 0, synthHeader), s.d[:]...)
	return append(append(b, s.c[:]...), s.r[:]...)
}

// parseSynth rebuilds the proof of node out of its form in the file. The result
// is not verified; bytes about another node are an error.
func (par *params) parseSynth(g *sdr.Graph, b []byte, node uint64, roots *synthRoots) (c challengeProof, err error) {
	if len(b) != par.synthSize() {
		return c, fmt.Errorf("%w: a proof of %d bytes, not %d", errSynth, len(b), par.synthSize())
	}
	d, f := merkle.NewDecoder(b), par.forms()
	d.Expect(node, "challenged node")
	base, exp := g.Parents(node)
	for _, p := range base {
		d.Expect(uint64(p), "base parent")
	}
	for _, p := range exp {
		d.Expect(uint64(p), "expansion parent")
	}
	c.D = readSynthPath(d, f.d, node, roots.d)
	c.Self = par.readSynthColumn(d, f.poseidon, node, roots.c)
	for i, p := range base {
		c.Base[i] = par.readSynthColumn(d, f.poseidon, uint64(p), roots.c)
	}
	for i, p := range exp {
		c.Exp[i] = par.readSynthColumn(d, f.poseidon, uint64(p), roots.c)
	}
	c.R = readSynthPath(d, f.poseidon, node, roots.r)
	if err := d.End(); err != nil {
		return c, fmt.Errorf("%w: %w", errSynth, err)
	}
	c.fillLabeling(par.layers, node)
	return c, nil
}

func (par *params) readSynthColumn(d *merkle.Decoder, f merkle.Form, node uint64, root [32]byte) (c columnProof) {
	c.Column = column{Index: uint32(node), Rows: d.Nodes(par.layers)}
	c.Inclusion = readSynthPath(d, f, node, root)
	if c.Column.Rows == nil { // the decoder has failed; keep the form
		c.Column.Rows = make([][32]byte, par.layers)
	}
	return c
}

func readSynthPath(d *merkle.Decoder, f merkle.Form, leaf uint64, root [32]byte) merkle.Proof {
	p := merkle.Proof{Root: root, Leaf: d.Node()}
	take := func(n, arity int) []merkle.Step {
		var out []merkle.Step
		for range n {
			out = append(out, merkle.Step{Hashes: d.Nodes(arity - 1), Index: leaf % uint64(arity)})
			leaf /= uint64(arity)
		}
		return out
	}
	p.Base = take(f.BaseSteps, f.BaseArity)
	if f.Sub != 0 {
		p.Sub = take(1, f.Sub)
	}
	if f.Top != 0 {
		p.Top = take(1, f.Top)
	}
	return p
}
