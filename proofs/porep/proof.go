package porep

import (
	"encoding/binary"

	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// The types below are the vanilla proof as the reference lays it out
// (storage-proofs-porep/src/stacked/vanilla/params.rs, column.rs,
// labeling_proof.rs).

// column is all labels of one node, layer 1 first.
type column struct {
	Index uint32
	Rows  [][32]byte
}

type columnProof struct {
	Column    column
	Inclusion merkle.Proof // in tree-c
}

// labelingProof carries the 37 parent labels that a label is hashed from.
type labelingProof struct {
	Parents [sdr.HashedParents][32]byte
	Layer   uint32
	Node    uint64
}

// challengeProof opens one challenged node.
type challengeProof struct {
	D        merkle.Proof // leaf of tree-d
	R        merkle.Proof // leaf of tree-r-last
	Self     columnProof
	Base     [sdr.BaseDegree]columnProof
	Exp      [sdr.ExpDegree]columnProof
	Labeling []labelingProof
	Encoding labelingProof
}

// vanilla is the reference's SealCommitPhase1Output.
type vanilla struct {
	Partitions [][]challengeProof
	public
}

// public are the public values of a seal, which its proof carries along and is
// checked against.
type public struct{ CommR, CommD, ReplicaID, Seed, Ticket [32]byte }

// publicOf are the values of a request whose ticket and seed have 32 bytes.
func (par *params) publicOf(s Sector, req *ProveRequest) public {
	ticket := [32]byte(req.Ticket)
	return public{
		CommR:     req.CommR,
		CommD:     req.CommD,
		ReplicaID: par.replicaID(s, ticket, req.CommD),
		Seed:      [32]byte(req.Seed),
		Ticket:    ticket,
	}
}

// forms are the shapes of the inclusion proofs of one seal proof.
type forms struct{ d, poseidon merkle.Form }

func (par *params) forms() forms {
	return forms{d: merkle.BinaryForm(par.nodes), poseidon: par.shape.PoseidonForm()}
}

// blobSize is the exact length in bytes of a vanilla proof.
func (par *params) blobSize() int {
	f := par.forms()
	columns := (1 + sdr.Degree) * (4 + 8 + par.layers*32 + f.poseidon.Size())
	labeling := 8 + sdr.HashedParents*32 + 4 + 8
	// Base and expansion columns and labeling proofs are vectors with a length.
	challenge := f.d.Size() + f.poseidon.Size() + columns + 3*8 + (par.layers+1)*labeling
	return 8 + par.partitions*(8+par.perPartition*challenge) + 5*32
}

func (par *params) marshal(v *vanilla) []byte {
	f := par.forms()
	b := make([]byte, 0, par.blobSize())
	b = binary.LittleEndian.AppendUint64(b, uint64(len(v.Partitions)))
	for _, part := range v.Partitions {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(part)))
		for i := range part {
			b = f.appendChallenge(b, &part[i])
		}
	}
	for _, n := range [][32]byte{v.CommR, v.CommD, v.ReplicaID, v.Seed, v.Ticket} {
		b = append(b, n[:]...)
	}
	return b
}

func (f *forms) appendChallenge(b []byte, c *challengeProof) []byte {
	b = f.d.Append(b, &c.D)
	b = f.poseidon.Append(b, &c.R)
	b = f.appendColumn(b, &c.Self)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(c.Base)))
	for i := range c.Base {
		b = f.appendColumn(b, &c.Base[i])
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(len(c.Exp)))
	for i := range c.Exp {
		b = f.appendColumn(b, &c.Exp[i])
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(len(c.Labeling)))
	for i := range c.Labeling {
		b = appendLabeling(b, &c.Labeling[i])
	}
	return appendLabeling(b, &c.Encoding)
}

func (f *forms) appendColumn(b []byte, c *columnProof) []byte {
	b = binary.LittleEndian.AppendUint32(b, c.Column.Index)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(c.Column.Rows)))
	for i := range c.Column.Rows {
		b = append(b, c.Column.Rows[i][:]...)
	}
	return f.poseidon.Append(b, &c.Inclusion)
}

func appendLabeling(b []byte, l *labelingProof) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(l.Parents)))
	for i := range l.Parents {
		b = append(b, l.Parents[i][:]...)
	}
	b = binary.LittleEndian.AppendUint32(b, l.Layer)
	return binary.LittleEndian.AppendUint64(b, l.Node)
}

// unmarshal reads exactly one vanilla proof of these parameters.
func (par *params) unmarshal(blob []byte) (*vanilla, error) {
	d, f := merkle.NewDecoder(blob), par.forms()
	if len(blob) != par.blobSize() { // before anything is allocated
		d.Fail("%d bytes, not %d", len(blob), par.blobSize())
		return nil, d.Err()
	}
	v := new(vanilla)
	d.Expect(uint64(par.partitions), "number of partitions")
	for k := 0; k < par.partitions && d.Err() == nil; k++ {
		d.Expect(uint64(par.perPartition), "number of challenges")
		part := make([]challengeProof, par.perPartition)
		for i := range part {
			par.readChallenge(d, &f, &part[i])
		}
		v.Partitions = append(v.Partitions, part)
	}
	v.CommR, v.CommD, v.ReplicaID = d.Node(), d.Node(), d.Node()
	v.Seed, v.Ticket = d.Node(), d.Node()
	if err := d.End(); err != nil {
		return nil, err
	}
	return v, nil
}

func (par *params) readChallenge(d *merkle.Decoder, f *forms, c *challengeProof) {
	c.D, c.R = d.Proof(f.d), d.Proof(f.poseidon)
	c.Self = par.readColumn(d, f)
	d.Expect(sdr.BaseDegree, "number of base parents")
	for i := range c.Base {
		c.Base[i] = par.readColumn(d, f)
	}
	d.Expect(sdr.ExpDegree, "number of expansion parents")
	for i := range c.Exp {
		c.Exp[i] = par.readColumn(d, f)
	}
	d.Expect(uint64(par.layers), "number of labeling proofs")
	c.Labeling = make([]labelingProof, par.layers)
	for i := range c.Labeling {
		c.Labeling[i] = readLabeling(d)
	}
	c.Encoding = readLabeling(d)
}

func (par *params) readColumn(d *merkle.Decoder, f *forms) (c columnProof) {
	c.Column.Index = d.Uint32()
	d.Expect(uint64(par.layers), "number of labels in a column")
	c.Column.Rows = d.Nodes(par.layers)
	c.Inclusion = d.Proof(f.poseidon)
	return c
}

func readLabeling(d *merkle.Decoder) (l labelingProof) {
	d.Expect(sdr.HashedParents, "number of parent labels")
	copy(l.Parents[:], d.Nodes(sdr.HashedParents))
	l.Layer, l.Node = d.Uint32(), d.Uint64()
	return l
}
