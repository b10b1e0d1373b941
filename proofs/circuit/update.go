package circuit

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/gadget"
	"quarry/proofs/merkle"
	"quarry/proofs/r1cs"
	"quarry/proofs/update"
)

// hChoices are the numbers that log2 of the number of rhos may be, one bit of
// the public input each (storage-proofs-update/src/constants.rs, hs). Small
// sectors have one choice six times.
func hChoices(log2Nodes int) [6]int {
	if log2Nodes <= 10 {
		return [6]int{1, 1, 1, 1, 1, 1}
	}
	return [6]int{7, 8, 9, 10, 11, 12}
}

// capacityBits is how many bits of a drawn number are used for challenges.
const capacityBits = gadget.FieldBits - 1

// partitionAndH is the public input that names partition k and the choice of h.
func partitionAndH(d *update.Dimensions, k int) uint64 {
	choice := 0
	for i, h := range hChoices(d.Log2) {
		if h == d.H {
			choice = i
			break
		}
	}
	return uint64(k) | 1<<(choice+log2(d.Partitions))
}

// updateCircuit shows that challenged nodes of the new replica are those of the
// old one plus new data times rho (storage-proofs-update/src/circuit.rs).
type updateCircuit struct {
	update.Dimensions
	k                            int
	commROld, commDNew, commRNew [32]byte
	part                         *update.Partition
	vanilla                      *vanilla
}

// Synthesize implements r1cs.Circuit.
func (c *updateCircuit) Synthesize(ctx context.Context, cs r1cs.ConstraintSystem) error {
	if err := c.vanilla.check(ctx); err != nil {
		return err
	}
	w := updateWalk{b: gadget.New(cs), Dimensions: &c.Dimensions}
	b, first := w.b, &c.part.Openings[0]

	kAndH := b.Num(number(partitionAndH(w.Dimensions, c.k)))
	b.Inputize(kAndH)
	pb := log2(w.Partitions)
	choices := b.BoundBits(kAndH, pb+len(hChoices(w.Log2)))
	w.partition, w.hBits = choices[:pb], choices[pb:]
	k := b.Pack(w.partition)
	commROld, commDNew, commRNew := w.input(&c.commROld), w.input(&c.commDNew), w.input(&c.commRNew)
	w.phi = b.PoseidonPair(commDNew, commROld)

	commC := b.Node(&c.part.CommC)
	w.rootOld, w.rootNew = b.Node(&first.Old.Root), b.Node(&first.New.Root)
	w.apex = b.Nodes(c.part.Apex)
	above := b.Siblings(&merkle.Proof{Base: first.Data.Base[w.ApexRow+log2(w.Apex):]})
	b.Equal(b.Poseidon(commC, w.rootOld), commROld)
	b.Equal(b.Poseidon(commC, w.rootNew), commRNew)
	row := w.apex
	for len(row) > 1 {
		if err := stopped(ctx, KindUpdate); err != nil {
			return err
		}
		up := make([]gadget.Num, len(row)/2)
		for i := range up {
			up[i] = b.HashData(row[2*i], row[2*i+1])
		}
		row = up
	}
	b.Climb(gadget.DataTree, w.partition, above, row[0], commDNew)

	for i, bits := range w.draw(k, commRNew) {
		if err := stopped(ctx, KindUpdate); err != nil {
			return err
		}
		w.challenge(&c.part.Openings[i], bits)
	}
	return b.Err()
}

// updateWalk is what the challenges of one circuit share.
type updateWalk struct {
	*update.Dimensions
	b                     *gadget.Builder
	partition, hBits      []gadget.Bit
	phi, rootOld, rootNew gadget.Num
	apex                  []gadget.Num
}

// input allocates a commitment and makes it public.
func (w *updateWalk) input(node *[32]byte) gadget.Num {
	n := w.b.Node(node)
	w.b.Inputize(n)
	return n
}

