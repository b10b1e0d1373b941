package circuit

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/gadget"
	"quarry/proofs/merkle"
	"quarry/proofs/porep"
	"quarry/proofs/r1cs"
	"quarry/proofs/sdr"
)

// porepCircuit shows of each challenged node that its labels follow from those
// of its parents, that the replica is the last label plus the data, and that all
// of it is in the trees committed to (storage-proofs-porep/src/stacked/circuit).
type porepCircuit struct {
	layers                  int
	replicaID, commD, commR [32]byte
	commC, commRLast        [32]byte
	challenges              []porep.Challenge
	nodes                   []uint64
	vanilla                 *vanilla
}

// Synthesize implements r1cs.Circuit.
func (c *porepCircuit) Synthesize(ctx context.Context, cs r1cs.ConstraintSystem) error {
	if err := c.vanilla.check(ctx); err != nil {
		return err
	}
	w := porepWalk{b: gadget.New(cs), layers: c.layers}
	b := w.b
	replicaID := b.Node(&c.replicaID)
	b.Inputize(replicaID)
	w.replicaID = gadget.ReverseBytes(b.Bits(replicaID))
	w.commD = b.Node(&c.commD)
	b.Inputize(w.commD)
	commR := b.Node(&c.commR)
	b.Inputize(commR)
	w.commRLast, w.commC = b.Node(&c.commRLast), b.Node(&c.commC)
	b.Equal(commR, b.Poseidon(w.commC, w.commRLast))
	for i := range c.challenges {
		if err := w.challenge(ctx, &c.challenges[i], c.nodes[i]); err != nil {
			return err
		}
	}
	return b.Err()
}

// porepWalk is what the challenges of one circuit share.
type porepWalk struct {
	b                       *gadget.Builder
	layers                  int
	replicaID               []gadget.Bit // most significant first in each byte
	commD, commRLast, commC gadget.Num
	message                 []gadget.Bit
}

func (w *porepWalk) challenge(ctx context.Context, p *porep.Challenge, node uint64) error {
	b := w.b
	data := b.Node(&p.D.Leaf)
	b.Inclusion(gadget.DataTree, &p.D, data, w.commD)
	var base [sdr.BaseDegree][]gadget.Num
	for i := range base {
		base[i] = w.column(&p.Base[i])
	}
	var exp [sdr.ExpDegree][]gadget.Num
	for i := range exp {
		exp[i] = w.column(&p.Exp[i])
	}
	number := b.Uint64(node)
	b.PackInput(number)
	labels := make([]gadget.Num, w.layers)
	for layer := 1; layer <= w.layers; layer++ {
		if err := stopped(ctx, KindPoRep); err != nil {
			return err
		}
		labels[layer-1] = w.label(layer, number, &base, &exp)
	}
	replica := b.Add(labels[w.layers-1], data)
	b.Inclusion(gadget.ReplicaTree, &p.R, replica, w.commRLast)
	b.Inclusion(gadget.ReplicaTree, &p.Self.Inclusion, b.Poseidon(labels...), w.commC)
	return nil
}

// column allocates the labels of a parent and shows that they are in tree-c.
func (w *porepWalk) column(c *porep.Column) []gadget.Num {
	rows := w.b.Nodes(c.Column.Rows)
	w.b.Inclusion(gadget.ReplicaTree, &c.Inclusion, w.b.Poseidon(rows...), w.commC)
	return rows
}

// label computes the label of a node, given as its 64 bits, least significant
// first, from the columns of its parents: SHA-256 over the replica id, the layer
// and node, and 37 parent labels.
func (w *porepWalk) label(layer int, node []gadget.Bit, base *[sdr.BaseDegree][]gadget.Num, exp *[sdr.ExpDegree][]gadget.Num) gadget.Num {
	var parents [][]gadget.Bit
	for i := range base {
		parents = append(parents, gadget.ReverseBytes(w.b.Bits(base[i][layer-1])))
	}
	if layer > 1 {
		for i := range exp {
			parents = append(parents, gadget.ReverseBytes(w.b.Bits(exp[i][layer-2])))
		}
	}
	m := append(w.message[:0], w.replicaID...)
	for i := 31; i >= 0; i-- {
		m = append(m, gadget.Const(layer>>i&1 == 1))
	}
	for i := len(node) - 1; i >= 0; i-- {
		m = append(m, node[i])
	}
	for len(m) < 512 {
		m = append(m, gadget.Const(false))
	}
	for i := range sdr.HashedParents {
		m = append(m, parents[i%len(parents)]...)
	}
	w.message = m
	out := w.b.SHA256(m)
	return w.b.Pack(gadget.ReverseBytes(out[:]))
}

// BlankPoRep is the circuit of one partition of a seal proof without a witness.
func BlankPoRep(p abi.RegisteredSealProof) (r1cs.Circuit, error) {
	d, err := porep.DimensionsOf(p)
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	column := porep.Column{Inclusion: blankProof(d.Shape.PoseidonForm())}
	column.Column.Rows = make([]merkle.Node, d.Layers)
	one := porep.Challenge{D: blankProof(merkle.BinaryForm(d.Shape.Nodes)), R: column.Inclusion, Self: column}
	for i := range one.Base {
		one.Base[i] = column
	}
	for i := range one.Exp {
		one.Exp[i] = column
	}
	c := &porepCircuit{layers: d.Layers, challenges: make([]porep.Challenge, d.Challenges), nodes: make([]uint64, d.Challenges)}
	for i := range c.challenges {
		c.challenges[i] = one
	}
	return c, nil
}

// PoRep is the circuits of info, one for each partition, filled from the vanilla
// proof that porep.Prove made. Synthesize fails with ErrVanilla when that does
// not verify.
func PoRep(info proof.SealVerifyInfo, blob []byte) ([]r1cs.Circuit, error) {
	s, err := porep.StatementOf(info)
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	parts, err := porep.DecodeProof(info.SealProof, blob)
	if err != nil {
		return nil, fmt.Errorf("circuit: PoRep: %w", err)
	}
	v := &vanilla{kind: KindPoRep, verify: func(ctx context.Context) (bool, error) { return porep.Verify(ctx, info, blob) }}
	var out []r1cs.Circuit
	for k, part := range parts {
		out = append(out, &porepCircuit{
			layers:     s.Layers,
			replicaID:  s.ReplicaID,
			commD:      s.CommD,
			commR:      s.CommR,
			commC:      part[0].Self.Inclusion.Root,
			commRLast:  part[0].R.Root,
			challenges: part,
			nodes:      s.Nodes[k],
			vanilla:    v,
		})
	}
	return out, nil
}

// PoRepInputs are the public inputs of the seal proof of info by partition,
// without One.
func PoRepInputs(info proof.SealVerifyInfo) ([][]r1cs.Element, error) {
	s, err := porep.StatementOf(info)
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	head, err := elements(s.ReplicaID, s.CommD, s.CommR)
	if err != nil {
		return nil, err
	}
	var out [][]r1cs.Element
	for _, nodes := range s.Nodes {
		in := append(make([]r1cs.Element, 0, 3+18*len(nodes)), head...)
		for _, n := range nodes {
			c := number(n)
			in = append(in, c) // path in tree-d
			base, exp := s.Graph.Parents(n)
			for _, p := range base {
				in = append(in, number(uint64(p)))
			}
			for _, p := range exp {
				in = append(in, number(uint64(p)))
			}
			in = append(in, c, c, c) // the node hashed into labels, paths in tree-r-last and tree-c
		}
		out = append(out, in)
	}
	return out, nil
}
