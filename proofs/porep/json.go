package porep

import (
	"encoding/json"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
)

// ProofJSON turns a vanilla proof, as Prove makes it, into the JSON that the
// reference's SealCommitPhase2 takes (filecoin-ffi, lotus Commit1Out): this is
// how a Groth16 prover elsewhere can finish the work. Bytes that are no proof of
// that kind are an error; whether the proof is right is not checked.
func ProofJSON(proof abi.RegisteredSealProof, blob []byte) ([]byte, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return nil, err
	}
	v, err := par.unmarshal(blob)
	if err != nil {
		return nil, fmt.Errorf("porep: proof of seal proof %d: %w", proof, err)
	}
	key := vanillaKey(proof)
	out := c1JSON{
		Proof:     proofName(proof),
		Vanilla:   map[string][][]challengeJSON{key: make([][]challengeJSON, len(v.Partitions))},
		CommR:     v.CommR,
		CommD:     v.CommD,
		ReplicaID: v.ReplicaID,
		Seed:      v.Seed,
		Ticket:    v.Ticket,
	}
	for k, part := range v.Partitions {
		for i := range part {
			out.Vanilla[key][k] = append(out.Vanilla[key][k], challengeToJSON(&part[i]))
		}
	}
	return json.Marshal(out)
}

// sizeNames and familyNames make the names of registered seal proofs.
var (
	sizeNames   = [5]string{"2KiB", "8MiB", "512MiB", "32GiB", "64GiB"}
	familyNames = [4]string{"V1", "V1_1", "V1_1_Feat_SyntheticPoRep", "V1_2_Feat_NonInteractivePoRep"}
)

// proofName is the reference's name of a registered seal proof that is known.
func proofName(p abi.RegisteredSealProof) string {
	return "StackedDrg" + sizeNames[int(p)%len(sizeNames)] + familyNames[int(p)/len(sizeNames)]
}

// vanillaKey names proofs and labels inside the reference's JSON: by the first
// version, whatever the proof is.
func vanillaKey(p abi.RegisteredSealProof) string {
	return "StackedDrg" + sizeNames[int(p)%len(sizeNames)] + familyNames[0]
}

// The order of fields is the reference's.
type c1JSON struct {
	Proof     string                       `json:"registered_proof"`
	Vanilla   map[string][][]challengeJSON `json:"vanilla_proofs"`
	CommR     [32]byte                     `json:"comm_r"`
	CommD     [32]byte                     `json:"comm_d"`
	ReplicaID [32]byte                     `json:"replica_id"`
	Seed      [32]byte                     `json:"seed"`
	Ticket    [32]byte                     `json:"ticket"`
}

type challengeJSON struct {
	D       merkleJSON `json:"comm_d_proofs"`
	R       merkleJSON `json:"comm_r_last_proof"`
	Columns struct {
		Self columnProofJSON   `json:"c_x"`
		Base []columnProofJSON `json:"drg_parents"`
		Exp  []columnProofJSON `json:"exp_parents"`
	} `json:"replica_column_proofs"`
	Labeling []labelingJSON `json:"labeling_proofs"`
	Encoding labelingJSON   `json:"encoding_proof"`
}

type columnProofJSON struct {
	Column struct {
		Index uint32     `json:"index"`
		Rows  [][32]byte `json:"rows"`
		H     *struct{}  `json:"_h"`
	} `json:"column"`
	Inclusion merkleJSON `json:"inclusion_proof"`
}

type labelingJSON struct {
	Parents [][32]byte `json:"parents"`
	Layer   uint32     `json:"layer_index"`
	Node    uint64     `json:"node"`
}

type pathJSON struct {
	Path []merkle.Step `json:"path"`
}

// merkleJSON has exactly one of its variants.
type merkleJSON struct {
	Data struct {
		Single *singleJSON `json:",omitempty"`
		Sub    *nestedJSON `json:",omitempty"`
		Top    *nestedJSON `json:",omitempty"`
	} `json:"data"`
}

type singleJSON struct {
	Root [32]byte `json:"root"`
	Leaf [32]byte `json:"leaf"`
	Path pathJSON `json:"path"`
}

type nestedJSON struct {
	Base pathJSON  `json:"base_proof"`
	Sub  pathJSON  `json:"sub_proof"`
	Top  *pathJSON `json:"top_proof,omitempty"`
	Root [32]byte  `json:"root"`
	Leaf [32]byte  `json:"leaf"`
}

func newMerkleJSON(p *merkle.Proof) (out merkleJSON) {
	nested := nestedJSON{Base: pathJSON{p.Base}, Sub: pathJSON{p.Sub}, Root: p.Root, Leaf: p.Leaf}
	switch {
	case len(p.Top) > 0:
		nested.Top = &pathJSON{p.Top}
		out.Data.Top = &nested
	case len(p.Sub) > 0:
		out.Data.Sub = &nested
	default:
		out.Data.Single = &singleJSON{Root: p.Root, Leaf: p.Leaf, Path: pathJSON{p.Base}}
	}
	return out
}

func challengeToJSON(c *challengeProof) challengeJSON {
	out := challengeJSON{D: newMerkleJSON(&c.D), R: newMerkleJSON(&c.R), Encoding: newLabelingJSON(&c.Encoding)}
	out.Columns.Self = newColumnJSON(&c.Self)
	for i := range c.Base {
		out.Columns.Base = append(out.Columns.Base, newColumnJSON(&c.Base[i]))
	}
	for i := range c.Exp {
		out.Columns.Exp = append(out.Columns.Exp, newColumnJSON(&c.Exp[i]))
	}
	for i := range c.Labeling {
		out.Labeling = append(out.Labeling, newLabelingJSON(&c.Labeling[i]))
	}
	return out
}

func newColumnJSON(c *columnProof) (out columnProofJSON) {
	out.Column.Index, out.Column.Rows = c.Column.Index, c.Column.Rows
	out.Inclusion = newMerkleJSON(&c.Inclusion)
	return out
}

func newLabelingJSON(l *labelingProof) labelingJSON {
	return labelingJSON{Parents: l.Parents[:], Layer: l.Layer, Node: l.Node}
}