// draw is the challenges of partition k as bits, least significant first: groups
// of bits of numbers drawn from CommR, below the bits of the partition.
func (w *updateWalk) draw(k, commRNew gadget.Num) [][]gadget.Bit {
	width := w.Log2 - len(w.partition)
	perDraw := capacityBits / width
	draws := (w.Challenges + perDraw - 1) / perDraw
	out := make([][]gadget.Bit, 0, w.Challenges)
	for j := range draws {
		index := w.b.Offset(k, uint64(draws), uint64(j))
		bits := w.b.BoundBits(w.b.PoseidonPair(commRNew, index), gadget.FieldBits)
		for g := 0; g < perDraw && len(out) < w.Challenges; g++ {
			low := bits[g*width : (g+1)*width]
			out = append(out, append(append(make([]gadget.Bit, 0, w.Log2), low...), w.partition...))
		}
	}
	return out
}

func (w *updateWalk) challenge(o *update.Opening, bits []gadget.Bit) {
	b := w.b
	rho := b.PoseidonPair(w.phi, w.high(bits))
	old, data := b.Node(&o.Old.Leaf), b.Node(&o.Data.Leaf)
	product := b.Mul(data, rho)
	fresh := b.Node(&o.New.Leaf)
	b.BindSum(old, product, fresh)
	b.Climb(gadget.ReplicaTree, bits, b.Siblings(&o.Old), old, w.rootOld)
	b.Climb(gadget.ReplicaTree, bits, b.Siblings(&o.New), fresh, w.rootNew)
	top := w.ApexRow + log2(w.Apex)
	apex := b.Select(w.apex, bits[w.ApexRow:top])
	b.Climb(gadget.DataTree, bits, b.Siblings(&merkle.Proof{Base: o.Data.Base[:w.ApexRow]}), data, apex)
}

// high is the part of a challenge that chooses its rho: the top h bits, h being
// the choice whose bit is set.
func (w *updateWalk) high(bits []gadget.Bit) gadget.Num {
	var chosen []gadget.Num
	for i, h := range hChoices(w.Log2) {
		chosen = append(chosen, w.b.MulBit(w.b.Pack(bits[len(bits)-h:]), w.hBits[i]))
	}
	return w.b.Sum(chosen...)
}

// BlankUpdate is the circuit of one partition of an update proof without a
// witness.
func BlankUpdate(p abi.RegisteredUpdateProof) (r1cs.Circuit, error) {
	d, err := update.DimensionsOf(p)
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	replica := blankProof(d.Shape.PoseidonForm())
	one := update.Opening{Old: replica, Data: blankProof(merkle.BinaryForm(d.Shape.Nodes)), New: replica}
	part := &update.Partition{Apex: make([][32]byte, d.Apex), Openings: make([]update.Opening, d.Challenges)}
	for i := range part.Openings {
		part.Openings[i] = one
	}
	return &updateCircuit{Dimensions: d, part: part}, nil
}

// Update is the circuits of info, one for each partition, filled from the vanilla
// proof that update.Prove made. Synthesize fails with ErrVanilla when that does
// not verify.
func Update(info proof.ReplicaUpdateInfo, blob []byte) ([]r1cs.Circuit, error) {
	s, err := update.StatementOf(info)
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	parts, err := update.DecodeProof(info.UpdateProofType, blob)
	if err != nil {
		return nil, fmt.Errorf("circuit: update: %w", err)
	}
	v := &vanilla{kind: KindUpdate, verify: func(ctx context.Context) (bool, error) { return update.Verify(ctx, info, blob) }}
	var out []r1cs.Circuit
	for k := range parts {
		out = append(out, &updateCircuit{
			Dimensions: s.Dimensions,
			k:          k,
			part:       &parts[k],
			commROld:   s.CommROld,
			commDNew:   s.CommDNew,
			commRNew:   s.CommRNew,
			vanilla:    v,
		})
	}
	return out, nil
}

// UpdateInputs are the public inputs of the update proof of info by partition,
// without One.
func UpdateInputs(info proof.ReplicaUpdateInfo) ([][]r1cs.Element, error) {
	s, err := update.StatementOf(info)
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	commitments, err := elements(s.CommROld, s.CommDNew, s.CommRNew)
	if err != nil {
		return nil, err
	}
	var out [][]r1cs.Element
	for k := range s.Partitions {
		in := []r1cs.Element{number(partitionAndH(&s.Dimensions, k))}
		out = append(out, append(in, commitments...))
	}
	return out, nil
}
