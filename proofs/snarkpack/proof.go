package snarkpack

import (
	"encoding/binary"
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

const (
	g1Length = bls.SizeOfG1AffineCompressed
	g2Length = bls.SizeOfG2AffineCompressed

	countOffset   = 5*gtLength + g1Length // of the number of proofs
	proofFixed    = countOffset + 4 + 6*g1Length + 5*g2Length
	proofPerRound = 10*gtLength + 2*g1Length
)

// pair is a commitment: T under the key from α, U under the key from β.
type pair struct{ t, u bls.GT }

// round holds the cross terms of one halving. The suffix l belongs to the folding
// challenge, r to its inverse.
type round struct {
	abL, abR pair         // commitments to A and B
	cL, cR   pair         // commitments to C
	zabL     bls.GT       // inner pairing products of A and B
	zabR     bls.GT       //
	zcL, zcR bls.G1Affine // sums of C with powers of r
}

// Proof is an aggregate of Groth16 proofs. One comes from Aggregate or
// ParseProof, so all its elements are in their groups of order r.
type Proof struct {
	comAB pair
	comC  pair
	ipAB  bls.GT       // Π e(A_i, r^i·B_i)
	aggC  bls.G1Affine // Σ r^i·C_i
	n     int
	round []round // log2 n, from the first halving

	finalA bls.G1Affine
	finalB bls.G2Affine
	finalC bls.G1Affine
	v      [2]bls.G2Affine // folded commitment keys, from α and from β
	w      [2]bls.G1Affine
	openV  [2]bls.G2Affine // KZG openings of them
	openW  [2]bls.G1Affine
}

// Count is the number of proofs aggregated, padding included: a power of two.
func (p *Proof) Count() int { return p.n }

// MarshalBinary encodes the aggregate in ProofLength(p.Count()) bytes
// (bellperson src/groth16/aggregate/proof.rs).
func (p *Proof) MarshalBinary() ([]byte, error) {
	e := encoder{b: make([]byte, 0, ProofLength(p.n))}
	e.gt(&p.comAB.t, &p.comAB.u, &p.comC.t, &p.comC.u, &p.ipAB)
	e.g1(&p.aggC)
	e.b = binary.LittleEndian.AppendUint32(e.b, uint32(p.n))
	for i := range p.round {
		r := &p.round[i]
		e.gt(&r.abL.t, &r.abL.u, &r.abR.t, &r.abR.u)
	}
	for i := range p.round {
		r := &p.round[i]
		e.gt(&r.cL.t, &r.cL.u, &r.cR.t, &r.cR.u)
	}
	for i := range p.round {
		e.gt(&p.round[i].zabL, &p.round[i].zabR)
	}
	for i := range p.round {
		e.g1(&p.round[i].zcL, &p.round[i].zcR)
	}
	e.g1(&p.finalA)
	e.g2(&p.finalB)
	e.g1(&p.finalC)
	e.g2(&p.v[0], &p.v[1])
	e.g1(&p.w[0], &p.w[1])
	e.g2(&p.openV[0], &p.openV[1])
	e.g1(&p.openW[0], &p.openW[1])
	if e.err != nil {
		return nil, fmt.Errorf("encode aggregate of %d proofs: %w", p.n, e.err)
	}
	return e.b, nil
}

// ParseProof decodes an aggregate that fills b exactly. It refuses a count that
// is no power of two from 2 to MaxProofs, any other length than the count
// demands, and elements that are not canonical or not in their group. The work
// is bounded by the length of the largest aggregate, 49,876 bytes.
func ParseProof(b []byte) (*Proof, error) {
	p, n, err := ParseProofPrefix(b)
	if err != nil {
		return nil, err
	}
	if n != len(b) {
		return nil, fmt.Errorf("parse aggregate of %d proofs: %d bytes follow the %d it has", p.n, len(b)-n, n)
	}
	return p, nil
}

// ParseProofPrefix decodes an aggregate at the beginning of b and returns how
// many bytes it took. filecoin-proofs (src/api/seal.rs) ignores what follows an
// aggregate, so a node that must agree with the network about a message uses
// this; everybody else uses ParseProof.
func ParseProofPrefix(b []byte) (*Proof, int, error) {
	if len(b) < countOffset+4 {
		return nil, 0, fmt.Errorf("parse aggregate: %d bytes are less than the shortest, %d", len(b), ProofLength(2))
	}
	count := binary.LittleEndian.Uint32(b[countOffset:])
	if err := checkCount(uint64(count)); err != nil {
		return nil, 0, fmt.Errorf("parse aggregate: %w", err)
	}
	p := &Proof{n: int(count), round: make([]round, rounds(int(count)))}
	length := ProofLength(p.n)
	if len(b) < length {
		return nil, 0, fmt.Errorf("parse aggregate of %d proofs: %d bytes, needs %d", p.n, len(b), length)
	}
	d := decoder{b: b[:length]}
	p.decode(&d)
	if d.err != nil {
		return nil, 0, fmt.Errorf("parse aggregate of %d proofs: %w", p.n, d.err)
	}
	return p, length, nil
}

func (p *Proof) decode(d *decoder) {
	d.gt("commitment", &p.comAB.t, &p.comAB.u, &p.comC.t, &p.comC.u)
	d.gt("inner product", &p.ipAB)
	d.g1("sum of C", &p.aggC)
	d.take(4)
	for i := range p.round {
		r := &p.round[i]
		d.gt("commitment to A and B in a round", &r.abL.t, &r.abL.u, &r.abR.t, &r.abR.u)
	}
	for i := range p.round {
		r := &p.round[i]
		d.gt("commitment to C in a round", &r.cL.t, &r.cL.u, &r.cR.t, &r.cR.u)
	}
	for i := range p.round {
		d.gt("inner product in a round", &p.round[i].zabL, &p.round[i].zabR)
	}
	for i := range p.round {
		d.g1("sum of C in a round", &p.round[i].zcL, &p.round[i].zcR)
	}
	d.g1("last A", &p.finalA)
	d.g2("last B", &p.finalB)
	d.g1("last C", &p.finalC)
	d.g2("folded key v", &p.v[0], &p.v[1])
	d.g1("folded key w", &p.w[0], &p.w[1])
	d.g2("opening of v", &p.openV[0], &p.openV[1])
	d.g1("opening of w", &p.openW[0], &p.openW[1])
}
