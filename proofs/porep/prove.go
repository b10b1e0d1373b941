package porep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/filecoin-project/go-state-types/abi"
	"golang.org/x/sync/errgroup"

	"quarry/proofs/merkle"
	"quarry/proofs/sdr"
)

// Prove makes the vanilla proof of all partitions, in the reference's binary
// form (SealCommitPhase1Output), and verifies it before returning it. It reads
// the layers, tree-c, tree-d and tree-r-last in cache, or, for synthetic PoRep,
// the file that Synthesize left there.
func Prove(ctx context.Context, s Sector, req ProveRequest, sealed io.ReaderAt, cache Files) ([]byte, error) {
	par, err := req.paramsFor(s)
	if err != nil {
		return nil, err
	}
	blob, err := par.prove(ctx, s, &req, sealed, cache)
	if err != nil {
		return nil, fmt.Errorf("porep: proving %s: %w", s, err)
	}
	return blob, nil
}

var (
	errZero = errors.New("a commitment is all zero")
	errSeed = errors.New("the seed is all zero, which the reference refuses; non-interactive sectors take any other")
)

func (par *params) prove(ctx context.Context, s Sector, req *ProveRequest, sealed io.ReaderAt, cache Files) ([]byte, error) {
	zero := [32]byte{}
	if req.CommR == zero || req.CommD == zero {
		return nil, errZero
	}
	if [32]byte(req.Seed) == zero {
		return nil, errSeed
	}
	v := &vanilla{public: par.publicOf(s, req)}
	if err := par.fill(ctx, v, req.Commitments, sealed, cache); err != nil {
		return nil, err
	}
	blob := par.marshal(v)
	if err := par.check(ctx, v, v.public); err != nil {
		return nil, fmt.Errorf("the proof made does not verify, so the sealed file or its cache is damaged: %w", err)
	}
	return blob, nil
}

// fill makes all partitions of v: from the file of synthetic proofs where there
// is one, else by opening the layers and trees.
func (par *params) fill(ctx context.Context, v *vanilla, com Commitments, sealed io.ReaderAt, cache Files) error {
	var missing error
	if par.feature == synthetic {
		err := par.proveSynth(ctx, v, com, cache)
		if err == nil || ctx.Err() != nil {
			return err
		}
		missing, v.Partitions = err, nil // the layers give the same bytes
	}
	o, err := par.open(sealed, cache)
	if err != nil {
		return errors.Join(missing, err)
	}
	defer o.close()
	for k := range par.partitions {
		part, err := o.partition(ctx, par.challenges(v.ReplicaID, v.CommR, v.Seed, k))
		if err != nil {
			return fmt.Errorf("partition %d: %w", k, err)
		}
		v.Partitions = append(v.Partitions, part)
	}
	return nil
}

// partition opens challenges on all CPUs.
func (o *opener) partition(ctx context.Context, challenges []uint64) ([]challengeProof, error) {
	part := make([]challengeProof, len(challenges))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, node := range challenges {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := o.challenge(ctx, &part[i], node); err != nil {
				return fmt.Errorf("node %d, challenge %d: %w", node, i, err)
			}
			return nil
		})
	}
	return part, g.Wait()
}

// opener has all files of a sector open for proving.
type opener struct {
	par          *params
	graph        *sdr.Graph
	layers       []File
	treeD        File
	treeC, treeR merkle.Tree
	files        []File
}

func (par *params) open(sealed io.ReaderAt, cache Files) (*opener, error) {
	g, err := par.graph()
	if err != nil {
		return nil, err
	}
	o := &opener{par: par, graph: g}
	if o.layers, err = par.openLayers(cache); err != nil {
		return nil, err
	}
	o.files = append(o.files, o.layers...)
	if o.treeD, err = openSized(cache, treeDName, int64(merkle.RowsSize(par.nodes, 2, 0))); err != nil {
		o.close()
		return nil, err
	}
	o.files = append(o.files, o.treeD)
	var c, r []File
	if c, o.treeC, err = openTree(cache, par.shape, treeC, 0, nil); err == nil {
		o.files = append(o.files, c...)
		r, o.treeR, err = openTree(cache, par.shape, treeRLast, treeRFirst(par.shape, cache), sealed)
		o.files = append(o.files, r...)
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *opener) close() { closeAll(o.files) }

// openTree opens the base files of a stored tree.
func openTree(cache Files, shape merkle.Shape, kind string, first int, leaves io.ReaderAt) ([]File, merkle.Tree, error) {
	t := merkle.Tree{Shape: shape, First: first, Leaves: leaves}
	size := int64(merkle.RowsSize(shape.BaseLeaves(), merkle.BaseArity, first))
	var files []File
	for _, name := range treeNames(shape, kind) {
		f, err := openSized(cache, name, size)
		if err != nil {
			closeAll(files)
			return nil, t, err
		}
		files = append(files, f)
		t.Files = append(t.Files, f)
	}
	return files, t, nil
}

// OpenReplica opens tree-r-last of a sealed sector for proofs of spacetime. The
// returned function closes the files behind the tree.
func OpenReplica(proof abi.RegisteredSealProof, sealed io.ReaderAt, cache Files) (*merkle.Tree, func(), error) {
	par, err := paramsFor(proof)
	if err != nil {
		return nil, nil, err
	}
	return OpenTreeR(par.shape, sealed, cache)
}

func (o *opener) challenge(ctx context.Context, c *challengeProof, node uint64) (err error) {
	if c.D, err = merkle.ProveBinary(o.treeD, o.par.nodes, node); err != nil {
		return err
	}
	if c.R, err = o.treeR.Prove(node); err != nil {
		return fmt.Errorf("tree-r-last: %w", err)
	}
	columns, nodes := c.columns(o.graph, node)
	paths, err := o.treeC.ProveAll(ctx, nodes)
	if err != nil {
		return fmt.Errorf("tree-c: %w", err)
	}
	for i, p := range columns {
		p.Inclusion = paths[i]
		if p.Column, err = o.column(nodes[i]); err != nil {
			return err
		}
	}
	c.fillLabeling(o.par.layers, node)
	return nil
}

// fillLabeling makes the labeling and encoding proofs out of the columns.
func (c *challengeProof) fillLabeling(layers int, node uint64) {
	c.Labeling = make([]labelingProof, layers)
	for i := range c.Labeling {
		c.Labeling[i] = labelingProof{Parents: c.parents(i + 1), Layer: uint32(i + 1), Node: node}
	}
	c.Encoding = c.Labeling[layers-1]
}

func (o *opener) column(node uint64) (column, error) {
	c := column{Index: uint32(node), Rows: make([][32]byte, o.par.layers)}
	for i, f := range o.layers {
		if err := merkle.ReadFullAt(f, c.Rows[i][:], int64(node)*merkle.NodeSize); err != nil {
			return c, fmt.Errorf("reading %s at byte %d: %w", layerName(i+1), node*merkle.NodeSize, err)
		}
	}
	return c, nil
}

// parents rebuilds the hashed parent labels of the challenge in layer (from 1)
// out of the parents' columns.
func (c *challengeProof) parents(layer int) [sdr.HashedParents][32]byte {
	var base [sdr.BaseDegree][32]byte
	var exp [sdr.ExpDegree][32]byte
	for i := range base {
		base[i] = c.Base[i].Column.Rows[layer-1]
	}
	if layer > 1 {
		for i := range exp {
			exp[i] = c.Exp[i].Column.Rows[layer-2]
		}
	}
	return sdr.RepeatParents(layer, &base, &exp)
}
