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
	s := Sector{Proof: info.SealProof, Miner: info.Miner, Number: info.Number}
	return par.verify(ctx, par.publicOf(s, &ProveRequest{
		Ticket:      info.Randomness,
		Seed:        info.InteractiveRandomness,
		Commitments: Commitments{CommR: [32]byte(commR), CommD: [32]byte(commD)},
	}), blob)
}

func (par *params) verify(ctx context.Context, want public, blob []byte) (bool, error) {
	v, err := par.unmarshal(blob)
	if err != nil {
		return false, nil // a proof of another form is a wrong proof
	}
	switch err := par.check(ctx, v, want); {
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
func (par *params) check(ctx context.Context, v *vanilla, want public) error {
	if v.public != want {
		return wrong("it is about other public values")
	}
	zero := [32]byte{}
	if want.CommR == zero || want.CommD == zero {
		return wrong("%v", errZero)
	}
	if len(v.Partitions) != par.partitions {
		return wrong("%d partitions, not %d", len(v.Partitions), par.partitions)
	}
	c, err := par.checkerOf(v)
	if err != nil {
		return err
	}
	if got, err := merkle.HashNodes(c.commC, c.commRLast); err != nil || got != want.CommR {
		return wrong("its tree roots do not give CommR")
	}
	if err := c.all(ctx, v); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("porep: verification stopped: %w", err)
	}
	return nil
}

// checkerOf checks challenges against the public values of v and against the
// roots of its first challenge, which all others must share.
func (par *params) checkerOf(v *vanilla) (*checker, error) {
	g, err := par.graph()
	if err != nil {
		return nil, err
	}
	first := &v.Partitions[0][0]
	f := par.forms()
	f.poseidon = f.poseidon.Remembering()
	return &checker{
		par:       par,
		f:         f,
		graph:     g,
		id:        v.ReplicaID,
		commD:     v.CommD,
		commC:     first.Self.Inclusion.Root,
		commRLast: first.R.Root,
	}, nil
}

// all checks the challenges of all partitions on all CPUs.
func (c *checker) all(ctx context.Context, v *vanilla) error {
	work, stop := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for k, part := range v.Partitions {
		challenges := c.par.challenges(v.ReplicaID, v.CommR, v.Seed, k)
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
	return work.Wait()
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
	if p.R.Root != c.commRLast {
		return errors.New("tree-r-last has another root")
	}
	columns, nodes := p.columns(c.graph, node)
	if err := c.columns(columns, nodes); err != nil {
		return err
	}
	// All sixteen Poseidon paths climb together.
	paths, leaves := []*merkle.Proof{&p.R}, append([]uint64{node}, nodes...)
	for _, col := range columns {
		paths = append(paths, &col.Inclusion)
	}
	if err := c.f.poseidon.CheckAll(paths, leaves); err != nil {
		return err
	}
	return c.labels(p, node)
}

// columns are the columns of the challenged node and its parents, and the nodes
// that they must be of.
func (p *challengeProof) columns(g *sdr.Graph, node uint64) ([]*columnProof, []uint64) {
	base, exp := g.Parents(node)
	columns, nodes := []*columnProof{&p.Self}, []uint64{node}
	for i, n := range base {
		columns, nodes = append(columns, &p.Base[i]), append(nodes, uint64(n))
	}
	for i, n := range exp {
		columns, nodes = append(columns, &p.Exp[i]), append(nodes, uint64(n))
	}
	return columns, nodes
}

// columns checks that columns hash to the leaves of their paths in tree-c.
func (c *checker) columns(columns []*columnProof, nodes []uint64) error {
	layers := c.par.layers
	labels := make([]poseidon.Element, len(columns)*layers)
	for i, p := range columns {
		if uint64(p.Column.Index) != nodes[i] || len(p.Column.Rows) != layers {
			return fmt.Errorf("column of %d labels about node %d, not %d", len(p.Column.Rows), p.Column.Index, nodes[i])
		}
		for l := range p.Column.Rows {
			var err error
			if labels[i*layers+l], err = poseidon.Decode(&p.Column.Rows[l]); err != nil {
				return fmt.Errorf("column %d: %w", nodes[i], err)
			}
		}
	}
	leaves := make([]poseidon.Element, len(columns))
	poseidon.MustNew(layers).HashRow(leaves, labels)
	for i, p := range columns {
		if poseidon.Encode(leaves[i]) != p.Inclusion.Leaf || p.Inclusion.Root != c.commC {
			return fmt.Errorf("column %d is not in tree-c", nodes[i])
		}
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
