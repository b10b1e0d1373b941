package porep

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/proof"
	"golang.org/x/sync/errgroup"

	"quarry/proofs/merkle"
	"quarry/proofs/poseidon"
	"quarry/proofs/sdr"
)

// Verify decides whether blob, as Prove makes it, proves the seal that info
// describes; info.Proof is ignored. It is stricter than the reference's vanilla
// verifier and checks everything the circuit checks: all paths are hashed up
// again and all labels are rebuilt from proven columns.
//
// false, nil means that blob or info is wrong. An error means that nothing was
// decided: an unknown seal proof, or ctx ended. It never panics, whatever the
// bytes.
func Verify(ctx context.Context, info proof.SealVerifyInfo, blob []byte) (bool, error) {
	par, err := paramsFor(info.SealProof)
	if err != nil {
		return false, err
	}
	commR, errR := commcid.CIDToReplicaCommitmentV1(info.SealedCID)
	commD, errD := commcid.CIDToDataCommitmentV1(info.UnsealedCID)
	if errR != nil || errD != nil || len(commR) != 32 || len(commD) != 32 ||
		len(info.Randomness) != 32 || len(info.InteractiveRandomness) != 32 {
		return false, nil
	}
	v, err := par.unmarshal(blob)
	if err != nil {
		return false, nil
	}
	ticket, seed := [32]byte(info.Randomness), [32]byte(info.InteractiveRandomness)
	id := sdr.ReplicaID(sdr.ProverID(uint64(info.Miner)), uint64(info.Number), ticket, [32]byte(commD), par.porepID)
	if v.Ticket != ticket {
		return false, nil
	}
	switch err := par.check(ctx, v, id, [32]byte(commD), [32]byte(commR), seed); {
	case err == nil:
		return true, nil
	case errors.Is(err, errWrong):
		return false, nil
	default:
		return false, err
	}
}

// errWrong is the cause of every rejection by check.
var errWrong = errors.New("the proof is wrong")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errWrong, fmt.Sprintf(format, args...))
}

// check verifies v completely against the public values.
func (par *params) check(ctx context.Context, v *vanilla, id, commD, commR, seed [32]byte) error {
	if v.ReplicaID != id || v.CommD != commD || v.CommR != commR || v.Seed != seed {
		return wrong("it is about other public values")
	}
	zero := [32]byte{}
	if commR == zero || commD == zero {
		return wrong("%v", errZero)
	}
	g, err := par.graph()
	if err != nil {
		return err
	}
	if len(v.Partitions) != par.partitions {
		return wrong("%d partitions, not %d", len(v.Partitions), par.partitions)
	}
	first := &v.Partitions[0][0]
	f := par.forms()
	f.poseidon = f.poseidon.Remembering()
	c := checker{par: par, f: f, graph: g, id: id, commD: commD,
		commC: first.Self.Inclusion.Root, commRLast: first.R.Root}
	if got, err := merkle.HashNodes(c.commC, c.commRLast); err != nil || got != commR {
		return wrong("its tree roots do not give CommR")
	}
	work, stop := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for k, part := range v.Partitions {
		challenges := par.challenges(id, commR, seed, k)
		if len(part) != len(challenges) {
			return errors.Join(work.Wait(), wrong("%d challenges in partition %d, not %d", len(part), k, len(challenges)))
		}
		for i, node := range challenges {
			if stop.Err() != nil {
				break // one failure decides
			}
			work.Go(func() error {
				if err := c.challenge(&part[i], node); err != nil {
					return wrong("challenge %d of partition %d, node %d: %v", i, k, node, err)
				}
				return nil
			})
		}
	}
	if err := work.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("porep: verification stopped: %w", err)
	}
	return nil
}

type checker struct {
	par                         *params
	f                           forms
	graph                       *sdr.Graph
	id, commD, commC, commRLast [32]byte
}

// challenge checks one challenged node; any error means that it is wrong.
func (c *checker) challenge(p *challengeProof, node uint64) error {
	if err := c.f.d.Check(&p.D, node); err != nil {
		return fmt.Errorf("tree-d: %w", err)
	}
	if p.D.Root != c.commD {
		return errors.New("tree-d has another root")
	}
	if err := c.f.poseidon.Check(&p.R, node); err != nil {
		return fmt.Errorf("tree-r-last: %w", err)
	}
	if p.R.Root != c.commRLast {
		return errors.New("tree-r-last has another root")
	}
	if err := c.column(&p.Self, node); err != nil {
		return err
	}
	base, exp := c.graph.Parents(node)
	for i, n := range base {
		if err := c.column(&p.Base[i], uint64(n)); err != nil {
			return fmt.Errorf("base parent %d: %w", i, err)
		}
	}
	for i, n := range exp {
		if err := c.column(&p.Exp[i], uint64(n)); err != nil {
			return fmt.Errorf("expansion parent %d: %w", i, err)
		}
	}
	return c.labels(p, node)
}

func (c *checker) column(p *columnProof, node uint64) error {
	if uint64(p.Column.Index) != node {
		return fmt.Errorf("column %d, not %d", p.Column.Index, node)
	}
	if len(p.Column.Rows) != c.par.layers {
		return fmt.Errorf("%d labels in column %d", len(p.Column.Rows), node)
	}
	leaf, err := merkle.HashNodes(p.Column.Rows...)
	if err != nil {
		return fmt.Errorf("column %d: %w", node, err)
	}
	if leaf != p.Inclusion.Leaf || p.Inclusion.Root != c.commC {
		return fmt.Errorf("column %d is not in tree-c", node)
	}
	if err := c.f.poseidon.Check(&p.Inclusion, node); err != nil {
		return fmt.Errorf("column %d: %w", node, err)
	}
	return nil
}

// labels checks that every label of the node follows from its parents and that
// the replica is the last label plus the data.
func (c *checker) labels(p *challengeProof, node uint64) error {
	if len(p.Labeling) != c.par.layers {
		return fmt.Errorf("%d labeling proofs", len(p.Labeling))
	}
	for i := range p.Labeling {
		l, layer := &p.Labeling[i], i+1
		parents := p.parents(layer)
		if l.Layer != uint32(layer) || l.Node != node || l.Parents != parents {
			return fmt.Errorf("labeling proof of layer %d is about something else", layer)
		}
		if sdr.Label(c.id, layer, node, &parents) != p.Self.Column.Rows[i] {
			return fmt.Errorf("label of layer %d does not follow from its parents", layer)
		}
	}
	if p.Encoding != p.Labeling[c.par.layers-1] {
		return errors.New("the encoding proof differs from the last labeling proof")
	}
	return checkEncoding(p.Self.Column.Rows[c.par.layers-1], p.D.Leaf, p.R.Leaf)
}

func checkEncoding(key, data, replica [32]byte) error {
	k, err1 := poseidon.Decode(&key)
	d, err2 := poseidon.Decode(&data)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	k.Add(&k, &d)
	if poseidon.Encode(k) != replica {
		return errors.New("the replica node is not label plus data")
	}
	return nil
}
