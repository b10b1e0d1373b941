package porep

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/merkle"
)

// errJSON is the cause of every refusal of the reference's JSON.
var errJSON = errors.New("not the reference's JSON of such a proof")

// ParseProofJSON is the inverse of ProofJSON: it takes the output of the
// reference's SealCommitPhase1 (lotus Commit1Out) apart and gives the vanilla
// proof as Prove would have made it. Only the reference's own form is taken,
// white space aside: field order, names, and arrays of the right lengths. Whether
// the proof is right is not checked; Verify does.
func ParseProofJSON(proof abi.RegisteredSealProof, raw []byte) ([]byte, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return nil, err
	}
	blob, err := par.parseC1(proof, raw)
	if err != nil {
		return nil, fmt.Errorf("porep: proof of seal proof %d: %w", proof, err)
	}
	return blob, nil
}

// jsonLimit bounds the JSON of something of n bytes: a byte takes at most four
// characters, names and brackets less than one for each byte.
func jsonLimit(n int) int { return 5*n + 1<<16 }

func (par *params) parseC1(proof abi.RegisteredSealProof, raw []byte) ([]byte, error) {
	if limit := jsonLimit(par.blobSize()); len(raw) > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are possible", errJSON, len(raw), limit)
	}
	var in c1JSON
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("%w: %w", errJSON, err)
	}
	v := &vanilla{public: public{
		CommR:     in.CommR,
		CommD:     in.CommD,
		ReplicaID: in.ReplicaID,
		Seed:      in.Seed,
		Ticket:    in.Ticket,
	}}
	for _, from := range in.Vanilla[vanillaKey(proof)] {
		part := make([]challengeProof, len(from))
		for i := range from {
			if err := from[i].proof(&part[i]); err != nil {
				return nil, fmt.Errorf("%w: %w", errJSON, err)
			}
		}
		v.Partitions = append(v.Partitions, part)
	}
	blob := par.marshal(v)
	// Whatever was lost on the way, or was in another form, shows here.
	again, err := ProofJSON(proof, blob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errJSON, err)
	}
	return blob, sameJSON(raw, again)
}

// sameJSON compares JSON texts, white space aside.
func sameJSON(raw, want []byte) error {
	var got bytes.Buffer
	if err := json.Compact(&got, raw); err != nil {
		return fmt.Errorf("%w: %w", errJSON, err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		return fmt.Errorf("%w: fields are missing, of other lengths, or in another order", errJSON)
	}
	return nil
}

func (j *challengeJSON) proof(c *challengeProof) error {
	if len(j.Columns.Base) != len(c.Base) || len(j.Columns.Exp) != len(c.Exp) {
		return fmt.Errorf("%d base and %d expansion parents", len(j.Columns.Base), len(j.Columns.Exp))
	}
	var errs []error
	path := func(m *merkleJSON, p *merkle.Proof) { errs = append(errs, m.proof(p)) }
	col := func(from *columnProofJSON, to *columnProof) {
		to.Column = column{Index: from.Column.Index, Rows: from.Column.Rows}
		path(&from.Inclusion, &to.Inclusion)
	}
	path(&j.D, &c.D)
	path(&j.R, &c.R)
	col(&j.Columns.Self, &c.Self)
	for i := range c.Base {
		col(&j.Columns.Base[i], &c.Base[i])
	}
	for i := range c.Exp {
		col(&j.Columns.Exp[i], &c.Exp[i])
	}
	c.Labeling = make([]labelingProof, len(j.Labeling))
	for i := range j.Labeling {
		c.Labeling[i] = j.Labeling[i].proof()
	}
	c.Encoding = j.Encoding.proof()
	return errors.Join(errs...)
}

func (j *labelingJSON) proof() (l labelingProof) {
	copy(l.Parents[:], j.Parents)
	l.Layer, l.Node = j.Layer, j.Node
	return l
}

func (j *merkleJSON) proof(p *merkle.Proof) error {
	nested := func(n *nestedJSON) {
		*p = merkle.Proof{Base: n.Base.Path, Sub: n.Sub.Path, Root: n.Root, Leaf: n.Leaf}
		if n.Top != nil {
			p.Top = n.Top.Path
		}
	}
	switch d := &j.Data; {
	case d.Single != nil && d.Sub == nil && d.Top == nil:
		*p = merkle.Proof{Base: d.Single.Path.Path, Root: d.Single.Root, Leaf: d.Single.Leaf}
	case d.Sub != nil && d.Single == nil && d.Top == nil:
		nested(d.Sub)
	case d.Top != nil && d.Single == nil && d.Sub == nil:
		nested(d.Top)
	default:
		return errors.New("a path of no variant, or of several")
	}
	return nil
}
