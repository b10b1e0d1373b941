package r1cs

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"
)

// Digest is a ConstraintSystem that condenses a circuit to a few numbers, to
// compare it with what another implementation makes.
//
// The constraints' digest is SHA-256 over all constraints in order, each as its
// combinations A, B and C. A combination is the number of its terms and then the
// terms in ascending order, public inputs first: u8 kind (0 input, 1 aux), u32
// number, 32 bytes coefficient; all little-endian. Terms of one variable are
// added up, and those that vanish are left out. Assignments are digested as 32
// little-endian bytes each, in order of allocation, without One.
type Digest struct {
	counts       Counts
	constraints  hash.Hash
	inputs, aux  hash.Hash
	buf          []byte
	terms        LC
	stops        []int
	checkpoints  []Checkpoint
	elementBytes [32]byte
}

// Counts are the sizes of a circuit.
type Counts struct {
	Inputs      int // with One
	Aux         int
	Constraints int
	Terms       [3]int // of all A, all B and all C combinations, each variable once
}

// Checkpoint is the digest of the first Constraints constraints.
type Checkpoint struct {
	Constraints int
	Sum         [sha256.Size]byte
}

// Summary is what Digest makes of a circuit.
type Summary struct {
	Counts
	R1CS        [sha256.Size]byte // digest of the constraints
	InputValues [sha256.Size]byte // digest of the public inputs, without One
	AuxValues   [sha256.Size]byte // digest of the private variables
	Checkpoints []Checkpoint
}

// NewDigest is a digest of nothing yet. After each of the numbers of constraints
// in stops, in ascending order, a checkpoint is taken.
func NewDigest(stops ...int) *Digest {
	return &Digest{
		counts:      Counts{Inputs: 1},
		constraints: sha256.New(),
		inputs:      sha256.New(),
		aux:         sha256.New(),
		stops:       stops,
		buf:         make([]byte, 0, 1<<16),
	}
}

// Summarize walks through c and digests it.
func Summarize(ctx context.Context, c Circuit, stops ...int) (Summary, error) {
	d := NewDigest(stops...)
	if err := c.Synthesize(ctx, d); err != nil {
		return Summary{}, err
	}
	return d.Summary(), nil
}

// Input implements ConstraintSystem.
func (d *Digest) Input(value Element) Variable {
	d.putElement(&value)
	d.inputs.Write(d.elementBytes[:])
	d.counts.Inputs++
	return Input(d.counts.Inputs - 1)
}

// Aux implements ConstraintSystem.
func (d *Digest) Aux(value Element) Variable {
	d.putElement(&value)
	d.aux.Write(d.elementBytes[:])
	d.counts.Aux++
	return Aux(d.counts.Aux - 1)
}

// Enforce implements ConstraintSystem.
func (d *Digest) Enforce(a, b, c LC) {
	d.checkpoint()
	for i, lc := range [3]LC{a, b, c} {
		d.terms = normalize(append(d.terms[:0], lc...))
		d.counts.Terms[i] += len(d.terms)
		d.put(d.terms)
	}
	d.counts.Constraints++
	if len(d.buf) > cap(d.buf)/2 {
		d.flush()
	}
}

// Summary is the digest of everything told so far.
func (d *Digest) Summary() Summary {
	d.checkpoint()
	d.flush()
	s := Summary{Counts: d.counts, Checkpoints: d.checkpoints}
	d.constraints.Sum(s.R1CS[:0])
	d.inputs.Sum(s.InputValues[:0])
	d.aux.Sum(s.AuxValues[:0])
	return s
}

// checkpoint is called before the next constraint.
func (d *Digest) checkpoint() {
	for len(d.stops) > 0 && d.stops[0] <= d.counts.Constraints {
		d.flush()
		c := Checkpoint{Constraints: d.counts.Constraints}
		d.constraints.Sum(c.Sum[:0])
		d.checkpoints = append(d.checkpoints, c)
		d.stops = d.stops[1:]
	}
}

func (d *Digest) flush() {
	d.constraints.Write(d.buf)
	d.buf = d.buf[:0]
}

func (d *Digest) putElement(e *Element) {
	for i, w := range e.Bits() {
		binary.LittleEndian.PutUint64(d.elementBytes[i*8:], w)
	}
}

func (d *Digest) put(lc LC) {
	b := binary.LittleEndian.AppendUint32(d.buf, uint32(len(lc)))
	for i := range lc {
		v := lc[i].V
		b = append(b, byte(v>>31))
		b = binary.LittleEndian.AppendUint32(b, uint32(v&^auxBit))
		for _, w := range lc[i].C.Bits() {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
	}
	d.buf = b
}

// normalize sorts lc in place, adds terms of one variable up and drops those
// that vanish.
func normalize(lc LC) LC {
	sorted := true
	for i := 1; i < len(lc); i++ {
		if lc[i-1].V >= lc[i].V {
			sorted = false
			break
		}
	}
	if !sorted {
		slices.SortFunc(lc, func(a, b Term) int {
			if a.V < b.V {
				return -1
			}
			if a.V > b.V {
				return 1
			}
			return 0
		})
	}
	out := lc[:0]
	for i := 0; i < len(lc); {
		t := lc[i]
		for i++; i < len(lc) && lc[i].V == t.V; i++ {
			t.C.Add(&t.C, &lc[i].C)
		}
		if !t.C.IsZero() {
			out = append(out, t)
		}
	}
	return out
}
