package update

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
	"quarry/proofs/porep"
)

// opening is the reference's ChallengeProof: one node of the old replica, the
// new data and the new replica.
type opening struct{ Old, Data, New merkle.Proof }

// partition is the reference's PartitionProof.
type partition struct {
	CommC    [32]byte
	Apex     [][32]byte // nodes of tree-d above this partition's part of the sector
	Openings []opening
}

func (par *params) forms() (binary, replica merkle.Form) {
	return merkle.BinaryForm(par.shape.Nodes), par.shape.PoseidonForm()
}

// partitionSize is the length in bytes of one partition.
func (par *params) partitionSize() int {
	d, r := par.forms()
	return 32 + 8 + par.apex*32 + 8 + par.challenges*(d.Size()+2*r.Size())
}

func (par *params) appendPartition(b []byte, p *partition) []byte {
	d, r := par.forms()
	b = append(b, p.CommC[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(p.Apex)))
	for i := range p.Apex {
		b = append(b, p.Apex[i][:]...)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(len(p.Openings)))
	for i := range p.Openings {
		o := &p.Openings[i]
		b = r.Append(d.Append(r.Append(b, &o.Old), &o.Data), &o.New)
	}
	return b
}

func (par *params) marshal(parts []partition) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(parts)))
	for i := range parts {
		b = par.appendPartition(b, &parts[i])
	}
	return b
}

// unmarshal reads exactly one update proof of these parameters.
func (par *params) unmarshal(blob []byte) ([]partition, error) {
	dec := merkle.NewDecoder(blob)
	if want := 8 + par.partitions*par.partitionSize(); len(blob) != want { // before anything is allocated
		dec.Fail("%d bytes, not %d", len(blob), want)
		return nil, dec.Err()
	}
	d, r := par.forms()
	dec.Expect(uint64(par.partitions), "number of partitions")
	parts := make([]partition, 0, par.partitions)
	for range par.partitions {
		p := partition{CommC: dec.Node()}
		dec.Expect(uint64(par.apex), "number of apex leaves")
		p.Apex = dec.Nodes(par.apex)
		dec.Expect(uint64(par.challenges), "number of openings")
		for range par.challenges {
			if dec.Err() != nil {
				return nil, dec.Err()
			}
			p.Openings = append(p.Openings, opening{Old: dec.Proof(r), Data: dec.Proof(d), New: dec.Proof(r)})
		}
		parts = append(parts, p)
	}
	return parts, dec.End()
}

// Prove makes the vanilla proof of all partitions and verifies it before
// returning it: the bincode form of a vector of the reference's PartitionProof.
// old and updated are the sector before and after Encode, c what Encode gave.
func Prove(ctx context.Context, proof abi.RegisteredUpdateProof, c Commitments, old, updated Replica) ([]byte, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return nil, err
	}
	parts, err := par.prove(ctx, c, old, updated)
	if err != nil {
		return nil, fmt.Errorf("update: proving: %w", err)
	}
	if err := par.check(ctx, parts, c.CommROld, c.CommRNew, c.CommDNew); err != nil {
		return nil, fmt.Errorf("update: the proof made does not verify, so a replica or its cache is damaged: %w", err)
	}
	return par.marshal(parts), nil
}

func (par *params) prove(ctx context.Context, c Commitments, old, updated Replica) ([]partition, error) {
	oldTree, closeOld, err := porep.OpenTreeR(par.shape, old.Sealed, old.Cache)
	if err != nil {
		return nil, fmt.Errorf("old sector: %w", err)
	}
	defer closeOld()
	newTree, closeNew, err := porep.OpenTreeR(par.shape, updated.Sealed, updated.Cache)
	if err != nil {
		return nil, fmt.Errorf("updated sector: %w", err)
	}
	defer closeNew()
	treeD, err := porep.OpenTreeD(par.shape, updated.Cache)
	if err != nil {
		return nil, fmt.Errorf("updated sector: %w", err)
	}
	defer func() { _ = treeD.Close() }() // only read
	parts := make([]partition, par.partitions)
	for k := range parts {
		p := &parts[k]
		p.CommC = c.CommC
		if p.Apex, err = par.readApex(treeD, k); err != nil {
			return nil, err
		}
		leaves, err := par.leaves(c.CommRNew, k)
		if err != nil {
			return nil, err
		}
		for _, leaf := range leaves {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			var o opening
			if o.Old, err = oldTree.Prove(leaf); err != nil {
				return nil, fmt.Errorf("old replica: %w", err)
			}
			if o.Data, err = merkle.ProveBinary(treeD, par.shape.Nodes, leaf); err != nil {
				return nil, fmt.Errorf("new data: %w", err)
			}
			if o.New, err = newTree.Prove(leaf); err != nil {
				return nil, fmt.Errorf("updated replica: %w", err)
			}
			p.Openings = append(p.Openings, o)
		}
	}
	return parts, nil
}

// readApex reads the apex leaves of partition k out of tree-d.
func (par *params) readApex(treeD io.ReaderAt, k int) ([][32]byte, error) {
	raw := make([]byte, par.apex*merkle.NodeSize)
	off := merkle.RowOffset(par.shape.Nodes, 2, 0, par.apexRow()) + uint64(k*len(raw))
	if err := merkle.ReadFullAt(treeD, raw, int64(off)); err != nil {
		return nil, fmt.Errorf("reading tree-d at byte %d: %w", off, err)
	}
	out := make([][32]byte, par.apex)
	for i := range out {
		out[i] = [32]byte(raw[i*merkle.NodeSize:])
	}
	return out, nil
}

// Split takes a proof, as Prove makes it, apart into the bincode of each
// partition: what the reference's GenerateUpdateVanillaProofs gives, for a prover
// elsewhere. Whether the proof is right is not checked.
func Split(proof abi.RegisteredUpdateProof, blob []byte) ([][]byte, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return nil, err
	}
	parts, err := par.unmarshal(blob)
	if err != nil {
		return nil, fmt.Errorf("update: splitting a proof: %w", err)
	}
	out := make([][]byte, len(parts))
	for i := range parts {
		out[i] = par.appendPartition(nil, &parts[i])
	}
	return out, nil
}
